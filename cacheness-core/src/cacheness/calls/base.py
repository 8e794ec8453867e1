# SPDX-License-Identifier: MIT
"""One cached function: how its calls are named, looked up and stored."""

from __future__ import annotations

import sys
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from cacheness.calls.binding import Binding
from cacheness.calls.digests import StoredDigests
from cacheness.calls.options import call_options
from cacheness.defaults import default_cache
from cacheness.errors import (
    CachenessError,
    CachenessWarning,
    ConfigError,
    PluginNotInstalledError,
    UnhashableParameterError,
    warn,
)
from cacheness.keys.code import CodeDigest, remember_in
from cacheness.keys.encoding import CallKeys, FunctionKey
from cacheness.keys.naming import function_name
from cacheness.outcomes import KEPT, MISS, UNSET
from cacheness.switch import is_off

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from cacheness.calls.ref import CacheRef
    from cacheness.core import UnifiedCache
    from cacheness.engine import Engine
    from cacheness.explaining.adopt import Adoption
    from cacheness.explaining.explanation import Explanation
    from cacheness.keys.record import RecordedParams

__all__ = ["CacheInfo", "Calls", "Miss"]


class CacheInfo(NamedTuple):
    """What a cached function did in this process."""

    hits: int
    """Calls that were answered from the cache."""
    misses: int
    """Calls that were computed."""
    errors: int
    """Calls in which the cache failed and the function computed."""


class Miss:
    """A call that the cache has no answer to."""

    __slots__ = ("keep", "key")

    def __init__(self, key: str, *, keep: bool) -> None:
        self.key = key
        self.keep = keep
        """Whether the result is to be stored: not where the entry is another's, or the
        cache failed."""


_ANY_ARGUMENTS = Binding(lambda *args, **kwargs: (args, kwargs))


class Calls:
    """The calls of one function. Each kind of function has a subclass that answers a miss.

    Args:
        function: The function itself.
        cache: The cache to keep results in; the default one where it is None.
        options: As `cached` was given them.
    """

    template: str
    """The source of the wrapper; see `Binding.compile`."""
    way: Literal["read", "mapped", "lazy"] = "read"
    """How results are read."""
    wrapped: Callable[..., Any]
    """The function as it is called, which answers from the cache."""

    def __init__(
        self, function: Callable[..., Any], cache: UnifiedCache | None, options: dict[str, Any]
    ) -> None:
        self._given = (function, cache, options)
        self.function = function
        self.options = call_options(options)
        self.name = function_name(function)
        self.hits = self.misses = self.errors = 0
        self._cache = cache
        self._warned: set[str] = set()
        self.binding = Binding(function, self.options.ignore)
        self.binding.check("secret", self.options.secret)
        self._bind = self.binding.bind()
        code = self.options.code
        extra = () if isinstance(code, str) else tuple(code)
        self._code = None if code == "off" else CodeDigest(function, extra=extra)
        names = self.binding.names if self.options.key is None else ("key",)
        self._function_key = FunctionKey(self.name, self.options.key_prefix, self.options.version)
        self.keys = CallKeys(self._function_key, names)
        self._defaults: dict[str, object] | None = None
        self._noted = (0, "")
        self.key_of = self._first_key_of
        if self.options.mmap:
            self.way = "mapped"

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew where it is unpickled, as cloudpickle does for what can't be imported."""
        return type(self), self._given

    @property
    def cache(self) -> UnifiedCache:
        """The cache that results are kept in."""
        return default_cache() if self._cache is None else self._cache

    @property
    def names_cache(self) -> bool:
        """Whether the function names a cache, and does not take the default one."""
        return self._cache is not None

    @property
    def engine(self) -> Engine:
        """The engine of `cache`."""
        return self.cache.engine

    def wrapper(self) -> Callable[..., Any]:
        """A function with the same signature that answers from the cache."""
        made = {"lookup": self._lookup(), "missed": self.missed, "miss": Miss}
        if self.options.key is None:
            return self.binding.compile(self.template, made, self.keys.names)
        # It is called as the function was, and may take fewer arguments than that.
        made["given_key"] = self.options.key
        template = self.template.replace("{values}", "({given_key}(*{args}, **{kwargs}),)")
        return _ANY_ARGUMENTS.compile(template.replace("{params}", "None"), made)

    def _lookup(self) -> Callable[..., Any]:
        """The leanest way to look a call up that does what its options ask for."""
        if type(self).lookup is not Calls.lookup:
            return self.lookup
        if self.way != "read":
            return self.lookup_otherwise
        return self.lookup_remembered if self.options.memory_bytes else self.lookup

    # --- looking up -------------------------------------------------------------------

    def lookup(self, values: tuple[Any, ...]) -> Any:
        """[hot] The stored result of the call with these values, or a `Miss`."""
        key = self.key_of(values)
        cache = self._cache
        try:
            value = (default_cache() if cache is None else cache).engine.reader.read_by_key(key)
        except (CachenessError, OSError) as error:
            return self.unread(key, error)
        if value is MISS or value is KEPT:
            return Miss(key, keep=value is MISS)
        self.hits += 1
        return value

    def lookup_remembered(self, values: tuple[Any, ...]) -> Any:
        """[hot] As `lookup`, where results are kept in memory for this function."""
        key = self.key_of(values)
        cache = self._cache
        try:
            engine = (default_cache() if cache is None else cache).engine
            value = engine.reader.read_remembered(key, shared=self.options.memory_shared)
        except (CachenessError, OSError) as error:
            return self.unread(key, error)
        if value is MISS or value is KEPT:
            return Miss(key, keep=value is MISS)
        self.hits += 1
        return value

    def lookup_otherwise(self, values: tuple[Any, ...]) -> Any:
        """As `lookup`, where results are read in another way: mapped or lazily."""
        return self.read(self.key_of(values))

    def read(self, key: str) -> Any:
        """As `lookup`, by the key."""
        try:
            value = self._read(self.engine, key)
        except (CachenessError, OSError) as error:
            return self.unread(key, error)
        if value is MISS or value is KEPT:
            return Miss(key, keep=value is MISS)
        self.hits += 1
        return value

    def _read(self, engine: Engine, key: str) -> Any:
        if self.options.memory_bytes:
            return engine.reader.read_remembered(key, shared=self.options.memory_shared)
        if self.way == "read":
            return engine.reader.read_by_key(key)
        return engine.reader.read(key, None, UNSET, None, way=self.way)

    def look_again(self, key: str) -> Any:
        """As `read`, of what was missed a moment ago: another miss is not counted."""
        try:
            stored = self.engine.backend.find(key)
        except (CachenessError, OSError) as error:
            return self.unread(key, error)
        return Miss(key, keep=True) if stored is None else self.read(key)

    def unread(self, key: str, error: Exception) -> Miss:
        """What is to be done where the cache failed before the call."""
        if isinstance(error, (UnhashableParameterError, ConfigError)):
            raise error
        # Of a plugin that is missing only those are told who asked for it.
        if not isinstance(error, PluginNotInstalledError) or self.raises:
            self.failed(error)
        self.errors += 1
        return Miss(key, keep=False)

    def params_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What the key is made of: the bound arguments, or what ``key=`` makes of them."""
        if self.options.key is not None:
            return {"key": self.options.key(*args, **kwargs)}
        return self._bind(*args, **kwargs)

    def key_of_params(self, params: Mapping[str, Any]) -> str:
        """The key of a call, by what `params_of` gave."""
        return self.key_of(tuple(params[name] for name in self.keys.names))

    @property
    def digest(self) -> str:
        """The digest of the function's code as it is now; empty where it does not count."""
        return "" if self._code is None else self._code.current()

    @property
    def is_ready(self) -> bool:
        """Whether a key takes microseconds, since the code was looked at before."""
        return self.key_of != self._first_key_of

    def _first_key_of(self, values: tuple[Any, ...]) -> str:
        """The first key says where digests of code are remembered."""
        is_open = False
        try:
            remember_in(StoredDigests(self.cache))
            if self.options.memory_bytes:
                self.engine.request_memory(self.options.memory_bytes)
            is_open = True
        except ConfigError:
            raise
        except (CachenessError, OSError):
            pass  # whoever looks the key up will meet the same, and deal with it
        key = self.keys.key(self.digest, values)
        if is_open:
            self.key_of = self._key_of if self._code is not None else self._key_without_code
        return key

    def _key_of(self, values: tuple[Any, ...]) -> str:
        """[hot] The key of a call with these values."""
        return self.keys.key(self._code.current(), values)  # type: ignore[union-attr]  # as chosen

    def _key_without_code(self, values: tuple[Any, ...]) -> str:
        return self.keys.key("", values)

    # --- a miss -----------------------------------------------------------------------

    def missed(
        self, miss: Miss, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Compute what the cache has no answer to."""
        raise TypeError(f"{type(self).__name__} answers no misses")

    def waits(self, miss: Miss) -> bool:
        """Whether to wait for whoever computes the same call at the moment."""
        return miss.keep and self.options.single_flight and self.is_kept

    @property
    def is_kept(self) -> bool:
        """Whether the cache takes results at the moment."""
        return not (is_off() or self.cache.config.read_only)

    def params_to_record(
        self, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The parameters of an entry; a wrapper with ``key=`` gives none."""
        return self.params_of(args, kwargs) if params is None else params

    def prepared(
        self, miss: Miss, params: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """The same, just before the function is called.

        The parameters with what is kept of them, before the call can change them; refs
        among the arguments as their values.
        """
        if params is not None and miss.keep and self.is_kept:
            params = self._record(params)
        if "cacheness.calls.ref" in sys.modules:
            from cacheness.calls.ref import resolved

            args, kwargs = resolved(args, -1), resolved(kwargs, -1)
        return params, args, kwargs

    def _record(self, params: dict[str, Any]) -> RecordedParams:
        from cacheness.keys.record import default_values, record

        if self._defaults is None:
            self._defaults = {} if self.options.key else default_values(self.function)
        return record(self._function_key, self.digest, params, self._defaults, self.options.secret)

    # --- storing ----------------------------------------------------------------------

    def keep(self, key: str, params: dict[str, Any], value: Any, cost: float) -> None:
        """Store a result, if it is to be; whatever fails is told, and the result is good."""
        try:
            options = self.options
            if options.cache_if is None or options.cache_if(value):
                ttl = options.ttl_seconds if options.ttl_of is None else options.ttl_of(value)
                self.store(key, params, value, cost, ttl, "stream" if self.way == "lazy" else None)
        except Exception as error:  # noqa: BLE001  # the options' functions raise what they like
            self.failed_after(error)

    def store(
        self,
        key: str,
        params: dict[str, Any],
        value: Any,
        cost: float,
        ttl: Any,
        handler: str | None = None,
    ) -> None:
        """Store something under a key of this function."""
        cache = self.cache
        if cache.config.read_only:
            return
        from cacheness.management.details import checked_details

        of: Any = self._record(params) if type(params) is dict else params
        details = checked_details(
            cache.config,
            None,
            prefix=self.options.prefix,
            tags=self.options.tags,
            ttl_seconds=ttl,
            cost_seconds=cost,
        )
        details["function"] = self.name
        details["code_digest"] = of.digest or None
        details["params"] = of.summary
        details["key_parts"] = of.parts
        expires_in, kept = details["ttl_seconds"], self.options.kept_after_expiry
        if kept and expires_in is not None:
            details["stale_until"] = time() + expires_in + kept
        if cache.engine.writer.store(key, value, details, handler):
            self._note_code(cache.engine, of.digest)

    def _note_code(self, engine: Engine, digest: str) -> None:
        noted = (id(engine), digest)
        if self._code is not None and noted != self._noted:
            from cacheness.explaining.codenotes import note_code

            note_code(engine.backend, self.name, digest, self._code, self.options.secret)
            self._noted = noted

    # --- failures ---------------------------------------------------------------------

    @property
    def raises(self) -> bool:
        """Whether the cache's failures are the caller's."""
        on_error = self.options.on_error
        if on_error is None:
            try:
                on_error = self.cache.config.on_error
            except (CachenessError, OSError):
                on_error = "compute"
        return on_error == "raise"

    def failed(self, error: Exception) -> None:
        """Let a failure of the cache through if that is asked for, else warn once."""
        if self.raises:
            raise error
        self.say_once("failed", f"{self.name} computes without its cache (said once): {error}")

    def failed_after(self, error: Exception) -> None:
        """As `failed`, after the call, when there is a result already."""
        self.errors += 1
        if self.raises:
            raise error
        self.say_once("failed", f"the result of {self.name} is not kept (said once): {error}")

    def say_once(self, what: str, message: str) -> None:
        """Warn whoever called the function, the first time."""
        if what not in self._warned:
            self._warned.add(what)
            self.say(message)

    def say(self, message: str) -> None:
        """Warn whoever called the function."""
        warn(message, CachenessWarning)

    # --- what the wrapped function offers -----------------------------------------------

    def cache_info(self) -> CacheInfo:
        """What this function did in this process."""
        return CacheInfo(self.hits, self.misses, self.errors)

    def cache_clear(self) -> int:
        """Remove all results of this function; give their number."""
        return self.engine.clear({"entry__function": self.name})

    def cache_key(self, /, *args: Any, **kwargs: Any) -> str:
        """The cache key of this call."""
        return self.key_of_params(self.params_of(args, kwargs))

    def cache_invalidate(self, /, *args: Any, **kwargs: Any) -> bool:
        """Remove the result of this call; whether there was one."""
        key = self.cache_key(*args, **kwargs)
        removed = [self.cache.invalidate(one) for one in self.keys_of_entries(key)]
        if not any(removed):
            return False
        from cacheness.upkeep.tombstones import record_invalidated

        record_invalidated(self.cache.engine.backend, key, self.name, time())
        return True

    def is_cached(self, /, *args: Any, **kwargs: Any) -> bool:
        """Whether this call would be answered from the cache."""
        key = self.cache_key(*args, **kwargs)
        return any(self.cache.exists(one) for one in self.keys_of_entries(key))

    def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        """Compute this call anew, store the result and give it."""
        raise TypeError(f"{type(self).__name__} refreshes nothing")

    def cache_explain(self, /, *args: Any, **kwargs: Any) -> Explanation:
        """Why this call would be answered from the cache or not; changes nothing."""
        from cacheness.explaining.explain import Call, explain

        params = self._record(self.params_of(args, kwargs))
        key, *also = self.keys_of_entries(self.key_of_params(params))
        return explain(
            self.cache,
            Call(
                self.name,
                key,
                params,
                self._code,
                self.options.secret,
                self.options.prefix,
                self.way,
                tuple(also),
                self.options.stale_seconds,
            ),
        )

    def cache_adopt(self, from_digest: str | None = None) -> Adoption:
        """Keep the results of older code, after an edit that changes no result."""
        from cacheness.explaining.adopt import Present, adopt

        present = Present(
            self.name, self._function_key, self.digest, self._code, self.options.secret
        )
        return adopt(self.cache, present, from_digest)

    def cache_ref(self, /, *args: Any, **kwargs: Any) -> CacheRef[Any]:
        """A small handle on the result of this call, which need not be stored yet."""
        from cacheness.calls.ref import CacheRef, Here

        if self.way == "lazy":
            raise TypeError(
                f"{self.name} gives a stream, which a ref can't stand for: cache a function that "
                "returns a list"
            )
        return CacheRef(self.name, self.cache_key(*args, **kwargs), Here(self, args, kwargs))

    def keys_of_entries(self, key: str) -> tuple[str, ...]:
        """The keys under which what is known of a call is stored."""
        if not self.options.exceptions:
            return (key,)
        from cacheness.calls.raised import key_of_raised

        return key, key_of_raised(key)
