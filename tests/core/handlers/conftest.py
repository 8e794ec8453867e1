# SPDX-License-Identifier: MIT
"""A handler context whose payloads live in memory, for tests of single handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cacheness.compressors.none import NoneCompressor
from cacheness.errors import CannotHandleError, SignatureError
from cacheness.handlers.base import HandlerContext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cacheness.compressors.base import Compressor
    from cacheness.handlers.base import Handler


class MemoryContext(HandlerContext):
    """One put and its get; parts go to the first of ``handlers`` that takes them."""

    def __init__(
        self,
        handlers: Sequence[Any] = (),
        *,
        compressor: Compressor | None = None,
        verified: bool = True,
        allow_pickle: bool = True,
    ) -> None:
        self.handlers = handlers
        self._compressor = compressor or NoneCompressor()
        self._verified = verified
        self._allow_pickle = allow_pickle
        self.parts: list[object] = []
        self.encoded: list[tuple[Any, bytes, dict[str, Any]]] = []
        self.signature_required = False
        self.asked: list[str] = []
        self._read: dict[int, Any] = {}

    @property
    def options(self) -> Mapping[str, Any]:
        return {}

    @property
    def compressor(self) -> Compressor:
        return self._compressor

    @property
    def verified(self) -> bool:
        return self._verified

    @property
    def allow_pickle(self) -> bool:
        return self._allow_pickle

    def put_part(self, obj: object) -> dict[str, Any]:
        for number, part in enumerate(self.parts):
            if part is obj:
                return {"part": number}
        self.parts.append(obj)
        return {"part": len(self.parts) - 1}

    def get_part(self, part: Mapping[str, Any]) -> Any:
        number = part.get("part")
        if type(number) is not int or not 0 <= number < len(self.encoded):
            raise ValueError(f"no such part: {part!r}")
        if number not in self._read:
            handler, payload, metadata = self.encoded[number]
            if not handler.data_only:
                self.require_verified(f"a part of {handler.name}")
            self._read[number] = handler.loads(private(payload), metadata, self)
        return self._read[number]

    def part_handler(self, obj: object) -> str:
        return next(handler.name for handler in self._takers(obj))

    def require_signature(self) -> None:
        if not self._allow_pickle:
            raise CannotHandleError("allow_pickle=False")
        self.signature_required = True

    def require_verified(self, what: str) -> None:
        self.asked.append(what)
        if not self._verified:
            raise SignatureError(what)

    def encode_parts(self) -> None:
        """Encode what `put_part` was given, as the core does after ``dumps``."""
        for obj in self.parts:
            self.encoded.append(self._encode(obj))

    def reading(self, *, verified: bool = True) -> MemoryContext:
        """A context that reads back what this one put."""
        context = MemoryContext(self.handlers, verified=verified)
        context.encoded = self.encoded
        return context

    def _encode(self, obj: object) -> tuple[Any, bytes, dict[str, Any]]:
        for handler in self._takers(obj):
            try:
                buffers, metadata = handler.dumps(obj, self)
                return handler, b"".join(buffers), metadata
            except CannotHandleError:
                continue
        raise AssertionError(f"no handler takes {obj!r}")

    def _takers(self, obj: object) -> list[Any]:
        return [handler for handler in self.handlers if handler.can_handle(obj)]


def private(payload: bytes) -> memoryview:
    """Writeable memory that belongs to the reader, as a blob is read into."""
    return memoryview(bytearray(payload))


def dump(handler: Any, obj: object, context: HandlerContext | None = None) -> tuple[bytes, Any]:
    """The payload and the metadata that a handler gives."""
    buffers, metadata = handler.dumps(obj, context or MemoryContext())
    return b"".join(buffers), metadata


def round_trip(handler: Handler | Any, obj: object, context: MemoryContext | None = None) -> Any:
    """Put and get, with the payload in private memory."""
    context = context or MemoryContext()
    payload, metadata = dump(handler, obj, context)
    context.encode_parts()
    return handler.loads(private(payload), metadata, context.reading())


@pytest.fixture(scope="session", name="MemoryContext")
def memory_context() -> type[MemoryContext]:
    return MemoryContext


@pytest.fixture(scope="session", name="private")
def private_fixture() -> Callable[[bytes], memoryview]:
    return private


@pytest.fixture(scope="session", name="dump")
def dump_fixture() -> Callable[..., tuple[bytes, Any]]:
    return dump


@pytest.fixture(scope="session", name="round_trip")
def round_trip_fixture() -> Callable[..., Any]:
    return round_trip
