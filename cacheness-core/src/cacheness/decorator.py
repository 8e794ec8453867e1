# SPDX-License-Identifier: MIT
"""`cached`: keeps the results of a function, by its arguments and its code."""

from __future__ import annotations

from functools import update_wrapper
from inspect import (
    isasyncgenfunction,
    iscoroutinefunction,
    isgeneratorfunction,
)
from time import perf_counter
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from cacheness.binding import binder
from cacheness.config import parse_ttl
from cacheness.defaults import default_cache
from cacheness.digests import StoredDigests
from cacheness.errors import (
    CachenessError,
    CachenessWarning,
    ConfigError,
    PluginNotInstalledError,
    UnhashableParameterError,
    warn,
)
from cacheness.keys.code import CodeDigest, remember_in
from cacheness.keys.encoding import FunctionKey
from cacheness.keys.naming import function_name
from cacheness.outcomes import KEPT, MISS, UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Literal, TypedDict

    from typing_extensions import Unpack

    from cacheness.config import Duration
    from cacheness.core import UnifiedCache

    class CachedOptions(TypedDict, total=False):
        """The options of `cached`."""

        prefix: str
        key_prefix: str
        ttl_seconds: Duration | None
        ignore: Iterable[str]
        secret: Iterable[str]
        key: Callable[..., object]
        version: object
        code: Literal["auto", "off"] | Sequence[object]
        tags: Iterable[str]
        cache_if: Callable[[Any], bool]
        on_error: Literal["compute", "raise"]
        mmap: bool


__all__ = ["CacheInfo", "CachedFunction", "cached"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)


class CacheInfo(NamedTuple):
    """What a cached function did in this process."""

    hits: int
    """Calls that were answered from the cache."""
    misses: int
    """Calls that were computed."""
    errors: int
    """Calls in which the cache failed and the function computed."""


class CachedFunction(Protocol, Generic[_P, _R_co]):
    """A function wrapped by `cached`."""

    __wrapped__: Callable[..., Any]
    """The function itself."""
    __name__: str
    __qualname__: str

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Give the stored result of this call, or compute and store it."""
        ...

    def cache_info(self) -> CacheInfo:
        """What this function did in this process."""
        ...

    def cache_clear(self) -> int:
        """Remove all results of this function; give their number."""
        ...

    def cache_key(self, *args: _P.args, **kwargs: _P.kwargs) -> str:
        """The cache key of this call."""
        ...

    def cache_invalidate(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Remove the result of this call; whether there was one."""
        ...

    def cache_refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Compute this call anew, store the result and give it."""
        ...

    def is_cached(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Whether this call would be answered from the cache."""
        ...


@overload
def cached(
    function: Callable[_P, _R],
    /,
    *,
    cache: UnifiedCache | None = None,
    **options: Unpack[CachedOptions],
) -> CachedFunction[_P, _R]: ...
@overload
def cached(
    function: None = None, /, *, cache: UnifiedCache | None = None, **options: Unpack[CachedOptions]
) -> Callable[[Callable[_P, _R]], CachedFunction[_P, _R]]: ...
def cached(
    function: Callable[..., Any] | None = None,
    /,
    *,
    cache: UnifiedCache | None = None,
    **options: Unpack[CachedOptions],
) -> Any:
    """Keep the results of a function, and give them back at equal calls.

    Two calls are equal when their arguments are, with defaults applied, and the code is:
    an edit that changes what the function does makes a miss.

    Args:
        function: A function or method; coroutine functions and generators are refused.
        cache: The cache to keep results in; the default one where none is named.
        options: ``prefix`` labels the entries; ``key_prefix`` and ``version`` are hashed
            into their keys; ``ttl_seconds`` is a time to live; ``ignore`` names arguments
            that make no difference; ``secret`` names arguments of which nothing is
            recorded; ``key`` is called with the arguments and gives what the key is made
            of instead of them; ``code="off"`` leaves the code out of the key, and a list
            adds functions, classes, modules or values that the code does not name; ``tags``
            label the entries; ``cache_if`` is asked of a result whether to keep it;
            ``on_error="raise"`` lets the cache's failures through; ``mmap=True`` gives
            read-only views.

    Raises:
        ConfigError: An option can't work.
        TypeError: The function is of a kind that can't be kept.

    Example:
        >>> @cached(ttl_seconds="36h", ignore=("verbose",))
        ... def load(day, verbose=False): ...
    """
    if function is None:
        return lambda decorated: cached(decorated, cache=cache, **options)
    for refused, kind in (
        (iscoroutinefunction, "a coroutine function"),
        (isasyncgenfunction, "an async generator"),
        (isgeneratorfunction, "a generator"),
    ):
        if refused(function):
            raise TypeError(
                f"cached can't keep {kind} ({function.__qualname__}): its result is used up by "
                "the first caller; cache a plain function that it calls"
            )
    return _wrap(_Cached(function, cache, **options))


class _Cached:
    """One cached function: how its calls are named, looked up and stored."""

    def __init__(
        self,
        function: Callable[..., Any],
        cache: UnifiedCache | None,
        *,
        prefix: str = "",
        key_prefix: str = "",
        ttl_seconds: Duration | None = UNSET,
        ignore: Iterable[str] = (),
        secret: Iterable[str] = (),
        key: Callable[..., object] | None = None,
        version: object = None,
        code: Literal["auto", "off"] | Sequence[object] = "auto",
        tags: Iterable[str] = (),
        cache_if: Callable[[Any], bool] | None = None,
        on_error: Literal["compute", "raise"] | None = None,
        mmap: bool = False,
    ) -> None:
        if isinstance(code, str) and code not in {"auto", "off"}:
            raise ConfigError(f"code={code!r} is not allowed: give 'auto', 'off' or a list")
        if on_error not in {None, "compute", "raise"}:
            raise ConfigError(f"on_error={on_error!r} is not allowed: give 'compute' or 'raise'")
        self.function = function
        self.name = function_name(function)
        self.hits = self.misses = self.errors = 0
        self._cache = cache
        self._prefix = prefix
        self._ttl = UNSET if ttl_seconds is UNSET else parse_ttl(ttl_seconds)
        self._secret = tuple(secret)
        self._tags = tuple(tags)
        self._cache_if = cache_if
        self._on_error = on_error
        self._way: Literal["read", "mapped"] = "mapped" if mmap else "read"
        self._given_key = key
        self._bind = binder(function, frozenset(ignore))
        self._function_key = FunctionKey(self.name, key_prefix, version)
        further = () if isinstance(code, str) else tuple(code)
        self._digest = None if code == "off" else CodeDigest(function, extra=further)
        self._warned = False
        self._remembers = False

    @property
    def cache(self) -> UnifiedCache:
        return self._cache if self._cache is not None else default_cache()

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """[hot] The stored result, or a computed one."""
        params = self._params(args, kwargs)
        key, digest = self._key(params)
        cache = self.cache
        try:
            value = cache.engine.read(key, None, UNSET, None, way=self._way)
        except CachenessError as error:
            if not isinstance(error, PluginNotInstalledError) or self._raises(cache):
                self._failed(error, cache)
            value = KEPT
            self.errors += 1
        if value is MISS or value is KEPT:
            return self._compute(key, digest, params, args, kwargs, keep=value is MISS)
        self.hits += 1
        return value

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        params = self._params(args, kwargs)
        key, digest = self._key(params)
        return self._compute(key, digest, params, args, kwargs, keep=True)

    def key(self, *args: Any, **kwargs: Any) -> str:
        return self._key(self._params(args, kwargs))[0]

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        return self.cache.invalidate(self.key(*args, **kwargs))

    def is_cached(self, *args: Any, **kwargs: Any) -> bool:
        return self.cache.exists(self.key(*args, **kwargs))

    def info(self) -> CacheInfo:
        return CacheInfo(self.hits, self.misses, self.errors)

    def clear(self) -> int:
        return self.cache.engine.clear({"entry__function": self.name})

    def _params(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What the key is made of: the bound arguments, or what ``key=`` makes of them."""
        if self._given_key is not None:
            return {"key": self._given_key(*args, **kwargs)}
        return self._bind(*args, **kwargs)

    def _key(self, params: dict[str, Any]) -> tuple[str, str]:
        if not self._remembers:
            self._remembers = True
            remember_in(StoredDigests(self.cache))
        digest = "" if self._digest is None else self._digest.current()
        return self._function_key.key(digest, params), digest

    def _compute(
        self,
        key: str,
        digest: str,
        params: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        keep: bool,
    ) -> Any:
        self.misses += 1
        start = perf_counter()
        value = self.function(*args, **kwargs)
        cost = perf_counter() - start
        if keep and (self._cache_if is None or self._cache_if(value)):
            self._keep(key, digest, params, value, cost)
        return value

    def _keep(self, key: str, digest: str, params: dict[str, Any], value: Any, cost: float) -> None:
        cache = self.cache
        if cache.config.read_only:
            return
        try:
            details = cache.details(
                params, self._prefix, "", None, self._tags, self._ttl, cost, False, self._secret
            )
            details["function"] = self.name
            details["code_digest"] = digest or None
            cache.engine.store(key, value, details)
        except (CachenessError, OSError) as error:
            self.errors += 1
            self._failed(error, cache)

    def _raises(self, cache: UnifiedCache) -> bool:
        return (self._on_error or cache.config.on_error) == "raise"

    def _failed(self, error: Exception, cache: UnifiedCache) -> None:
        """Let the programmer's errors and, if asked for, the cache's through; else warn once."""
        if isinstance(error, (UnhashableParameterError, ConfigError)) or self._raises(cache):
            raise error
        if not self._warned:
            self._warned = True
            warn(
                f"{self.name} computes without its cache (said once): {error}",
                CachenessWarning,
                stacklevel=5,
            )


def _wrap(of: _Cached) -> Any:
    """A plain function, so that it binds as a method and pickles by its name."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return of.call(*args, **kwargs)

    wrapped: Any = update_wrapper(wrapper, of.function)
    wrapped.cache_info = of.info
    wrapped.cache_clear = of.clear
    wrapped.cache_key = of.key
    wrapped.cache_invalidate = of.invalidate
    wrapped.cache_refresh = of.refresh
    wrapped.is_cached = of.is_cached
    return wrapped
