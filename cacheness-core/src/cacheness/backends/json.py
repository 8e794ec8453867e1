# SPDX-License-Identifier: MIT
"""Entries in a text file that any tool can read: a log of changes, one JSON object a line."""

from __future__ import annotations

import os
from _thread import RLock, get_ident
from contextlib import contextmanager

from cacheness.backends.base import MetadataBackend, stored_payload
from cacheness.backends.journal import Journal, encode_line
from cacheness.backends.replay import (
    Replay,
    delete_operation,
    first_operation,
    hits_operation,
    inline_of,
    note_operation,
    put_operation,
    set_operation,
    touch_operation,
)
from cacheness.backends.table import add_notes, detached, json_copy, keys_by_age, summary_of
from cacheness.disk.locks import FileLocks
from cacheness.errors import (
    BackendUnavailableError,
    CacheClosedError,
    CorruptionWarning,
    ReadOnlyError,
    warn,
)
from cacheness.forks import renew_in_child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from cacheness.backends.base import BackendContext, StoredPayload
    from cacheness.backends.journal import Operation
    from cacheness.backends.replay import Line, Space
    from cacheness.backends.table import EntryTable
    from cacheness.entry import Entry
    from cacheness.filters import Filter

__all__ = ["JsonBackend"]

_NAME = "metadata.jsonl"
_SLACK = 1 << 20
"""The log is compacted when it holds this many bytes more of the past than of the present."""


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
        config = context.config
        self._context = context
        self._namespace = context.namespace
        self._timeout = config.lock_timeout
        self._read_only = config.read_only
        self.directory = self._directory = context.make_directory()
        self._journal = Journal(
            os.path.join(self._directory, _NAME),
            0o660 if config.permissions == "group" else 0o600,
            durable=config.durability == "fsync",
            read_only=config.read_only,
        )
        self._locks = FileLocks(self._directory, permissions=config.permissions)
        self._writers: set[int] = set()
        """The threads that write or wait for their turn to."""
        self._reader: int | None = None
        """The thread that looks at the state at the moment."""
        self._mutex = RLock()
        self._state = Replay()
        self._version = 0
        self._compact_from = 0
        self._warned = False
        self._closed = False
        with self._reading():
            pass
        renew_in_child(self)

    # --- single entries ---------------------------------------------------------------

    def find(self, cache_key: str) -> StoredPayload | None:
        with self._reading() as space:
            entry = space.table.get(cache_key)
            if entry is None:
                return None
            found = stored_payload(entry)
            inline = self._inline(space.lines[cache_key])
            return *found[:7], json_copy(found[7]), inline, *found[9:]

    def get_entry(self, cache_key: str) -> Entry | None:
        with self._reading() as space:
            return self._whole(space, cache_key)

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        with self._writing() as (space, operations):
            old = space.table.get(entry.cache_key)
            if old is not None and if_absent:
                return self._whole(space, entry.cache_key)
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
        with self._writing() as (space, operations):
            entry = space.table.get(cache_key)
            if entry is None or if_generation not in (None, entry.generation):
                return False
            if "inline" in changes:
                operations.append(put_operation(detached(entry, **changes), changes["inline"]))
            else:
                operations.append(set_operation(self._namespace, cache_key, changes))
            return True

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        with self._writing() as (space, operations):
            known = {key: counted for key, counted in hits.items() if space.table.get(key)}
            if known:
                operations.append(hits_operation(self._namespace, known))

    # --- many entries -----------------------------------------------------------------

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        with self._reading() as space:
            return map(summary_of, list(space.table))

    def count(self) -> int:
        with self._reading() as space:
            return len(space.table)

    def total_size(self) -> int:
        with self._reading() as space:
            return space.table.total_size

    def query_meta(self, /, **filters: Any) -> Iterator[str]:
        from cacheness.filters import Filter

        selected = Filter.parse(filters)
        with self._reading() as space:
            return iter(keys_by_age(space.table.select(selected)))

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        given = list(entries)
        displaced = []
        with self._writing() as (space, operations):
            now_there: dict[str, Entry] = {}
            for entry in given:
                key = entry.cache_key
                old = now_there.get(key) or space.table.get(key)
                if old is not None:
                    displaced.append(old)
                now_there[key] = entry
                operations.append(put_operation(entry, entry.inline))
        return displaced

    def get_entries(self, cache_keys: Sequence[str]) -> dict[str, Entry]:
        with self._reading() as space:
            return {
                key: entry for key in cache_keys if (entry := self._whole(space, key)) is not None
            }

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        given = list(dict.fromkeys(cache_keys))
        with self._writing() as (space, operations):
            found = [old for key in given if (old := space.table.get(key)) is not None]
            self._delete(found, operations)
            return found

    def rename_entries(self, renames: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
        given = list(renames)
        renamed: dict[str, None] = {}
        with self._writing() as (space, operations):
            for cache_key, generation, changes in given:
                old = self._whole(space, cache_key)
                if old is None or old.generation != generation:
                    continue
                new = detached(old, **changes)
                if space.table.get(new.cache_key) is None and new.cache_key not in renamed:
                    self._delete([old], operations)
                    operations.append(put_operation(new, new.inline))
                    renamed[new.cache_key] = None
        return list(renamed)

    def touch_entries(self, filter: Filter, *, now: float) -> int:
        with self._writing() as (space, operations):
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
        with self._reading() as space:
            return list(map(detached, space.table.victims(policy, size, count)))

    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        with self._writing() as (space, operations):
            victims = space.table.over(policy, max_size, max_entries, slack)
            self._delete(victims, operations)
            return victims

    # --- the store --------------------------------------------------------------------

    @property
    def store_id(self) -> str:
        from cacheness.payloads.layout import store_id

        return store_id(self._context.directory, self._context.config)

    def namespaces(self) -> list[str]:
        with self._reading():
            return sorted(name for name, space in self._state.spaces.items() if len(space.table))

    def iter_blob_names(self) -> Iterator[str]:
        with self._reading():
            tables = [space.table for space in list(self._state.spaces.values())]
            return iter([of.blob for table in tables for of in table if of.blob is not None])

    def check_store(self, *, repair: bool) -> list[str]:
        """With ``repair`` the log is replaced by one of what stands, whole lines only."""
        if repair:
            with self._writing():
                if self._journal.end > self._state.live_bytes:
                    self._compact()
                self._journal.damaged = 0
        with self._reading():
            damaged = self._journal.damaged
        if not damaged:
            return []
        return [f"{self._journal.path} holds {damaged} damaged lines, which count for nothing"]

    def read_notes(self, kind: str) -> dict[str, Any]:
        from copy import deepcopy

        with self._reading() as space:
            return deepcopy(space.notes.get(kind, {}))

    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        from copy import deepcopy

        with self._writing() as (_, operations):
            operations.append(note_operation(self._namespace, kind, deepcopy(dict(notes))))

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        with self._writing() as (space, operations):
            notes = add_notes(space.notes.get("statistics", {}), amounts)
            operations.append(note_operation(self._namespace, "statistics", notes))

    def change_token(self) -> object:
        with self._reading():
            return self._version

    def close(self) -> None:
        with self._mutex:
            self._closed = True
            self._journal.close()
            self._state = Replay()
        self._locks.close()

    def after_fork(self) -> None:
        """In a child: begin anew, since a thread of the parent may have been at work."""
        self._mutex = RLock()
        self._writers = set()
        self._reader = None
        self._journal.close()
        self._state = Replay()

    # --- reading ------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Space]:
        """The namespace as it is now, to this thread alone."""
        with self._mutex:
            try:
                with self._caught_up(settled=False) as space:
                    yield space
            except OSError as error:
                raise self._unavailable(error) from error

    @contextmanager
    def _caught_up(self, *, settled: bool) -> Iterator[Space]:
        """The namespace as it is now; the caller holds the mutex.

        A signal handler or a finaliser that reads while its thread is in here sees what
        there is: nothing is moved under the feet of whom it interrupted.
        """
        if self._reader is not None:
            yield self._state.space(self._namespace)
            return
        self._reader = get_ident()
        try:
            self._catch_up(settled=settled)
            yield self._state.space(self._namespace)
        finally:
            self._reader = None

    def _catch_up(self, *, settled: bool) -> None:
        """Read what was written since; ``settled`` as in `Journal.read_new`."""
        if self._closed:
            raise CacheClosedError("the cache is closed")
        journal = self._journal
        if not journal.changed():
            return
        try:
            if journal.restarted():
                self._state = Replay()
            for operation, place in journal.read_new(settled=settled):
                if not self._state.apply(operation, place):
                    journal.damaged += 1
        except BaseException:
            journal.close()
            self._state = Replay()
            raise
        self._version += 1
        if journal.damaged and not self._warned:
            self._warned = True
            warn(
                f"{journal.path} holds {journal.damaged} damaged lines; what they recorded is "
                "lost, the rest is read",
                CorruptionWarning,
            )

    def _whole(self, space: Space, cache_key: str) -> Entry | None:
        entry = space.table.get(cache_key)
        if entry is None:
            return None
        return detached(entry, inline=self._inline(space.lines[cache_key]))

    def _inline(self, line: Line) -> bytes | None:
        return inline_of(self._journal.read_line(line.place)) if line.inline else None

    def _unavailable(self, error: OSError) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"{self._journal.path} can't be used: {error.strerror or error}"
        )

    # --- writing ------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[tuple[Space, list[Operation]]]:
        """The namespace as it is now, to this thread of all processes alone.

        The operations that the body appends to the list are written when it ends, all of
        them or none.
        """
        if self._read_only:
            raise ReadOnlyError(f"{self._journal.path} was opened with read_only=True")
        if not os.path.isdir(self._directory):
            self._context.make_directory()
        thread = get_ident()
        if thread in self._writers or thread == self._reader:
            raise BackendUnavailableError(
                f"{self._journal.path} is in use by this very thread; a signal handler or a "
                "finaliser can't write to it in between: let it try again later"
            )
        operations: list[Operation] = []
        lock = self._locks.hold(_NAME, timeout=self._timeout)
        try:
            self._writers.add(thread)
            lock.__enter__()
            with self._mutex, self._caught_up(settled=True) as space:
                yield space, operations
                self._write(operations)
            # Other threads may read on while this one waits for the disk.
            if operations:
                self._journal.sync()
        except OSError as error:
            raise self._unavailable(error) from error
        finally:
            try:
                lock.release()
            except BaseException:
                lock.release()  # an interrupt may have come before its first line
                raise
            finally:
                self._writers.discard(thread)

    def _write(self, operations: list[Operation]) -> None:
        if not operations:
            return
        for operation in operations[:-1]:
            operation["more"] = True
        if self._journal.end == 0:
            operations.insert(0, first_operation())
        places = self._journal.append([encode_line(operation) for operation in operations])
        try:
            for operation, place in zip(operations, places, strict=True):
                self._state.apply(operation, place)
        except BaseException:  # a signal handler's: what was appended is read anew
            self._journal.close()
            self._state = Replay()
            raise
        self._version += 1
        if self._journal.end > max(2 * self._state.live_bytes + _SLACK, self._compact_from):
            self._compact()

    def _compact(self) -> None:
        """Replace the log by a shorter one; where that fails, try again at twice the length."""
        self._compact_from = 2 * self._journal.end
        moved: list[Line | None] = []

        def lines() -> Iterator[bytes]:
            for raw, line in self._state.compacted(self._journal.read_line):
                moved.append(line)
                yield raw

        try:
            places = self._journal.replace(lines())
        except OSError:
            return
        self._state.moved(moved, places)
        self._compact_from = 0

    def _delete_if(self, cache_key: str, condition: Callable[[Entry], bool]) -> Entry | None:
        with self._writing() as (space, operations):
            entry = space.table.get(cache_key)
            if entry is None or not condition(entry):
                return None
            self._delete([entry], operations)
            return entry

    def _delete_all(self, choose: Callable[[EntryTable], list[Entry]]) -> list[Entry]:
        with self._writing() as (space, operations):
            found = choose(space.table)
            self._delete(found, operations)
            return found

    def _delete(self, entries: list[Entry], operations: list[Operation]) -> None:
        if entries:
            keys = [entry.cache_key for entry in entries]
            operations.append(delete_operation(self._namespace, keys))
