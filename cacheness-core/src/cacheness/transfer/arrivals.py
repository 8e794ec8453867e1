# SPDX-License-Identifier: MIT
"""Takes entries from elsewhere into a cache: judged, signed anew, a chunk at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic, time
from typing import TYPE_CHECKING

from cacheness.blobs.base import BLOB_NAME
from cacheness.disk.unrecorded import check_own, new_blob_name, seen_to
from cacheness.errors import (
    BackendUnavailableError,
    CachenessWarning,
    ConfigError,
    CorruptionWarning,
    HandlerNotFoundError,
    SecurityWarning,
    warn,
)
from cacheness.generations import new_generation
from cacheness.integrity.vetting import Vetting
from cacheness.payloads.checksum import Checksum
from cacheness.transfer.export_file import checked_pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.handlers.protocols import Buffer
    from cacheness.payloads.signing import Verdict

__all__ = ["Arrivals", "Refusal", "Tally", "Transferred"]

_CHUNK = 256
_CHUNK_BYTES = 64 << 20
_CHUNK_SECONDS = 60.0
"""Entries, bytes and seconds after which what was taken is recorded: its blobs must not
wait for that until they are taken for orphans."""
_LISTED = 1_000
_ANY_NAME = f"00/{32 * '0'}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that was left out."""

    cache_key: str
    """The entry's key."""
    reason: str
    """Why, in a sentence."""


class Transferred(int):
    """The number of entries that arrived, with what became of the others.

    Example:
        >>> done = cache.export("results.tar")
        >>> done == 1, done.bytes > 0, done.refused
        (True, True, ())
    """

    copied: int
    """The number itself."""
    skipped: int
    """Entries that were not wanted: expired, or not newer than what stands."""
    refusals: int
    """How many were left out for a reason."""
    refused: tuple[Refusal, ...]
    """The first 1,000 of those."""
    bytes: int
    """The size of the payloads that arrived."""

    def __new__(
        cls, copied: int, skipped: int, refusals: int, refused: tuple[Refusal, ...], size: int
    ) -> Transferred:
        """Sum up a transfer."""
        made = super().__new__(cls, copied)
        made.copied = copied
        made.skipped = skipped
        made.refusals = refusals
        made.refused = refused
        made.bytes = size
        return made

    def __repr__(self) -> str:
        return (
            f"<Transferred {self.copied}: {self.bytes} bytes, {self.skipped} skipped, "
            f"{self.refusals} refused>"
        )


class Tally:
    """Counts what becomes of the entries of one transfer."""

    def __init__(self) -> None:
        self.copied = 0
        self.skipped = 0
        self.bytes = 0
        self._refusals = 0
        self._refused: list[Refusal] = []
        self._category: type[CachenessWarning] = CorruptionWarning

    def refuse(self, cache_key: str, reason: str, *, damaged: bool = False) -> None:
        """Note an entry that is left out: because it is damaged, or may not be believed."""
        if not damaged:
            self._category = SecurityWarning
        self._refusals += 1
        if len(self._refused) < _LISTED:
            self._refused.append(Refusal(cache_key, reason))

    def result(self) -> Transferred:
        """The sum; with one warning where something was left out."""
        if self._refused:
            first = self._refused[0]
            warn(
                f"{self._refusals} entries were left out; the first is {first.cache_key}: "
                f"{first.reason}",
                self._category,
            )
        return Transferred(
            self.copied, self.skipped, self._refusals, tuple(self._refused), self.bytes
        )


class Arrivals:
    """Takes entries into a cache; to be used as a context manager, which records the rest.

    Where its body raises, the blobs of what was not recorded yet are removed.

    Args:
        engine: The cache's.
        verdict: Judges an entry's signature by the keys that are held for its source.
        trust: Whether to believe what has no signature, or one of an unknown key.
        tally: Counts.
    """

    def __init__(
        self, engine: Engine, verdict: Callable[[Entry], Verdict], tally: Tally, *, trust: bool
    ) -> None:
        self._engine = engine
        self._config = engine.config
        self._vetting = Vetting(engine)
        self._verdict = verdict
        self._trust = trust
        self._tally = tally
        inline = "inline" in engine.backend.capabilities
        self._inline_bytes = self._config.inline_bytes if inline else -1
        self._chunk: dict[str, Entry] = {}
        self._chunk_bytes = 0
        self._chunk_since = 0.0

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if kind is None:
            self._record()
        else:
            self._drop(self._chunk.values())

    def wanted(self, entries: list[Entry]) -> list[Entry]:
        """Those that have not expired and are newer than what stands here.

        The standing entry of two that are equally old stays, so that to import a file a
        second time changes nothing.
        """
        now = time()
        current = [entry for entry in entries if not _is_over(entry, now)]
        wanted = self._newer(current)
        self._tally.skipped += len(entries) - len(wanted)
        return wanted

    def take(self, entry: Entry, extension: str, pieces: Iterable[Buffer], weight: int = 0) -> None:
        """Store an entry's payload, and record it with the next chunk.

        Args:
            entry: As it was elsewhere.
            extension: What a file of its payload ends in; empty where that is not known.
            pieces: The payload as it was stored.
            weight: What the entry takes in memory, in bytes, where that may be much.

        Raises:
            BlobCorruptedError: The payload is not what the entry says.
            BackendUnavailableError: It can't be stored here.
        """
        reason = self._refusal(entry)
        if reason:
            self._tally.refuse(entry.cache_key, reason)
            return
        if entry.cache_key in self._chunk:
            self._record()
        if not self._chunk:
            self._chunk_since = monotonic()
        stored = self._stored(entry, extension, pieces)
        if stored is None:
            self._tally.refuse(entry.cache_key, "it needs a signature, and there is no key here")
            return
        self._chunk[entry.cache_key] = stored
        self._chunk_bytes += stored.stored_bytes + weight
        if (
            len(self._chunk) >= _CHUNK
            or self._chunk_bytes >= _CHUNK_BYTES
            or monotonic() - self._chunk_since >= _CHUNK_SECONDS
        ):
            self._record()

    # --- may it come in? ------------------------------------------------------------------

    def _refusal(self, entry: Entry) -> str:
        """Why an entry may not come in; empty where it may.

        What was signed has to verify. What was not may come in unsigned if reading it runs
        no code, unless the cache asks for all signatures, or, with ``signing="off"``,
        believes all that lies in it.
        """
        verdict = self._verdict(entry)
        if verdict == "wrong":
            return "its signature does not hold"
        if not self._config.allow_pickle and self._vetting.runs_code(entry):
            return f"the handler {entry.handler!r} is not data-only, and allow_pickle=False"
        if verdict == "good" or self._trust:
            return ""
        how = "give its key as one of old_signing_keys, or pass trust=True if you trust its origin"
        if verdict == "foreign":
            return f"it was signed with a key that is not held here: {how}"
        if self._config.signing != "auto":
            return f"it has no signature, and signing={self._config.signing!r} here: {how}"
        if self._vetting.runs_code(entry):
            return (
                f"it has no signature, and the handler {entry.handler!r} is not known here to be "
                f"data-only: {how}"
            )
        return ""

    def _is_to_be_signed(self, entry: Entry) -> bool:
        signing = self._config.signing
        if signing == "off":
            return False
        if signing == "all" or entry.signature is not None:
            return True
        return self._trust and self._vetting.runs_code(entry)

    # --- its payload --------------------------------------------------------------------------

    def _stored(self, entry: Entry, extension: str, pieces: Iterable[Buffer]) -> Entry | None:
        """The entry as it will be recorded; None where it can't be signed."""
        signs = self._is_to_be_signed(entry)
        strong = Checksum("blake3")
        also = (strong,) if signs and not entry.checksum.startswith("blake3:") else ()
        stream = checked_pieces(entry, pieces, *also)
        inline = blob = None
        if entry.stored_bytes <= self._inline_bytes:
            inline = b"".join(stream)
        else:
            blob = self._new_name(entry, extension)
            self._write(entry, blob, stream)
        try:
            store = None if blob is None else self._engine.claimed_store()
        except BaseException:
            self._engine.drop_blob(blob)
            raise
        arrived = replace(
            entry,
            namespace=self._config.namespace,
            generation=new_generation(),
            checksum=strong.text() if also else entry.checksum,
            signature=None,
            inline=inline,
            blob=blob,
            blob_store=store,
        )
        return self._signed(arrived) if signs else arrived

    def _write(self, entry: Entry, blob: str, stream: Iterable[Buffer]) -> None:
        try:
            self._engine.blobs().write(blob, stream)
        except BaseException as error:
            check_own(blob)
            seen_to(blob)  # never
            if not isinstance(error, OSError):
                raise
            raise BackendUnavailableError(
                f"entry {entry.cache_key} can't be stored: {error}"
            ) from error

    def _signed(self, entry: Entry) -> Entry | None:
        from cacheness.payloads.signing import message_of

        try:
            signature = self._engine.signer().sign(message_of(entry))
        except BaseException:
            self._drop((entry,))
            raise
        if signature is None:
            self._drop((entry,))
            return None
        return replace(entry, signature=signature)

    def _new_name(self, entry: Entry, extension: str) -> str:
        ending = extension or self._extension(entry)
        named = BLOB_NAME.fullmatch(f"{_ANY_NAME}{ending}")
        return new_blob_name(ending if named else ".bin")

    def _extension(self, entry: Entry) -> str:
        """As a put would have named a blob of this payload."""
        if "_archive" in entry.metadata:
            return ".bin"
        try:
            handler = self._engine.registry.handler(entry.handler)
            compressor = self._engine.registry.compressor(entry.compressor)
        except (HandlerNotFoundError, ConfigError, ImportError, AttributeError):
            return ".bin"
        return f"{entry.metadata.get('extension') or handler.extension}{compressor.extension}"

    # --- recording ----------------------------------------------------------------------------

    def _record(self) -> None:
        """Record the chunk in one transaction, and remove what it displaced."""
        chunk, self._chunk, self._chunk_bytes = self._chunk, {}, 0
        if not chunk:
            return
        engine = self._engine
        try:
            newer = self._newer(list(chunk.values()))
            blobs = [entry.blob for entry in newer]
            check_own(*blobs)
            displaced = engine.backend.put_entries(newer)
            check_own(*blobs)
        except BaseException:
            self._engine.writer.withdraw(chunk.values())
            raise
        for entry in newer:
            del chunk[entry.cache_key]
        self._drop(chunk.values())
        self._tally.skipped += len(chunk)
        seen_to(*blobs)
        generations = {entry.generation for entry in newer}
        for old in displaced:
            if old.generation not in generations:  # recorded by a child that went on with this
                engine.discard(old)
        for entry in newer:
            self._tally.copied += 1
            self._tally.bytes += entry.stored_bytes
            engine.writer.settle(entry)

    def _newer(self, entries: list[Entry]) -> list[Entry]:
        standing = self._engine.backend.get_entries([entry.cache_key for entry in entries])
        return [
            entry
            for entry in entries
            if (stands := standing.get(entry.cache_key)) is None
            or stands.created_at < entry.created_at
        ]

    def _drop(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._engine.discard(entry)


def _is_over(entry: Entry, now: float) -> bool:
    """Whether nobody would be served the entry any more."""
    ends = max(entry.expires_at or now, entry.stale_until or 0.0)
    return entry.expires_at is not None and ends <= now
