# SPDX-License-Identifier: MIT
"""Waits until whoever is in the way of a statement is done."""

from __future__ import annotations

import os
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.statements import Statements

__all__ = ["Turns"]


class Turns:
    """Waits for a turn: longer each time, never in step with others, not for ever.

    A lock is held for 0.03 ms, or for as long as its holder is not run, so short waits
    are tried first; the longest keep a hundred waiters from using up the machine.
    """

    __slots__ = ("_deadline", "_tries")

    def __init__(self, timeout: float) -> None:
        self._deadline = monotonic() + timeout
        self._tries = 0

    def wait(self, inside: Statements) -> bool:
        """Wait, and let a fork go on meanwhile; False if the time is up."""
        self._tries += 1
        left = self._deadline - monotonic()
        if self._tries == 1:
            return True
        if left <= 0:
            return False
        pause = min(0.000_05 * 1.5 ** min(self._tries, 20), 0.01)
        inside.depth -= 1
        try:
            sleep(min(left, pause * (0.25 + os.urandom(1)[0] / 170)))
        finally:
            inside.enter()
        return True
