# SPDX-License-Identifier: MIT
"""A handler's way of a value to bytes and back, without a cache around it, as fixtures."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from cacheness import CannotHandleError, SignatureError
from cacheness.compressors.auto import AutoCompressor
from cacheness.compressors.base import Compressor
from cacheness.compressors.none import NoneCompressor
from cacheness.handlers.base import HandlerContext
from cacheness.keys.hashing import Stream
from cacheness_pandas.frame import DataFrameHandler
from cacheness_pandas.index import IndexHandler
from cacheness_pandas.series import SeriesHandler
from cacheness_pandas.table import ArrowTableHandler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HANDLERS = [DataFrameHandler(), SeriesHandler(), IndexHandler(), ArrowTableHandler()]


class Named(Compressor):
    """A compressor that a caller asked for by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def compress(self, buffer: Any, *, typesize: int = 1) -> Any:
        return buffer

    def decompress(self, buffer: Any, *, max_size: int) -> Any:
        return buffer


class Context(HandlerContext):
    """Keeps parts in a list, as data where they are data, else as the objects they are."""

    def __init__(
        self,
        options: Mapping[str, Any] | None = None,
        compressor: Compressor | None = None,
        *,
        verified: bool = True,
        allow_pickle: bool = True,
        parts: list[object] | None = None,
    ) -> None:
        self._options = options or {}
        self._compressor = compressor or NoneCompressor()
        self._verified = verified
        self._allow_pickle = allow_pickle
        self.parts: list[object] = [] if parts is None else parts
        self.signed = False

    @property
    def options(self) -> Mapping[str, Any]:
        return self._options

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
        self.parts.append(obj)
        return {"part": len(self.parts) - 1}

    def get_part(self, part: Mapping[str, Any]) -> Any:
        obj = self.parts[part["part"]]
        plain = isinstance(obj, pa.ChunkedArray) or (
            isinstance(obj, np.ndarray) and obj.dtype != object
        )
        if not plain and not self._verified:
            raise SignatureError("a part is not data-only and the payload is not verified")
        return pickle.loads(pickle.dumps(obj))

    def part_handler(self, obj: object) -> str:
        return "pickle"

    def require_signature(self) -> None:
        if not self._allow_pickle:
            raise CannotHandleError("allow_pickle=False keeps only what is data-only")
        self.signed = True

    def require_verified(self, what: str) -> None:
        if not self._verified:
            raise SignatureError(what)


class Stored:
    """A stored payload, and what an entry would say of it."""

    def __init__(
        self, obj: object, options: Mapping[str, Any] | None = None, compressor: str = "none"
    ) -> None:
        self.handler = handler_of(obj)
        codec = {"none": NoneCompressor, "auto": AutoCompressor}.get(compressor)
        self.context = Context(options, codec() if codec else Named(compressor))
        buffers, self.metadata = self.handler.dumps(obj, self.context)
        self.payload = b"".join(bytes(buffer) for buffer in buffers)

    @property
    def data_only(self) -> bool:
        return not self.context.signed

    def load(
        self,
        options: Mapping[str, Any] | None = None,
        *,
        inline: bool = False,
        verified: bool | None = None,
    ) -> Any:
        """Read it as the core would: from private memory, or from the entry itself."""
        buffer = memoryview(self.payload if inline else bytearray(self.payload))
        return self.handler.loads(buffer, self.metadata, self._reading(options, verified))

    def load_file(self, path: str, options: Mapping[str, Any] | None = None) -> Any:
        """Read it as the core would where only a part is wanted."""
        return self.handler.get_with(self.write(path), self.metadata, self._reading(options, None))

    def map(self, path: str) -> Any:
        return self.handler.map(self.write(path), self.metadata, self._reading(None, None))

    def open(self, path: str) -> Any:
        return self.handler.open(self.write(path), self.metadata, self._reading(None, None))

    def write(self, path: str) -> str:
        with open(path, "wb") as file:
            file.write(self.payload)
        return path

    def _reading(self, options: Mapping[str, Any] | None, verified: bool | None) -> Context:
        trusted = self.context.signed if verified is None else verified
        return Context(options, verified=trusted, parts=self.context.parts)


def handler_of(obj: object) -> Any:
    for handler in HANDLERS:
        if handler.can_handle(obj):
            return handler
    raise CannotHandleError(f"no handler of cacheness-pandas takes a {type(obj).__qualname__}")


def fingerprint_of(obj: object) -> bytes:
    stream = Stream()
    handler_of(obj).fingerprint(obj, stream.update)
    return stream.digest()


@pytest.fixture(scope="session")
def store() -> type[Stored]:
    """Encodes an object by its handler; the result reads it back in each way there is."""
    return Stored


@pytest.fixture(scope="session")
def digest() -> Callable[[object], bytes]:
    """The digest of what an object's handler feeds for a key."""
    return fingerprint_of


@pytest.fixture(scope="session")
def context() -> type[Context]:
    """A handler's context whose parts live in memory."""
    return Context


@pytest.fixture(scope="session")
def handler() -> Callable[[object], Any]:
    """The handler that takes an object."""
    return handler_of
