# SPDX-License-Identifier: MIT
"""What `get_or_compute` does: look, and where there is nothing compute once and store."""

from __future__ import annotations

from time import perf_counter
from types import CoroutineType
from weakref import WeakSet

from cacheness.config import parse_duration
from cacheness.errors import (
    CacheClosedError,
    CachenessError,
    CachenessWarning,
    ConfigError,
    PluginNotInstalledError,
    UnhashableParameterError,
    warn,
)
from cacheness.keys.encoding import params_key
from cacheness.management.details import checked_details
from cacheness.naming import checked_age, checked_key, entry_name
from cacheness.outcomes import KEPT, MISS, OVERTAKEN, UNSET
from cacheness.reader import is_current
from cacheness.switch import is_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Protocol, TypeVar

    from cacheness.config import Duration
    from cacheness.core import UnifiedCache

    _R = TypeVar("_R")

    class Runs(Protocol):
        """Runs a function in another thread."""

        async def run(self, function: Callable[..., _R], /, *args: Any) -> _R: ...


__all__ = [
    "Computation",
    "checked_callable",
    "checked_function",
    "is_coroutine_function",
    "parse_flight_timeout",
]

_CO_COROUTINE = 0x80


class Computation:
    """One value that is to be looked up, or computed and stored.

    A mistake in the arguments is raised before anything is computed.

    Args:
        cache: Where to look and store.
        flight_timeout: Seconds to wait for somebody else who computes it.
        cache_key: The entry's name, or
        params: the parameters that name it, or
        fields: the same.
        others: The other arguments of `UnifiedCache.put`.
    """

    def __init__(
        self,
        cache: UnifiedCache,
        /,
        cache_key: str | None = None,
        *,
        params: Mapping[str, object] | None = None,
        prefix: str = "",
        description: str = "",
        custom_metadata: object = None,
        tags: Iterable[str] = (),
        ttl_seconds: Duration | None = UNSET,
        cost_seconds: float | None = None,
        handler: str | None = None,
        compressor: str | None = None,
        options: Mapping[str, Any] | None = None,
        pin: bool = False,
        secret: Iterable[str] = (),
        flight_timeout: Duration | None = None,
        **fields: object,
    ) -> None:
        named = entry_name(cache_key, params, fields)
        self._cache = cache
        self._key = checked_key(cache_key) if named is None else params_key(named)
        self._checked_details: Callable[[], dict[str, Any]] = lambda: checked_details(
            cache.config,
            named,
            prefix=prefix,
            description=description,
            custom_metadata=custom_metadata,
            tags=tags,
            ttl_seconds=ttl_seconds,
            cost_seconds=cost_seconds,
            pin=pin,
            secret=secret,
        )
        self._details: dict[str, Any] = {}
        self._prefix = prefix or None
        self._age = checked_age(prefix, ttl_seconds, options)
        self._how = handler, compressor, options
        self._timeout = parse_flight_timeout(flight_timeout)

    def run(self, function: Callable[[], _R]) -> _R:
        """The stored value, or the function's result."""
        value: Any = self.look()
        if self._is_found(value):
            return value  # type: ignore[no-any-return]  # what was stored under this name
        if not self._keeps(value):
            return function()
        hold = self._cache.engine.flights.hold(self._key, self._timeout)
        failed = True
        try:
            hold.__enter__()
            value = self.look_again()
            if not self._is_found(value):
                start = perf_counter()
                result = function()
                self.keep(value, result, perf_counter() - start)
                value = result
            failed = False
            return value  # type: ignore[no-any-return]  # what was stored under this name
        finally:
            try:
                hold.leave(failed=failed)
            except BaseException:
                hold.leave(failed=failed)
                raise

    async def run_in_task(self, function: Callable[[], Any], pool: Runs, value: Any) -> Any:
        """`run`, with every step that could block in a thread of the pool.

        Args:
            function: A coroutine function, which is called and awaited in the task; any
                other is called in the pool, and awaited if it gives something to await.
            pool: Runs what blocks.
            value: What `look` gave.
        """
        if self._is_found(value):
            return value
        if not await pool.run(self._keeps, value):
            return await _result(function, pool)
        async with self._cache.engine.flights.hold_async(self._key, self._timeout):
            value = await pool.run(self.look_again)
            if self._is_found(value):
                return value
            start = perf_counter()
            result = await _result(function, pool)
            await pool.run(self.keep, value, result, perf_counter() - start)
            return result

    def look(self) -> Any:
        """The stored value; `MISS`; or `KEPT` where what is stored is not to be replaced."""
        try:
            return self._cache.engine.reader.read(self._key, self._prefix, self._age, None)
        except CachenessError as error:
            self._failed(error)
            return KEPT

    def look_again(self) -> Any:
        """`look`, telling nobody of a second miss."""
        engine = self._cache.engine
        try:
            stored = engine.backend.find(self._key)
            if stored is None or not is_current(stored, self._prefix, self._age):
                return MISS
            value = engine.reader.read(self._key, self._prefix, self._age, None, first=stored)
        except CachenessError as error:
            self._failed(error)
            return KEPT
        return self.look() if value is OVERTAKEN else value

    def keep(self, looked: Any, result: object, seconds: float) -> None:
        """Store the result, unless what was found is not to be replaced."""
        if looked is not MISS:
            return
        self._details.setdefault("cost_seconds", seconds)
        try:
            self._cache.engine.writer.store(self._key, result, self._details, *self._how)
        except (CachenessError, OSError) as error:
            self._failed(error)

    def _keeps(self, looked: Any) -> bool:
        """Whether a result would be stored; checks what was said of it."""
        if looked is not MISS or self._cache.config.read_only or is_off():
            return False
        self._details = self._checked_details()
        return True

    @staticmethod
    def _is_found(value: Any) -> bool:
        return value is not MISS and value is not KEPT

    def _failed(self, error: Exception) -> None:
        """Let the programmer's errors through and, if asked for, the cache's; else warn once."""
        cache = self._cache
        raises = cache.config.on_error == "raise"
        if raises or isinstance(error, (CacheClosedError, ConfigError, UnhashableParameterError)):
            raise error
        if isinstance(error, PluginNotInstalledError) or cache in _warned:
            return
        _warned.add(cache)
        warn(
            f"get_or_compute computes without its cache (said once): {error}",
            CachenessWarning,
        )


_warned: WeakSet[UnifiedCache] = WeakSet()
"""The caches of which it was said that they fail."""


async def _result(function: Callable[[], Any], pool: Runs) -> Any:
    if is_coroutine_function(function):
        return await function()
    given = _Given(function)
    try:
        result = await pool.run(given.call)
    except BaseException:
        given.abandon()
        raise
    return await result if hasattr(result, "__await__") else result


class _Given:
    """What a function gives, in a thread that a task may be cancelled before the end of.

    A coroutine that nobody awaits is closed then, or Python would warn of it.
    """

    __slots__ = ("_abandoned", "_function", "_result")

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._abandoned = False
        self._result: Any = None

    def call(self) -> Any:
        self._result = result = self._function()
        if self._abandoned:
            self.abandon()
        return result

    def abandon(self) -> None:
        """Each side notes what it has before it looks at the other's note."""
        self._abandoned = True
        if isinstance(self._result, CoroutineType):
            self._result.close()


def parse_flight_timeout(timeout: Duration | None) -> float | None:
    """How many seconds to wait for another who computes; None is as long as it takes.

    Raises:
        ConfigError: It is no duration.
    """
    return None if timeout is None else parse_duration("flight_timeout", timeout, zero=True)


def checked_function(function: Callable[[], object]) -> None:
    """Refuse what `get_or_compute` can't compute.

    Raises:
        TypeError: It can't be called, or gives a coroutine.
    """
    checked_callable(function)
    if is_coroutine_function(function):
        raise TypeError(
            f"{function!r} is a coroutine function: await cache.aio.get_or_compute(…) instead"
        )


def checked_callable(function: object) -> None:
    """Refuse what can't be called.

    Raises:
        TypeError: It can't.
    """
    if not callable(function):
        raise TypeError(f"get_or_compute needs a function without arguments, not {function!r}")


def is_coroutine_function(function: Callable[[], object]) -> bool:
    """Whether calling it gives something to await."""
    while hasattr(function, "func"):  # a partial
        function = function.func  # pyright: ignore[reportFunctionMemberAccess]  # hasattr has looked
    code = getattr(function, "__code__", None)
    if code is None:
        code = getattr(type(function).__call__, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _CO_COROUTINE)
