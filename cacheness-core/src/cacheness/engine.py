# SPDX-License-Identifier: MIT
"""The way of a value to the store, and back, for one cache.

`UnifiedCache` names the entry and hands on to this. A put travels: handler, compressor
and checksum (`payloads.encode`), a blob where it is large (`blobs`), the entry
(`backends`). A get travels: entry, payload (`payloads.decode`), handler.
"""

from __future__ import annotations

import atexit
import errno
import sys
from _thread import RLock
from time import perf_counter, time
from weakref import WeakSet

from cacheness.config import parse_ttl
from cacheness.errors import (
    BackendUnavailableError,
    BlobCorruptedError,
    CacheClosedError,
    CachenessError,
    CachenessWarning,
    ReadOnlyError,
    SignatureError,
    warn,
)
from cacheness.forks import renew_in_child
from cacheness.hits import SAMPLED, HitBuffer
from cacheness.outcomes import KEPT, MISS, OVERTAKEN, UNSET
from cacheness.payloads.decode import Decoder
from cacheness.payloads.refusals import BadSignatureError, UndecodableError, ends_the_caller
from cacheness.plugins.registry import registry_for
from cacheness.switch import is_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Literal

    from cacheness.backends.base import MetadataBackend, StoredPayload
    from cacheness.backends.wrapper import MemoryCacheWrapper
    from cacheness.blobs.base import BlobBackend
    from cacheness.config import CacheConfig, Duration
    from cacheness.entry import Entry
    from cacheness.events import Event, EventKind
    from cacheness.faults import Faults
    from cacheness.flight import Flights
    from cacheness.payloads.encode import Encoded, Encoder
    from cacheness.payloads.signing import Signer
    from cacheness.plugins.registry import Registry
    from cacheness.progress import Progress
    from cacheness.small_put import SmallPut
    from cacheness.tombstones import Why
    from cacheness.upkeep import Upkeep

__all__ = ["Engine"]

_NO_SPACE = frozenset({errno.ENOSPC, errno.EFBIG})
_TRIES = 8
"""How often a read looks again where a replace overtook it between entry and blob."""


_REQUESTED_BYTES = 64 << 20
"""What `Engine.read_remembered` keeps in memory where the cache itself keeps nothing."""


class Engine:
    """What one cache is made of, and how a value travels through it.

    Args:
        config: The cache's options.

    Raises:
        ConfigError: The directory can't be used, or a backend is not installed.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self._registry = registry_for(config.disabled_plugins)
        self._observers = self._registry.observers()
        self._opening = RLock()
        self._memory: MemoryCacheWrapper | None = None
        self._requested: MemoryCacheWrapper | None = None
        self.backend = self._open_backend()
        self._blob_backend: BlobBackend | None = None
        self._claimed: str | None = None
        self._signer: Signer | None = None
        self._encoder: Encoder | None = None
        self._kept_up: Upkeep | None = None
        self._flights: Flights | None = None
        self._small_put: SmallPut | None = None
        self._decoder = Decoder(self._registry, config, self.blobs, self._signing)
        self._hits = HitBuffer(self.backend, writes=not config.read_only)
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
            self._hits.flush()
        backend, blobs = self.backend, self._blob_backend
        self.backend = _closed
        self._memory = self._requested = None
        self._blob_backend = None
        _living.discard(self)
        backend.close()
        if blobs is not None:
            blobs.close()
        if self._flights is not None:
            self._flights.close()

    # --- the way of a put -------------------------------------------------------------

    def store(
        self,
        key: str,
        obj: object,
        details: dict[str, Any],
        handler: str | None = None,
        compressor: str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        if_absent: bool = False,
    ) -> bool:
        """Write the payload, then the entry, then remove what it replaced."""
        self.check_writable()
        if is_off():
            return False
        entry = self.prepare(key, obj, details, handler, compressor, options)
        if entry is None:
            return False
        try:
            other = self.backend.put_entry(entry, if_absent=if_absent)
        except BaseException:
            self.withdraw((entry,))
            raise
        if other is not None:
            if if_absent:
                self.discard(entry)
                return False
            self.discard(other)
            if other.prefix != entry.prefix:
                self.warn_of_prefix(other, entry.prefix)
        self.tell("put", key, entry.handler, entry.stored_bytes)
        self.make_room(entry.stored_bytes)
        if entry.function is not None:
            self._hits.computed(entry.function, entry.prefix)
            self.upkeep().sweep(entry.function, entry)
        self._hits.settle()
        return True

    def store_small(self, key: str, obj: object, params: Mapping[str, object] | None) -> bool:
        """[hot] `store` of a small value of which nothing but its name was said.

        Returns:
            False where it needs more than that; nothing was done then.
        """
        self.check_writable()
        if is_off():
            return False
        small = self._small_put
        if small is None:
            from cacheness.small_put import SmallPut

            small = self._small_put = SmallPut(self)
        return small.store(key, obj, params)

    def stored(self, key: str, handler: str, stored_bytes: int, other: Entry | None) -> None:
        """[hot] What follows when an entry without a prefix took the place of another."""
        if other is not None:
            self.discard(other)
            if other.prefix:
                self.warn_of_prefix(other, "")
        if self._observers or is_logged():
            self.tell("put", key, handler, stored_bytes)
        self.upkeep().make_room(stored_bytes)
        self._hits.settle()

    def prepare(
        self,
        key: str,
        obj: object,
        details: dict[str, Any],
        handler: str | None = None,
        compressor: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Entry | None:
        """Write the payload, and make its entry, which is not recorded yet.

        Returns:
            None where it is larger than the cache may be, or needs a signature and there
            is no key to make one; nothing is left of it then.
        """
        encoded = self._encoded(key, obj, handler, compressor, options)
        return None if encoded is None else self._entry(key, obj, encoded, details)

    def _encoded(
        self,
        key: str,
        obj: object,
        handler: str | None,
        compressor: str | None,
        options: Mapping[str, Any] | None,
    ) -> Encoded | None:
        """The payload, which is written; None where it is larger than the cache may be."""
        upkeep = self.upkeep()
        upkeep.before_writing(key, obj)
        try:
            encoded = self._encoding().encode(
                obj, handler=handler, compressor=compressor, options=options
            )
        except OSError as error:
            way = "; free some space on the disk" if error.errno in _NO_SPACE else ""
            raise BackendUnavailableError(f"entry {key} can't be stored: {error}{way}") from error
        try:
            own_file = encoded.blob is not None
            admitted = upkeep.admits(key, encoded.stored_bytes, own_file=own_file)
        except BaseException:
            self._drop_blob(encoded.blob)
            raise
        if not admitted:
            self._drop_blob(encoded.blob)
            return None
        return encoded

    def make_room(self, stored_bytes: int) -> None:
        """Remove what the bounds ask for after a put of so many bytes."""
        self.upkeep().make_room(stored_bytes)

    def _entry(
        self, key: str, obj: object, encoded: Encoded, details: dict[str, Any]
    ) -> Entry | None:
        """The entry of an encoded payload; None where it needs a signature and no key is."""
        from cacheness.entry import build_entry
        from cacheness.generations import new_generation

        now = time()
        ttl = details["ttl_seconds"]
        of = type(obj)
        generation = new_generation()
        signed = self.config.signing == "all" or (
            self.config.signing == "auto" and not encoded.data_only
        )
        signature = self._sign(key, generation, encoded) if signed else None
        if signed and signature is None:
            self._drop_blob(encoded.blob)
            return None
        return build_entry(
            namespace=self.config.namespace,
            cache_key=key,
            generation=generation,
            handler=encoded.handler,
            handler_version=encoded.handler_version,
            metadata=encoded.metadata,
            object_type=f"{of.__module__}.{of.__qualname__}",
            summary=encoded.summary,
            compressor=encoded.compressor,
            stored_bytes=encoded.stored_bytes,
            logical_bytes=encoded.logical_bytes,
            checksum=encoded.checksum,
            signature=signature,
            inline=encoded.inline,
            blob=encoded.blob,
            blob_store=None if encoded.blob is None else self.claimed_store(),
            created_at=now,
            renewed_at=now,
            accessed_at=now,
            expires_at=None if ttl is None else now + ttl,
            distribution=encoded.distribution,
            **details,
        )

    def _sign(self, key: str, generation: int, encoded: Encoded) -> str | None:
        from cacheness.payloads.signing import signed_message

        try:
            return self._signing().sign(
                signed_message(
                    self.config.namespace,
                    key,
                    generation,
                    encoded.handler,
                    encoded.handler_version,
                    encoded.compressor,
                    encoded.distribution,
                    encoded.metadata,
                    encoded.checksum,
                )
            )
        except BaseException:
            self._drop_blob(encoded.blob)
            raise

    def warn_of_prefix(self, other: Entry, prefix: str) -> None:
        """Say that a put changed an entry's prefix, as its caller may not have meant to."""
        warn(
            f"entry {other.cache_key} had the prefix {other.prefix!r}, now {prefix!r}; "
            "a prefix is a label, not part of the name: to keep both, make it a parameter",
            CachenessWarning,
            stacklevel=4,
        )

    # --- the way of a get -------------------------------------------------------------

    def read_by_key(self, key: str) -> Any:
        """[hot] `read` of an entry by nothing but its key.

        A small entry that needs nothing but its handler is read here; anything unusual about
        it is left to `_read_stored`, which looks again. Beside the backend's statement that
        takes 2 µs: half of it is the handler's, a fifth the noting of the hit. From the memory
        tier it takes 1 µs in all.
        """
        if is_off():
            return MISS
        began = 0.0 if len(self._hits.reads) % SAMPLED else perf_counter()
        memory = self._memory
        if memory is not None:
            give = memory.recall(key)
            if give is not None:
                value = self._recalled(key, give)
                if value is not MISS:
                    if began:
                        self._hits.timed.append((key, perf_counter() - began))
                    return value
            epoch = memory.epoch
        plain = self.backend.find_plain(key)
        if plain is None or (plain[2] is not None and time() >= plain[2]):  # pyright: ignore[reportOperatorIssue]  # no None, see before
            return self._read_stored(key, None, UNSET, None, "read", None)
        value = self._decoder.read_plain(plain, MISS)
        if value is MISS:
            return self._read_stored(key, None, UNSET, None, "read", None)
        if memory is not None:
            give = self._decoder.again(plain, value)
            memory.remember(key, give, size=len(plain[3]), expires_at=plain[2], epoch=epoch)  # pyright: ignore[reportPossiblyUnboundVariable]  # set where there is a memory
            value = give()
        self._hits.add(key)
        if began:
            self._hits.timed.append((key, perf_counter() - began))
        if self._observers or is_logged():
            self.tell("hit", key, plain[0], len(plain[3]))
        return value

    def read_found(self, key: str, stored: StoredPayload) -> Any:
        """The value of what was found, where it needs nothing but its handler; else MISS."""
        from cacheness.backends.base import plain_payload

        plain = plain_payload(stored)
        if plain is None or (plain[2] is not None and time() >= plain[2]):
            return MISS
        value = self._decoder.read_plain(plain, MISS)
        if value is not MISS:
            self._hits.add(key)
            if self._observers or is_logged():
                self.tell("hit", key, plain[0], len(plain[3]))
        return value

    def read(
        self,
        key: str,
        prefix: str | None,
        ttl_seconds: Duration | None,
        options: Mapping[str, Any] | None,
        *,
        way: Literal["read", "mapped", "lazy"] = "read",
        first: StoredPayload | None = None,
    ) -> Any:
        """The value, or `MISS`.

        Where the payload is missing or damaged the entry is read again: if a replace
        overtook this read, it starts anew, or gives `OVERTAKEN` to who asked for the
        generation ``first``; else the entry is at fault.
        """
        if (
            way == "read"
            and options is None
            and prefix is None
            and ttl_seconds is UNSET
            and first is None
        ):
            return self.read_by_key(key)
        if is_off():
            return MISS
        return self._read_stored(key, prefix, ttl_seconds, options, way, first)

    def _read_stored(
        self,
        key: str,
        prefix: str | None,
        ttl_seconds: Duration | None,
        options: Mapping[str, Any] | None,
        way: Literal["read", "mapped", "lazy"],
        first: StoredPayload | None,
    ) -> Any:
        began = 0.0 if len(self._hits.reads) % SAMPLED else perf_counter()
        decode = getattr(self._decoder, way)
        stored = self.backend.find(key) if first is None else first
        for _ in range(_TRIES):
            if stored is None or (
                (stored[6] is not None or prefix is not None or ttl_seconds is not UNSET)
                and not self.is_current(stored, prefix, ttl_seconds)
            ):
                break
            try:
                value = decode(key, stored, options)
            except (FileNotFoundError, BlobCorruptedError, BadSignatureError) as error:
                again = self.backend.find(key)
                if again is not None and again[0] == stored[0]:
                    return self._faults().refuse(key, stored, error)
                if first is not None:
                    return OVERTAKEN
                stored = again
            except UndecodableError as error:
                return self._faults().leave_undecoded(key, stored, error)
            except OSError as error:
                raise BackendUnavailableError(f"entry {key} can't be read: {error}") from error
            else:
                self._hits.add(key)
                if began:
                    self._hits.timed.append((key, perf_counter() - began))
                if self._observers or is_logged():
                    self.tell("hit", key, stored[1], stored[11])
                return value
        if stored is not None:
            self._faults().expire(key, stored)
        self.missed(key, prefix)
        return MISS

    def missed(self, key: str, prefix: str | None = None) -> None:
        """Take note of a read that found nothing."""
        self.count_miss(prefix)
        if self._observers or is_logged():
            self.tell("miss", key)

    def count_miss(self, prefix: str | None = None) -> None:
        """Count a read that gave nothing."""
        self._hits.missed(prefix or "")

    def _recalled(self, key: str, give: Callable[[], Any]) -> Any:
        """[hot] A value from the memory of this process; MISS where it can't be given."""
        try:
            value = give()
        except BaseException as error:
            if ends_the_caller(error):
                raise
            return MISS  # a handler's own errors are told by `read`
        self._hits.add(key)
        if self._observers or is_logged():
            stored = self.backend.find(key)
            told = (stored[1], stored[11]) if stored else ()
            self.tell("hit", key, *told)  # pyright: ignore[reportArgumentType]  # handler and size, or neither
        return value

    def read_remembered(self, key: str, *, shared: bool = False) -> Any:
        """[hot] As `read_by_key`, from the memory of this process where it was read before.

        For a caller that asks for it where ``memory_bytes`` is 0: only what is read in this
        way is kept, and only this way of reading is then up to ``memory_staleness`` late.

        Args:
            key: The cache key.
            shared: Keep the object itself, of any type, and give it to all callers, who
                must not change it. Else each gets one of its own, of what is small.
        """
        tier = self._requested or self.request_memory()
        way = "shared" if shared else "copied"
        give = None if is_off() else tier.recall(key, way)
        if give is not None:
            value = self._recalled(key, give)
            if value is not MISS:
                return value
        epoch = tier.epoch
        if shared:
            return self._read_shared(key, tier, epoch)
        plain = None if is_off() else self.backend.find_plain(key)
        if plain is None or (plain[2] is not None and time() >= plain[2]):  # pyright: ignore[reportOperatorIssue]  # no None, see before
            return self.read_by_key(key)
        value = self._decoder.read_plain(plain, MISS)
        if value is MISS:
            return self.read_by_key(key)
        give = self._decoder.again(plain, value)
        tier.remember(key, give, size=len(plain[3]), expires_at=plain[2], epoch=epoch, way=way)
        return self._recalled(key, give)

    def _read_shared(self, key: str, tier: MemoryCacheWrapper, epoch: int) -> Any:
        stored = None if is_off() else self.backend.find(key)
        value = self.read_by_key(key)
        if stored is None or value is MISS or value is KEPT:
            return value
        from cacheness.payloads.copies import same

        tier.remember(
            key, same(value), size=stored[12], expires_at=stored[6], epoch=epoch, way="shared"
        )
        return value

    def request_memory(self, max_bytes: int = _REQUESTED_BYTES) -> MemoryCacheWrapper:
        """The tier that keeps what `read_remembered` reads; all changes then go through it.

        Of several who ask, the one who asks for most decides how much it keeps.
        """
        from cacheness.backends.wrapper import MemoryCacheWrapper

        with self._opening:
            tier = self._requested or self._memory
            if tier is None:
                self.backend = tier = MemoryCacheWrapper(
                    self.backend,
                    max_bytes=max_bytes,
                    staleness=self.config.memory_staleness,
                    on_request=True,
                )
                self._kept_up = None  # made anew, of the tier
            tier.keep_up_to(max_bytes)
            self._requested = tier
            return tier

    def is_current(
        self, stored: StoredPayload, prefix: str | None, ttl_seconds: Duration | None
    ) -> bool:
        """Whether the entry is of that prefix, has not expired and is young enough."""
        now = time()
        expires_at = stored[6]
        if expires_at is not None and now >= expires_at:
            return False
        if prefix is not None and stored[13] != prefix:
            return False
        if ttl_seconds is UNSET or ttl_seconds is None:
            return True
        longest = parse_ttl(ttl_seconds)
        return longest is None or max(0.0, now - stored[14]) < longest

    def read_entry(
        self,
        key: str,
        prefix: str | None,
        ttl_seconds: Duration | None,
        options: Mapping[str, Any] | None,
    ) -> tuple[Any, Entry | None]:
        """The value and the entry of the same generation, or `MISS` and None."""
        from cacheness.backends.base import stored_payload

        for _ in range(_TRIES):
            entry = None if is_off() else self.backend.get_entry(key)
            if entry is None:
                break
            first = stored_payload(entry)
            value = self.read(key, prefix, ttl_seconds, options, first=first)
            if value is not OVERTAKEN:
                return (MISS, None) if value is MISS or value is KEPT else (value, entry)
        self.missed(key)
        return MISS, None

    def standing(self, key: str, prefix: str | None, ttl_seconds: Duration | None) -> Entry | None:
        """The entry, if it would be read."""
        from cacheness.backends.base import stored_payload

        entry = None if is_off() else self.backend.get_entry(key)
        if entry is not None and self.is_current(stored_payload(entry), prefix, ttl_seconds):
            return entry
        return None

    def stands(self, key: str) -> bool:
        """Whether there is an entry that has not expired; an expired one is removed."""
        stored = None if is_off() else self.backend.find(key)
        if stored is None:
            return False
        if self.is_current(stored, None, UNSET):
            return True
        self._faults().expire(key, stored)
        return False

    def fault(
        self, key: str, stored: StoredPayload, way: Literal["read", "mapped", "lazy", "intact"]
    ) -> Exception | None:
        """Why a read of this entry would fail, or None; changes nothing and warns of nothing."""
        try:
            value = getattr(self._decoder, way)(key, stored, None)
        except (CachenessError, UndecodableError, OSError) as error:
            return error
        if way == "lazy":
            value.close()
        return None

    def resigned(self, entry: Entry, cache_key: str, generation: int) -> str | None:
        """The signature of an entry under another key and generation; None where it has none.

        Only what verifies is signed, so that nobody has an entry signed that he planted.

        Raises:
            SignatureError: Its signature does not hold, or there is no key to sign with.
        """
        if entry.signature is None:
            return None
        from dataclasses import replace

        from cacheness.payloads.signing import message_of

        signer = self._signing()
        verdict = signer.verdict(entry.signature, message_of(entry))
        if verdict != "good" or not entry.checksum.startswith("blake3:"):
            raise SignatureError(f"entry {entry.cache_key} has a signature that does not hold here")
        moved = replace(entry, cache_key=cache_key, generation=generation)
        signature = signer.sign(message_of(moved))
        if signature is None:
            raise SignatureError(f"entry {entry.cache_key} is signed, and there is no key for it")
        return signature

    def needs_signature(self, entry: Entry) -> bool:
        """Whether the entry is read only with a signature that holds.

        Raises:
            HandlerNotFoundError: Its handler is not installed.
        """
        if self.config.signing == "auto":
            return not self._registry.handler(entry.handler).data_only
        return self.config.signing == "all"

    # --- what is opened at first need -------------------------------------------------

    def _open_backend(self) -> MetadataBackend:
        from cacheness.backends.base import BackendContext

        config = self.config
        self._context = BackendContext(config.cache_dir, config.namespace, config)
        make = self._registry.metadata_backend(config.metadata_backend)
        backend: MetadataBackend = make(self._context, **config.metadata_options)
        if config.memory_bytes:
            from cacheness.backends.wrapper import MemoryCacheWrapper

            backend = self._memory = MemoryCacheWrapper(
                backend, max_bytes=config.memory_bytes, staleness=config.memory_staleness
            )
        return backend

    @property
    def registry(self) -> Registry:
        """What finds handlers, backends and compressors for this cache."""
        return self._registry

    def blobs(self) -> BlobBackend:
        blobs = self._blob_backend
        return self._opened_blobs() if blobs is None else blobs

    def _opened_blobs(self) -> BlobBackend:
        """The one store of the cache: what another one held in memory would be out of reach."""
        with self._opening:
            if self._blob_backend is None:
                name = self.config.blob_backend or self.backend.blob_backend
                make = self._registry.blob_backend(name)
                blobs: BlobBackend = make(self._context, **self.config.blob_options)
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
    def flights(self) -> Flights:
        """Who computes which entry; of use after a miss only."""
        if self._flights is None:
            from cacheness.flight import Flights

            self._flights = Flights(self.backend, self.config)
        return self._flights

    def _signing(self) -> Signer:
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
            from cacheness.upkeep import Upkeep

            self._kept_up = Upkeep(self)
        return self._kept_up

    def signer(self) -> Signer:
        """What signs and verifies here."""
        return self._signing()

    def _faults(self) -> Faults:
        from cacheness.faults import Faults

        return Faults(self)

    def _encoding(self) -> Encoder:
        if self._encoder is None:
            from cacheness.payloads.encode import Encoder

            inline = "inline" in self.backend.capabilities
            self._encoder = Encoder(self._registry, self.config, self.blobs, inline=inline)
        return self._encoder

    # --- many entries -----------------------------------------------------------------

    def clear(self, filters: Mapping[str, object], progress: Progress = None) -> int:
        """Remove the entries that the filters select; give their number."""
        from cacheness.filters import Filter

        self.check_writable()
        removed = self.backend.delete_where(Filter.parse(filters))
        return self.dispose(removed, "invalidate", progress)

    def dispose(self, removed: Sequence[Entry], kind: EventKind, progress: Progress = None) -> int:
        """Remove the blobs of entries that were removed, and tell observers; their number."""
        from cacheness.progress import reporting

        if kind == "expire":
            self.bury(removed, "expired")
        with reporting(progress, len(removed), "removing") as advance:
            for entry in removed:
                self.discard(entry)
                self.tell(kind, entry.cache_key, entry.handler, entry.stored_bytes)
                advance(1)
        return len(removed)

    def flush(self) -> None:
        """Write the hits and misses that are buffered."""
        self._hits.flush()

    def after_fork(self) -> None:
        """In a child: the hits that are buffered are the parent's to write."""
        self._opening = RLock()
        self._hits.forget()

    # --- what the others share --------------------------------------------------------

    def check_writable(self) -> None:
        if self.config.read_only:
            raise ReadOnlyError(
                f"the cache {self.config.cache_dir!r} was opened with read_only=True"
            )

    def settle(self, entry: Entry) -> None:
        """What follows when an entry was recorded otherwise than by `store`."""
        self.tell("put", entry.cache_key, entry.handler, entry.stored_bytes)
        self.make_room(entry.stored_bytes)

    def discard(self, entry: Entry) -> None:
        """Remove the blob of an entry that no longer stands.

        One that can't be removed now is an orphan for a later clean-up.
        """
        if entry.blob is None:
            return
        try:
            if entry.blob_store is None or entry.blob_store == self.blobs().store_id:
                self._drop_blob(entry.blob)
        except BackendUnavailableError:
            return

    def withdraw(self, entries: Iterable[Entry]) -> None:
        """Remove the blobs of entries that could not be recorded.

        A store may fail, or be interrupted, after it has recorded them: their blobs stay,
        and where it can't be asked, all do.
        """
        with_blobs = [entry for entry in entries if entry.blob is not None]
        try:
            standing = self.backend.get_entries([entry.cache_key for entry in with_blobs])
        except CachenessError:
            return
        for entry in with_blobs:
            stands = standing.get(entry.cache_key)
            if stands is None or stands.generation != entry.generation:
                self.discard(entry)

    def bury(self, entries: Iterable[Entry], why: Why, reason: str = "") -> None:
        """Remember why these entries are gone."""
        from cacheness.tombstones import record

        record(self.backend, entries, why, time(), reason)

    def _drop_blob(self, name: str | None) -> None:
        if name is None:
            return
        try:
            self.blobs().delete(name)
        except (OSError, ValueError):  # the name itself may be damaged
            return

    def watch(self, observer: Callable[[Event], None]) -> None:
        """Tell this observer, too, of what happens in this cache from now on."""
        self._observers = (*self._observers, observer)

    def tell(
        self,
        kind: EventKind,
        key: str,
        handler: str | None = None,
        stored_bytes: int | None = None,
        reason: str = "",
    ) -> None:
        """Tell observers, and the log where somebody listens to it."""
        if is_logged():
            sys.modules["logging"].getLogger("cacheness").debug(
                "%s %s%s", kind, key, reason and f": {reason}"
            )
        if self._observers:
            from cacheness.events import Event

            event = Event(kind, self.config.namespace, key, handler, stored_bytes, reason)
            for observer in self._observers:
                observer(event)


def is_logged() -> bool:
    """[hot] Whether somebody imported `logging` and listens to our logger at DEBUG."""
    logging = sys.modules.get("logging")
    if logging is None:
        return False
    if not _logger:
        _logger.append(logging.getLogger("cacheness"))
    enabled: bool = _logger[0].isEnabledFor(10)
    return enabled


_logger: list[Any] = []


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
