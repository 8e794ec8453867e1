# SPDX-License-Identifier: MIT
"""Keeps a fork out of the middle of a statement.

SQLite's mutexes are the process's: a child that is forked while another thread is inside
a statement inherits them locked, and hangs at its first. So a fork waits until no thread
is inside, and whoever begins a statement meanwhile waits for the fork.
"""

from __future__ import annotations

import os
from _thread import _local
from time import monotonic, sleep
from weakref import WeakSet

__all__ = ["Statements", "statements_of_this_thread"]

_LONGEST_WAIT = 5.0
"""Seconds that a fork waits at most: a statement may itself be waiting for another process."""
_PAUSE = 0.0002


class Statements:
    """Whether one thread is inside a statement; used by that thread as a context.

    Reading ``depth`` and setting it need no lock: each is one step under the
    interpreter's lock, and either side sets its own mark before it looks at the other's.
    """

    __slots__ = ("__weakref__", "depth")

    def __init__(self) -> None:
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1
        if _forking:
            self.wait()

    def __exit__(self, *exception: object) -> None:
        self.depth -= 1

    def wait(self) -> None:
        """Let a fork go first, unless this thread is already inside another statement."""
        while _forking and self.depth == 1:
            self.depth = 0
            sleep(_PAUSE)
            self.depth = 1


_forking = False
_mine = _local()
_threads: WeakSet[Statements] = WeakSet()
"""The marks of all threads; one goes with its thread, which alone holds it."""


def statements_of_this_thread() -> Statements:
    """This thread's mark; the same at every call."""
    try:
        mark: Statements = _mine.mark
    except AttributeError:
        mark = _mine.mark = Statements()
        _threads.add(mark)
    return mark


def is_forking() -> bool:
    """Whether a thread is about to fork."""
    return _forking


def _before_fork() -> None:
    global _forking
    _forking = True
    mine = statements_of_this_thread()
    deadline = monotonic() + _LONGEST_WAIT
    while monotonic() < deadline:
        if not any(mark.depth for mark in list(_threads) if mark is not mine):
            return
        sleep(_PAUSE)


def _after_fork_in_parent() -> None:
    global _forking
    _forking = False


def _after_fork_in_child() -> None:
    global _forking
    _forking = False
    mine = statements_of_this_thread()
    for mark in list(_threads):
        if mark is not mine:
            mark.depth = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
