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

__all__ = [
    "Alone",
    "Statements",
    "is_waited_for",
    "let_parent_go_on",
    "pausing",
    "statements_of_this_thread",
    "was_inside",
]

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
        if pausing.thread:
            self.wait()

    def wait(self) -> None:
        """Let a fork or a close go first, unless this thread is inside another statement."""
        while pausing.thread not in (0, get_ident()) and self.depth == 1:
            self.depth = 0
            sleep(_PAUSE)
            self.depth = 1


class _Pausing:
    __slots__ = ("thread",)

    thread: int


pausing = _Pausing()
"""Its ``thread`` is the one that has the others pause, or 0: who begins a statement looks at it,
which costs less than a call."""
pausing.thread = 0
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


class Alone:
    """A context in which no other thread is inside a statement, if they come to an end in time.

    One object serves one thread at a time. A signal handler may enter another one in between.
    """

    __slots__ = ("_outer", "_turn", "inside")
    inside: list[Statements]
    """The marks of the threads that came to no end in time."""

    def __enter__(self) -> None:
        me = get_ident()
        self._outer = me if pausing.thread == me else 0
        # In a child that was forked in between, it is not the one of that name any more.
        self._turn = None if self._outer else _turn
        if self._turn is not None and not self._turn.acquire(timeout=_LONGEST_WAIT):
            self._turn = None
        pausing.thread = me
        mine = statements_of_this_thread()
        deadline = monotonic() + _LONGEST_WAIT
        while True:
            self.inside = [mark for mark in list(_threads) if mark.depth and mark is not mine]
            if not self.inside or monotonic() >= deadline:
                return
            sleep(_PAUSE)

    def __exit__(self, *exception: object) -> None:
        pausing.thread = self._outer
        if self._turn is not None:
            self._turn.release()


_forks: list[tuple[Alone, tuple[int, int] | None]] = []
"""Those under way: a signal handler may fork while its thread is about to. With the pipe whose
end the parent waits for."""


def is_waited_for() -> bool:
    """Whether the parent pauses until `let_parent_go_on`; asked in a child that was just made."""
    return bool(_forks) and _forks[-1][1] is not None


def was_inside(mark: Statements) -> bool:
    """Whether its thread was inside a statement as this process was forked; asked in a child.

    The marks of other threads do not tell: whoever lets the fork go first sets its own for a
    moment, each time that it looks.
    """
    if mark is statements_of_this_thread():
        return mark.depth > 0
    return any(mark in alone.inside for alone, _ in _forks)


def let_parent_go_on() -> None:
    """Say that nothing of the parent's is used any more; called in a child."""
    while _forks:
        for descriptor in _forks.pop()[1] or ():
            os.close(descriptor)


def _before_fork() -> None:
    alone, pipe = Alone(), None
    alone.__enter__()
    if statements_of_this_thread().depth:
        try:
            pipe = os.pipe()
        except OSError:
            pipe = None  # then the child does without the file
    _forks.append((alone, pipe))


def _after_fork_in_parent() -> None:
    alone, pipe = _forks.pop()
    try:
        if pipe is not None:
            _wait_for_child(*pipe)
    finally:
        alone.__exit__()


def _wait_for_child(reading: int, writing: int) -> None:
    """Wait until the child has closed the pipe, or has come to its end."""
    from select import poll

    os.close(writing)
    try:
        end = poll()
        end.register(reading)
        end.poll(_LONGEST_WAIT * 1000)
    finally:
        os.close(reading)


def _after_fork_in_child() -> None:
    global _turn
    pausing.thread, _turn = 0, allocate_lock()
    mine = statements_of_this_thread()
    _threads.clear()
    _threads.add(mine)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
