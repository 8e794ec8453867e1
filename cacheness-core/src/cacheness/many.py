# SPDX-License-Identifier: MIT
"""What a cache does with many of its entries at once."""

from __future__ import annotations

from cacheness.naming import check_options, checked_age
from cacheness.outcomes import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, TypeAlias, TypeVar

    from cacheness.config import Duration
    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.integrity.report import IntegrityReport
    from cacheness.progress import Progress
    from cacheness.statistics.stats import CacheStats
    from cacheness.transfer.arrivals import Transferred

    _M = TypeVar("_M")

    Name: TypeAlias = str | Mapping[str, object]
    """How the bulk methods name an entry: by its cache key, or by a mapping of parameters,
    all of which are hashed, whatever they are called."""

__all__ = ["ManyEntries"]


class ManyEntries:
    """The half of `UnifiedCache` that is about more than one entry."""

    engine: Engine
    """The way of values to the store and back; what stands behind the methods."""

    # --- by name ----------------------------------------------------------------------

    def put_batch(
        self,
        pairs: Iterable[tuple[object, Name]],
        /,
        *,
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
        progress: Progress = None,
    ) -> list[str]:
        """Store many values in one transaction: readers see all of them, or none.

        Payloads are written as they come, and their entries are recorded together at the
        end; a generator's values are never in memory at once. Where anything fails on the
        way, nothing is stored. Of one name given twice the last value stays.

        Args:
            pairs: Each value with its name, a cache key or a mapping of parameters.
            prefix: As in `put`, of all of them, like what follows.
            description: Free text.
            custom_metadata: JSON of the caller's own, or an instance of a class that is
                registered by `custom_metadata_model`.
            tags: Labels of the caller's own.
            ttl_seconds: Time to live, in seconds, as a timedelta or as text such as
                ``"36h"``; None is for ever, not given is the cache's default.
            cost_seconds: How many seconds computing each value took.
            handler: The name of the handler to use instead of the first that takes it.
            compressor: The name of the compressor to use instead of the cache's.
            options: For the handler.
            pin: Whether eviction is to pass them over.
            secret: Names of parameters of which nothing is recorded.
            progress: A callable of (done, total), or True for a bar.

        Returns:
            The cache keys, in the order of the pairs.

        Raises:
            SerializationError: No handler keeps one of the values.
            ReadOnlyError: The cache is read-only.

        Example:
            >>> cache.put_batch([(1.5, "a"), (2.5, {"x": 1, "y": 2})])  # doctest: +ELLIPSIS
            ['a', '...']
        """
        from cacheness.management.batches import put_batch
        from cacheness.management.details import checked_details

        details = checked_details(
            self.engine.config,
            None,
            prefix=prefix,
            description=description,
            custom_metadata=custom_metadata,
            tags=tags,
            ttl_seconds=ttl_seconds,
            cost_seconds=cost_seconds,
            pin=pin,
        )
        check_options(options)
        return put_batch(
            self.engine, pairs, details, secret, handler, compressor, options, progress
        )

    def get_batch(
        self,
        names: Iterable[Name],
        /,
        default: Any = None,
        *,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        options: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """The values of many entries, in the order of their ``names``; a miss is the default.

        The entries are read by one statement. Else each is as `get` gives it.
        """
        from cacheness.management.batches import get_batch

        age = checked_age(prefix, ttl_seconds, options)
        return get_batch(self.engine, names, default, prefix, age, options)

    def delete_batch(
        self,
        names: Iterable[Name],
        /,
        *,
        prefix: str | None = None,
        description: str | None = None,
        custom_metadata: object = None,
        ttl_seconds: Duration | None = UNSET,
        progress: Progress = None,
    ) -> int:
        """Remove many entries and their payloads, in one transaction; give how many there were.

        ``names`` are keys, or mappings of parameters. With ``prefix``, those of another
        prefix stay.
        """
        from cacheness.management.batches import delete_batch

        checked_age(prefix, ttl_seconds)
        return delete_batch(self.engine, names, prefix, progress)

    # --- by what is recorded of them --------------------------------------------------

    def query_meta(
        self, /, *, where: object = None, all_namespaces: bool = False, **filters: Any
    ) -> list[str]:
        """The cache keys of the entries that the filters select, oldest first.

        ``lr=0.1`` asks for a parameter, ``prefix`` and ``tags`` for the entry's own,
        ``meta__NAME`` for custom metadata, ``entry__FIELD`` for any field of `Entry`, and
        ``params={…}`` for parameters that bear one of these names. The suffixes ``__gt
        __gte __lt __lte __ne __in __contains __startswith`` compare otherwise than for
        equality. What has expired and still stands is found, too.

        Args:
            where: A condition of SQLAlchemy on `cacheness.backends.sql.entries`, such as
                ``entries.c.hits > entries.c.handler_version``, that has to hold, too.
            all_namespaces: Look into those of other users of the store, too, each after
                the other; `entries` tells which entry is whose.
            filters: What to select by; all have to hold.

        Raises:
            TypeError: A filter means nothing, or the backend can't answer ``where``.

        Example:
            >>> cache.query_meta(lr__gte=0.1, prefix="runs", meta__owner="me")
            []
        """
        from cacheness.management.queries import iter_keys, namespaces_of

        found: list[str] = []
        for engine in namespaces_of(self.engine, all_namespaces):
            found += iter_keys(engine, filters, where)
        return found

    def entries(
        self, /, *, where: object = None, all_namespaces: bool = False, **filters: Any
    ) -> Iterator[Entry]:
        """The entries that the filters select, streamed, without their payloads.

        In no particular order, and in flat memory, however many there are. The filters are
        those of `query_meta`.
        """
        from cacheness.management.queries import iter_entries

        return iter_entries(self.engine, filters, where, all_namespaces)

    def query_custom(self, model: type[_M], /, *where: Any, **filters: Any) -> list[tuple[str, _M]]:
        """The records of a class of custom metadata with their cache keys, oldest entry first.

        Args:
            model: A class that is registered by `custom_metadata_model`.
            where: Conditions of SQLAlchemy on the attributes of a SQLAlchemy model.
            filters: Its fields, with the suffixes of `query_meta`; ``cache_key`` is of
                which entry. All have to hold.

        Raises:
            ConfigError: The class is not registered, or the backend keeps no records.
            TypeError: A filter names no field.

        Example:
            >>> cache.query_custom(Run, owner="me", lr__lt=0.5)
            []
        """
        from cacheness.custom_metadata import parse_query

        return list(self.engine.backend.query_records(parse_query(model, where, filters)))

    def touch_batch(
        self, /, *, where: object = None, progress: Progress = None, **filters: Any
    ) -> int:
        """`touch` what the filters select, in one transaction; give how many there were.

        The filters are those of `query_meta`; what ``where`` selects is looked up first.
        What has expired stays expired.

        Raises:
            TypeError: There is no filter, or one means nothing.
        """
        from cacheness.management.queries import touch_batch

        return touch_batch(self.engine, filters, where, progress)

    def delete_matching(
        self,
        /,
        *,
        where: object = None,
        all_namespaces: bool = False,
        progress: Progress = None,
        **filters: Any,
    ) -> int:
        """Remove what the filters select, in one transaction; give how many there were.

        The filters are those of `query_meta`; what ``where`` selects is looked up first,
        and stays where it is replaced meanwhile.

        Raises:
            TypeError: There is no filter, or one means nothing.
        """
        from cacheness.management.queries import delete_matching, namespaces_of

        engines = namespaces_of(self.engine, all_namespaces)
        return sum(delete_matching(engine, filters, where, progress) for engine in engines)

    def delete_where(
        self,
        predicate: Callable[[Mapping[str, Any]], object],
        /,
        *,
        progress: Progress = None,
    ) -> int:
        """Remove the entries that a function accepts; give how many there were.

        Args:
            predicate: Is given each entry's summary, a dict of `Entry`'s fields but
                ``inline``, while nothing is locked. What is replaced after it was seen
                stays.
            progress: A callable of (done, total), or True for a bar.

        Example:
            >>> cache.delete_where(lambda entry: entry["stored_bytes"] > 1e9)
            0
        """
        from cacheness.management.queries import delete_where

        return delete_where(self.engine, predicate, progress)

    def cleanup_expired(self, *, all_namespaces: bool = False, progress: Progress = None) -> int:
        """Remove what has expired, and is not served stale any more; give how many there were.

        A read removes what it finds expired; this is for what nobody reads any more.
        """
        from cacheness.management.queries import cleanup_expired, namespaces_of

        engines = namespaces_of(self.engine, all_namespaces)
        return sum(cleanup_expired(engine, progress) for engine in engines)

    def clear(
        self,
        prefix: str | None = None,
        *,
        all_namespaces: bool = False,
        progress: Progress = None,
    ) -> int:
        """Remove every entry of this namespace, or of one prefix; give how many there were."""
        from cacheness.management.queries import namespaces_of

        filters = {} if prefix is None else {"prefix": prefix}
        engines = namespaces_of(self.engine, all_namespaces)
        return sum(engine.clear(filters, progress) for engine in engines)

    def stats(self) -> CacheStats:
        """What this namespace holds, and what it was good for, by all that used it.

        It looks at every entry, in SQLite by one statement: 6 µs an entry. `len` doesn't.
        """
        from cacheness.statistics.stats import gather

        self.engine.flush()
        return gather(self.engine.backend)

    def verify_integrity(self, repair: bool = False, progress: Progress = None) -> IntegrityReport:
        """Look for damage: entries whose payload is missing or differs, blobs without entry.

        Runs beside readers and writers. The entries are those of this namespace; a blob is
        an orphan if no namespace names it.

        Args:
            repair: Mend it: what is missing is removed, what is damaged goes to
                quarantine, orphans go once they are an hour old. Nothing is ever signed.
            progress: A callable of (done, total), or True for a bar in the terminal.

        Raises:
            ReadOnlyError: With ``repair`` in a read-only cache.
        """
        from cacheness.integrity.integrity import verify_integrity

        return verify_integrity(self.engine, repair=repair, progress=progress)

    def export(
        self, path: str | os.PathLike[str], /, *, progress: Progress = None, **filters: Any
    ) -> Transferred:
        """Write entries with their payloads to one file, an uncompressed tar.

        The file is there whole or not at all. An entry that is replaced meanwhile is in it
        as it was or as it became; one whose payload is damaged is left out.

        Args:
            path: The file; one that is there is replaced.
            progress: A callable of (done, total), or True for a bar in the terminal.
            filters: Which entries, as in `query_meta`; all where there are none.

        Returns:
            The number of entries, with what was left out and why.

        Raises:
            OSError: The file can't be written.
        """
        from cacheness.transfer.transfer import export_entries

        return export_entries(self.engine, path, filters, progress)

    def import_(
        self, path: str | os.PathLike[str], /, *, trust: bool = False, progress: Progress = None
    ) -> Transferred:
        """Take in the entries of a file that `export` wrote, into this namespace.

        Of two entries of one key the newer stays (by ``created_at``), of two of the same
        time the one that stands, so importing a file again changes nothing. Times, hits,
        tags and all else come along; what has expired does not.

        A file that is damaged or no export is refused before anything of it is stored. An
        entry is left out, and counted, whose payload differs from its checksum, whose
        signature does not verify under a key that is held here, or which needs a signature
        and has none.

        Args:
            path: The file.
            trust: Take in, and sign as one's own, what bears no signature that can be
                verified. Reading such an entry may run whatever code the file's writer put
                there: only for a file that you know where it comes from. A signature that is
                wrong under a key that is held is refused even so.
            progress: A callable of (done, total), or True for a bar in the terminal.

        Returns:
            The number of entries that came in, with what was left out and why.

        Raises:
            BlobCorruptedError: The file is damaged, or no export.
            ConfigError: It is of a newer format.
            OSError: It can't be read.
            BackendUnavailableError: An entry can't be stored; those before it are.
        """
        from cacheness.transfer.transfer import import_entries

        return import_entries(self.engine, path, progress, trust=trust)

    def copy_to(
        self,
        other_cache: ManyEntries,
        /,
        *,
        trust: bool = False,
        progress: Progress = None,
        **filters: Any,
    ) -> Transferred:
        """Copy entries to another cache, of any backends, into its namespace.

        As `export` and `import_` at once, without the file; signatures are verified with the
        keys of this cache and made anew with the other's.

        Args:
            other_cache: Where to.
            trust: Copy, and sign anew, what bears no signature that can be verified, too.
            progress: A callable of (done, total), or True for a bar in the terminal.
            filters: Which entries, as in `query_meta`; all where there are none.

        Raises:
            TypeError: It is no cache, or a filter means nothing.
        """
        from cacheness.transfer.transfer import copy_entries

        if not isinstance(other_cache, ManyEntries):
            raise TypeError(f"copy_to takes a UnifiedCache, not a {type(other_cache).__name__}")
        return copy_entries(self.engine, other_cache.engine, filters, progress, trust=trust)

    def __len__(self) -> int:
        return self.engine.backend.count()

    def __iter__(self) -> Iterator[str]:
        return self.engine.backend.iter_keys()
