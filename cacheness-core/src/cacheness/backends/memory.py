# SPDX-License-Identifier: MIT
"""Entries in the memory of this process."""

from __future__ import annotations

import os
from _thread import RLock
from contextlib import contextmanager
from weakref import WeakSet, WeakValueDictionary

from cacheness.backends.base import MetadataBackend
from cacheness.backends.shapes import stored_payload
from cacheness.backends.table import (
    EntryTable,
    add_notes,
    detached,
    json_copy,
    keys_by_age,
    merge_notes,
    renewed,
    summary_of,
    with_hits,
)
from cacheness.disk.locks import Mutexes
from cacheness.errors import BackendUnavailableError, CacheClosedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any

    from cacheness.backends.base import BackendContext
    from cacheness.backends.shapes import StoredPayload
    from cacheness.entry import Entry
    from cacheness.filters import Filter

__all__ = ["MemoryBackend"]


class MemoryBackend(MetadataBackend):
    """Records entries in memory: nothing outlives the process, nothing else sees them.

    Each backend object has a store of its own, unless it is given a name: those of one
    name share a store for as long as one of them is open. A cache that shares its entries
    so has to share its blobs too: ``metadata_options={"name": "a"},
    blob_options={"name": "a"}``.

    A forked child goes on with a copy of its own.
    """

    capabilities = frozenset({"inline", "lock", "transactions", "watch"})
    blob_backend = "memory"
    knows_its_size = True

    def __init__(self, context: BackendContext, *, name: str | None = None) -> None:
        """Open a store.

        Args:
            context: The namespace and the configuration; the directory is not used.
            name: What to share the store by; None is nothing.
        """
        self._namespace = context.namespace
        self._lock_timeout = context.config.lock_timeout
        self._open: _Store | None = _store(name)

    # --- single entries ---------------------------------------------------------------

    def find(self, cache_key: str) -> StoredPayload | None:
        entry = self._store.table(self._namespace).get(cache_key)
        if entry is None:
            return None
        found = stored_payload(entry)
        return *found[:7], json_copy(found[7]), *found[8:]

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        with self._using() as (store, table):
            old = table.get(entry.cache_key)
            if old is None or not if_absent:
                table.put(detached(entry))
                store.version += 1
            return None if old is None else detached(old)

    def get_entry(self, cache_key: str) -> Entry | None:
        entry = self._store.table(self._namespace).get(cache_key)
        return None if entry is None else detached(entry)

    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        return self._remove_if(
            cache_key, lambda old: if_generation is None or old.generation == if_generation
        )

    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        def expired(old: Entry) -> bool:
            at = old.expires_at
            return old.generation == if_generation and at is not None and at <= now

        return self._remove_if(cache_key, expired)

    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        with self._using() as (store, table):
            entry = table.get(cache_key)
            if entry is None or if_generation not in (None, entry.generation):
                return False
            table.put(detached(entry, **changes))
            store.version += 1
            return True

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        with self._using() as (store, table):
            for cache_key, (count, accessed_at) in hits.items():
                entry = table.get(cache_key)
                if entry is not None:
                    table.put(with_hits(entry, count, accessed_at))
                    store.version += 1

    # --- many entries -----------------------------------------------------------------

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        with self._using() as (_, table):
            entries = list(table)
        return map(summary_of, entries)

    def count(self) -> int:
        return len(self._store.table(self._namespace))

    def total_size(self) -> int:
        return self._store.table(self._namespace).total_size

    def query_meta(self, /, **filters: Any) -> Iterator[str]:
        from cacheness.filters import Filter

        selected = Filter.parse(filters)
        with self._using() as (_, table):
            return iter(keys_by_age(table.select(selected)))

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        given = [detached(entry) for entry in entries]
        with self._using() as (store, table):
            store.version += 1
            return [detached(old) for entry in given if (old := table.put(entry)) is not None]

    def get_entries(self, cache_keys: Sequence[str]) -> dict[str, Entry]:
        with self._using() as (_, table):
            found = {key: entry for key in cache_keys if (entry := table.get(key)) is not None}
        return {key: detached(entry) for key, entry in found.items()}

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        given = list(cache_keys)
        with self._using() as (store, table):
            store.version += 1
            return [old for key in given if (old := table.remove(key)) is not None]

    def rename_entries(self, renames: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
        given = list(renames)
        renamed = []
        with self._using() as (store, table):
            store.version += 1
            for cache_key, generation, changes in given:
                old = table.get(cache_key)
                if old is None or old.generation != generation:
                    continue
                new = detached(old, **changes)
                if table.get(new.cache_key) is None:
                    table.remove(cache_key)
                    table.put(new)
                    renamed.append(new.cache_key)
        return renamed

    def touch_entries(self, filter: Filter, *, now: float) -> int:
        with self._using() as (store, table):
            selected = table.current(filter, now)
            for entry in selected:
                table.put(renewed(entry, now))
            store.version += 1
            return len(selected)

    def delete_where(self, filter: Filter) -> list[Entry]:
        return self._remove_all(lambda table: table.select(filter))

    def delete_generations(self, generations: Mapping[str, int]) -> list[Entry]:
        return self._remove_all(lambda table: table.of_generations(generations))

    def delete_expired(self, now: float) -> list[Entry]:
        return self._remove_all(lambda table: table.ended(now))

    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        with self._using() as (_, table):
            return [detached(e, inline=None) for e in table.victims(policy, size, count)]

    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        with self._using() as (store, table):
            victims = table.over(policy, max_size, max_entries, slack)
            for victim in victims:
                table.remove(victim.cache_key)
            store.version += bool(victims)
        return [detached(victim, inline=None) for victim in victims]

    # --- the store --------------------------------------------------------------------

    @property
    def store_id(self) -> str:
        return self._store.id

    def namespaces(self) -> list[str]:
        with self._using() as (store, _):
            return sorted(name for name, table in store.tables.items() if len(table))

    def iter_blob_names(self) -> Iterator[str]:
        with self._using() as (store, _):
            tables = list(store.tables.values())
            return iter([of.blob for table in tables for of in table if of.blob is not None])

    def read_notes(self, kind: str) -> dict[str, Any]:
        from copy import deepcopy

        with self._using() as (store, _):
            return deepcopy(store.notes.get((self._namespace, kind), {}))

    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        from copy import deepcopy

        given = deepcopy(dict(notes))
        with self._using() as (store, _):
            merge_notes(store.notes.setdefault((self._namespace, kind), {}), given)
            store.version += 1

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        with self._using() as (store, _):
            notes = store.notes.setdefault((self._namespace, "statistics"), {})
            notes.update(add_notes(notes, amounts))

    def change_token(self) -> object:
        return self._store.version

    def lock(self, cache_key: str) -> AbstractContextManager[None]:
        return _KeyLock(self._store, (self._namespace, cache_key), self._lock_timeout)

    def close(self) -> None:
        self._open = None

    # --- behind them ------------------------------------------------------------------

    @property
    def _store(self) -> _Store:
        if self._open is None:
            raise CacheClosedError("the cache is closed")
        return self._open

    @contextmanager
    def _using(self) -> Iterator[tuple[_Store, EntryTable]]:
        """The store and the table of this namespace, to oneself."""
        store = self._store
        with store.mutex:
            yield store, store.table(self._namespace)

    def _remove_if(self, cache_key: str, condition: Callable[[Entry], bool]) -> Entry | None:
        with self._using() as (store, table):
            entry = table.get(cache_key)
            if entry is None or not condition(entry):
                return None
            store.version += 1
            return table.remove(cache_key)

    def _remove_all(self, choose: Callable[[EntryTable], list[Entry]]) -> list[Entry]:
        with self._using() as (store, table):
            chosen = choose(table)
            for entry in chosen:
                table.remove(entry.cache_key)
            if chosen:
                store.version += 1
            return chosen


class _Store:
    """What the backend objects of one name share."""

    def __init__(self) -> None:
        self.id = os.urandom(16).hex()
        self.mutex = RLock()
        self.tables: dict[str, EntryTable] = {}
        self.notes: dict[tuple[str, str], dict[str, Any]] = {}
        self.key_mutexes = Mutexes()
        self.version = 0
        """Another number after every change."""
        _stores.add(self)

    def table(self, namespace: str) -> EntryTable:
        try:
            return self.tables[namespace]
        except KeyError:
            return self.tables.setdefault(namespace, EntryTable())


class _KeyLock:
    """`MemoryBackend.lock` of one key."""

    __slots__ = ("_mutexes", "_name", "_store", "_timeout")

    def __init__(self, store: _Store, name: tuple[str, str], timeout: float) -> None:
        self._store = store
        self._mutexes = store.key_mutexes
        self._name = name
        self._timeout = timeout

    def __enter__(self) -> None:
        self._mutexes = self._store.key_mutexes
        if not self._mutexes.acquire(self._name, self._timeout):
            raise BackendUnavailableError(
                f"waited {self._timeout:g} s for the lock of entry {self._name[1]!r}, which "
                "another thread holds; try again, or raise lock_timeout"
            )

    def __exit__(self, *_: object) -> None:
        # In a child that was forked meanwhile the lock is not its own any more.
        if self._mutexes is self._store.key_mutexes:
            self._mutexes.release(self._name)


_stores: WeakSet[_Store] = WeakSet()
_named: WeakValueDictionary[str, _Store] = WeakValueDictionary()
_naming = RLock()


def _store(name: str | None) -> _Store:
    if name is None:
        return _Store()
    with _naming:
        store = _named.get(name)
        if store is None:
            store = _named[name] = _Store()
        return store


_held_for_fork: list[_Store] = []


def _before_fork() -> None:
    """Wait for changes under way, so that the child's copy is whole."""
    _naming.acquire()
    for store in list(_stores):
        store.mutex.acquire()
        _held_for_fork.append(store)


def _after_fork_in_parent() -> None:
    while _held_for_fork:
        _held_for_fork.pop().mutex.release()
    _naming.release()


def _after_fork_in_child() -> None:
    for store in _held_for_fork:
        store.key_mutexes = Mutexes()
    _after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
