# SPDX-License-Identifier: MIT
"""The compressor that leaves bytes as they are."""

from __future__ import annotations

from cacheness.compressors.base import Compressor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.handlers.protocols import Buffer

__all__ = ["NoneCompressor"]


class NoneCompressor(Compressor):
    """Stores raw bytes, so that other tools read the file and arrays can be memory-mapped."""

    name = "none"

    def compress(self, buffer: Buffer, *, typesize: int = 1) -> Buffer:
        return buffer

    def decompress(self, buffer: Buffer, *, max_size: int) -> Buffer:
        if len(buffer) > max_size:
            raise ValueError(f"a raw chunk of {len(buffer)} bytes where at most {max_size} may be")
        return buffer
