# SPDX-License-Identifier: MIT
"""The compressors of the Blosc2 library, which shuffle the bytes of numbers first."""

from __future__ import annotations

from cacheness.compressors.base import Compressor
from cacheness.compressors.blosc2_chunk import chunk_size
from cacheness.compressors.blosc2_threads import thread_count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from cacheness.handlers.protocols import Buffer

__all__ = [
    "COMPRESSORS",
    "Blosc2BloscLzCompressor",
    "Blosc2Compressor",
    "Blosc2Lz4Compressor",
    "Blosc2ZlibCompressor",
    "Blosc2ZstdCompressor",
]

_LARGEST_TYPESIZE = 255
_ALONE = 128 << 10
"""Up to this size a chunk is compressed by the calling thread: the library starts threads at
each call, which takes longer, and on a busy machine ten times as long."""


class Blosc2Compressor(Compressor):
    """Each chunk is one Blosc2 chunk, compressed with all cores.

    Importing the library costs a second in a new process, so it is imported at the
    first chunk.
    """

    extension = ".b2"
    codec: Literal["LZ4", "ZSTD", "BLOSCLZ", "ZLIB"]
    """The library's name of the inner codec."""
    level: int
    """Its level, 1 to 9."""

    def settings(self, typesize: int) -> dict[str, Any]:
        """The library's compression parameters for numbers of ``typesize`` bytes."""
        import blosc2

        return {
            "codec": blosc2.Codec[self.codec],
            "clevel": self.level,
            "typesize": typesize if typesize <= _LARGEST_TYPESIZE else 1,
            "filters": [blosc2.Filter.SHUFFLE],
            "nthreads": thread_count(),
        }

    def compress(self, buffer: Buffer, *, typesize: int = 1) -> Buffer:
        import blosc2

        settings = self.settings(typesize)
        if memoryview(buffer).nbytes <= _ALONE:
            settings["nthreads"] = 1
        chunk: bytes = blosc2.compress2(buffer, **settings)
        return chunk

    def decompress(self, buffer: Buffer, *, max_size: int) -> Buffer:
        size = chunk_size(buffer)
        if size > max_size:
            raise ValueError(f"a Blosc2 chunk of {size} bytes where at most {max_size} may be")
        if size == 0:
            return b""
        import blosc2

        try:
            data: bytes = blosc2.decompress2(buffer, nthreads=thread_count())
        except RuntimeError as error:
            raise ValueError(f"not a Blosc2 chunk: {error}") from error
        return data


# The levels: of 8 MiB of source text, floats and pickles, a higher one of LZ4 or BloscLZ
# changes little, Zstandard's 3 is no smaller than 1 at a third of the speed, and zlib
# finds most of what it finds at 3.


class Blosc2Lz4Compressor(Blosc2Compressor):
    """LZ4: 0.4 to 3 GB/s, the one that ``"auto"`` uses."""

    name = "blosc2-lz4"
    codec = "LZ4"
    level = 5


class Blosc2ZstdCompressor(Blosc2Compressor):
    """Zstandard: about a third smaller than LZ4 at half of its speed."""

    name = "blosc2-zstd"
    codec = "ZSTD"
    level = 1


class Blosc2BloscLzCompressor(Blosc2Compressor):
    """BloscLZ, the library's own."""

    name = "blosc2-blosclz"
    codec = "BLOSCLZ"
    level = 5


class Blosc2ZlibCompressor(Blosc2Compressor):
    """zlib: slow, and small."""

    name = "blosc2-zlib"
    codec = "ZLIB"
    level = 3


COMPRESSORS = (
    Blosc2Lz4Compressor,
    Blosc2ZstdCompressor,
    Blosc2BloscLzCompressor,
    Blosc2ZlibCompressor,
)
