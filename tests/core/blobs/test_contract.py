# SPDX-License-Identifier: MIT
"""The core's blob backends keep the promises that any blob backend makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cacheness.blobs.base import BlobBackend
from cacheness.testing import BlobBackendContract

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from cacheness.backends.base import BackendContext
    from cacheness.handlers.protocols import Buffer


class TestFileBlobBackend(BlobBackendContract):
    target = "cacheness.blobs.file:FileBlobBackend"
    shared = True
    persistent = True


class TestMemoryBlobBackend(BlobBackendContract):
    target = "cacheness.blobs.memory:MemoryBlobBackend"

    def options(self, context: BackendContext) -> dict[str, Any]:
        return {"name": context.directory}


class SmallestBackend(BlobBackend):
    """What an author has to write at least; the rest are the base class's defaults."""

    def __init__(self, context: BackendContext, **options: object) -> None:
        from cacheness.blobs.memory import MemoryBlobBackend

        self._blobs = MemoryBlobBackend(context, name=f"smallest {context.directory}")

    @property
    def store_id(self) -> str:
        return self._blobs.store_id

    def write(self, name: str, source: Iterable[Buffer]) -> int:
        return self._blobs.write(name, source)

    def read(self, name: str) -> Buffer:
        return self._blobs.read(name)

    def local_path(self, name: str) -> AbstractContextManager[str]:
        return self._blobs.local_path(name)

    def delete(self, name: str) -> bool:
        return self._blobs.delete(name)

    def exists(self, name: str) -> bool:
        return self._blobs.exists(name)

    def iter_blobs(self) -> Iterator[tuple[str, int, float]]:
        return self._blobs.iter_blobs()


class TestDefaultsOfTheBase(BlobBackendContract):
    target = SmallestBackend
