# SPDX-License-Identifier: MIT
"""Takes the checksum of a large payload in a thread of its own."""

from __future__ import annotations

from _queue import Empty, SimpleQueue
from _thread import allocate_lock, start_new_thread
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cacheness import forks

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable, Iterator

    from cacheness.handlers.protocols import Buffer

__all__ = ["updating_apart"]

_PATIENCE = 0.1
"""Seconds after which who waits for the thread looks whether it is in another process."""
_MOST_WAITING = 32 << 20
"""The thread is waited for where more bytes than that lie before it, which is all that it keeps
in memory for longer than its caller would."""


@contextmanager
def updating_apart(update: Callable[[Buffer], object]) -> Iterator[Callable[[Buffer], object]]:
    """Give an ``update`` that returns at once: another thread takes the pieces in.

    It has done so when the body has ended; until then they have to stay as they are.

    Raises:
        ForkedError: In a child that was forked meanwhile, which has no such thread, unless the
            body raises.
    """
    begun = forks.number
    pieces: SimpleQueue[Buffer | None] = SimpleQueue()
    taken: SimpleQueue[int] = SimpleQueue()
    errors: list[BaseException] = []
    running = allocate_lock()
    running.acquire()
    try:
        start_new_thread(_follow, (update, pieces, taken, errors, running))
    except RuntimeError:  # no more threads can be had
        yield update
        return
    waiting = 0

    def give(piece: Buffer) -> None:
        nonlocal waiting
        waiting += len(piece)
        pieces.put(piece)
        while waiting > _MOST_WAITING:
            try:
                waiting -= taken.get(timeout=_PATIENCE)
            except Empty:
                forks.check(begun)
                if not running.locked():
                    return

    try:
        yield give
    finally:
        pieces.put(None)
        while forks.number == begun and not running.acquire(timeout=_PATIENCE):
            pass
    forks.check(begun)
    if errors:
        raise errors[0]


def _follow(
    update: Callable[[Buffer], object],
    pieces: SimpleQueue[Buffer | None],
    taken: SimpleQueue[int],
    errors: list[BaseException],
    running: LockType,
) -> None:
    try:
        while (piece := pieces.get()) is not None:
            update(piece)
            taken.put(len(piece))
    except BaseException as error:  # noqa: BLE001  # raised by who waits for this thread
        errors.append(error)
    finally:
        running.release()
