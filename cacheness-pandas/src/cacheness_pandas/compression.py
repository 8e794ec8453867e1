# SPDX-License-Identifier: MIT
"""Which of Arrow's codecs stands for the cache's compressor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from cacheness.compressors.auto import SMALLEST

if TYPE_CHECKING:
    from typing import Any

    from cacheness.compressors.base import Compressor

__all__ = ["choose_codec", "noted_codec"]

_CODECS = (("lz4", "lz4"), ("blosclz", "lz4"), ("zstd", "zstd"), ("zlib", "zstd"), ("gzip", "zstd"))
"""Part of a compressor's name, and the codec of Arrow IPC that comes nearest to it."""
_PIECE = 8 << 10
_PIECES = 32
_WORTH = 0.5
"""Automatically a codec is used only where it leaves at most this share of the sample.

Much less than the 0.85 that other payloads may keep: an uncompressed file is read
in place, memory-mapped, in part, and written at a third of the cost (1M mixed rows: put
57 against 139 ms, get 13 against 54 ms for a file smaller by a fifth).
"""


def noted_codec(compressor: Compressor, table: pa.Table, metadata: dict[str, Any]) -> str | None:
    """The codec to compress with, and in ``metadata`` what the entry says of it."""
    try:
        codec = choose_codec(compressor, table)
    except LookupError:
        return None
    metadata["compressed"] = True  # by what the cache wants, which may be not at all
    if codec is not None:
        metadata["codec"] = codec
    return codec


def choose_codec(compressor: Compressor, table: pa.Table) -> str | None:
    """The codec to compress a table's columns with: ``"lz4"``, ``"zstd"``, or None.

    For ``"auto"`` Arrow's LZ4, which is nearest to what that mostly chooses, has to halve a
    sample; only then is it asked, whose own trial with Blosc2 takes as long again.

    Raises:
        LookupError: The compressor is none that Arrow has a codec for; the cache is to
            compress the file as a whole.
    """
    automatic = compressor.name == "auto"
    if compressor.name == "none":
        return None
    if not automatic:
        return _codec_of(compressor.name)
    if table.nbytes < SMALLEST:
        return None
    sample = _sample(table)
    if len(pa.Codec("lz4").compress(sample)) > _WORTH * len(sample):
        return None
    chosen = compressor.choose(sample, size=table.nbytes)
    return None if chosen.name == "none" else _codec_of(chosen.name)


def _codec_of(name: str) -> str:
    for part, codec in _CODECS:
        if part in name:
            return codec
    raise LookupError(name)


def _sample(table: pa.Table) -> bytes:
    """Some bytes from the middle of the buffers of some columns."""
    every = max(1, table.num_columns // _PIECES)
    buffers = [
        buffer
        for column in table.columns[::every]
        for chunk in column.chunks[:1]
        for buffer in chunk.buffers()
        if buffer is not None and buffer.size
    ]
    pieces: list[bytes] = []
    for buffer in buffers:
        middle = buffer.size // 2
        pieces.append(buffer[max(0, middle - _PIECE // 2) : middle + _PIECE // 2].to_pybytes())
    return b"".join(pieces)
