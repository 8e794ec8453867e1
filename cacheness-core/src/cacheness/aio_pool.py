# SPDX-License-Identifier: MIT
"""A bounded pool of threads that runs a cache's blocking calls for asyncio."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import os
from concurrent.futures import Future, wait
from contextvars import copy_context
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet, finalize, ref

from cacheness.errors import CacheClosedError
from cacheness.forks import renew_in_child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any, ParamSpec

    _P = ParamSpec("_P")
    _Queue = SimpleQueue[Callable[[], None] | None]

__all__ = ["Pool"]

_R = TypeVar("_R")
_AT_ONCE = 256
"""How many of a stream's values one call of a thread brings."""
_AT_EXIT = 5.0
"""Seconds for which the interpreter's exit waits for calls that are under way."""


class Pool:
    """At most so many threads, each started when a call finds no idle one.

    They are daemons: at the interpreter's exit, calls that are under way get a few seconds
    to finish, so that a put is not cut off, but one that hangs does not keep the process.

    Args:
        size: The number of threads at most; by default four more than the machine has
            processors, and no more than 32.
    """

    def __init__(self, size: int | None = None) -> None:
        self.size = size or min(32, (os.cpu_count() or 1) + 4)
        self._threads = 0
        self._free = 0
        self._stopped = False
        self.after_fork()
        renew_in_child(self)
        _pools.add(self)

    async def run(self, function: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """What the function gives, called in a thread of the pool, in the task's context.

        A task that is cancelled meanwhile goes on at once. A call that has not begun is
        then dropped; one that has, finishes.

        Raises:
            CacheClosedError: The pool was stopped.
        """
        return await asyncio.wrap_future(self._submit(function, *args, **kwargs))

    async def stream(
        self, function: Callable[_P, Iterator[_R]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> AsyncIterator[_R]:
        """The values of an iterator, some at a time, each time by a thread of the pool."""
        values = await self.run(function, *args, **kwargs)
        while some := await self.run(_take, values):
            for value in some:
                yield value

    async def idle(self) -> None:
        """Wait until the calls that are under way or queued now are done."""
        calls = [asyncio.wrap_future(call) for call in tuple(self._calls)]
        if calls:
            await asyncio.wait(calls)

    def stop(self) -> None:
        """Take no more calls; end the threads when those that were taken are done."""
        with self._guard:
            self._stopped = True
            _end(self._queue, self._threads)
            self._threads = 0

    def after_fork(self) -> None:
        """Begin with no threads: a child has none of its parent's."""
        self._guard = Lock()
        self._queue: _Queue = SimpleQueue()
        self._calls: set[Future[Any]] = set()
        self._threads = 0
        self._free = 0
        finalize(self, _end, self._queue, self.size).atexit = False

    def _submit(
        self, function: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Future[_R]:
        future: Future[_R] = Future()
        context = copy_context()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = context.run(function, *args, **kwargs)
                except BaseException as error:  # noqa: BLE001  # whoever awaits it raises it
                    future.set_exception(error)
                else:
                    future.set_result(result)

        with self._guard:
            if self._stopped:
                raise CacheClosedError("the cache is closed")
            self._calls.add(future)
            self._queue.put(call)
            if self._free:
                self._free -= 1
            elif self._threads < self.size:
                self._threads += 1
                name = f"cacheness-aio-{next(_numbers)}"
                Thread(target=_work, args=(ref(self), self._queue), name=name, daemon=True).start()
        future.add_done_callback(self._calls.discard)
        return future

    def free(self) -> None:
        """Note that a thread has nothing to do."""
        with self._guard:
            self._free += 1

    def wait(self, seconds: float) -> None:
        """Wait for the calls that are under way."""
        wait(tuple(self._calls), timeout=seconds)


_numbers = itertools.count(1)
_pools: WeakSet[Pool] = WeakSet()


def _work(owner: ref[Pool], queue: _Queue) -> None:
    """Call what is queued, until there is nobody left to queue anything."""
    while call := queue.get():
        call()
        del call  # with what it holds: a pool that nobody uses ends its threads
        pool = owner()
        if pool is not None:
            pool.free()
        del pool


def _end(queue: _Queue, threads: int) -> None:
    for _ in range(threads):
        queue.put(None)


def _take(values: Iterator[_R]) -> list[_R]:
    return list(itertools.islice(values, _AT_ONCE))


@atexit.register
def _wait_at_exit() -> None:
    until = monotonic() + _AT_EXIT
    for pool in list(_pools):
        pool.wait(max(0.0, until - monotonic()))
