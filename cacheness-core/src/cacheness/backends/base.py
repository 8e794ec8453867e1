# SPDX-License-Identifier: MIT
"""What a metadata backend is: where entries are recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.backends.shapes import (
        Held,
        Labels,
        PlainPayload,
        Remains,
        Removed,
        StoredPayload,
    )
    from cacheness.config import CacheConfig
    from cacheness.custom_metadata import RecordQuery
    from cacheness.entry import Entry
    from cacheness.filters import Filter

__all__ = ["BackendContext", "MetadataBackend", "is_over"]


class BackendContext:
    """What a backend is told when it is made."""

    __slots__ = ("config", "directory", "namespace")

    def __init__(self, directory: str, namespace: str, config: CacheConfig) -> None:
        self.directory = directory
        """The cache's directory, absolute; see `make_directory`."""
        self.namespace = namespace
        """The namespace that this backend object serves."""
        self.config = config
        """All options of the cache."""

    def make_directory(self) -> str:
        """Make the cache's directory, or check the one that is there, and give its path.

        For a backend that keeps something in it; the others leave the disk alone.

        Raises:
            ConfigError: It can't be used; the message says why.
        """
        from cacheness.payloads.layout import make_directory

        make_directory(self.directory, self.config)
        return self.directory


def is_over(expires_at: float | None, stale_until: float | None, now: float) -> bool:
    """Whether an entry with these times is of no use any more."""
    return expires_at is not None and expires_at <= now and (stale_until or 0.0) <= now


class MetadataBackend(ABC):
    """Records the entries of one namespace. Safe for threads, processes and forks.

    Made by ``target(context, **metadata_options)``. Override the five abstract methods;
    the others have defaults in terms of those, to be overridden where the store knows
    better. A default that takes several steps is not atomic; a backend shared between
    processes overrides those. So who extends one that knows better, and changes a method
    there, changes those that the default makes of it, too: `put_plain` with `put_entry`.

    A store that can't be reached or is locked past ``lock_timeout`` raises
    `BackendUnavailableError`.

    In all methods the same words mean the same. ``context``: directory, namespace and
    configuration; ``options``: the backend's own, ``metadata_options`` of the cache.
    ``cache_key`` names an ``entry`` of the namespace, by any text; ``if_absent`` replaces
    none; ``if_generation`` changes the entry only if it is still that generation;
    ``changes`` are values by the name of the field; ``now`` is in epoch seconds, as all
    times are; ``filter`` and ``expression`` select, the latter a condition of
    SQLAlchemy; ``policy`` is one of lru, lfu, fifo, cost; ``kind`` names a side table.
    """

    capabilities: frozenset[str] = frozenset()
    """What the backend can do, of ``inline`` (keeps payloads in the entry), ``query``
    (filters without visiting every entry), ``lock`` (`lock` excludes everything that
    shares the store), ``watch`` (tells other processes' changes), ``transactions``
    (bulk forms are one transaction), ``records`` (keeps typed custom metadata, see
    `query_records`)."""

    blob_backend: str = "file"
    """The blob backend to use where the configuration names none."""

    shared: bool = False
    """Whether users of several machines share the store, so that no user's own key signs."""

    knows_its_size: bool = False
    """Whether `count` and `total_size` take no scan, so that a bounded cache asks for them
    at every put; otherwise it asks from time to time."""

    finds_plain: bool = False
    """Whether `find_plain` knows better than to give None, so that a read asks it first."""

    works_apart: bool = False
    """Whether a server of its own does the work, so that it is well used by making the entries
    of a batch meanwhile, in an open transaction: `put_prepared` may then be given `InOrder`."""

    directory: str | None = None
    """The directory on a disk of this machine in which the store grows, if there is one."""

    @abstractmethod
    def __init__(self, context: BackendContext, **options: Any) -> None:
        """Open the store, and make it where there is none."""

    # --- single entries ---------------------------------------------------------------

    @abstractmethod
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        """Record the entry, replacing one of the same key atomically.

        Returns:
            The entry that it displaced, or None. With ``if_absent``: the entry that
            stands, in which case nothing was written, or None where it was.
        """

    @abstractmethod
    def get_entry(self, cache_key: str) -> Entry | None:
        """The entry, expired or not."""

    @abstractmethod
    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        """Remove the entry, with ``if_generation`` only that one; give what was removed."""

    @abstractmethod
    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        """Every entry as a flat dict of `Entry`'s fields without ``inline``, streamed."""

    @abstractmethod
    def close(self) -> None:
        """Flush and release; closing twice is allowed."""

    def find(self, cache_key: str) -> StoredPayload | None:
        """What a read needs of the entry, in the order of `stored_payload`."""
        from cacheness.backends.shapes import stored_payload

        entry = self.get_entry(cache_key)
        return None if entry is None else stored_payload(entry)

    def find_many(self, cache_keys: Sequence[str]) -> dict[str, StoredPayload]:
        """`find` of each that there is, by its key."""
        from cacheness.backends.shapes import stored_payload

        found = self.get_entries(cache_keys)
        return {cache_key: stored_payload(entry) for cache_key, entry in found.items()}

    def find_plain(self, cache_key: str) -> PlainPayload | None:
        """The payload of an entry that needs nothing but its handler to be read.

        That is one which is inline, of a handler's first version, unsigned, uncompressed
        and without metadata. None for all other entries, which `find` then gives. A backend
        for which asking twice costs more than a few columns leaves this as it is; one that
        overrides it says `finds_plain`.
        """
        return None

    def put_plain(self, plain: PlainEntry) -> Remains | None:
        """`put_entry` of an entry that `find_plain` gives, and that is at its defaults else.

        Args:
            plain: What there is to say of the entry.

        Returns:
            What the entry that it displaced leaves to see to, or None.
        """
        other = self.put_entry(plain.entry())
        return None if other is None else (other.prefix, other.blob, other.blob_store)

    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        """Set fields of an entry in place; the generation stays. False where there is none."""
        from dataclasses import replace

        entry = self.get_entry(cache_key)
        if entry is None or (if_generation is not None and entry.generation != if_generation):
            return False
        self.put_entry(replace(entry, **changes))
        return True

    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        """Remove the entry if it is still that generation and still expired at ``now``."""
        entry = self.get_entry(cache_key)
        if entry is None or entry.expires_at is None or entry.expires_at > now:
            return None
        return self.delete_entry(cache_key, if_generation=if_generation)

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        """Add to the hits of entries: cache key → (reads, time of the last one)."""
        for cache_key, (count, accessed_at) in hits.items():
            entry = self.get_entry(cache_key)
            if entry is not None:
                changes = {
                    "hits": entry.hits + count,
                    "accessed_at": max(entry.accessed_at, accessed_at),
                }
                self.update_fields(cache_key, changes, if_generation=entry.generation)

    def labels(self, cache_keys: Sequence[str]) -> dict[str, Labels]:
        """What statistics say of the entries that there are, by key."""
        return {
            key: (entry.function, entry.prefix, entry.handler, entry.cost_seconds)
            for key, entry in self.get_entries(cache_keys).items()
        }

    # --- many entries -----------------------------------------------------------------

    def list_entries(self) -> list[Entry]:
        """Every entry, without ``inline``."""
        from cacheness.entry import build_entry

        return [build_entry(**summary) for summary in self.iter_entry_summaries()]

    def iter_keys(self) -> Iterator[str]:
        """Every cache key, streamed."""
        for summary in self.iter_entry_summaries():
            yield summary["cache_key"]

    def count(self) -> int:
        """The number of entries, expired ones that still stand included."""
        return sum(1 for _ in self.iter_entry_summaries())

    def total_size(self) -> int:
        """The bytes of all payloads as stored."""
        return sum(summary["stored_bytes"] for summary in self.iter_entry_summaries())

    def held(self, now: float) -> list[Held]:
        """What there is, summed up for statistics.

        Args:
            now: When an entry has expired that expires then.
        """
        from cacheness.backends.sums import sum_up

        return sum_up(self.iter_entry_summaries(), now)

    def query_meta(self, /, **filters: Any) -> Iterator[str]:
        """The cache keys of the entries that the filters select, oldest first."""
        from cacheness.filters import Filter

        selected = Filter.parse(filters)
        found = [s for s in self.iter_entry_summaries() if selected.matches(s)]
        found.sort(key=lambda s: (s["created_at"], s["cache_key"]))
        for summary in found:
            yield summary["cache_key"]

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        """`put_entry` of each; gives the entries that were displaced."""
        return [old for entry in entries if (old := self.put_entry(entry)) is not None]

    def put_prepared(self, prepared: Iterable[Entry | PlainEntry]) -> list[Entry]:
        """`put_entries` of entries of which some are said in short, as for `put_plain`."""
        from cacheness.backends.plain_entry import in_full

        return self.put_entries(map(in_full, prepared))

    def get_entries(self, cache_keys: Sequence[str]) -> dict[str, Entry]:
        """The entries that there are, by key."""
        return {key: entry for key in cache_keys if (entry := self.get_entry(key)) is not None}

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        """`delete_entry` of each; gives what was removed."""
        return [old for key in cache_keys if (old := self.delete_entry(key)) is not None]

    def delete_generations(self, generations: Mapping[str, int]) -> list[Entry]:
        """`delete_entry` of each cache key with its ``if_generation``; gives what was removed."""
        return [
            old
            for key, generation in generations.items()
            if (old := self.delete_entry(key, if_generation=generation)) is not None
        ]

    def touch_entry(self, cache_key: str, prefix: str | None, *, now: float) -> bool | None:
        """`touch_entries` of one, where it has this ``prefix``, or any; whether there was one.

        None from a backend that doesn't know better than to read and to update it.
        """
        return None

    def touch_entries(self, filter: Filter, *, now: float) -> int:
        """Set ``accessed_at`` and ``renewed_at``, and what expires anew from ``now``.

        What has expired at ``now`` stays as it is. An entry is served stale for as long
        after its new expiry as after the old one.
        """
        from cacheness.entry import renewal

        touched = 0
        for summary in list(self.iter_entry_summaries()):
            expires_at = summary["expires_at"]
            if (expires_at is None or expires_at > now) and filter.matches(summary):
                ttl, stale_until = summary["ttl_seconds"], summary["stale_until"]
                expiry = renewal(now, ttl, expires_at=expires_at, stale_until=stale_until)
                changes = {"accessed_at": now, "renewed_at": now, **expiry}
                touched += self.update_fields(
                    summary["cache_key"], changes, if_generation=summary["generation"]
                )
        return touched

    def rename_entries(self, renames: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
        """Give entries other keys in one transaction; each keeps its payload.

        Args:
            renames: For each the cache key, the generation, and the fields that change, the
                new ``cache_key`` among them.

        Returns:
            The new keys of those that were renamed: not of one that was replaced or removed
            meanwhile, nor of one whose new key another entry has.
        """
        from dataclasses import replace

        renamed = []
        for cache_key, generation, changes in renames:
            old = self.get_entry(cache_key)
            taken = old is not None and self.get_entry(changes["cache_key"]) is not None
            # Removed first, so that at no time two entries name one blob.
            if (
                old is None
                or taken
                or self.delete_entry(cache_key, if_generation=generation) is None
            ):
                continue
            new = replace(old, **changes)
            if self.put_entry(new, if_absent=True) is None:
                renamed.append(new.cache_key)
            else:
                self.put_entry(old, if_absent=True)
        return renamed

    def remove_entry(self, cache_key: str) -> Removed | None:
        """`delete_entry`, for a caller that needs no more than this of what was removed."""
        from cacheness.backends.shapes import removed_of

        old = self.delete_entry(cache_key)
        return None if old is None else removed_of(old)

    def remove_where(self, filter: Filter) -> list[Removed]:
        """`delete_where`, likewise."""
        from cacheness.backends.shapes import removed_of

        return list(map(removed_of, self.delete_where(filter)))

    def remove_generations(self, generations: Mapping[str, int]) -> list[Removed]:
        """`delete_generations`, likewise."""
        from cacheness.backends.shapes import removed_of

        return list(map(removed_of, self.delete_generations(generations)))

    def delete_where(self, filter: Filter) -> list[Entry]:
        """Remove what the filter selects; gives what was removed."""
        removed = []
        for summary in list(self.iter_entry_summaries()):
            if filter.matches(summary):
                old = self.delete_entry(summary["cache_key"], if_generation=summary["generation"])
                if old is not None:
                    removed.append(old)
        return removed

    def delete_expired(self, now: float) -> list[Entry]:
        """Remove what has expired at ``now`` and is not served stale any more.

        That it has is looked at again in the step that removes it. Gives what was removed.
        """
        removed = []
        for summary in list(self.iter_entry_summaries()):
            if is_over(summary["expires_at"], summary["stale_until"], now):
                old = self.expire_entry(
                    summary["cache_key"], if_generation=summary["generation"], now=now
                )
                if old is not None:
                    removed.append(old)
        return removed

    def query_where(self, filter: Filter, expression: Any) -> Iterator[str]:
        """The cache keys of what the filter and a condition of SQLAlchemy select, oldest first.

        Raises:
            TypeError: The backend has no tables that a condition could be about.
        """
        raise TypeError(
            f"{type(self).__name__} has no tables to select from by where=; use filters, or "
            "metadata_backend='sqlite'"
        )

    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        """The entries that eviction by ``policy`` removes first.

        As few as free ``size`` bytes and ``count`` entries, in order; pinned ones never.
        """
        from cacheness.entry import Entry
        from cacheness.filters import eviction_order

        chosen: list[Entry] = []
        candidates = [s for s in self.iter_entry_summaries() if not s["pinned"]]
        candidates.sort(key=eviction_order(policy))
        for summary in candidates:
            if size <= 0 and count <= 0:
                break
            chosen.append(Entry(**summary))
            size -= summary["stored_bytes"]
            count -= 1
        return chosen

    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        """Remove what is over a bound, in the order of `victims`; gives what was removed.

        Where the store holds more than ``max_size`` bytes or ``max_entries`` entries, as
        many go as bring it ``slack`` of the bound below it, so that not every put evicts.
        A backend shared between processes decides and removes in one step.
        """
        over_size = self._excess(self.total_size(), max_size, slack) if max_size is not None else 0
        over_count = (
            self._excess(self.count(), max_entries, slack) if max_entries is not None else 0
        )
        removed = []
        for victim in self.victims(policy, over_size, over_count):
            old = self.delete_entry(victim.cache_key, if_generation=victim.generation)
            if old is not None:
                removed.append(old)
        return removed

    @staticmethod
    def _excess(now: int, bound: int, slack: float) -> int:
        """How much is to go: nothing within the bound, else down to a slack below it."""
        return 0 if now <= bound else now - bound + int(bound * slack)

    def query_records(self, query: RecordQuery) -> Iterator[tuple[str, Any]]:
        """The cache keys and records of a model of custom metadata, oldest entry first.

        A backend that declares ``records`` keeps one wherever the ``custom_metadata`` of an
        entry that it is given is a `cacheness.custom_metadata.TypedMetadata`: in the
        transaction of `put_entry`, `put_entries` or `update_fields`, and until the entry
        goes or is put anew; where `update_fields` sets another generation, it stays.

        Raises:
            ConfigError: The backend keeps no records.
        """
        from cacheness.errors import ConfigError

        raise ConfigError(
            f"{type(self).__name__} keeps custom metadata as JSON only: select by meta__NAME "
            "filters, or use metadata_backend='sqlite'"
        )

    # --- the store --------------------------------------------------------------------

    @property
    def store_id(self) -> str | None:
        """A random id that is kept in the store, so that two stores are told apart.

        By it a blob store remembers whose entries name blobs in it. Empty where there is
        none yet and the cache is read-only. None, the default, says that the backend can't
        tell; then no blob is ever taken for an orphan.
        """
        return None

    def namespaces(self) -> list[str]:
        """The namespaces of the store that hold entries, sorted."""
        return sorted({summary["namespace"] for summary in self.iter_entry_summaries()})

    def iter_blob_names(self) -> Iterator[str] | None:
        """The blob of every entry that has one, of all namespaces of the store, streamed.

        A blob that is not among them, in a blob store that no other metadata store uses, is
        an orphan and may be removed, so an entry that stands from the call to the end is
        never left out. None, the default, says that the
        backend can't tell; then no blob is ever taken for an orphan.
        """
        return None

    def check_store(self, *, repair: bool) -> list[str]:
        """What is wrong with the store itself, a sentence each; empty where it is well.

        The payloads are another matter, which the core looks after.

        Args:
            repair: Mend first what can be mended, and give what is left.
        """
        return []

    def read_notes(self, kind: str) -> dict[str, Any]:
        """A small side table (tombstones, statistics, digests): name → JSON."""
        return {}

    def write_notes(  # noqa: B027  # keeping none is a choice
        self, kind: str, notes: Mapping[str, Any]
    ) -> None:
        """Merge ``notes`` into a side table; a value of None removes its name.

        A backend that keeps no notes forgets them, which costs explanations, not results.
        """

    def read_statistics(self) -> dict[str, float]:
        """The sums of all that was added by `add_statistics`, by name."""
        from cacheness.noted import is_number

        sums = self.read_notes("statistics")
        return {name: float(of) for name, of in sums.items() if is_number(of)}

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        """Add to the sums of these names.

        This keeps them as notes, which it reads and writes under `lock`. A backend that is
        shared between processes and declares no ``lock`` overrides it, or loses what two of
        them add at the same moment.
        """
        from contextlib import nullcontext

        locked = "lock" in self.capabilities
        with self.lock("cacheness:statistics") if locked else nullcontext():
            sums = self.read_statistics()
            changed = {name: sums.get(name, 0.0) + amount for name, amount in amounts.items()}
            self.write_notes("statistics", changed)

    def change_token(self) -> object:
        """Something that differs whenever anybody changed the store since; None can't tell."""
        return None

    def lock(self, cache_key: str) -> AbstractContextManager[None]:
        """Mutual exclusion on a key across all that shares the store.

        Released when the holder dies. Only asked of a backend that declares ``lock``. What
        it gives may be a `cacheness.flights.ground.SupportsAcquire`, too, so that a wait can
        be as long as its caller says.

        Raises:
            TypeError: The backend does not declare ``lock``.
        """
        raise TypeError(f"{type(self).__name__} declares no capability 'lock'")
