# SPDX-License-Identifier: MIT
"""Writes and reads uncompressed tars whose last member, a JSON manifest, says where each lies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, BinaryIO

    from cacheness.handlers.protocols import Buffer

__all__ = ["Span", "TarWriter", "read_manifest", "slice_of"]

_BLOCK = 512
_MANIFEST = "manifest.json"

Span = tuple[int, int]
"""Offset and size of a member, in bytes."""


class TarWriter:
    """Appends members to a file. The same members give the same bytes, whenever and wherever.

    Args:
        file: Opened for writing bytes; members are written where it stands.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0

    def add(self, name: str, buffers: Iterable[Buffer]) -> Span:
        """Append a member that starts at a multiple of 512, and say where it lies."""
        held = [memoryview(buffer).cast("B") for buffer in buffers]
        size = sum(map(len, held))
        start = self._begin(name, size)
        for view in held:
            self._file.write(view)
        self._end(size)
        return start, size

    def add_file(self, name: str, file_path: str) -> Span:
        """Append a member that is a copy of a file."""
        import os
        import shutil

        with open(file_path, "rb") as source:
            size = os.fstat(source.fileno()).st_size
            start = self._begin(name, size)
            shutil.copyfileobj(source, self._file, 1 << 20)
        self._end(size)
        return start, size

    def finish(self, manifest: Mapping[str, Any]) -> list[int]:
        """Append the manifest and the tar's end, and give the manifest's span."""
        encoded = json.dumps(manifest, separators=(",", ":")).encode()
        span = self.add(_MANIFEST, (encoded,))
        self._file.write(bytes(2 * _BLOCK))
        return list(span)

    def _begin(self, name: str, size: int) -> int:
        from tarfile import GNU_FORMAT, TarInfo

        header = TarInfo(name)
        header.size = size
        header.mode = 0o600
        encoded = header.tobuf(GNU_FORMAT)
        self._file.write(encoded)
        self._at += len(encoded)
        return self._at

    def _end(self, size: int) -> None:
        padding = -size % _BLOCK
        self._file.write(bytes(padding))
        self._at += size + padding


def read_manifest(tar: memoryview, span: object) -> dict[str, Any]:
    """Read the manifest of a tar.

    Raises:
        ValueError: There is none in that place.
    """
    encoded = bytes(slice_of(tar, span))
    try:
        return dict(json.loads(encoded))
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"not a tar's manifest: {error}") from error


def slice_of(tar: memoryview, span: object) -> memoryview:
    """The bytes of a member.

    Raises:
        ValueError: The span is none, or lies outside the tar.
    """
    if not (isinstance(span, (list, tuple)) and len(span) == 2):
        raise ValueError(f"{span!r} is no span")
    start, size = span
    if type(start) is not int or type(size) is not int:
        raise ValueError(f"{span!r} is no span")
    if start < 0 or size < 0 or start + size > len(tar):
        raise ValueError(f"{span!r} lies outside the tar")
    return tar[start : start + size]
