# SPDX-License-Identifier: MIT
"""Entries in a text file that any tool can read: a log of changes, one JSON object a line."""

from __future__ import annotations

from cacheness.backends.base import MetadataBackend
from cacheness.backends.replay import (
    delete_operation,
    hits_operation,
    note_operation,
    put_operation,
    set_operation,
    touch_operation,
)
from cacheness.backends.shapes import stored_payload
from cacheness.backends.shared_log import SharedLog
from cacheness.backends.table import add_notes, detached, json_copy, keys_by_age, summary_of
from cacheness.disk.unrecorded import check_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from cacheness.backends.base import BackendContext
    from cacheness.backends.journal import Operation
    from cacheness.backends.shapes import StoredPayload
    from cacheness.backends.table import EntryTable
    from cacheness.entry import Entry
    from cacheness.filters import Filter

__all__ = ["JsonBackend"]


class JsonBackend(MetadataBackend):
    """Records entries in ``metadata.jsonl``: safe for threads, processes and forks.

    Each change is one line, appended by one write under a file lock, so that a put costs
    the same whatever the number of entries; a log that is mostly of the past is replaced
    by a shorter one. A process killed while it writes loses at most that write: a line
    without its end, or with a wrong checksum, counts for nothing.

    All entries of the file, without their payloads, are in the memory of each process that
    has it open; what others write is read when it is there. Reads take no file lock.
    """

    capabilities = frozenset({"inline", "transactions", "watch"})
    knows_its_size = True

    def __init__(self, context: BackendContext) -> None:
        """Open ``metadata.jsonl`` in the cache's directory, or the place where it will be.

        Raises:
            ConfigError: The directory can't be used, or the log is of a newer format.
        """
        self._context = context
        self._namespace = context.namespace
        self._log = SharedLog(context)
        self.directory = self._log.directory

    # --- single entries ---------------------------------------------------------------

    def find(self, cache_key: str) -> StoredPayload | None:
        with self._log.reading() as space:
            entry = space.table.get(cache_key)
            if entry is None:
                return None
            found = stored_payload(entry)
            inline = self._log.inline(space.lines[cache_key])
            return *found[:7], json_copy(found[7]), inline, *found[9:]

    def get_entry(self, cache_key: str) -> Entry | None:
        with self._log.reading() as space:
            return self._log.whole(space, cache_key)

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        with self._log.writing() as (space, operations):
            check_own(entry.blob)
            old = space.table.get(entry.cache_key)
            if old is not None and if_absent:
                return self._log.whole(space, entry.cache_key)
            operations.append(put_operation(entry, entry.inline))
            return old

    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        return self._delete_if(
            cache_key, lambda old: if_generation is None or old.generation == if_generation
        )

    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        def expired(old: Entry) -> bool:
            at = old.expires_at
            return old.generation == if_generation and at is not None and at <= now

        return self._delete_if(cache_key, expired)

    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        with self._log.writing() as (space, operations):
            check_own(changes.get("blob"))
            entry = space.table.get(cache_key)
            if entry is None or if_generation not in (None, entry.generation):
                return False
            if "inline" in changes:
                operations.append(put_operation(detached(entry, **changes), changes["inline"]))
            else:
                operations.append(set_operation(self._namespace, cache_key, changes))
            return True

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        with self._log.writing() as (space, operations):
            known = {key: counted for key, counted in hits.items() if space.table.get(key)}
            if known:
                operations.append(hits_operation(self._namespace, known))

    # --- many entries -----------------------------------------------------------------

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        with self._log.reading() as space:
            return map(summary_of, list(space.table))

    def count(self) -> int:
        with self._log.reading() as space:
            return len(space.table)

    def total_size(self) -> int:
        with self._log.reading() as space:
            return space.table.total_size

    def query_meta(self, /, **filters: Any) -> Iterator[str]:
        from cacheness.filters import Filter

        selected = Filter.parse(filters)
        with self._log.reading() as space:
            return iter(keys_by_age(space.table.select(selected)))

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        given = list(entries)
        displaced = []
        with self._log.writing() as (space, operations):
            now_there: dict[str, Entry] = {}
            for entry in given:
                check_own(entry.blob)
                key = entry.cache_key
                old = now_there.get(key) or space.table.get(key)
                if old is not None:
                    displaced.append(old)
                now_there[key] = entry
                operations.append(put_operation(entry, entry.inline))
        return displaced

    def get_entries(self, cache_keys: Sequence[str]) -> dict[str, Entry]:
        with self._log.reading() as space:
            found = ((key, self._log.whole(space, key)) for key in cache_keys)
            return {key: entry for key, entry in found if entry is not None}

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        given = list(dict.fromkeys(cache_keys))
        with self._log.writing() as (space, operations):
            found = [old for key in given if (old := space.table.get(key)) is not None]
            self._delete(found, operations)
            return found

    def rename_entries(self, renames: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
        given = list(renames)
        renamed: dict[str, None] = {}
        with self._log.writing() as (space, operations):
            for cache_key, generation, changes in given:
                old = self._log.whole(space, cache_key)
                if old is None or old.generation != generation:
                    continue
                new = detached(old, **changes)
                if space.table.get(new.cache_key) is None and new.cache_key not in renamed:
                    self._delete([old], operations)
                    operations.append(put_operation(new, new.inline))
                    renamed[new.cache_key] = None
        return list(renamed)

    def touch_entries(self, filter: Filter, *, now: float) -> int:
        with self._log.writing() as (space, operations):
            keys = [entry.cache_key for entry in space.table.current(filter, now)]
            if keys:
                operations.append(touch_operation(self._namespace, keys, now))
            return len(keys)

    def delete_where(self, filter: Filter) -> list[Entry]:
        return self._delete_all(lambda table: table.select(filter))

    def delete_generations(self, generations: Mapping[str, int]) -> list[Entry]:
        return self._delete_all(lambda table: table.of_generations(generations))

    def delete_expired(self, now: float) -> list[Entry]:
        return self._delete_all(lambda table: table.ended(now))

    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        with self._log.reading() as space:
            return list(map(detached, space.table.victims(policy, size, count)))

    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        with self._log.writing() as (space, operations):
            victims = space.table.over(policy, max_size, max_entries, slack)
            self._delete(victims, operations)
            return victims

    # --- the store --------------------------------------------------------------------

    @property
    def store_id(self) -> str:
        from cacheness.payloads.layout import store_id

        return store_id(self._context.directory, self._context.config)

    def namespaces(self) -> list[str]:
        with self._log.reading():
            return sorted(name for name, space in self._log.spaces().items() if len(space.table))

    def iter_blob_names(self) -> Iterator[str]:
        with self._log.reading():
            tables = [space.table for space in self._log.spaces().values()]
            return iter([of.blob for table in tables for of in table if of.blob is not None])

    def check_store(self, *, repair: bool) -> list[str]:
        """With ``repair`` the log is replaced by one of what stands, whole lines only."""
        if repair:
            self._log.mend()
        damage = self._log.damage()
        return [] if damage is None else [damage]

    def read_notes(self, kind: str) -> dict[str, Any]:
        from copy import deepcopy

        with self._log.reading() as space:
            return deepcopy(space.notes.get(kind, {}))

    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        from copy import deepcopy

        with self._log.writing() as (_, operations):
            operations.append(note_operation(self._namespace, kind, deepcopy(dict(notes))))

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        with self._log.writing() as (space, operations):
            notes = add_notes(space.notes.get("statistics", {}), amounts)
            operations.append(note_operation(self._namespace, "statistics", notes))

    def change_token(self) -> object:
        return self._log.version()

    def close(self) -> None:
        self._log.close()

    # --- deleting -----------------------------------------------------------------------

    def _delete_if(self, cache_key: str, condition: Callable[[Entry], bool]) -> Entry | None:
        with self._log.writing() as (space, operations):
            entry = space.table.get(cache_key)
            if entry is None or not condition(entry):
                return None
            self._delete([entry], operations)
            return entry

    def _delete_all(self, choose: Callable[[EntryTable], list[Entry]]) -> list[Entry]:
        with self._log.writing() as (space, operations):
            found = choose(space.table)
            self._delete(found, operations)
            return found

    def _delete(self, entries: list[Entry], operations: list[Operation]) -> None:
        if entries:
            keys = [entry.cache_key for entry in entries]
            operations.append(delete_operation(self._namespace, keys))
