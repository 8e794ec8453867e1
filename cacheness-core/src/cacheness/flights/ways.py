# SPDX-License-Identifier: MIT
"""How a thread waits, and how a task does: one blocks, the other lets its loop go on."""

from __future__ import annotations

import os
from _thread import allocate_lock
from contextlib import suppress
from time import monotonic

from cacheness import forks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future, ThreadPoolExecutor
    from typing import Any, Protocol, TypeVar

    _T = TypeVar("_T")

    class Lock(Protocol):
        """Excludes other processes."""

        def acquire(self, timeout: float | None = None) -> bool: ...
        def release(self) -> None: ...

    class Way(Protocol):
        """What a caller does until something happens. `wake` may be called from any thread."""

        blocks: bool
        """Whether waiting stops everything else that runs in this thread."""

        def wake(self) -> bool: ...

        async def woken(self, seconds: float | None) -> bool:  # pyright: ignore[reportReturnType]  # a protocol has no bodies
            """Wait to be woken; False in vain."""

        async def acquired(self, lock: Lock, seconds: float) -> bool:  # pyright: ignore[reportReturnType]  # a protocol has no bodies
            """Take the lock, or wait for it; False in vain."""

        async def done(self, function: Callable[[], _T]) -> _T:  # pyright: ignore[reportReturnType]  # a protocol has no bodies
            """Do what may take more than microseconds."""

        def finish(self, function: Callable[[], object]) -> None:
            """Do what nobody waits for."""


__all__ = ["TaskWay", "ThreadWay", "at_once"]

_LONGEST_WAIT = 1.0
"""Seconds after which a thread that waits looks whether it still is in the same process."""
_FIRST_PAUSE = 0.000_5
_LONGEST_PAUSE = 0.025
"""Seconds between two tries of a task for a lock that another process holds."""


def at_once(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine that never suspends, as all do on a `ThreadWay`."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: _T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine suspended on the way of a thread")


class ThreadWay:
    """Waits in the thread that it is used in."""

    __slots__ = ("_lock",)

    blocks = True

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def wake(self) -> bool:
        with suppress(RuntimeError):  # woken already, by who was interrupted then
            self._lock.release()
        return True

    async def woken(self, seconds: float | None) -> bool:
        begun = forks.number
        deadline = None if seconds is None else monotonic() + seconds
        # A child that a signal handler forks meanwhile has nobody who would wake it.
        while forks.number == begun:
            left = _LONGEST_WAIT if deadline is None else deadline - monotonic()
            if self._lock.acquire(timeout=max(0.0, min(left, _LONGEST_WAIT))):
                return True
            if left <= 0:
                break
        return False

    async def acquired(self, lock: Lock, seconds: float) -> bool:
        return lock.acquire(seconds)

    async def done(self, function: Callable[[], _T]) -> _T:
        return function()

    def finish(self, function: Callable[[], object]) -> None:
        function()


class TaskWay:
    """Waits in a task.

    Args:
        remote: Whether a lock is a round trip over a network, so that a thread asks for
            it, of the two that all tasks of the process share; else it is asked for in
            the loop, in microseconds.
    """

    __slots__ = ("_future", "_loop", "_pause", "_remote")

    blocks = False

    def __init__(self, *, remote: bool) -> None:
        import asyncio

        self._remote = remote
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] = self._loop.create_future()
        self._pause = _FIRST_PAUSE

    def wake(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def _wake(self) -> None:
        if not self._future.done():
            self._future.set_result(None)

    async def woken(self, seconds: float | None) -> bool:
        import asyncio

        done, _ = await asyncio.wait((self._future,), timeout=seconds)
        return bool(done)

    async def acquired(self, lock: Lock, seconds: float) -> bool:
        import asyncio

        deadline = monotonic() + seconds
        while not await self._tried(lock):
            left = deadline - monotonic()
            if left <= 0:
                return False
            # Jitter keeps waiters from trying in step.
            pause = self._pause * (0.5 + os.urandom(1)[0] / 256)
            await asyncio.sleep(min(pause, left))
            self._pause = min(1.5 * self._pause, _LONGEST_PAUSE)
        return True

    async def _tried(self, lock: Lock) -> bool:
        if not self._remote:
            return lock.acquire(0)
        future = _executor().submit(lock.acquire, 0)
        try:
            return await self._result(future)
        except BaseException:
            # Cancelled, while the thread may well get the lock.
            future.add_done_callback(lambda done: _give_back(done, lock))
            raise

    async def done(self, function: Callable[[], _T]) -> _T:
        if not self._remote:
            return function()
        return await self._result(_executor().submit(function))

    async def _result(self, future: Future[_T]) -> _T:
        import asyncio

        return await asyncio.shield(asyncio.wrap_future(future))

    def finish(self, function: Callable[[], object]) -> None:
        if self._remote:
            try:
                _executor().submit(function)
            except RuntimeError:  # the interpreter is shutting down
                function()
        else:
            function()


def _give_back(tried: Future[bool], lock: Lock) -> None:
    if not tried.cancelled() and tried.exception() is None and tried.result():
        lock.release()


_executors: dict[int, ThreadPoolExecutor] = {}
"""By process, since a forked child has none of its parent's threads."""


def _executor() -> ThreadPoolExecutor:
    executor = _executors.get(os.getpid())
    if executor is None:
        from concurrent.futures import ThreadPoolExecutor

        executor = ThreadPoolExecutor(2, thread_name_prefix="cacheness-flights")
        executor = _executors.setdefault(os.getpid(), executor)
    return executor
