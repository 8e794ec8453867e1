# SPDX-License-Identifier: MIT
"""Keeps a fork, and a close, out of the middle of a statement.

SQLite's mutexes are the process's: a child that is forked while another thread is inside
a statement inherits them locked, and hangs at its first; and to close a connection while
another thread is inside a statement of it crashes the process. So either waits until no
thread is inside, and whoever begins a statement meanwhile waits for it.
"""

from __future__ import annotations

import os
from _thread import _local, allocate_lock, get_ident
from time import monotonic, sleep
from weakref import WeakSet

__all__ = ["Alone", "Statements", "statements_of_this_thread"]

_LONGEST_WAIT = 5.0
"""Seconds of that wait at most: a statement may itself be waiting for another process."""
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
        self.enter()

    def __exit__(self, *exception: object) -> None:
        self.depth -= 1

    def enter(self) -> None:
        """Go inside once more; the caller sets ``depth`` back to what it was, in a `finally`.

        An interrupt may keep a method from being called, `__exit__` too, but not that: a
        mark that stayed would have every fork and every close wait for its thread.
        """
        self.depth += 1
        if _alone:
            self.wait()

    def wait(self) -> None:
        """Let a fork or a close go first, unless this thread is inside another statement."""
        while _alone not in (0, get_ident()) and self.depth == 1:
            self.depth = 0
            sleep(_PAUSE)
            self.depth = 1


_alone = 0
"""The thread that has the others pause, or 0."""
_turn = allocate_lock()
"""Held by that thread."""
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


def is_pausing() -> bool:
    """[hot] Whether a thread wants to be alone."""
    return _alone != 0


class Alone:
    """A context in which no other thread is inside a statement, if they come to an end in time.

    One object serves one thread at a time.
    """

    __slots__ = ("_has_turn",)

    def __enter__(self) -> None:
        global _alone
        self._has_turn = _turn.acquire(timeout=_LONGEST_WAIT)
        _alone = get_ident()
        mine = statements_of_this_thread()
        deadline = monotonic() + _LONGEST_WAIT
        while monotonic() < deadline:
            if not any(mark.depth for mark in list(_threads) if mark is not mine):
                return
            sleep(_PAUSE)

    def __exit__(self, *exception: object) -> None:
        global _alone
        _alone = 0
        if self._has_turn:
            _turn.release()


_fork = Alone()


def _before_fork() -> None:
    _fork.__enter__()


def _after_fork_in_parent() -> None:
    _fork.__exit__()


def _after_fork_in_child() -> None:
    global _alone, _turn
    _alone, _turn = 0, allocate_lock()
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
