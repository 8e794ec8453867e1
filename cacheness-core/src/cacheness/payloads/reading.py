# SPDX-License-Identifier: MIT
"""One payload on its way to a value: signature, checksum, compressor, handler."""

from __future__ import annotations

import os
from contextlib import contextmanager
from errno import ENOENT

from cacheness import forks
from cacheness.disk.blob_names import check_blob_name
from cacheness.errors import (
    BackendUnavailableError,
    BlobCorruptedError,
    ConfigError,
    HandlerNotFoundError,
    PluginNotInstalledError,
    SignatureError,
)
from cacheness.payloads.buffers import (
    MAPPED,
    Scattered,
    checked_size,
    decompressed,
    private_buffer,
)
from cacheness.payloads.checksum import ALGORITHMS, Checksum, checksum_of, taken_in
from cacheness.payloads.context import EMPTY, GetContext
from cacheness.payloads.limits import check_declared
from cacheness.payloads.refusals import (
    BadSignatureError,
    UndecodableError,
    ends_the_caller,
    not_installed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from cacheness.backends.shapes import StoredPayload
    from cacheness.blobs.base import BlobBackend
    from cacheness.payloads.decode import Decoder
    from cacheness.payloads.signing import Verdict

__all__ = ["Reading"]

_MOST_VERIFIED = 100_000


class Reading:
    """Reads one payload of one entry; made for each read that is not plain."""

    def __init__(
        self,
        decoder: Decoder,
        cache_key: str,
        stored: StoredPayload,
        options: Mapping[str, Any] | None,
    ) -> None:
        self._decoder = decoder
        self._cache_key = cache_key
        (
            self._generation,
            name,
            self._version,
            self._compressor,
            self._checksum,
            self._signature,
            _,
            metadata,
            self._inline,
            self._blob,
            self._blob_store,
            self._stored_bytes,
            self._logical_bytes,
            _,
            _,
            self._distribution,
        ) = stored
        self._handler_name = name
        self._metadata = _mapping(metadata)
        try:
            self._loaded = decoder.handler(cache_key, name, self._version)
        except HandlerNotFoundError:
            trusted = self._signature is not None and self._verdict() == "good"
            raise not_installed(cache_key, name, self._distribution, trusted=trusted) from None
        configured = decoder.handler_options.get(name)
        self._options = {**(configured or EMPTY), **(options or EMPTY)}
        self._signed = self._check_signature()

    def value(self) -> Any:
        if self._loaded.verifies:
            return self.lazy()
        if self._loaded.loads is None:
            if "_archive" in self._metadata:
                return self._decode(self._payload(), self._get_from_buffer)
            with self._private_file(copy=self._signed) as path:
                return self._get_from(path)
        if self._in_own_file() and not self._loaded.partial_options.isdisjoint(self._options):
            with self._private_file(copy=self._signed, deferred=True) as path:
                return self._get_from(path)
        return self._decode(self._payload())

    def view(self, opened: Callable[..., Any] | None) -> Any:
        if opened is None:
            return self.value()
        if self._in_own_file():
            copy = self._signed and not self._loaded.verifies
            with self._private_file(copy=copy, deferred=True) as path:
                return self._call(opened, path, self._metadata, self._handler_context())
        if self._loaded.opens_buffers:
            return self._decode(self._payload(), opened)
        return self.value()

    def lazy(self) -> Any:
        return self.view(self._loaded.open)

    def mapped(self) -> Any:
        return self.view(self._loaded.map)

    def intact(self) -> Any:
        """Compare the payload without decoding it; one that nothing vouches for is read."""
        return self._stored() if self._loaded.data_only or self._signed else self.value()

    def _in_own_file(self) -> bool:
        """Whether a blob holds the handler's bytes as they are."""
        packed = self._compressor != "none" or "_archive" in self._metadata
        return self._blob is not None and self._inline is None and not packed

    # --- may it be read? ------------------------------------------------------------------

    def _check_signature(self) -> bool:
        """Whether the payload is signed and the signature holds; raises where it must be.

        A container of data-only parts is unsigned and may be read; the parts of another
        one are refused by the context where this gives False.
        """
        decoder, loaded = self._decoder, self._loaded
        if not loaded.data_only and not decoder.allow_pickle:
            raise BadSignatureError(
                f"entry {self._cache_key} is kept by the handler {loaded.name!r}, which is not "
                "data-only, and allow_pickle=False",
                "missing",
            )
        if decoder.signing == "off":
            return False
        needed = decoder.signing == "all" or not loaded.data_only
        if not needed and self._signature is None:
            return False
        verdict = self._verdict()
        if verdict == "good":
            return True
        if needed or verdict == "wrong":
            raise BadSignatureError(self._refusal(verdict), verdict)
        return False

    def _verdict(self) -> Verdict:
        from cacheness.payloads.signing import signed_message

        if self._signature is not None and not self._checksum.startswith("blake3:"):
            return "wrong"
        message = signed_message(
            self._decoder.namespace,
            self._cache_key,
            self._generation,
            self._handler_name,
            self._version,
            self._compressor,
            self._distribution,
            self._metadata,
            self._checksum,
        )
        return self._decoder.signer().verdict(self._signature, message)

    def _refusal(self, verdict: Verdict) -> str:
        from cacheness.payloads.signing import HOW_TO_SHARE

        what = f"entry {self._cache_key} (handler {self._loaded.name!r})"
        if verdict == "missing":
            return f"{what} needs a signature and has none, so it was not read"
        if verdict == "foreign":
            why = "was signed with a key that you don't hold, so it was not read"
            return f"{what} {why}: {HOW_TO_SHARE}"
        return f"{what} has a signature that does not hold, so it was not read"

    # --- the stored bytes -----------------------------------------------------------------

    def _payload(self) -> memoryview | Scattered:
        """The handler's bytes, verified and decompressed."""
        stored = self._stored()
        if self._compressor == "none" or isinstance(stored, Scattered):
            return stored
        return self._decompressed(stored, self._compressor, self._metadata, self._logical_bytes)

    def _stored(self) -> memoryview | Scattered:
        compare = self._must_compare()
        if self._inline is not None:
            if not isinstance(self._inline, bytes):
                raise BlobCorruptedError(f"entry {self._cache_key}: its payload is no bytes")
            if compare and checksum_of(self._inline, self._checksum) != self._checksum:
                raise BlobCorruptedError(f"entry {self._cache_key}: the checksum differs")
            return memoryview(self._inline)
        blobs, name = self._reachable_blob()
        checksum = Checksum(self._checksum) if compare else None
        if self._may_be_mapped():
            mapped = blobs.mapped(name, self._stored_bytes)
            if mapped is not None:
                if checksum is not None:
                    checksum.update(mapped)
                self._compared(checksum)
                return mapped
        size = self._stored_bytes
        cuts = self._cuts()
        target: memoryview | Scattered
        pieces = None
        try:
            if cuts:
                target = scattered = Scattered(cuts, size)
                pieces = blobs.read_scattered(name, scattered.buffers)
            if pieces is None:
                target = whole = private_buffer(size)
                pieces = blobs.read_into(name, whole)
            read = sum(map(len, pieces if checksum is None else taken_in(pieces, checksum, size)))
        except ValueError as error:
            raise BlobCorruptedError(f"entry {self._cache_key}: {error}") from None
        if read != self._stored_bytes:
            raise BlobCorruptedError(
                f"entry {self._cache_key}: its blob has {read} bytes, not {self._stored_bytes}"
            )
        self._compared(checksum)
        return target

    def _cuts(self) -> list[int]:
        """Where the payload may be cut into buffers of their own."""
        if self._compressor != "none" or "_cuts" not in self._metadata:
            return []
        from cacheness.payloads.archive import cuts_of

        return cuts_of(self._metadata, self._stored_bytes)

    def _may_be_mapped(self) -> bool:
        """Whether the handler may be given the blob's pages themselves, rather than a copy.

        A signature holds for the very bytes that were verified. The checksum of an unsigned
        entry finds accidents, and what the handler is given need not be trusted.
        """
        mappable = self._loaded.maps_payload and not self._signed and self._in_own_file()
        return mappable and self._stored_bytes >= MAPPED

    def _must_compare(self) -> bool:
        decoder = self._decoder
        compare = (
            self._signed
            or decoder.verify == "always"
            or (decoder.verify == "open" and self._generation not in decoder.verified)
        )
        if compare and not self._checksum.startswith(ALGORITHMS):
            raise BlobCorruptedError(
                f"entry {self._cache_key} has a checksum of no known kind: put it anew"
            )
        return compare

    def _compared(self, checksum: Checksum | None) -> None:
        if checksum is None:
            return
        if checksum.text() != self._checksum:
            raise BlobCorruptedError(f"entry {self._cache_key}: the checksum differs")
        if self._decoder.verify == "open":
            if len(self._decoder.verified) >= _MOST_VERIFIED:
                self._decoder.verified.clear()
            self._decoder.verified.add(self._generation)

    def _reachable_blob(self) -> tuple[BlobBackend, str]:
        blobs = self._decoder.blobs()
        if self._blob is None:
            raise BlobCorruptedError(f"entry {self._cache_key} has neither payload nor blob")
        if self._blob_store is not None and self._blob_store != blobs.store_id:
            raise BackendUnavailableError(
                f"entry {self._cache_key} lies in another blob store ({self._blob_store}) than "
                "this cache's; mount or configure that one"
            )
        try:
            return blobs, check_blob_name(self._blob)
        except (TypeError, ValueError) as error:
            raise BlobCorruptedError(f"entry {self._cache_key}: {error}") from None

    @contextmanager
    def _private_file(self, *, copy: bool, deferred: bool = False) -> Iterator[str]:
        """A path that holds the handler's bytes.

        Args:
            copy: Whether the bytes are to be taken to where nobody else writes.
            deferred: Whether an uncopied file may be given without comparing it.

        Raises:
            FileNotFoundError: The blob was removed before the handler was done with it.
        """
        from cacheness.disk.apart import apart
        from cacheness.disk.scratch import private_directory

        begun = forks.number
        plain = self._inline is None and self._compressor == "none"
        if plain and not copy:
            blobs, name = self._reachable_blob()
            with blobs.local_path(name) as path, apart(path, begun):
                if not deferred and self._must_compare():
                    self._compared(_checksum_of_file(path, self._checksum))
                try:
                    yield path
                except UndecodableError as error:
                    if os.path.exists(path):
                        raise
                    # Somebody replaced it before the handler had opened it.
                    raise FileNotFoundError(ENOENT, "the blob is gone", path) from error
            return
        with private_directory() as directory:
            path = f"{directory}/payload{self._loaded.extension}"
            with apart(path, begun):
                if plain:
                    self._copy_blob(path)
                else:
                    with open(path, "wb") as file:
                        file.write(self._payload()[:])
                yield path

    def _copy_blob(self, path: str) -> None:
        """Copy the blob piece by piece, and compare what was copied."""
        blobs, name = self._reachable_blob()
        checksum = Checksum(self._checksum)
        left = self._stored_bytes
        with open(path, "wb") as file:
            for piece in blobs.pieces(name):
                left -= len(piece)
                if left < 0:
                    break
                checksum.update(piece)
                file.write(piece)
        if left:
            raise BlobCorruptedError(
                f"entry {self._cache_key}: its blob has not the {self._stored_bytes} bytes "
                "that it should have"
            )
        self._compared(checksum)

    def _decompressed(
        self, stored: memoryview, compressor: str, metadata: Mapping[str, Any], logical: int
    ) -> memoryview:
        codec = self._compressor_named(compressor)
        sizes = metadata.get("_chunks")
        try:
            if sizes is None:
                check_declared(logical)
                return checked_size(memoryview(codec.decompress(stored, max_size=logical)), logical)
            return decompressed(stored, sizes, logical, codec.decompress)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise UndecodableError from error

    def _compressor_named(self, name: str) -> Any:
        try:
            return self._decoder.registry.compressor(name)
        except ConfigError as error:
            raise PluginNotInstalledError(
                f"entry {self._cache_key} was compressed with {name!r}, which is not here: {error}"
            ) from error

    # --- the handler ----------------------------------------------------------------------

    def _handler_context(self) -> GetContext:
        decoder = self._decoder
        trusted = self._signed or decoder.signing == "off"
        return decoder.context(self._cache_key, self._options, verified=trusted)

    def _decode(
        self, payload: memoryview | Scattered, decode: Callable[..., Any] | None = None
    ) -> Any:
        """Hand the bytes to the handler's ``loads``, or to another capability that takes them."""
        decode = decode or self._loaded.loads
        span = self._metadata.get("_archive")
        if span is None:
            return self._call(decode, payload[:], self._metadata, self._handler_context())
        return self._decode_archive(payload, span, decode)

    def _decode_archive(
        self, payload: memoryview | Scattered, span: object, decode: Callable[..., Any] | None
    ) -> Any:
        from cacheness.payloads.archive import ArchiveReader

        try:
            archive = ArchiveReader(payload, span)
        except ValueError as error:
            raise UndecodableError from error
        values: dict[int, Any] = {}

        def read_part(number: int, context: GetContext) -> Any:
            if number not in values:
                values[number] = self._read_part(archive, number, context)
            return values[number]

        trusted = self._signed or self._decoder.signing == "off"
        context = GetContext(
            self._cache_key,
            self._options,
            self._decoder.registry.compressor("none"),
            read_part,
            verified=trusted,
            allow_pickle=self._decoder.allow_pickle,
        )
        return self._call(decode, archive.body, self._metadata, context)

    def _read_part(self, archive: Any, number: int, context: GetContext) -> Any:
        part, stored = archive.part(number)
        try:
            loaded = self._decoder.handler(self._cache_key, part.handler, part.handler_version)
        except HandlerNotFoundError:
            raise not_installed(
                self._cache_key, part.handler, part.distribution, trusted=context.verified
            ) from None
        if not loaded.data_only:
            context.require_verified(f"a part kept by the handler {loaded.name!r}")
        if part.compressor != "none":
            stored = self._decompressed(stored, part.compressor, part.metadata, part.logical_bytes)
        if loaded.loads is not None:
            return self._call(loaded.loads, stored, part.metadata, context)
        with _private_copy(stored, f"part{loaded.extension}") as path:
            return self._call(loaded.handler.get_with, path, part.metadata, context)

    def _get_from(self, path: str) -> Any:
        context = self._handler_context()
        return self._call(self._loaded.handler.get_with, path, self._metadata, context)

    def _get_from_buffer(
        self, body: memoryview, metadata: Mapping[str, Any], context: GetContext
    ) -> Any:
        """Hand the body of a payload of many parts to a handler that wants a file."""
        with _private_copy(body, f"payload{self._loaded.extension}") as path:
            return self._loaded.handler.get_with(path, metadata, context)

    def _call(self, decode: Callable[..., Any] | None, *arguments: Any) -> Any:
        """Call the handler; tell what it could not decode from what it was not allowed to."""
        assert decode is not None  # noqa: S101  # for type checkers: the callers chose a capability
        try:
            return decode(*arguments)
        except (
            BadSignatureError,
            BlobCorruptedError,
            ConfigError,
            PluginNotInstalledError,
            UndecodableError,
        ):
            raise
        except SignatureError as error:
            raise BadSignatureError(str(error), "missing") from None
        except BaseException as error:
            if ends_the_caller(error):
                raise
            raise UndecodableError from error


@contextmanager
def _private_copy(payload: memoryview, name: str) -> Iterator[str]:
    """The path of a file that holds these bytes, where nobody else writes."""
    from cacheness.disk.apart import apart
    from cacheness.disk.scratch import private_directory

    begun = forks.number
    with private_directory() as directory:
        path = f"{directory}/{name}"
        with apart(path, begun):
            with open(path, "wb") as file:
                file.write(payload)
            yield path


def _mapping(metadata: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    if not metadata:
        return EMPTY
    if isinstance(metadata, str):
        import json

        try:
            loaded = json.loads(metadata)
        except (ValueError, RecursionError) as error:
            raise UndecodableError from error
        return loaded if isinstance(loaded, dict) else EMPTY
    return metadata


def _checksum_of_file(path: str, algorithm: str) -> Checksum:
    checksum = Checksum(algorithm)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            checksum.update(piece)
    return checksum
