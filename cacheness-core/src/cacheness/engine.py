# SPDX-License-Identifier: MIT
"""What one cache is made of: opened at first need, shared by its ways, closed once.

`UnifiedCache` names an entry and hands on to the ways that are made of these parts: a put
travels through `writer`, a get through `reader`.
"""

from __future__ import annotations

import atexit
import sys
from _thread import RLock
from time import time
from weakref import WeakSet

from cacheness import logged
from cacheness.errors import (
    BackendUnavailableError,
    CacheClosedError,
    ConfigError,
    ReadOnlyError,
)
from cacheness.forks import renew_in_child
from cacheness.plugins.registry import registry_for
from cacheness.reader import Reader
from cacheness.statistics.hits import HitBuffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from cacheness.backends.base import BackendContext, MetadataBackend
    from cacheness.backends.shapes import Removed
    from cacheness.backends.wrapper import MemoryCacheWrapper
    from cacheness.blobs.base import BlobBackend
    from cacheness.config import CacheConfig
    from cacheness.entry import Entry
    from cacheness.events import Event, EventKind
    from cacheness.flights.flight import Flights
    from cacheness.payloads.signing import Signer
    from cacheness.progress import Progress
    from cacheness.upkeep.tombstones import Why
    from cacheness.upkeep.upkeep import Upkeep
    from cacheness.writer import Writer

__all__ = ["Engine"]

_REQUESTED_BYTES = 64 << 20
"""What `Engine.request_memory` keeps where the cache itself keeps nothing in memory."""


class Engine:
    """What one cache is made of.

    Args:
        config: The cache's options.

    Raises:
        ConfigError: The directory can't be used, or a backend or compressor is not installed.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.registry = registry_for(config.disabled_plugins)
        self.registry.check_names(config.compressor, config.blob_backend)
        self.observers = self.registry.observers()
        self._opening = RLock()
        self.memory: MemoryCacheWrapper | None = None
        self.requested: MemoryCacheWrapper | None = None
        self.backend = self._open_backend()
        self._blob_backend: BlobBackend | None = None
        self._claimed: str | None = None
        self._signer: Signer | None = None
        self._kept_up: Upkeep | None = None
        self._flights: Flights | None = None
        self.made_writer: Writer | None = None
        """`writer`, once something was put: asking for it there costs a small put a call."""
        self.hits = HitBuffer(self.backend, writes=not config.read_only)
        self.reader = Reader(self)
        _living.add(self)
        renew_in_child(self)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return isinstance(self.backend, _Closed)

    def close(self) -> None:
        """Write what is buffered and release what is held; closing twice is allowed."""
        if self.closed:
            return
        if not sys.is_finalizing():  # then nothing can be imported, and `_flush_all` was there
            self.hits.flush()
        backend, blobs = self.backend, self._blob_backend
        self.backend = _closed
        self.memory = self.requested = None
        self._blob_backend = None
        _living.discard(self)
        backend.close()
        if blobs is not None:
            blobs.close()
        if self._flights is not None:
            self._flights.close()

    # --- what is opened at first need -------------------------------------------------

    def _open_backend(self) -> MetadataBackend:
        from cacheness.backends.base import BackendContext

        config = self.config
        self._context = BackendContext(config.cache_dir, config.namespace, config)
        make = self.registry.metadata_backend(config.metadata_backend)
        backend: MetadataBackend = _made(make, self._context, "metadata", config.metadata_options)
        if config.memory_bytes:
            from cacheness.backends.wrapper import MemoryCacheWrapper

            backend = self.memory = MemoryCacheWrapper(
                backend, max_bytes=config.memory_bytes, staleness=config.memory_staleness
            )
        return backend

    def blobs(self) -> BlobBackend:
        """Where large payloads are kept."""
        blobs = self._blob_backend
        return self._opened_blobs() if blobs is None else blobs

    def _opened_blobs(self) -> BlobBackend:
        """The one store of the cache: what another one held in memory would be out of reach."""
        with self._opening:
            if self._blob_backend is None:
                name = self.config.blob_backend or self.backend.blob_backend
                make = self.registry.blob_backend(name)
                options = self.config.blob_options
                blobs: BlobBackend = _made(make, self._context, "blob", options)
                # A signal handler may have come before.
                if self._blob_backend is None:
                    self._blob_backend = blobs
            return self._blob_backend

    def claimed_store(self) -> str:
        """The id of the blob store, which is told first whose entries name blobs in it."""
        store = self.blobs().store_id
        if store != self._claimed:
            owner = self.owner()
            if owner:
                self.blobs().claim(owner)
            self._claimed = store
        return store

    def owner(self) -> str | None:
        """Whose entries name blobs, as the blob store is told; None where nobody can tell.

        Where the blobs are not kept beside the entries, a directory of entries counts by its
        path as well: a copy of it is another owner.
        """
        from os.path import dirname, normpath

        owner, records, blobs = (
            self.backend.store_id,
            self.backend.directory,
            self.blobs().directory,
        )
        if not owner or records is None:
            return owner
        beside = blobs is not None and dirname(blobs) == normpath(records)
        return owner if beside else f"{owner} {records}"

    @property
    def writer(self) -> Writer:
        """The way of a put."""
        if self.made_writer is None:
            from cacheness.writer import Writer

            self.made_writer = Writer(self)
        return self.made_writer

    def request_memory(self, max_bytes: int = _REQUESTED_BYTES) -> MemoryCacheWrapper:
        """The tier that keeps what `Reader.read_remembered` reads; all changes then go through it.

        Of several who ask, the one who asks for most decides how much it keeps.
        """
        from cacheness.backends.wrapper import MemoryCacheWrapper

        with self._opening:
            tier = self.requested or self.memory
            if tier is None:
                self.backend = tier = MemoryCacheWrapper(
                    self.backend,
                    max_bytes=max_bytes,
                    staleness=self.config.memory_staleness,
                    on_request=True,
                )
                self._kept_up = None  # made anew, of the tier
            tier.keep_up_to(max_bytes)
            self.requested = tier
            return tier

    @property
    def flights(self) -> Flights:
        """Who computes which entry; of use after a miss only."""
        flights = self._flights
        return self._opened_flights() if flights is None else flights

    def _opened_flights(self) -> Flights:
        """The one object of the cache: another one's lock file would stay open."""
        from cacheness.flights.flight import Flights

        with self._opening:
            if self._flights is None:
                self._flights = Flights(self.backend, self.config)
                if self.closed:  # meanwhile, by another thread, which had nothing to close
                    self._flights.close()
            return self._flights

    def signer(self) -> Signer:
        """What signs and verifies here."""
        if self._signer is None:
            from cacheness.payloads.signing import Signer

            self._signer = Signer(self.config, shared=self.backend.shared)
        return self._signer

    def directories(self) -> list[str]:
        """What grows on disks of this machine."""
        blobs = self._blob_backend
        both = (self.backend.directory, None if blobs is None else blobs.directory)
        return [path for path in both if path is not None]

    def upkeep(self) -> Upkeep:
        """What looks after the store at each put."""
        if self._kept_up is None:
            from cacheness.upkeep.upkeep import Upkeep

            self._kept_up = Upkeep(self)
        return self._kept_up

    # --- many entries -----------------------------------------------------------------

    def clear(self, filters: Mapping[str, object], progress: Progress = None) -> int:
        """Remove the entries that the filters select; give their number."""
        from cacheness.filters import Filter

        self.check_writable()
        removed = self.backend.remove_where(Filter.parse(filters))
        return self.let_go(removed, "invalidate", progress)

    def dispose(self, removed: Sequence[Entry], kind: EventKind, progress: Progress = None) -> int:
        """Remove the blobs of entries that were removed, and tell observers; their number."""
        from cacheness.backends.shapes import removed_of

        if kind == "expire":
            self.bury(removed, "expired")
        return self.let_go(list(map(removed_of, removed)), kind, progress)

    def let_go(self, removed: Sequence[Removed], kind: EventKind, progress: Progress = None) -> int:
        """`dispose`, of which no entries are at hand."""
        from cacheness.progress import reporting

        is_heard = bool(self.observers) or logged.is_logged()
        with reporting(progress, len(removed), "removing") as advance:
            for key, handler, stored_bytes, blob, store in removed:
                self.discard_blob(blob, store)
                if is_heard:
                    self.tell(kind, key, handler, stored_bytes)
                advance(1)
        return len(removed)

    def flush(self) -> None:
        """Write the hits and misses that are buffered."""
        self.hits.flush()

    def after_fork(self) -> None:
        """In a child: the hits that are buffered are the parent's to write."""
        self._opening = RLock()
        self.hits.forget()

    # --- what the others share --------------------------------------------------------

    def check_open(self) -> None:
        """Refuse what would not come to the backend of its own, as it asks for nothing."""
        if self.backend is _closed:
            raise CacheClosedError("the cache is closed")

    def check_writable(self) -> None:
        """Refuse a change where the cache was opened read-only."""
        if self.config.read_only:
            raise ReadOnlyError(
                f"the cache {self.config.cache_dir!r} was opened with read_only=True"
            )

    def discard(self, entry: Entry) -> None:
        """Remove the blob of an entry that no longer stands.

        One that can't be removed now is an orphan for a later clean-up.
        """
        self.discard_blob(entry.blob, entry.blob_store)

    def discard_blob(self, blob: str | None, store: str | None) -> None:
        """Remove the blob of an entry that no longer stands, from the store that it is in."""
        if blob is None:
            return
        try:
            if store is None or store == self.blobs().store_id:
                self.drop_blob(blob)
        except BackendUnavailableError:
            return

    def bury(self, entries: Iterable[Entry], why: Why, reason: str = "") -> None:
        """Remember why these entries are gone."""
        from cacheness.upkeep.tombstones import record

        record(self.backend, entries, why, time(), reason)

    def drop_blob(self, name: str | None) -> None:
        """Remove a blob that no entry names, if it can be removed."""
        if name is None:
            return
        from cacheness.disk.unrecorded import is_inherited, seen_to

        if is_inherited(name):
            return
        try:
            seen_to(name)  # so it is to nobody any more
            self.blobs().delete(name)
        except (OSError, ValueError):  # the name itself may be damaged
            return

    def watch(self, observer: Callable[[Event], None]) -> None:
        """Tell this observer, too, of what happens in this cache from now on."""
        self.observers = (*self.observers, observer)

    def tell(
        self,
        kind: EventKind,
        key: str,
        handler: str | None = None,
        stored_bytes: int | None = None,
        reason: str = "",
    ) -> None:
        """Tell observers, and the log where somebody listens to it."""
        if logged.is_logged():
            sys.modules["logging"].getLogger("cacheness").debug(
                "%s %s%s", kind, key, reason and f": {reason}"
            )
        if self.observers:
            from cacheness.events import Event

            event = Event(kind, self.config.namespace, key, handler, stored_bytes, reason)
            for observer in self.observers:
                observer(event)


def _made(make: Callable[..., Any], context: BackendContext, kind: str, options: Any) -> Any:
    """A backend, made with the options of the caller's own.

    Raises:
        ConfigError: It takes no such options, or needs others.
    """
    try:
        return make(context, **options)
    except TypeError:
        from inspect import signature

        taken = signature(make)
        try:
            taken.bind(context, **options)
        except TypeError as error:
            names = ", ".join(list(taken.parameters)[1:]) or "none"
            raise ConfigError(
                f"the {kind} backend can't be made with these {kind}_options: {error}; it takes "
                f"{names}"
            ) from None
        raise


class _Closed:
    """Stands in for the backend of a closed cache."""

    def __getattr__(self, name: str) -> Any:
        raise CacheClosedError("the cache is closed")


_closed: Any = _Closed()
_living: WeakSet[Engine] = WeakSet()
"""The open caches, which write their buffered hits at exit."""


@atexit.register
def _flush_all() -> None:
    for engine in list(_living):
        try:
            engine.flush()
        except CacheClosedError:  # by a finaliser, meanwhile
            continue
