# SPDX-License-Identifier: MIT
"""`cache.aio`: the methods of a cache as coroutines."""

from __future__ import annotations

from functools import update_wrapper, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from cacheness.aio_pool import Pool
from cacheness.computing import Computation, checked_callable
from cacheness.core import UnifiedCache

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
    from typing import Self

__all__ = ["AsyncCache"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _coroutine(
    method: Callable[Concatenate[UnifiedCache, _P], _R],
) -> Callable[Concatenate[AsyncCache, _P], Coroutine[Any, Any, _R]]:
    """The method as a coroutine that runs it in a thread of the pool."""

    @wraps(method)
    async def call(self: AsyncCache, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return await self.pool.run(method, self.cache, *args, **kwargs)

    return call


def _stream(
    method: Callable[Concatenate[UnifiedCache, _P], Iterator[_R]],
) -> Callable[Concatenate[AsyncCache, _P], AsyncIterator[_R]]:
    """The method's iterator as one that is asynchronous."""

    @wraps(method)
    def call(self: AsyncCache, /, *args: _P.args, **kwargs: _P.kwargs) -> AsyncIterator[_R]:
        return self.pool.stream(method, self.cache, *args, **kwargs)

    return call


class _Computes(Protocol[_P]):
    """`UnifiedCache.get_or_compute` of a function, or of a coroutine function."""

    @overload
    def __call__(
        self, fn: Callable[[], Awaitable[_R]], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Coroutine[Any, Any, _R]: ...
    @overload
    def __call__(
        self, fn: Callable[[], _R], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Coroutine[Any, Any, _R]: ...


class _GetOrCompute(Generic[_P]):
    """Binds `get_or_compute` as a method, so that its parameters are named once."""

    def __init__(
        self, method: Callable[Concatenate[UnifiedCache, Callable[[], Any], _P], Any]
    ) -> None:
        self._method = method

    @overload
    def __get__(self, cache: None, owner: type[AsyncCache]) -> Self: ...
    @overload
    def __get__(self, cache: AsyncCache, owner: type[AsyncCache]) -> _Computes[_P]: ...
    def __get__(self, cache: AsyncCache | None, owner: type[AsyncCache]) -> Any:
        if cache is None:
            return self

        async def get_or_compute(fn: Callable[[], Any], /, *args: Any, **kwargs: Any) -> Any:
            checked_callable(fn)
            computation, value = await cache.pool.run(_look, cache.cache, *args, **kwargs)
            return await computation.run_in_task(fn, cache.pool, value)

        return update_wrapper(get_or_compute, self._method)


def _look(cache: UnifiedCache, /, *args: Any, **kwargs: Any) -> tuple[Computation, Any]:
    computation = Computation(cache, *args, **kwargs)
    return computation, computation.look()


class AsyncCache:
    """A cache for asyncio; got as `UnifiedCache.aio`.

    Each method does what its namesake does, in one of a bounded number of threads, so that
    the loop goes on meanwhile. Cancelling a call returns at once; a put that has begun
    finishes, and the entry is whole.

    Args:
        cache: The cache whose methods these are.

    Example:
        >>> async with UnifiedCache("results").aio as cache:  # doctest: +SKIP
        ...     await cache.put([1, 2], run=7)
        ...     value = await cache.get(run=7)
        ...     async for cache_key in cache:
        ...         print(cache_key)
    """

    def __init__(self, cache: UnifiedCache) -> None:
        self.cache = cache
        """The cache itself."""
        self.pool = Pool()
        """The threads that run its methods."""

    # --- one entry --------------------------------------------------------------------

    put = _coroutine(UnifiedCache.put)
    add = _coroutine(UnifiedCache.add)
    get = _coroutine(UnifiedCache.get)
    get_or_compute = _GetOrCompute(UnifiedCache.get_or_compute)
    """As its namesake. A coroutine function is awaited in the task, any other function is
    called in a thread of the pool; who waits for another's computation takes no thread."""
    get_with_metadata = _coroutine(UnifiedCache.get_with_metadata)
    get_entry = _coroutine(UnifiedCache.get_entry)
    exists = _coroutine(UnifiedCache.exists)
    open = _coroutine(UnifiedCache.open)
    invalidate = _coroutine(UnifiedCache.invalidate)

    # --- many entries -----------------------------------------------------------------

    clear = _coroutine(UnifiedCache.clear)
    stats = _coroutine(UnifiedCache.stats)
    __aiter__ = _stream(UnifiedCache.__iter__)

    # --- its life ---------------------------------------------------------------------

    async def close(self) -> None:
        """Let the calls under way finish, then close the cache."""
        if not self.cache.engine.closed:
            await self.pool.idle()
            await self.pool.run(self.cache.close)

    async def __aenter__(self) -> AsyncCache:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<the coroutines of {self.cache!r}>"
