# SPDX-License-Identifier: MIT
"""Single items of a stream: how each is encoded when it comes, and decoded when it is asked for."""

from __future__ import annotations

from typing import NamedTuple

from cacheness.errors import SerializationError
from cacheness.payloads.encode import Encoder
from cacheness.payloads.reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.backends.shapes import StoredPayload
    from cacheness.engine import Engine
    from cacheness.payloads.context import GetContext
    from cacheness.payloads.decode import Decoder

__all__ = ["EncodedItem", "ItemEncoder", "ItemHead", "read_item"]

_LARGEST = 1 << 30


class ItemHead(NamedTuple):
    """What is needed to read an item."""

    handler: str
    version: int
    distribution: str
    compressor: str
    metadata: dict[str, Any]


class EncodedItem(NamedTuple):
    """An item as it is stored."""

    head: ItemHead
    payload: bytes
    logical_bytes: int
    data_only: bool


class ItemEncoder:
    """Encodes items by the handlers that would take them as values of their own.

    Args:
        engine: Of the cache that the stream is for.
    """

    def __init__(self, engine: Engine) -> None:
        self._encoder = Encoder(engine.registry, engine.config, engine.blobs, inline=True)
        self._encoder.inline_bytes = _LARGEST
        # A checksum of a single item is not used: the fast one is nearest to none.
        self._encoder.signing = "off"

    def encode(self, item: object) -> EncodedItem:
        """Encode an item as it is now.

        Raises:
            SerializationError: No handler keeps it, or it takes more than 1 GiB.
        """
        encoded = self._encoder.encode(item)
        if encoded.inline is None:
            if encoded.blob is not None:
                self._encoder.blobs().delete(encoded.blob)
            raise SerializationError(
                f"an item of a stream takes {encoded.stored_bytes} bytes, and at most 1 GiB is kept"
            )
        head = ItemHead(
            encoded.handler,
            encoded.handler_version,
            encoded.distribution,
            encoded.compressor,
            encoded.metadata,
        )
        return EncodedItem(head, encoded.inline, encoded.logical_bytes, encoded.data_only)


def read_item(
    context: GetContext, decoder: Decoder, head: ItemHead, payload: memoryview, logical: int
) -> Any:
    """Decode an item whose bytes were compared with their checksum.

    Raises:
        SignatureError: Its handler is not data-only, and the stream is not verified.
        PluginNotInstalledError, UndecodableError: As for a value of its own.
    """
    stored: StoredPayload = (
        0,
        head.handler,
        head.version,
        head.compressor,
        "",
        None,
        None,
        head.metadata,
        payload,  # type: ignore[assignment]  # as good as bytes to whoever decodes it
        None,
        None,
        len(payload),
        logical,
        "",
        0.0,
        head.distribution,
    )
    return _ItemReading(decoder, context.cache_key, stored, None, context).value()


class _ItemReading(Reading):
    """Reads an item under the stream's signature and checksums."""

    def __init__(
        self,
        decoder: Decoder,
        cache_key: str,
        stored: StoredPayload,
        options: None,
        context: GetContext,
    ) -> None:
        self._stream = context
        super().__init__(decoder, cache_key, stored, options)

    def _check_signature(self) -> bool:
        if not self._loaded.data_only:
            self._stream.require_verified(f"an item kept by the handler {self._loaded.name!r}")
        return self._stream.verified

    def _stored(self) -> memoryview:
        payload: Any = self._inline
        return memoryview(payload)
