# SPDX-License-Identifier: MIT
"""The way of a value into the store: handler, compressor, checksum, blob or inline."""

from __future__ import annotations

import os
from contextlib import closing
from itertools import chain
from typing import NamedTuple

from cacheness import forks
from cacheness.disk.unrecorded import check_own, new_blob_name, seen_to
from cacheness.errors import CannotHandleError, SerializationError
from cacheness.payloads.archive import ArchiveWriter, Part
from cacheness.payloads.checksum import Checksum, checksum_of
from cacheness.payloads.context import EMPTY, Parts, PutContext
from cacheness.payloads.streams import Compressed, checked, checked_apart, pieces_of, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from typing import Any, TypeGuard

    from cacheness.blobs.base import BlobBackend
    from cacheness.compressors.base import Compressor
    from cacheness.config import CacheConfig
    from cacheness.handlers.protocols import Buffer
    from cacheness.payloads.dumped import Dumped
    from cacheness.plugins.registry import LoadedHandler, Registry

__all__ = ["Encoded", "Encoder"]


class Encoded(NamedTuple):
    """A payload that lies in the store, or inline here, and what its entry says of it."""

    handler: str
    handler_version: int
    distribution: str
    metadata: dict[str, Any]
    compressor: str
    checksum: str
    stored_bytes: int
    logical_bytes: int
    inline: bytes | None
    blob: str | None
    data_only: bool
    summary: str


class _NeedsSignatureError(Exception):
    """A part turned out not to be data-only after the fast checksum had begun."""


class Encoder:
    """Writes values as payloads.

    Args:
        registry: Finds handlers and compressors.
        config: The cache's options.
        blobs: Opens the blob backend at first need.
        inline: Whether the metadata backend keeps payloads in entries.
    """

    def __init__(
        self,
        registry: Registry,
        config: CacheConfig,
        blobs: Callable[[], BlobBackend],
        *,
        inline: bool,
    ) -> None:
        self.registry = registry
        self.blobs = blobs
        self.inline_bytes = config.inline_bytes if inline else -1
        self.compressor = config.compressor
        self.handler_options = config.handler_options
        self.allow_pickle = config.allow_pickle
        self.signing = config.signing

    def encode(
        self,
        obj: object,
        *,
        handler: str | None = None,
        compressor: str | None = None,
        options: Mapping[str, Any] | None = None,
        dumped: Dumped | None = None,
    ) -> Encoded:
        """Store the value's payload by the first handler that keeps it exactly.

        Args:
            obj: The value.
            handler: The name of the handler to use.
            compressor: The name of the compressor to use instead of the configured one.
            options: For the handler.
            dumped: What a handler has made of it already.

        Raises:
            SerializationError: No handler keeps it; the message says what each said.
            HandlerNotFoundError, ConfigError: There is no handler or compressor of that name.
        """
        codec = self.registry.compressor(compressor or self.compressor)
        refusals: list[str] = []
        for loaded in self._handlers(obj, handler):
            try:
                return self._encode_with(loaded, obj, codec, options or EMPTY, dumped)
            except CannotHandleError as refusal:
                refusals.append(f"{loaded.name}: {refusal}")
        raise SerializationError(
            f"no handler keeps a {_type_name(obj)} exactly"
            + (f" ({'; '.join(refusals)})" if refusals else "")
        )

    def _handlers(self, obj: object, name: str | None) -> Iterable[LoadedHandler]:
        if name is None:
            return self.registry.handlers_for(obj)
        loaded = self.registry.handler(name)
        if not loaded.handler.can_handle(obj):
            raise SerializationError(f"the handler {name!r} does not take a {_type_name(obj)}")
        return (loaded,)

    def _encode_with(
        self,
        loaded: LoadedHandler,
        obj: object,
        codec: Compressor,
        options: Mapping[str, Any],
        made: Dumped | None,
    ) -> Encoded:
        if not (loaded.data_only or self.allow_pickle):
            raise CannotHandleError("allow_pickle=False keeps only what is data-only")
        dumped: bytes | None = None
        if loaded.name not in self.handler_options and not options:
            if made is not None and made.loaded is loaded:
                dumped = made.payload
            elif loaded.dumps_plain is not None:
                dumped = loaded.dumps_plain(obj)
        if dumped is not None and self.signing != "all":
            plain = self._plain(loaded, obj, codec, dumped)
            if plain is not None:
                return plain
        try:
            return _Encoding(self, loaded, obj, codec, options, dumped, strong=False).run()
        except _NeedsSignatureError:
            return _Encoding(self, loaded, obj, codec, options, dumped, strong=True).run()

    def _plain(
        self, loaded: LoadedHandler, obj: object, codec: Compressor, payload: bytes
    ) -> Encoded | None:
        """[hot] A small payload that was made in one call; 5 µs instead of 10."""
        size = len(payload)
        if size > self.inline_bytes or codec.choose(payload, size=size).name != "none":
            return None
        return Encoded(
            loaded.name,
            loaded.version,
            loaded.distribution,
            {},
            "none",
            checksum_of(payload, "xxh3-128"),
            size,
            size,
            payload,
            None,
            loaded.data_only,
            loaded.describe(obj) if loaded.describe else type(obj).__name__,
        )


class _Encoding:
    """One try of one handler at one value."""

    def __init__(
        self,
        encoder: Encoder,
        loaded: LoadedHandler,
        obj: object,
        codec: Compressor,
        options: Mapping[str, Any],
        dumped: bytes | None = None,
        *,
        strong: bool,
    ) -> None:
        self._encoder = encoder
        self._dumped = dumped
        self._loaded = loaded
        self._obj = obj
        self._codec = codec
        self._strong = strong
        self._data_only = loaded.data_only
        self._parts = Parts()
        self._context = self._context_for(loaded, options)

    def run(self) -> Encoded:
        if self._loaded.dumps is None:
            return self._run_with_file()
        buffers, metadata = (
            self._loaded.dumps(self._obj, self._context)
            if self._dumped is None
            else ((self._dumped,), {})
        )
        self._data_only = self._data_only and self._context.data_only
        if self._parts.objects:
            return self._run_with_parts(buffers, metadata)
        if _is_small(buffers, self._encoder.inline_bytes):
            return self._store_inline(buffers[0], metadata)
        return self._store_buffers(iter(buffers), metadata)

    # --- one stream of buffers ----------------------------------------------------------

    def _store_buffers(self, buffers: Iterator[Buffer], metadata: dict[str, Any]) -> Encoded:
        first, size, whole = until(buffers, self._encoder.inline_bytes)
        if whole:
            return self._store_inline(b"".join(first), metadata)
        stream = chain(first, buffers)
        codec = self._codec_for(self._loaded, metadata, first, size)
        if codec.name == "none":
            return self._store_blob(stream, metadata, codec)
        chunks = Compressed(stream, codec)
        return self._store_blob(chunks, metadata, codec, chunks)

    def _store_inline(self, payload: bytes, metadata: dict[str, Any]) -> Encoded:
        codec = self._codec_for(self._loaded, metadata, [payload], len(payload))
        logical = len(payload)
        if codec.name != "none":
            payload = bytes(codec.compress(payload))
        checksum = checksum_of(payload, self._algorithm())
        return self._encoded(metadata, codec, checksum, len(payload), logical, inline=payload)

    def _store_blob(
        self,
        stream: Iterable[Buffer],
        metadata: dict[str, Any],
        codec: Compressor,
        compressed: Compressed | None = None,
    ) -> Encoded:
        extension = str(metadata.get("extension") or self._loaded.extension)
        checksum = Checksum(self._algorithm())
        name, size = self._write_blob(
            extension + (codec.extension if compressed else ""), checked(stream, checksum)
        )
        logical = size
        if compressed is not None:
            logical = compressed.logical_bytes
            metadata = {**metadata, "_chunks": compressed.sizes}
        return self._encoded(metadata, codec, checksum.text(), size, logical, blob=name)

    # --- a handler that writes a file itself --------------------------------------------

    def _run_with_file(self) -> Encoded:
        from cacheness.disk.apart import apart

        begun = forks.number
        blobs = self._encoder.blobs()
        staged, private = self._staged(self._loaded)
        try:
            with apart(staged, begun):
                metadata = self._loaded.handler.put_with(self._obj, staged, self._context)
            self._data_only = self._data_only and self._context.data_only
            if self._parts.objects:
                return self._run_with_parts(pieces_of(staged), metadata)
            size = os.path.getsize(staged)
            if size <= self._encoder.inline_bytes:
                return self._store_inline(b"".join(pieces_of(staged)), metadata)
            first: list[Buffer] = [next(pieces_of(staged))]
            if not private and self._codec_for(self._loaded, metadata, first, size).name == "none":
                return self._adopt(staged, metadata, blobs)
            return self._store_buffers(pieces_of(staged), metadata)
        except FileNotFoundError as error:
            forks.check(begun)
            raise SerializationError(
                f"the handler {self._loaded.name!r} did not write the file it was given"
            ) from error
        finally:
            try:  # an interrupt could keep a function in Python from beginning
                if forks.number == begun:
                    os.unlink(staged)
            except FileNotFoundError:
                pass  # adopted

    def _staged(self, loaded: LoadedHandler) -> tuple[str, bool]:
        """Where a handler is to write its file, and whether that is for this process alone.

        What will be signed is not left where others may write: who puts another file in
        its place before it is checksummed would have that signed. Nor is what a handler may
        open twice, as the second time it could be a link.
        """
        from cacheness.disk.staging import is_ours_alone, new_file_path

        digits = os.urandom(16).hex()
        name = f"{digits[:2]}/{digits}{loaded.extension}"
        signing = self._encoder.signing
        signed = signing == "all" or (signing == "auto" and not loaded.data_only)
        if not signed or loaded.verifies:
            staged = self._encoder.blobs().stage(name)
            if loaded.verifies or is_ours_alone(os.path.dirname(staged)):
                return staged, False
        return new_file_path(name), True

    def _adopt(self, staged: str, metadata: dict[str, Any], blobs: BlobBackend) -> Encoded:
        """The staged file becomes the blob as it is."""
        checksum = Checksum(self._algorithm())
        for piece in pieces_of(staged):
            checksum.update(piece)
        name = new_blob_name(str(metadata.get("extension") or self._loaded.extension))
        try:
            size = blobs.adopt(staged, name)
        except BaseException:
            seen_to(name)  # never
            raise
        codec = self._encoder.registry.compressor("none")
        return self._encoded(metadata, codec, checksum.text(), size, size, blob=name)

    # --- parts ------------------------------------------------------------------------

    def _run_with_parts(self, body: Iterable[Buffer], metadata: dict[str, Any]) -> Encoded:
        held = tuple(body)
        for obj in self._parts.objects:
            self._data_only = self._data_only and self._likely_data_only(obj)
        writer = ArchiveWriter(self._encode_parts(), lambda: held, self._encoder.inline_bytes)
        inline, chunks = writer.chunks()
        none = self._encoder.registry.compressor("none")
        if inline:
            payload = b"".join(chunks)
            checksum = checksum_of(payload, self._algorithm())
            metadata = {**metadata, "_archive": list(writer.manifest_span)}
            return self._encoded(
                metadata, none, checksum, len(payload), len(payload), inline=payload
            )
        hasher = Checksum(self._algorithm())
        strong = self._strong or not self._data_only
        pieces = checked_apart(chunks, hasher, lambda: writer.lasting)
        name, size = self._write_blob(".tar", pieces)
        if not (strong or self._data_only) and self._encoder.signing != "off":
            check_own(name)
            self._encoder.blobs().delete(name)
            seen_to(name)
            raise _NeedsSignatureError
        metadata = {**metadata, "_archive": list(writer.manifest_span)}
        if writer.cuts:
            metadata["_cuts"] = writer.cuts
        return self._encoded(metadata, none, hasher.text(), size, size, blob=name)

    def _likely_data_only(self, obj: object) -> bool:
        """Whether the handler that is asked first for a part is data-only."""
        for loaded in self._encoder.registry.handlers_for(obj):
            return loaded.data_only
        return False

    def _encode_parts(self) -> Iterator[Part]:
        """Encode one part at a time; a part may itself put more parts."""
        number = 0
        while number < len(self._parts.objects):
            yield self._encode_part(self._parts.objects[number])
            number += 1

    def _encode_part(self, obj: object) -> Part:
        refusals = []
        for loaded in self._encoder.registry.handlers_for(obj):
            if loaded.name == "container":
                continue  # the container handler walks into containers itself
            if not (loaded.data_only or self._encoder.allow_pickle):
                refusals.append(f"{loaded.name}: allow_pickle=False keeps only what is data-only")
                continue
            try:
                return self._encode_part_with(loaded, obj)
            except CannotHandleError as refusal:
                refusals.append(f"{loaded.name}: {refusal}")
        raise SerializationError(
            f"no handler keeps the part {_type_name(obj)} exactly ({'; '.join(refusals)})"
        )

    def _encode_part_with(self, loaded: LoadedHandler, obj: object) -> Part:
        context = self._context_for(loaded, EMPTY)
        if loaded.dumps is not None:
            given, metadata = loaded.dumps(obj, context)
            buffers = tuple(given)
        else:
            from cacheness.disk.apart import apart

            begun = forks.number
            staged, _ = self._staged(loaded)
            try:
                with apart(staged, begun):
                    metadata = loaded.handler.put_with(obj, staged, context)
                buffers = tuple(pieces_of(staged))
            finally:
                try:  # as above
                    if forks.number == begun:
                        os.unlink(staged)
                except FileNotFoundError:
                    pass
        self._data_only = self._data_only and loaded.data_only and context.data_only
        logical = sum(map(len, buffers))
        codec = self._codec_for(loaded, metadata, list(buffers[-1:]), logical)
        lasting = loaded.buffers_last
        if codec.name != "none":
            compressed = Compressed(iter(buffers), codec)
            buffers = tuple(compressed)
            metadata = {**metadata, "_chunks": compressed.sizes}
            lasting = {type(buffer) for buffer in buffers} <= {bytes}
        return Part(
            handler=loaded.name,
            handler_version=loaded.version,
            distribution=loaded.distribution,
            compressor=codec.name,
            metadata=metadata,
            logical_bytes=logical,
            extension=str(metadata.get("extension") or loaded.extension) + codec.extension,
            buffers=buffers,
            lasting=lasting,
        )

    # --- what they share ----------------------------------------------------------------

    def _write_blob(self, extension: str, pieces: Generator[Buffer, None, None]) -> tuple[str, int]:
        """Write a blob; give its name and size."""
        name = new_blob_name(extension)
        try:
            # Closed also where the writing fails: a thread may wait for more of them.
            with closing(pieces):
                return name, self._encoder.blobs().write(name, pieces)
        except BaseException:
            seen_to(name)  # never
            raise

    def _context_for(self, loaded: LoadedHandler, options: Mapping[str, Any]) -> PutContext:
        configured = self._encoder.handler_options.get(loaded.name)
        return PutContext(
            self._encoder.registry,
            self._parts,
            {**configured, **options} if configured else options,
            self._codec,
            allow_pickle=self._encoder.allow_pickle,
        )

    def _codec_for(
        self, loaded: LoadedHandler, metadata: Mapping[str, Any], first: list[Buffer], size: int
    ) -> Compressor:
        """The compressor that the core is to apply.

        A handler that compresses has already chosen where the choice is its own.
        """
        chosen = loaded.compresses and self._codec.name == "auto"
        if chosen or metadata.get("compressed") or not first:
            return self._encoder.registry.compressor("none")
        return self._codec.choose(max(first, key=len), size=size)

    def _algorithm(self) -> str:
        """blake3 where a signature will rest on it, else the fast one."""
        signing = self._encoder.signing
        signed = signing == "all" or (signing == "auto" and not self._data_only)
        return "blake3" if signed or self._strong else "xxh3-128"

    def _encoded(
        self,
        metadata: dict[str, Any],
        codec: Compressor,
        checksum: str,
        stored_bytes: int,
        logical_bytes: int,
        *,
        inline: bytes | None = None,
        blob: str | None = None,
    ) -> Encoded:
        loaded = self._loaded
        describe = loaded.describe
        return Encoded(
            handler=loaded.name,
            handler_version=loaded.version,
            distribution=loaded.distribution,
            metadata=metadata,
            compressor=codec.name,
            checksum=checksum,
            stored_bytes=stored_bytes,
            logical_bytes=logical_bytes,
            inline=inline,
            blob=blob,
            data_only=self._data_only,
            summary=describe(self._obj) if describe else type(self._obj).__name__,
        )


def _is_small(buffers: Iterable[Buffer], limit: int) -> TypeGuard[tuple[bytes]]:
    """[hot] Whether these are bytes to inline as they are; it saves 2 µs of encoding's 10."""
    return (
        type(buffers) is tuple
        and len(buffers) == 1
        and type(buffers[0]) is bytes
        and len(buffers[0]) <= limit
    )


def _type_name(obj: object) -> str:
    return f"{type(obj).__module__}.{type(obj).__qualname__}"
