# SPDX-License-Identifier: MIT
"""The compressor for Zstandard frames, with the ``codecs`` extra."""

from __future__ import annotations

from cacheness.compressors.base import Compressor
from cacheness.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.handlers.protocols import Buffer

__all__ = ["ZstdCompressor"]

# Of 8 MiB of source text, floats and pickles, level 1 is within a tenth of level 3's size
# at one and a half times its speed.
_LEVEL = 1


class ZstdCompressor(Compressor):
    """Each chunk is one Zstandard frame with its content size, as the ``zstd`` tool writes.

    Raises:
        ConfigError: When made: the package zstandard is not installed.
    """

    name = "zstd"
    extension = ".zst"

    def __init__(self) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise ConfigError(
                "compressor 'zstd' needs the package zstandard: "
                "pip install 'cacheness-core[codecs]'"
            ) from error
        self._zstandard = zstandard

    def compress(self, buffer: Buffer, *, typesize: int = 1) -> Buffer:
        # The library's objects serve one thread at a time: each call has its own.
        return self._zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(
            buffer
        )

    def decompress(self, buffer: Buffer, *, max_size: int) -> Buffer:
        try:
            size = self._zstandard.frame_content_size(buffer)
            if not 0 <= size <= max_size:
                claimed = "an unknown number of" if size < 0 else size
                raise ValueError(
                    f"a Zstandard frame of {claimed} bytes where at most {max_size} may be"
                )
            # The output has the size checked above; a frame that yields more or less fails.
            data = self._zstandard.ZstdDecompressor().decompress(buffer, allow_extra_data=False)
        except self._zstandard.ZstdError as error:
            raise ValueError(f"not a Zstandard frame: {error}") from error
        if len(data) != size:
            raise ValueError(f"a Zstandard frame of {size} bytes holds {len(data)}")
        return data
