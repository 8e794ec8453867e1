# SPDX-License-Identifier: MIT
"""`CacheRef`: a small handle on the result of a call, to be passed around instead of it."""

from __future__ import annotations

import pickle
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Protocol, TypeVar, final

from cacheness.errors import CachenessError
from cacheness.forks import renew_in_child
from cacheness.outcomes import KEPT, MISS, UNSET
from cacheness.storing import SecretError, is_storing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from cacheness.calls.options import CallOptions
    from cacheness.config import CacheConfig
    from cacheness.core import UnifiedCache

__all__ = ["CacheRef", "Here", "resolved"]

_R_co = TypeVar("_R_co", covariant=True)

_DEEPEST = 3
"""How deep in lists, tuples and dicts a ref is found and replaced by its value."""
_MOST_OPENED = 8


@final
class CacheRef(Generic[_R_co]):
    """The result of a call of a cached function, by name.

    Made by ``f.cache_ref(…)``, which computes nothing. It pickles small, with the arguments
    of the call, and in another process reads the same cache; the function is imported there
    only if it has to compute. Where the arguments don't pickle, neither does the ref.

    As an argument of another cached function it counts in the key by the stored payload's
    checksum (so it is computed first, if it isn't stored), and arrives as its value, also
    within lists, tuples and dicts that are nested up to three deep.

    Example:
        >>> features = load.cache_ref("2024-01-01")  # doctest: +SKIP
        >>> model = train(features, depth=3)  # doctest: +SKIP
    """

    __slots__ = ("_source", "cache_key", "function")

    cache_key: str
    """The key of the call."""
    function: str
    """``module:qualname``."""
    _source: Here | _Elsewhere

    def __init__(self, function: str, cache_key: str, source: Here | _Elsewhere) -> None:
        for name, value in (("function", function), ("cache_key", cache_key), ("_source", source)):
            object.__setattr__(self, name, value)

    def get(self) -> _R_co:
        """The value: read, or computed and stored where it is not there.

        Raises:
            TypeError: It has to be computed by a coroutine function, in a running event loop.
        """
        source = self._source
        try:
            engine = source.cache.engine
            value: Any = engine.reader.read(self.cache_key, None, UNSET, None, way=source.way)  # pyright: ignore[reportArgumentType]  # one of those
        except (CachenessError, OSError):
            # The function meets the same failure, and deals with it as its options say.
            value = MISS
        found: _R_co = self._computed() if value is MISS or value is KEPT else value
        return found

    def exists(self) -> bool:
        """Whether the value is stored."""
        return self._source.cache.exists(self.cache_key)

    def _computed(self) -> Any:
        function, args, kwargs = self._source.call()
        value = function(*args, **kwargs)
        return _awaited(value, self.function) if hasattr(value, "__await__") else value

    def __cacheness_key__(self) -> object:
        backend = self._source.cache.engine.backend
        value: Any = MISS
        entry = backend.get_entry(self.cache_key) if self.exists() else None
        if entry is None:
            value = self.get()
            entry = backend.get_entry(self.cache_key)
        if entry is None:
            # Such as one that ``cache_if`` does not keep.
            return "value", value
        # Equal bytes may be different values to another handler.
        format_of = (entry.handler, entry.handler_version, entry.compressor, entry.metadata)
        return *format_of, entry.checksum

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a CacheRef is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a CacheRef is frozen")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CacheRef):
            return NotImplemented
        return self.cache_key == other.cache_key and self._source.config == other._source.config

    def __hash__(self) -> int:
        return hash(self.cache_key)

    def __reduce__(self) -> tuple[Any, ...]:
        source = self._source
        if source.is_secret and is_storing():
            raise SecretError(
                f"it holds a call of {self.function} with its secret= arguments, which would lie "
                "in the open; keep the ref out of what you store, or its cache_key instead of it"
            )
        given = source.config, source.way, source.packed(), source.is_secret
        return _restored, (self.function, self.cache_key, *given)

    def __repr__(self) -> str:
        return f"<CacheRef {self.function} {self.cache_key}>"


class _Calls(Protocol):
    """What a ref needs to know of a cached function."""

    way: Literal["read", "mapped", "lazy"]
    wrapped: Callable[..., Any]
    options: CallOptions

    @property
    def cache(self) -> UnifiedCache: ...


class Here:
    """Where the value is from, in the process that made the ref."""

    __slots__ = ("_args", "_calls", "_kwargs")

    def __init__(self, calls: _Calls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._calls = calls
        self._args = args
        self._kwargs = kwargs

    @property
    def way(self) -> Literal["read", "mapped", "lazy"]:
        return self._calls.way

    @property
    def cache(self) -> UnifiedCache:
        return self._calls.cache

    @property
    def config(self) -> CacheConfig:
        return self._calls.cache.config

    @property
    def is_secret(self) -> bool:
        """Whether an argument may be one that is not to lie in a cache."""
        return bool(self._calls.options.secret)

    def call(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        return self._calls.wrapped, self._args, self._kwargs

    def packed(self) -> bytes:
        return pickle.dumps(self.call())


class _Elsewhere:
    """The same in a process that was given the ref: the function is imported at need."""

    __slots__ = ("_packed", "config", "is_secret", "way")

    def __init__(
        self,
        config: CacheConfig,
        way: Literal["read", "mapped", "lazy"],
        packed: bytes,
        is_secret: bool,
    ) -> None:
        self.config = config
        self.is_secret = is_secret
        self.way = way
        self._packed = packed

    @property
    def cache(self) -> UnifiedCache:
        return _opened.cache(self.config)

    def call(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        found: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
        found = pickle.loads(self._packed)  # part of the pickle that the ref came in
        return found

    def packed(self) -> bytes:
        return self._packed


def resolved(value: Any, depth: int = 0) -> Any:
    """The value with each ref in it replaced by what it stands for; a copy only if need be."""
    kind = type(value)
    if kind is CacheRef:
        return value.get()
    if depth >= _DEEPEST:
        return value
    if kind is dict:
        pairs = {key: resolved(one, depth + 1) for key, one in value.items()}
        changed = any(pairs[key] is not one for key, one in value.items())
        return pairs if changed else value
    if kind is list or kind is tuple:
        elements = [resolved(one, depth + 1) for one in value]
        changed = any(new is not one for new, one in zip(elements, value, strict=True))
        return kind(elements) if changed else value
    return value


def _restored(
    function: str,
    cache_key: str,
    config: CacheConfig,
    way: Literal["read", "mapped", "lazy"],
    packed: bytes,
    is_secret: bool,
) -> CacheRef[Any]:
    return CacheRef(function, cache_key, _Elsewhere(config, way, packed, is_secret))


def _awaited(value: Coroutine[Any, Any, Any], function: str) -> Any:
    """The result of a coroutine, in an event loop of its own."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(value)
    value.close()
    raise TypeError(
        f"the ref of {function} has to be computed, and its get() can't wait for that in a "
        "running event loop: await the function first, or get() in a thread"
    )


class _Opened:
    """The caches that refs from other processes are read from, each opened once."""

    def __init__(self) -> None:
        self._caches: list[UnifiedCache] = []
        renew_in_child(self)
        self.after_fork()

    def after_fork(self) -> None:
        """In a child: another thread of the parent may have held the lock."""
        self._lock = allocate_lock()

    def cache(self, config: CacheConfig) -> UnifiedCache:
        """The cache of that configuration."""
        from cacheness.core import UnifiedCache

        with self._lock:
            for cache in self._caches:
                if cache.config == config:
                    return cache
            # What is dropped here is closed once nobody uses it any more.
            self._caches = [*self._caches[1 - _MOST_OPENED :], UnifiedCache(config)]
            return self._caches[-1]


_opened = _Opened()
