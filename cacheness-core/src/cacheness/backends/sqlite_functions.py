# SPDX-License-Identifier: MIT
"""Functions of Python's that SQL calls, and what an interrupt of one comes out as."""

from __future__ import annotations

import sqlite3
from _thread import get_ident  # `threading` takes 1.3 ms of a short process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

__all__ = ["callable_by_sql", "interrupt_behind", "is_called_by"]

_RAISED = "user-defined function raised exception"
_callers: set[object] = set()
"""The code of what SQL calls, once it called some."""
_raised: dict[int, BaseException] = {}
"""What a thread's last call raised, until it is asked for."""


def callable_by_sql(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, of which SQLite's module `sqlite3` drops what it raises."""

    def call(*values: Any) -> Any:
        try:
            return function(*values)
        except BaseException as error:
            _raised[get_ident()] = error
            raise

    _callers.add(call.__code__)
    return call


def is_called_by(frame: FrameType | None) -> bool:
    """Whether SQL called what led to this frame, and so is in the middle of a statement."""
    while frame is not None:
        if frame.f_code in _callers:
            return True
        frame = frame.f_back
    return False


def interrupt_behind(error: BaseException | None) -> BaseException | None:
    """What ended a statement, if that was meant to end its caller: Ctrl-C, above all.

    Where a function raised and nothing is known of it, a signal handler did so before the
    function's first step: of those Python has one of its own, which raises this.
    """
    if not isinstance(error, sqlite3.OperationalError) or error.args != (_RAISED,):
        return None
    from cacheness.payloads.refusals import ends_the_caller

    raised = _raised.pop(get_ident(), None)
    if raised is None:
        return KeyboardInterrupt()
    return raised if ends_the_caller(raised) else None
