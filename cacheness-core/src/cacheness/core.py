# SPDX-License-Identifier: MIT
"""`UnifiedCache`: the front of the house, whose methods read as what they do.

A put travels: key (`keys`) → handler (`plugins`) → payload (`payloads.encode`) → blob
where it is large (`blobs`) → entry (`backends`). A get travels: key → entry → payload
(`payloads.decode`) → handler.
"""

from __future__ import annotations

from cacheness.config import CacheConfig, as_config
from cacheness.engine import Engine
from cacheness.keys.encoding import params_key
from cacheness.many import ManyEntries
from cacheness.naming import check_options, checked_age, checked_key, entry_name
from cacheness.outcomes import KEPT, MISS, UNSET
from cacheness.reader import is_current
from cacheness.shortcuts import shortcut_get, shortcut_put
from cacheness.switch import is_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Literal, ParamSpec, TypeVar, overload

    from typing_extensions import Unpack

    from cacheness.aio import AsyncCache
    from cacheness.calls.options import CachedOptions
    from cacheness.config import Duration, Options
    from cacheness.decorator import CachedDecorator, CachedFunction
    from cacheness.entry import Entry

    _P = ParamSpec("_P")
    _R = TypeVar("_R")
else:

    def overload(function):
        """For type checkers alone: importing `typing` costs a hit 5 ms."""
        return function


__all__ = ["UnifiedCache"]


class UnifiedCache(ManyEntries):
    """Keeps Python values on disk, or in a store that a team shares, and gives them back.

    Safe for threads, processes and forks; reads take no lock.

    In all methods the same words mean the same. An entry is named by ``cache_key``, or by
    ``params``, or by ``fields``, which are parameters as keywords. Of methods that read
    or change one: ``prefix`` where given, an entry of another one counts as none;
    ``ttl_seconds`` where given, an older one does; ``description`` and
    ``custom_metadata`` are accepted, so that one dictionary serves put and get;
    ``default`` is what a miss gives; ``options`` are for the handler. Of methods on many
    entries: ``filters`` and ``where`` select as in `query_meta`; ``all_namespaces`` takes
    in those of other users of the store; ``progress`` is a callable of (done, total), or
    True for a bar in the terminal. Sizes are in bytes, times in seconds.

    Args:
        config: The directory, or a whole `CacheConfig`.
        cache_dir: The directory, by name.
        options: Every field of `CacheConfig` as a keyword.

    Raises:
        ConfigError: An option can't work, or the directory can't be used.

    Example:
        >>> cache = UnifiedCache("results")
        >>> cache.put({"score": 0.93}, experiment="a", lr=0.1)  # doctest: +ELLIPSIS
        '...'
        >>> cache.get(experiment="a", lr=0.1)
        {'score': 0.93}
    """

    def __init__(
        self,
        config: CacheConfig | str | os.PathLike[str] | None = None,
        /,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.config = as_config(config, cache_dir, options)
        self.engine = Engine(self.config)
        self._aio: AsyncCache | None = None

    # --- one entry --------------------------------------------------------------------

    @shortcut_put
    def put(
        self,
        obj: object,
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
        **fields: object,
    ) -> str:
        """Store a value, replacing one of the same name: a reader sees the old or the new.

        Args:
            obj: The value; ``None`` is one.
            cache_key: The entry's name, or
            params: the parameters that name it (as keywords, too).
            prefix: A label for grouping; not part of the name.
            description: Free text.
            custom_metadata: JSON of the caller's own, or an instance of a class that is
                registered by `custom_metadata_model`.
            tags: Labels of the caller's own.
            ttl_seconds: Time to live, in seconds, as a timedelta or as text such as
                ``"36h"``; None is for ever, not given is the cache's default.
            cost_seconds: How many seconds computing the value took; statistics and the policy
                ``"cost"`` go by it.
            handler: The name of the handler to use instead of the first that takes it.
            compressor: The name of the compressor to use instead of the cache's.
            options: For the handler, such as ``{"format": "parquet"}``.
            pin: Whether eviction is to pass it over.
            secret: Names of parameters of which nothing is recorded.
            fields: The parameters that name the entry.

        Returns:
            The cache key.

        Raises:
            SerializationError: No handler keeps the value.
            UnhashableParameterError: A parameter has no stable fingerprint.
            ReadOnlyError: The cache is read-only.
            BackendUnavailableError: The store can't be written at the moment.
            TypeError: The entry is named by nothing, or by more than one thing.
        """
        named = entry_name(cache_key, params, fields)
        key = self._key(cache_key, named)
        if (
            not (prefix or description or tags or pin or secret)
            and ttl_seconds is UNSET
            and custom_metadata is None
            and cost_seconds is None
            and handler is None
            and compressor is None
            and options is None
        ):
            self.engine.writer.put(key, obj, named)
            return key
        from cacheness.management.details import checked_details

        check_options(options)
        details = checked_details(
            self.config,
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
        self.engine.writer.store(key, obj, details, handler, compressor, options)
        return key

    def add(
        self,
        obj: object,
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
        **fields: object,
    ) -> bool:
        """`put`, only where there is no entry of that name; whether it stored.

        An expired entry is none.
        """
        named = entry_name(cache_key, params, fields)
        key = self._key(cache_key, named)
        from cacheness.management.details import checked_details

        check_options(options)
        details = checked_details(
            self.config,
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
        if self.engine.reader.stands(key):
            return False
        return self.engine.writer.store(
            key, obj, details, handler, compressor, options, if_absent=True
        )

    @shortcut_get
    def get(
        self,
        /,
        cache_key: str | None = None,
        *,
        default: Any = None,
        mmap: bool = False,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        options: Mapping[str, Any] | None = None,
        **fields: object,
    ) -> Any:
        """Give a stored value, or the default.

        Args:
            cache_key: The entry's name, or
            params: the parameters that name it (as keywords, too).
            default: What a miss gives.
            mmap: Give a read-only view without a copy, where the handler can. It takes the same
                time for any size, since the checksum of an entry that needs no signature is
                not compared then.
            prefix: Where given, an entry of another prefix is a miss.
            description: Accepted, so that one dictionary serves put and get.
            custom_metadata: Accepted, too.
            ttl_seconds: Where given, an entry that is older than this is a miss; as in `put`.
            options: For the handler, such as ``{"columns": ["a"]}``.
            fields: The parameters that name the entry.

        Raises:
            PluginNotInstalledError: The entry's handler is not installed; it is kept.
            BackendUnavailableError: The store can't be read at the moment.
            SignatureError: With ``on_bad_signature="raise"``.
        """
        key = self._key(cache_key, entry_name(cache_key, params, fields))
        if mmap or options is not None or prefix is not None or ttl_seconds is not UNSET:
            way: Literal["read", "mapped"] = "mapped" if mmap else "read"
            age = checked_age(prefix, ttl_seconds, options)
            value = self.engine.reader.read(key, prefix, age, options, way=way)
        else:
            value = self.engine.reader.read_by_key(key)
        return default if value is MISS or value is KEPT else value

    def get_or_compute(
        self,
        fn: Callable[[], _R],
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
    ) -> _R:
        """Give the stored value, or compute it, store it and give it.

        Of all threads, tasks and processes that ask at the same time one computes; the
        others wait for it, and get what it stored. What the function raises is raised,
        and the next one computes. Asked for within its own computation, it computes.

        A cache that fails computes and warns once, unless its ``on_error`` is
        ``"raise"``.

        Args:
            fn: Makes the value, without arguments.
            cache_key: The entry's name, or
            params: the parameters that name it (as keywords, too).
            prefix: As in `put`; where given, an entry of another prefix is a miss.
            description: As in `put`.
            custom_metadata: As in `put`.
            tags: As in `put`.
            ttl_seconds: Time to live of what is stored, as in `put`, and a stored value that
                is older is a miss: whoever gives 60 gets nothing older than a minute.
            cost_seconds: As in `put`; where not given, the seconds that the function takes
                are measured.
            handler: As in `put`.
            compressor: As in `put`.
            options: As in `put`; what is stored is read whole.
            pin: As in `put`.
            secret: As in `put`.
            flight_timeout: Seconds, a timedelta or text to wait for another who computes,
                before computing as well; None is as long as it takes.
            fields: The parameters that name the entry.

        Raises:
            UnhashableParameterError: A parameter has no stable fingerprint.
            ConfigError: An argument can't work.
            TypeError: The entry is named by nothing, or by more than one thing.

        Example:
            >>> cache.get_or_compute(lambda: train(0.1), model="a", lr=0.1)  # doctest: +SKIP
        """
        from cacheness.computing import Computation, checked_function

        checked_function(fn)
        return Computation(
            self,
            cache_key,
            params=params,
            prefix=prefix,
            description=description,
            custom_metadata=custom_metadata,
            tags=tags,
            ttl_seconds=ttl_seconds,
            cost_seconds=cost_seconds,
            handler=handler,
            compressor=compressor,
            options=options,
            pin=pin,
            secret=secret,
            flight_timeout=flight_timeout,
            **fields,
        ).run(fn)

    def get_with_metadata(
        self,
        /,
        cache_key: str | None = None,
        *,
        default: Any = None,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        options: Mapping[str, Any] | None = None,
        **fields: object,
    ) -> tuple[Any, Entry | None]:
        """The value and its entry, of one generation; ``(default, None)`` on a miss.

        Else as `get`. Hits that were not flushed yet, this one included, are not counted
        in the entry.
        """
        key = self._key(cache_key, entry_name(cache_key, params, fields))
        age = checked_age(prefix, ttl_seconds, options)
        value, entry = self.engine.reader.read_entry(key, prefix, age, options)
        return (default, None) if entry is None else (value, entry)

    def get_entry(
        self,
        /,
        cache_key: str | None = None,
        *,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        **fields: object,
    ) -> Entry | None:
        """What is recorded of a stored value; None on a miss. The payload is not read."""
        key = self._key(cache_key, entry_name(cache_key, params, fields))
        age = checked_age(prefix, ttl_seconds)
        return self.engine.reader.standing(key, prefix, age)

    def exists(
        self,
        /,
        cache_key: str | None = None,
        *,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        **fields: object,
    ) -> bool:
        """Whether there is an entry that has not expired. The payload is not read."""
        key = self._key(cache_key, entry_name(cache_key, params, fields))
        age = checked_age(prefix, ttl_seconds)
        stored = None if is_off() else self.engine.backend.find(key)
        return stored is not None and is_current(stored, prefix, age)

    def open(
        self,
        /,
        cache_key: str | None = None,
        *,
        default: Any = None,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        options: Mapping[str, Any] | None = None,
        **fields: object,
    ) -> Any:
        """A lazy handle on a stored value, where the handler has one, else the value.

        Of an entry that needs no signature the checksum is not compared. Else as `get`.
        """
        key = self._key(cache_key, entry_name(cache_key, params, fields))
        age = checked_age(prefix, ttl_seconds, options)
        value = self.engine.reader.read(key, prefix, age, options, way="lazy")
        return default if value is MISS or value is KEPT else value

    def pop(
        self,
        /,
        cache_key: str | None = None,
        *,
        default: Any = None,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        options: Mapping[str, Any] | None = None,
        **fields: object,
    ) -> Any:
        """Give a stored value and remove it; of several that do so at once, one gets it.

        Else as `get`: what that gives no value of stays as it is.

        Raises:
            ReadOnlyError: The cache is read-only.
        """
        from cacheness.management.changes import pop

        key = self._key(cache_key, entry_name(cache_key, params, fields))
        age = checked_age(prefix, ttl_seconds, options)
        value = pop(self.engine, key, prefix, age, options)
        return default if value is MISS else value

    def update_data(
        self,
        obj: object,
        /,
        cache_key: str | None = None,
        *,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str = UNSET,
        custom_metadata: object = UNSET,
        ttl_seconds: Duration | None = UNSET,
        handler: str | None = None,
        compressor: str | None = None,
        options: Mapping[str, Any] | None = None,
        **fields: object,
    ) -> bool:
        """Replace the value of an entry and keep the rest; whether there is one.

        What is not given stays: tags, parameters, hits, cost, pin and time to live, too.
        The entry is of a new generation, and its age starts now. Where it is removed at
        the same time it stays removed.

        Args:
            obj: The new value.
            cache_key: The entry's name, or
            params: the parameters that name it (as keywords, too).
            prefix: Where given, an entry of another prefix stays as it is.
            description: Replaces the entry's, where given.
            custom_metadata: Likewise.
            ttl_seconds: Likewise.
            handler: The name of the handler to use instead of the first that takes it.
            compressor: The name of the compressor to use instead of the cache's.
            options: For the handler.
            fields: The parameters that name the entry.

        Raises:
            SerializationError: No handler keeps the value; the old one stays.
            ReadOnlyError: The cache is read-only.
        """
        from cacheness.management.changes import update_data
        from cacheness.management.details import checked_changes

        key = self._key(cache_key, entry_name(cache_key, params, fields))
        changes = checked_changes(description=description, custom_metadata=custom_metadata)
        ttl = checked_age(prefix, ttl_seconds, options)
        return update_data(
            self.engine, key, obj, prefix, changes, ttl, handler, compressor, options
        )

    def update_entry(
        self,
        /,
        cache_key: str | None = None,
        *,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str = UNSET,
        custom_metadata: object = UNSET,
        tags: Iterable[str] = UNSET,
        ttl_seconds: Duration | None = UNSET,
        **fields: object,
    ) -> bool:
        """Change what is recorded of an entry in place; whether there is one.

        What is not given stays, the value and its generation in any case. Another time to
        live counts from where the entry's age does (``renewed_at``), so a short one may
        end it at once.

        Args:
            cache_key: The entry's name, or
            params: the parameters that name it (as keywords, too).
            prefix: Where given, an entry of another prefix stays as it is.
            description: The new free text.
            custom_metadata: The new JSON; None is none.
            tags: The new labels.
            ttl_seconds: The new time to live, as in `put`; None is for ever.
            fields: The parameters that name the entry.

        Raises:
            ReadOnlyError: The cache is read-only.
        """
        from cacheness.management.changes import update_entry
        from cacheness.management.details import checked_changes

        key = self._key(cache_key, entry_name(cache_key, params, fields))
        changes = checked_changes(
            description=description, custom_metadata=custom_metadata, tags=tags
        )
        ttl = checked_age(prefix, ttl_seconds)
        return update_entry(self.engine, key, prefix, changes, ttl)

    def touch(
        self,
        /,
        cache_key: str | None = None,
        *,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        **fields: object,
    ) -> bool:
        """Have an entry's age start now, as if it had just been stored and read.

        It expires anew, after the time to live it has, or after ``ttl_seconds`` where that
        is given. Gives whether there is an entry; one that has expired is none, and with
        ``prefix``, one of another prefix stays as it is.

        Raises:
            ReadOnlyError: The cache is read-only.
        """
        named = entry_name(cache_key, params, fields)
        key = checked_key(cache_key) if named is None else params_key(named)
        if ttl_seconds is UNSET and (prefix is None or type(prefix) is str):
            touched = self.engine.writer.touch(key, prefix)
            if touched is not None:
                return touched
        from cacheness.management.changes import touch

        return touch(self.engine, key, prefix, checked_age(prefix, ttl_seconds))

    def invalidate(
        self,
        /,
        cache_key: str | None = None,
        *,
        params: Mapping[str, object] | None = None,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        **fields: object,
    ) -> bool:
        """Remove an entry and its payload; whether there was one.

        With ``prefix``, one of another prefix stays.
        """
        key = self._key(cache_key, entry_name(cache_key, params, fields))
        checked_age(prefix, ttl_seconds)
        from cacheness.management.changes import remove

        return remove(self.engine, key, prefix)

    # --- a mapping of cache keys to values -----------------------------------------------

    def __contains__(self, cache_key: object) -> bool:
        return isinstance(cache_key, str) and self.exists(cache_key)

    def __getitem__(self, cache_key: str) -> Any:
        value = self.engine.reader.read(checked_key(cache_key), None, UNSET, None)
        if value is MISS or value is KEPT:
            raise KeyError(cache_key)
        return value

    def __setitem__(self, cache_key: str, obj: object) -> None:
        self.put(obj, cache_key)

    def __delitem__(self, cache_key: str) -> None:
        if not self.invalidate(cache_key):
            raise KeyError(cache_key)

    # --- functions --------------------------------------------------------------------

    @overload
    def cached(
        self, function: None = None, /, **options: Unpack[CachedOptions]
    ) -> CachedDecorator: ...
    @overload
    def cached(  # noqa: F811  # `overload` is no name that ruff knows here
        self, function: Callable[_P, _R], /, **options: Unpack[CachedOptions]
    ) -> CachedFunction[_P, _R]: ...
    def cached(  # noqa: F811  # `overload` is no name that ruff knows here
        self, function: Any = None, /, **options: Unpack[CachedOptions]
    ) -> Any:
        """`cacheness.cached` on this cache, for a ``function`` or as a decorator with options."""
        from cacheness.decorator import cached

        return cached(function, cache=self, **options)

    @property
    def aio(self) -> AsyncCache:
        """The same methods as coroutines: ``await cache.aio.get(…)``."""
        if self._aio is None:
            from cacheness.aio import AsyncCache

            self._aio = AsyncCache(self)
        return self._aio

    # --- its life ---------------------------------------------------------------------

    def close(self) -> None:
        """Write what is buffered and release what is held; closing twice is allowed."""
        self.engine.close()
        if self._aio is not None:
            self._aio.pool.stop()

    def __enter__(self) -> UnifiedCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __cacheness_key__(self) -> str:
        """A cache that a cached function names makes no difference to its results."""
        return "cacheness.UnifiedCache"

    def __reduce__(self) -> tuple[Any, ...]:
        return UnifiedCache, (self.config,)

    def __repr__(self) -> str:
        state = " (closed)" if self.engine.closed else ""
        return f"<UnifiedCache {self.config.cache_dir!r}, {self.config.metadata_backend}{state}>"

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        from cacheness.views import cache_as_html

        return cache_as_html(self.engine)

    # --- naming -----------------------------------------------------------------------

    def _key(self, cache_key: str | None, named: Mapping[str, object] | None) -> str:
        return checked_key(cache_key) if named is None else params_key(named)
