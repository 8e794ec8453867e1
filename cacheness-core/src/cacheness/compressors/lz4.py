# SPDX-License-Identifier: MIT
"""The compressor for LZ4 frames, with the ``codecs`` extra."""

from __future__ import annotations

from cacheness.compressors.base import Compressor
from cacheness.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.handlers.protocols import Buffer

__all__ = ["Lz4Compressor"]


class Lz4Compressor(Compressor):
    """Each chunk is one LZ4 frame with its content size, as the ``lz4`` tool writes.

    Raises:
        ConfigError: When made: the package lz4 is not installed.
    """

    name = "lz4"
    extension = ".lz4"

    def __init__(self) -> None:
        try:
            import lz4.frame  # type: ignore[import-untyped]  # lz4 ships no types
        except ImportError as error:
            raise ConfigError(
                "compressor 'lz4' needs the package lz4: pip install 'cacheness-core[codecs]'"
            ) from error
        self._frame = lz4.frame

    def compress(self, buffer: Buffer, *, typesize: int = 1) -> Buffer:
        # Level 0 is the fast one, which is what LZ4 is for: 3 is a third of the speed.
        frame: bytes = self._frame.compress(buffer, compression_level=0, store_size=True)
        return frame

    def decompress(self, buffer: Buffer, *, max_size: int) -> Buffer:
        try:
            claimed = self._frame.get_frame_info(buffer)["content_size"]
            if claimed > max_size:
                raise ValueError(f"an LZ4 frame of {claimed} bytes where at most {max_size} may be")
            # A content size of 0 stands for "unknown" too, so the output is bounded itself.
            frame = self._frame.LZ4FrameDecompressor()
            data: bytes = frame.decompress(buffer, max_length=(claimed or max_size) + 1)
        except (RuntimeError, EOFError) as error:
            raise ValueError(f"not an LZ4 frame: {error}") from error
        if len(data) > (claimed or max_size):
            raise ValueError(f"an LZ4 frame holds more than the {max_size} bytes it may have")
        if not frame.eof or frame.unused_data:
            raise ValueError("an LZ4 frame is cut short or followed by other bytes")
        return data
