# SPDX-License-Identifier: MIT
"""Raises an interrupt at one place after the other of a call, where Python may raise one.

Python raises what a signal handler raises at the beginning of a function or after a call
of C, so this raises it there.
"""

from __future__ import annotations

import inspect
import sys

MOST = 5000
"""More places than any of these calls has."""


_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Interrupt(KeyboardInterrupt):
    """What the tests raise; no other one is taken for it."""


class Interrupting:
    """Raises at the n-th place in the package's own code, if there are that many."""

    def __init__(self, place):
        self.left = place
        self.where = None

    def __enter__(self):
        sys.setprofile(self._see)
        return self

    def __exit__(self, kind, *_):
        sys.setprofile(None)
        return kind is Interrupt

    def _see(self, frame, event, _argument):
        if event not in ("call", "c_return") or "cacheness" not in frame.f_code.co_filename:
            return
        if "tests" in frame.f_code.co_filename:
            return
        if event == "call" and frame.f_code.co_flags & _GENERATORS:
            return  # what is raised as one goes on would pass by its own handlers here
        self.left -= 1
        if self.left < 0 and self.where is None:
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} at {event}"
            raise Interrupt


def interrupted_everywhere(act, check):
    """Interrupt ``act(number)`` at one place after the other, and check after each."""
    for place in range(MOST):
        with Interrupting(place) as interrupting:
            act(place)
        check(place, interrupting.where)
        if interrupting.where is None:
            return
    raise AssertionError("it never came to an end")
