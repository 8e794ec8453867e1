# SPDX-License-Identifier: MIT
"""Checks the header of a Blosc2 chunk before any of it is decoded."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.handlers.protocols import Buffer

__all__ = ["HEADER_BYTES", "chunk_size", "is_zeros"]

HEADER_BYTES = 32
"""The size of a chunk's extended header."""

# Offsets and values of the chunk format of C-Blosc2 (README_CHUNK_FORMAT.rst).
_FLAGS, _NBYTES, _BLOCKSIZE, _CBYTES, _FILTERS, _FLAGS2, _BLOSC2_FLAGS = 2, 4, 8, 12, 16, 30, 31
_EXTENDED_HEADER = 0b101
_CODECS = frozenset({0, 1, 3, 4})  # BloscLZ, LZ4, zlib, Zstandard
_FILTER_CODES = frozenset({0, 1, 2})  # none, shuffle, bitshuffle
_BIG_ENDIAN, _SPECIAL_VALUE = 0x02, 0x70
_ALL_ZERO, _UNINITIALISED = 0x10, 0x40


def chunk_size(chunk: Buffer) -> int:
    """Give the size in bytes of what a chunk decompresses to.

    Only what we write passes: the library's own codecs and shuffles. A registered codec
    or filter would be looked up, and may be loaded, by its number; a lazy chunk names a file;
    an uninitialised one gives away memory.

    Raises:
        ValueError: The bytes are no such chunk.
    """
    header = bytes(chunk[:HEADER_BYTES])
    if len(header) < HEADER_BYTES:
        raise ValueError("a Blosc2 chunk is shorter than its header")
    flags, blosc2_flags = header[_FLAGS], header[_BLOSC2_FLAGS]
    if (
        flags & _EXTENDED_HEADER != _EXTENDED_HEADER
        or flags >> 5 not in _CODECS
        or not _FILTER_CODES.issuperset(header[_FILTERS : _FILTERS + 6])
        or header[_FLAGS2]
        or blosc2_flags & ~(_BIG_ENDIAN | _SPECIAL_VALUE)
        or blosc2_flags & _SPECIAL_VALUE >= _UNINITIALISED
    ):
        raise ValueError("a Blosc2 chunk of a kind that cacheness does not write")
    nbytes = int.from_bytes(header[_NBYTES : _NBYTES + 4], "little", signed=True)
    blocksize = int.from_bytes(header[_BLOCKSIZE : _BLOCKSIZE + 4], "little", signed=True)
    cbytes = int.from_bytes(header[_CBYTES : _CBYTES + 4], "little", signed=True)
    if cbytes != len(chunk) or nbytes < 0 or not 0 <= blocksize <= max(nbytes, 1):
        raise ValueError("a Blosc2 chunk's header contradicts its length")
    return nbytes


def is_zeros(chunk: bytes) -> bool:
    """Whether a chunk that the library gave stands for zeros alone."""
    return chunk[_BLOSC2_FLAGS] & _SPECIAL_VALUE == _ALL_ZERO
