# SPDX-License-Identifier: MIT
"""The entries of one namespace in memory, for backends that keep them there."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from cacheness.backends.base import is_over
from cacheness.entry import Entry, renewal
from cacheness.filters import eviction_order
from cacheness.noted import number_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from cacheness.filters import Fields, Filter

__all__ = [
    "EntryTable",
    "add_notes",
    "detached",
    "json_copy",
    "keys_by_age",
    "merge_notes",
    "renewed",
    "summary_of",
    "with_hits",
]

_SUMMARY_FIELDS = tuple(name for name in Entry.__slots__ if name != "inline")
_JSON_FIELDS = ("params", "metadata", "key_parts", "custom_metadata")


class EntryTable:
    """Entries by cache key, with their number and size, in the order of their first put.

    Not safe for threads: whoever owns it guards it.
    """

    __slots__ = ("_entries", "_queues", "total_size")

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._queues: dict[str, _VictimQueue] = {}
        self.total_size = 0
        """The bytes of all payloads as stored."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def get(self, cache_key: str) -> Entry | None:
        """The entry, if there is one."""
        return self._entries.get(cache_key)

    def put(self, entry: Entry) -> Entry | None:
        """Keep the entry; give the one of the same key that it replaces."""
        old = self._entries.get(entry.cache_key)
        self._entries[entry.cache_key] = entry
        self.total_size += entry.stored_bytes - (old.stored_bytes if old else 0)
        for queue in self._queues.values():
            queue.push(entry)
        return old

    def remove(self, cache_key: str) -> Entry | None:
        """Forget the entry; give it."""
        old = self._entries.pop(cache_key, None)
        if old is not None:
            self.total_size -= old.stored_bytes
        return old

    def select(self, filter: Filter) -> list[Entry]:
        """The entries that the filter selects."""
        return [entry for entry in self._entries.values() if filter.matches(_FieldsOf(entry))]

    def current(self, filter: Filter, now: float) -> list[Entry]:
        """The entries that the filter selects and that have not expired."""
        return [
            entry
            for entry in self.select(filter)
            if entry.expires_at is None or entry.expires_at > now
        ]

    def ended(self, now: float) -> list[Entry]:
        """The entries that have expired and are not served stale any more."""
        return [
            entry
            for entry in self._entries.values()
            if is_over(entry.expires_at, entry.stale_until, now)
        ]

    def of_generations(self, generations: Mapping[str, int]) -> list[Entry]:
        """The entries of these keys, as far as they are of these generations."""
        return [
            entry
            for key, generation in generations.items()
            if (entry := self._entries.get(key)) is not None and entry.generation == generation
        ]

    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        """As `MetadataBackend.victims`; takes a scan the first time only.

        Raises:
            ConfigError: There is no such policy.
        """
        queue = self._queues.get(policy)
        if queue is None or len(queue) > 2 * len(self._entries) + 64:
            queue = self._queues[policy] = _VictimQueue(policy, self._entries)
        return queue.first(size, count)

    def over(
        self, policy: str, max_size: int | None, max_entries: int | None, slack: float
    ) -> list[Entry]:
        """What `MetadataBackend.evict` is to remove."""
        size = _excess(self.total_size, max_size, slack)
        count = _excess(len(self._entries), max_entries, slack)
        return self.victims(policy, size, count) if size or count else []


def _excess(now: int, bound: int | None, slack: float) -> int:
    """How much is to go: nothing within the bound, else down to a slack below it."""
    return 0 if bound is None or now <= bound else now - bound + int(bound * slack)


class _VictimQueue:
    """Entries in the order in which a policy evicts them.

    A heap that is never searched: an entry that changes is pushed again, and what it was
    before is recognised and dropped when it comes up.
    """

    __slots__ = ("_entries", "_heap", "_order")

    def __init__(self, policy: str, entries: dict[str, Entry]) -> None:
        self._order: Callable[[Fields], tuple[Any, ...]] = eviction_order(policy)
        self._entries = entries
        self._heap = [self._order(_FieldsOf(e)) for e in entries.values() if not e.pinned]
        heapify(self._heap)

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, entry: Entry) -> None:
        if not entry.pinned:
            heappush(self._heap, self._order(_FieldsOf(entry)))

    def first(self, size: int, count: int) -> list[Entry]:
        chosen: dict[str, Entry] = {}
        places = []
        while self._heap and (size > 0 or count > 0):
            place = heappop(self._heap)
            cache_key = place[-1]
            entry = self._entries.get(cache_key)
            if entry is None or entry.pinned or cache_key in chosen:
                continue
            if self._order(_FieldsOf(entry)) != place:
                continue
            chosen[cache_key] = entry
            places.append(place)
            size -= entry.stored_bytes
            count -= 1
        for place in places:
            heappush(self._heap, place)
        return list(chosen.values())


class _FieldsOf:
    """An entry's fields by name, without the dict that a summary is."""

    __slots__ = ("_entry",)

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __getitem__(self, name: str) -> Any:
        return getattr(self._entry, name)


def detached(entry: Entry, **changes: Any) -> Entry:
    """The entry with these changes, sharing nothing mutable, as if it had come from a disk.

    Raises:
        TypeError: There is no such field.
    """
    for name in _JSON_FIELDS:
        value = changes[name] if name in changes else getattr(entry, name)
        if value:
            changes[name] = json_copy(value)
    if "tags" in changes:
        changes["tags"] = tuple(changes["tags"])
    return _varied(entry, changes)


def json_copy(value: Any) -> Any:
    """The JSON value with dicts and lists of its own; a tuple becomes a list."""
    if isinstance(value, dict):
        return {name: json_copy(of) for name, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_copy(of) for of in value]
    return value


def renewed(entry: Entry, now: float) -> Entry:
    """The entry as `MetadataBackend.touch_entries` leaves it."""
    expiry = renewal(
        now, entry.ttl_seconds, expires_at=entry.expires_at, stale_until=entry.stale_until
    )
    return _varied(entry, {"accessed_at": now, "renewed_at": now, **expiry})


def with_hits(entry: Entry, count: int, accessed_at: float) -> Entry:
    """The entry as `MetadataBackend.record_hits` leaves it."""
    last = max(entry.accessed_at, accessed_at)
    return _varied(entry, {"hits": entry.hits + count, "accessed_at": last})


def merge_notes(notes: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Change a side table as `MetadataBackend.write_notes` does."""
    for name, value in changes.items():
        if value is None:
            notes.pop(name, None)
        else:
            notes[name] = value


def add_notes(notes: Mapping[str, Any], amounts: Mapping[str, float]) -> dict[str, float]:
    """The notes that `MetadataBackend.add_statistics` writes, given those that there are."""
    return {name: number_of(notes.get(name)) + amount for name, amount in amounts.items()}


def keys_by_age(entries: list[Entry]) -> list[str]:
    """Cache keys in the order of `MetadataBackend.query_meta`: oldest first."""
    ordered = sorted(entries, key=lambda entry: (entry.created_at, entry.cache_key))
    return [entry.cache_key for entry in ordered]


def summary_of(entry: Entry) -> dict[str, Any]:
    """The flat dict that `MetadataBackend.iter_entry_summaries` gives of an entry."""
    copied = detached(entry)
    return {name: getattr(copied, name) for name in _SUMMARY_FIELDS}


def _varied(entry: Entry, changes: dict[str, Any]) -> Entry:
    """As `dataclasses.replace`, which takes three times as long for so many fields."""
    if not changes:
        return entry
    if not changes.keys() <= _SETTERS.keys():
        unknown = ", ".join(sorted(changes.keys() - _SETTERS.keys()))
        raise TypeError(f"an entry has no field {unknown}")
    varied = object.__new__(Entry)
    for name, set_field in _SETTERS.items():
        set_field(varied, changes[name] if name in changes else getattr(entry, name))
    return varied


_SETTERS: dict[str, Callable[[Entry, Any], None]] = {
    name: Entry.__dict__[name].__set__ for name in Entry.__slots__
}
