# SPDX-License-Identifier: MIT
"""The way of a value to the store: handler, compressor, checksum, blob, entry."""

from __future__ import annotations

import errno
from time import time

from cacheness import forks, logged
from cacheness.backends.plain_entry import PlainEntry
from cacheness.errors import BackendUnavailableError, CachenessError, CachenessWarning, warn
from cacheness.payloads.dumped import Dumped
from cacheness.switch import is_off, off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.backends.shapes import Remains
    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.payloads.encode import Encoded, Encoder
    from cacheness.small_put import SmallPut

__all__ = ["Writer"]

_NO_SPACE = frozenset({errno.ENOSPC, errno.EFBIG})


class Writer:
    """Stores the values of one cache.

    Args:
        engine: What the cache is made of.
    """

    __slots__ = ("_encoder", "_engine", "_small")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._encoder: Encoder | None = None
        self._small: SmallPut | None = None

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
        dumped: Dumped | None = None,
    ) -> bool:
        """Write the payload, then the entry, then remove what it replaced."""
        self._engine.check_writable()
        if is_off():
            return False
        entry = self.prepare(key, obj, details, handler, compressor, options, dumped)
        if entry is None:
            return False
        try:
            _check_own(entry.blob)
            other = self._engine.backend.put_entry(entry, if_absent=if_absent)
            _check_own(entry.blob)
        except BaseException:
            self.withdraw((entry,))
            raise
        if entry.blob is not None:
            from cacheness.disk.unrecorded import seen_to

            seen_to(entry.blob)
        if other is not None and other.generation != entry.generation:
            if if_absent:
                self._engine.discard(entry)
                return False
            self._engine.discard(other)
            if other.prefix != entry.prefix:
                self.warn_of_prefix(key, other.prefix, entry.prefix)
        self._engine.tell("put", key, entry.handler, entry.stored_bytes)
        self._engine.upkeep().make_room(entry.stored_bytes)
        if entry.function is not None:
            self._engine.hits.computed(entry.function, entry.prefix)
            self._engine.upkeep().sweep(entry.function, entry)
        self._engine.hits.settle()
        return True

    def put(
        self,
        key: str,
        obj: object,
        params: Mapping[str, object] | None,
        are_scalars: bool = False,
    ) -> None:
        """[hot] `store` of a value of which nothing but its name was said.

        ``are_scalars`` says that all of the parameters were found to be such, for their key.

        Of a small one, what is always the same is left out: half of its put was spent in making
        objects that say "as usual". Half of what it takes is SQLite's statement. After so many
        system calls the processor has forgotten this code, so that each step counts three
        times what it does in a loop of its own: they are few, and call little. Whatever may
        wait is left to `store`, which a put a second goes through (`FreeSpace.quiet_until`).
        """
        engine = self._engine
        config = engine.config
        if config.read_only or off.depth > 0:
            return self._put_at_length(key, obj, params, None)
        small = self._small or self.small
        entry = small.plain_entry(key, obj, params, config.default_ttl_seconds, (), are_scalars)
        if not isinstance(entry, PlainEntry):
            return self._put_at_length(key, obj, params, entry)
        other = engine.backend.put_plain(entry)
        if other is not None:
            self._let_go(key, other)
        if engine.observers or logged.is_logged():
            engine.tell("put", key, entry.handler, len(entry.payload))
        if small.upkeep.is_bounded:
            small.upkeep.make_room(len(entry.payload))
        return None

    def _put_at_length(
        self,
        key: str,
        obj: object,
        params: Mapping[str, object] | None,
        dumped: Dumped | None,
    ) -> None:
        details: dict[str, Any] = {"ttl_seconds": self._engine.config.default_ttl_seconds}
        if params:
            from cacheness.keys.summary import summarise_params

            details["params"] = summarise_params(params)
        self.store(key, obj, details, dumped=dumped)

    def touch(self, key: str, prefix: str | None) -> bool | None:
        """[hot] Have an entry's age start now, where one change of the store does it.

        Returns:
            Whether there is an entry; None where more is needed than that, or it may not be.
        """
        engine = self._engine
        if engine.config.read_only or off.depth > 0:
            return None
        return engine.backend.touch_entry(key, prefix, now=time())

    def _let_go(self, key: str, other: Remains) -> None:
        """Remove what an entry without a prefix took the place of."""
        prefix, blob, store = other
        self._engine.discard_blob(blob, store)
        if prefix:
            self.warn_of_prefix(key, prefix, "")

    @property
    def small(self) -> SmallPut:
        """What makes the entries of small values."""
        if self._small is None:
            from cacheness.small_put import SmallPut

            self._small = SmallPut(self._engine)
        return self._small

    def prepare(
        self,
        key: str,
        obj: object,
        details: dict[str, Any],
        handler: str | None = None,
        compressor: str | None = None,
        options: Mapping[str, Any] | None = None,
        dumped: Dumped | None = None,
    ) -> Entry | None:
        """Write the payload, and make its entry, which is not recorded yet.

        Args:
            key: The cache key.
            obj: The value.
            details: The fields of the entry that its caller decides.
            handler: The name of the handler to use.
            compressor: The name of the compressor to use instead of the cache's.
            options: For the handler.
            dumped: What `SmallPut` made of the value already, without any of these.

        Returns:
            None where it is larger than the cache may be, or needs a signature and there
            is no key to make one; nothing is left of it then.
        """
        if handler is None and compressor is None and not options and dumped is None:
            made = self.small.entry(key, obj, details)
            if made is not None and not isinstance(made, Dumped):
                return made
            dumped = made
        encoded = self._encoded(key, obj, handler, compressor, options, dumped)
        if encoded is None:
            return None
        try:
            entry = self._entry(key, obj, encoded, details)
        except BaseException:
            self._engine.drop_blob(encoded.blob)
            raise
        if entry is None:
            self._engine.drop_blob(encoded.blob)
        return entry

    def _encoded(
        self,
        key: str,
        obj: object,
        handler: str | None,
        compressor: str | None,
        options: Mapping[str, Any] | None,
        dumped: Dumped | None,
    ) -> Encoded | None:
        """The payload, which is written; None where it is larger than the cache may be."""
        upkeep = self._engine.upkeep()
        upkeep.before_writing(key, obj)
        begun = forks.number
        try:
            encoded = self.encoder().encode(
                obj, handler=handler, compressor=compressor, options=options, dumped=dumped
            )
        except OSError as error:
            forks.check(begun)
            way = "; free some space on the disk" if error.errno in _NO_SPACE else ""
            raise BackendUnavailableError(f"entry {key} can't be stored: {error}{way}") from error
        try:
            own_file = encoded.blob is not None
            admitted = upkeep.admits(key, encoded.stored_bytes, own_file=own_file)
        except BaseException:
            self._engine.drop_blob(encoded.blob)
            raise
        if not admitted:
            self._engine.drop_blob(encoded.blob)
            return None
        return encoded

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
        signing = self._engine.config.signing
        signed = signing == "all" or (signing == "auto" and not encoded.data_only)
        signature = self._sign(key, generation, encoded) if signed else None
        if signed and signature is None:
            return None
        return build_entry(
            namespace=self._engine.config.namespace,
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
            blob_store=None if encoded.blob is None else self._engine.claimed_store(),
            created_at=now,
            renewed_at=now,
            accessed_at=now,
            expires_at=None if ttl is None else now + ttl,
            distribution=encoded.distribution,
            **details,
        )

    def _sign(self, key: str, generation: int, encoded: Encoded) -> str | None:
        from cacheness.payloads.signing import signed_message

        return self._engine.signer().sign(
            signed_message(
                self._engine.config.namespace,
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

    def settle(self, entry: Entry) -> None:
        """What follows when an entry was recorded otherwise than by `store`."""
        self._engine.tell("put", entry.cache_key, entry.handler, entry.stored_bytes)
        self._engine.upkeep().make_room(entry.stored_bytes)

    def withdraw(self, entries: Iterable[Entry]) -> None:
        """Remove the blobs of entries that could not be recorded.

        A store may fail, or be interrupted, after it has recorded them: their blobs stay,
        and where it can't be asked, all do. So do those that are a parent's to record.
        """
        from cacheness.disk.unrecorded import is_inherited

        with_blobs = [entry for entry in entries if entry.blob and not is_inherited(entry.blob)]
        try:
            standing = self._engine.backend.get_entries([entry.cache_key for entry in with_blobs])
        except CachenessError:
            return
        for entry in with_blobs:
            stands = standing.get(entry.cache_key)
            if stands is None or stands.generation != entry.generation:
                self._engine.discard(entry)

    def warn_of_prefix(self, cache_key: str, old: str, prefix: str) -> None:
        """Say that a put changed an entry's prefix, as its caller may not have meant to."""
        warn(
            f"entry {cache_key} had the prefix {old!r}, now {prefix!r}; "
            "a prefix is a label, not part of the name: to keep both, make it a parameter",
            CachenessWarning,
        )

    def encoder(self) -> Encoder:
        """What makes a value a payload."""
        if self._encoder is None:
            from cacheness.payloads.encode import Encoder

            inline = "inline" in self._engine.backend.capabilities
            engine = self._engine
            self._encoder = Encoder(engine.registry, engine.config, engine.blobs, inline=inline)
        return self._encoder


def _check_own(blob: str | None) -> None:
    """As `check_own`, which is imported where there is a blob."""
    if blob is not None:
        from cacheness.disk.unrecorded import check_own

        check_own(blob)
