# SPDX-License-Identifier: MIT
"""Takes the checksum of a large payload in a thread of its own."""

from __future__ import annotations

from _queue import SimpleQueue
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cacheness.handlers.protocols import Buffer

__all__ = ["updating_apart"]


@contextmanager
def updating_apart(update: Callable[[Buffer], object]) -> Iterator[Callable[[Buffer], object]]:
    """Give an ``update`` that returns at once: another thread takes the pieces in.

    It has done so when the body has ended; until then they have to stay as they are.
    """
    pieces: SimpleQueue[Buffer | None] = SimpleQueue()
    thread = Thread(target=_follow, args=(update, pieces), name="cacheness-checksum")
    try:
        thread.start()
    except RuntimeError:  # no more threads can be had
        yield update
        return
    try:
        yield pieces.put
    finally:
        pieces.put(None)
        thread.join()


def _follow(update: Callable[[Buffer], object], pieces: SimpleQueue[Buffer | None]) -> None:
    while (piece := pieces.get()) is not None:
        update(piece)
