# SPDX-License-Identifier: MIT
"""Turns all caches of the process off for a while, for tests and debugging."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cacheness.switch import turn_off, turn_on

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["disabled"]


@contextmanager
def disabled() -> Iterator[None]:
    """Within it, in every thread of the process, a get is a miss and a put does nothing.

    Example:
        >>> with cacheness.disabled():
        ...     model = train(data)  # computed, whatever is stored
    """
    turn_off()
    try:
        yield
    finally:
        turn_on()
