# SPDX-License-Identifier: MIT
"""A bounded tier in the memory of this process, in front of any metadata backend."""

from __future__ import annotations

from _thread import RLock, _local
from collections import OrderedDict
from time import monotonic, time

from cacheness.backends.base import MetadataBackend
from cacheness.backends.shapes import plain_payload, stored_payload
from cacheness.backends.wrapper_kept import OVERHEAD, Kept
from cacheness.forks import renew_in_child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, TypeVar

    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.backends.shapes import (
        Held,
        Labels,
        PlainPayload,
        Remains,
        Removed,
        StoredPayload,
    )
    from cacheness.custom_metadata import RecordQuery
    from cacheness.entry import Entry
    from cacheness.filters import Filter

    Kind = TypeVar("Kind", Entry, Entry | PlainEntry)

__all__ = ["MemoryCacheWrapper"]


class MemoryCacheWrapper(MetadataBackend):
    """Keeps the entries that were read last in memory, as far as their payload is in them.

    A change through this object is seen at once. A change by others is seen at latest
    ``staleness`` seconds after it was made: the first read after that time asks the
    backend's `MetadataBackend.change_token`, and forgets everything if it is another one,
    or if the backend can't tell. A miss is never remembered.

    What `find` gives is shared by all who ask: its metadata are to be read only.

    Beside the payloads, values are kept that somebody has decoded and gave to `remember`:
    `recall` gives what makes one of them again.

    Args:
        backend: Where the entries are recorded. It is closed with this object.
        max_bytes: How much to keep, roughly; what was read longest ago goes first, and
            what would fill more than a quarter is not kept.
        staleness: Seconds. Zero asks the backend at every read.
        on_request: Keep nothing but what `remember` is given, so that `find` and the others
            are never stale.
    """

    def __init__(
        self,
        backend: MetadataBackend,
        *,
        max_bytes: int,
        staleness: float,
        on_request: bool = False,
    ) -> None:
        self.backend = backend
        self.capabilities = backend.capabilities
        self.blob_backend = backend.blob_backend
        self.shared = backend.shared
        self.knows_its_size = backend.knows_its_size
        self.finds_plain = backend.finds_plain
        self.directory = backend.directory
        self._max_bytes = max_bytes
        self._staleness = staleness
        self._on_request = on_request
        self._mutex = RLock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0
        self._epoch = 0
        self._check_at = 0.0
        self._seen = _local()
        renew_in_child(self)

    def keep_up_to(self, max_bytes: int) -> None:
        """Let it keep so much, if that is more than before."""
        self._max_bytes = max(self._max_bytes, max_bytes)

    def after_fork(self) -> None:
        """In a child: begin empty, since a thread of the parent may have been at work."""
        self._mutex = RLock()
        self._seen = _local()
        self._forget()

    # --- values -----------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Changes whenever something is forgotten; ask before reading what is to be remembered."""
        return self._epoch

    def recall(self, cache_key: str, way: str = "") -> Callable[[], Any] | None:
        """[hot] What gives the value that was remembered, or None. No lock, as in `find`; 0.3 µs.

        Args:
            cache_key: The entry.
            way: As it was remembered.
        """
        if monotonic() >= self._check_at:
            self._check()
        kept = self._kept.get(cache_key)
        if kept is None or kept.give is None or kept.way != way:
            return None
        if kept.expires_at is not None and time() >= kept.expires_at:
            return None
        try:
            self._kept.move_to_end(cache_key)
        except KeyError:
            return None  # forgotten meanwhile
        return kept.give

    def remember(
        self,
        cache_key: str,
        give: Callable[[], Any],
        *,
        size: int,
        expires_at: float | None,
        epoch: int,
        way: str = "",
    ) -> None:
        """Keep what gives a value, for `recall`.

        Args:
            cache_key: The entry.
            give: Called at each recall, by any thread.
            size: Bytes that the value takes.
            expires_at: When the entry expires.
            epoch: What `epoch` was before the entry was read.
            way: Tells apart ways of giving that do not replace each other.
        """
        size += OVERHEAD
        if 4 * size > self._max_bytes:
            return
        with self._mutex:
            if epoch != self._epoch:
                return
            kept = self._kept.get(cache_key)
            if kept is None:
                self._kept[cache_key] = kept = Kept(None, None)
            kept.size += size - kept.value_size
            self._bytes += size - kept.value_size
            kept.value_size = size
            kept.give, kept.way, kept.expires_at = give, way, expires_at
            self._shrink()
            self._drop_if_overtaken(cache_key, epoch)

    # --- what is kept -----------------------------------------------------------------

    def find(self, cache_key: str) -> StoredPayload | None:
        """[hot] No lock: looking up and moving to the end are atomic each.

        What is dropped between the two was right when it was looked up. A kept entry takes
        0.3 µs.
        """
        if monotonic() >= self._check_at:
            self._check()
        try:
            payload = self._kept[cache_key].payload
            self._kept.move_to_end(cache_key)
        except KeyError:
            return self._load(cache_key)
        return payload or self._load(cache_key)

    def find_plain(self, cache_key: str) -> PlainPayload | None:
        """[hot] As `find`."""
        if monotonic() >= self._check_at:
            self._check()
        try:
            kept = self._kept[cache_key]
            self._kept.move_to_end(cache_key)
        except KeyError:
            return self._load_plain(cache_key)
        return kept.plain if kept.payload else self._load_plain(cache_key)

    def get_entry(self, cache_key: str) -> Entry | None:
        from cacheness.backends.table import detached

        if monotonic() >= self._check_at:
            self._check()
        kept = self._kept.get(cache_key)
        if kept is not None and kept.entry is not None:
            return detached(kept.entry)
        epoch = self._epoch
        entry = self.backend.get_entry(cache_key)
        if entry is not None:
            self._keep(cache_key, Kept(stored_payload(entry), detached(entry)), epoch)
        return entry

    def _load_plain(self, cache_key: str) -> PlainPayload | None:
        if self._on_request or not self.finds_plain:
            return self.backend.find_plain(cache_key)
        loaded = self._load(cache_key)
        return None if loaded is None else plain_payload(loaded)

    def _load(self, cache_key: str) -> StoredPayload | None:
        epoch = self._epoch
        payload = self.backend.find(cache_key)
        if payload is not None:
            self._keep(cache_key, Kept(payload, None), epoch)
        return payload

    def _keep(self, cache_key: str, kept: Kept, epoch: int) -> None:
        """Keep what was read, unless something was forgotten since the read began."""
        if self._on_request or not kept.payload or kept.payload[_INLINE] is None:
            return
        if 4 * kept.size > self._max_bytes:
            return
        with self._mutex:
            if epoch != self._epoch:
                return
            self._drop(cache_key)
            self._kept[cache_key] = kept
            self._bytes += kept.size
            self._shrink()
            self._drop_if_overtaken(cache_key, epoch)

    def _shrink(self) -> None:
        """Drop what was read longest ago, down to the bound; under the mutex.

        Readers, who hold no mutex, move entries meanwhile: nothing may iterate here.
        """
        while self._bytes > self._max_bytes:
            try:
                _, kept = self._kept.popitem(last=False)
            except KeyError:
                return
            self._bytes -= kept.size

    def _drop_if_overtaken(self, cache_key: str, epoch: int) -> None:
        """Forget what a signal handler forgot while this thread held the mutex."""
        if epoch != self._epoch:
            self._drop(cache_key)

    def _check(self) -> None:
        """Forget everything if somebody else may have changed the store.

        A token is compared with the one that the same thread saw before, as a backend may
        have a connection for each thread. A thread that saw none can't tell.
        """
        now = monotonic()
        token = self.backend.change_token()
        seen = getattr(self._seen, "token", None)
        if token is None or token != seen:
            self._forget()
            self._seen.token = token
        self._check_at = now + self._staleness

    def _forget(self, cache_keys: Iterable[str] | None = None) -> None:
        """Forget these keys, or all, and what is being read of them at the moment."""
        with self._mutex:
            self._epoch += 1
            if cache_keys is None:
                self._kept.clear()
                self._bytes = 0
            else:
                for cache_key in cache_keys:
                    self._drop(cache_key)

    def _drop(self, cache_key: str) -> None:
        kept = self._kept.pop(cache_key, None)
        if kept is not None:
            self._bytes -= kept.size

    # --- changes ------------------------------------------------------------------------

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        with self._forgetting(entry.cache_key):
            return self.backend.put_entry(entry, if_absent=if_absent)

    def put_plain(self, plain: PlainEntry) -> Remains | None:
        with self._forgetting(plain.cache_key):
            return self.backend.put_plain(plain)

    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        with self._forgetting(cache_key):
            return self.backend.delete_entry(cache_key, if_generation=if_generation)

    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        with self._forgetting(cache_key):
            return self.backend.expire_entry(cache_key, if_generation=if_generation, now=now)

    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        with self._forgetting(cache_key):
            return self.backend.update_fields(cache_key, changes, if_generation=if_generation)

    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        try:
            self.backend.record_hits(hits)
        finally:
            # A payload says nothing of hits, so it may stay.
            with self._mutex:
                self._epoch += 1
                for cache_key in hits:
                    kept = self._kept.get(cache_key)
                    if kept is not None:
                        kept.entry = None

    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        given: list[str] = []
        try:
            return self.backend.put_entries(_noting(entries, given))
        finally:
            self._forget(given)

    def put_prepared(self, prepared: Iterable[Entry | PlainEntry]) -> list[Entry]:
        given: list[str] = []
        try:
            return self.backend.put_prepared(_noting(prepared, given))
        finally:
            self._forget(given)

    def delete_entries(self, cache_keys: Iterable[str]) -> list[Entry]:
        given = list(cache_keys)
        with self._forgetting(*given):
            return self.backend.delete_entries(given)

    def rename_entries(self, renames: Iterable[tuple[str, int, Mapping[str, Any]]]) -> list[str]:
        given = list(renames)
        named = [key for old, _, changes in given for key in (old, changes["cache_key"])]
        with self._forgetting(*named):
            return self.backend.rename_entries(given)

    def touch_entry(self, cache_key: str, prefix: str | None, *, now: float) -> bool | None:
        with self._forgetting(cache_key):
            return self.backend.touch_entry(cache_key, prefix, now=now)

    def touch_entries(self, filter: Filter, *, now: float) -> int:
        try:
            return self.backend.touch_entries(filter, now=now)
        finally:
            self._forget()

    def delete_where(self, filter: Filter) -> list[Entry]:
        try:
            return self.backend.delete_where(filter)
        finally:
            self._forget()

    def remove_entry(self, cache_key: str) -> Removed | None:
        with self._forgetting(cache_key):
            return self.backend.remove_entry(cache_key)

    def remove_where(self, filter: Filter) -> list[Removed]:
        try:
            return self.backend.remove_where(filter)
        finally:
            self._forget()

    def remove_generations(self, generations: Mapping[str, int]) -> list[Removed]:
        with self._forgetting(*generations):
            return self.backend.remove_generations(generations)

    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        removed: list[Entry] | None = None
        try:
            removed = self.backend.evict(
                policy, max_size=max_size, max_entries=max_entries, slack=slack
            )
        finally:
            self._forget(None if removed is None else [entry.cache_key for entry in removed])
        return removed  # pyright: ignore[reportReturnType]  # it is a list once evict returned

    def delete_generations(self, generations: Mapping[str, int]) -> list[Entry]:
        with self._forgetting(*generations):
            return self.backend.delete_generations(generations)

    def delete_expired(self, now: float) -> list[Entry]:
        try:
            return self.backend.delete_expired(now)
        finally:
            self._forget()

    def close(self) -> None:
        self._forget()
        self.backend.close()

    def _forgetting(self, *cache_keys: str) -> _Forgetting:
        return _Forgetting(self._forget, cache_keys)

    # --- passed on ----------------------------------------------------------------------

    def find_many(self, cache_keys: Sequence[str]) -> dict[str, StoredPayload]:
        return self.backend.find_many(cache_keys)

    def get_entries(self, cache_keys: Sequence[str]) -> dict[str, Entry]:
        return self.backend.get_entries(cache_keys)

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        return self.backend.iter_entry_summaries()

    def iter_keys(self) -> Iterator[str]:
        return self.backend.iter_keys()

    def list_entries(self) -> list[Entry]:
        return self.backend.list_entries()

    def count(self) -> int:
        return self.backend.count()

    def total_size(self) -> int:
        return self.backend.total_size()

    def held(self, now: float) -> list[Held]:
        return self.backend.held(now)

    def query_meta(self, /, **filters: Any) -> Iterator[str]:
        return self.backend.query_meta(**filters)

    def query_where(self, filter: Filter, expression: Any) -> Iterator[str]:
        return self.backend.query_where(filter, expression)

    def query_records(self, query: RecordQuery) -> Iterator[tuple[str, Any]]:
        return self.backend.query_records(query)

    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        return self.backend.victims(policy, size, count)

    @property
    def store_id(self) -> str | None:
        return self.backend.store_id

    def namespaces(self) -> list[str]:
        return self.backend.namespaces()

    def iter_blob_names(self) -> Iterator[str] | None:
        return self.backend.iter_blob_names()

    def check_store(self, *, repair: bool) -> list[str]:
        return self.backend.check_store(repair=repair)

    def read_notes(self, kind: str) -> dict[str, Any]:
        return self.backend.read_notes(kind)

    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        self.backend.write_notes(kind, notes)

    def read_statistics(self) -> dict[str, float]:
        return self.backend.read_statistics()

    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        self.backend.add_statistics(amounts)

    def labels(self, cache_keys: Sequence[str]) -> dict[str, Labels]:
        return self.backend.labels(cache_keys)

    def change_token(self) -> object:
        return self.backend.change_token()

    def lock(self, cache_key: str) -> AbstractContextManager[None]:
        return self.backend.lock(cache_key)


def _noting(entries: Iterable[Kind], cache_keys: list[str]) -> Iterator[Kind]:
    """The entries; their keys go into the list as they are asked for."""
    for entry in entries:
        cache_keys.append(entry.cache_key)
        yield entry


_INLINE = 8
"""Where `stored_payload` has the payload."""


class _Forgetting:
    """Forgets keys when its body ends, however it ends: then nobody knows what is stored."""

    __slots__ = ("_forget", "_keys")

    def __init__(
        self, forget: Callable[[Iterable[str]], None], cache_keys: tuple[str, ...]
    ) -> None:
        self._forget = forget
        self._keys = cache_keys

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, *_: object) -> None:
        self._forget(self._keys)
