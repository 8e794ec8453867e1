# SPDX-License-Identifier: MIT
"""The compressor that measures whether compressing pays."""

from __future__ import annotations

import sys

from cacheness.compressors.base import Compressor
from cacheness.compressors.blosc2 import Blosc2Lz4Compressor
from cacheness.compressors.none import NoneCompressor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.handlers.protocols import Buffer

__all__ = ["AutoCompressor"]

SMALLEST = 1 << 20
"""Below this many bytes a payload stays raw: what it saves is not worth the second that
importing Blosc2 costs every new process that reads it."""
WORTH = 0.85
"""Compress what shrinks to at most this part of its size.

Random doubles between 0 and 1 shrink to 0.88, for their exponents hardly differ: a tenth
would not pay for reading them half as fast and without memory-mapping."""

_LARGEST_TYPESIZE = 255
_STRIPES = 8
_STRIPE_BYTES = 16 << 10


class AutoCompressor(Compressor):
    """Chooses ``blosc2-lz4`` for what clearly shrinks, and ``none`` for all else.

    No entry is ever stored under its own name, only under that of the one it chose.
    """

    name = "auto"

    def __init__(self) -> None:
        self._raw = NoneCompressor()
        self._compressing = Blosc2Lz4Compressor()

    def choose(self, sample: Buffer, *, size: int, typesize: int = 1) -> Compressor:
        """The compressor that pays for a payload.

        Args:
            sample: As much of the payload as there is at no cost: best a view of the whole,
                of which eight stripes of 16 KiB, spread evenly, are tried. Of a payload that is
                made piece by piece, its first piece.
            size: The payload's whole size in bytes.
            typesize: The size of the numbers in it.
        """
        if size < SMALLEST:
            return self._raw
        if typesize > _LARGEST_TYPESIZE:
            typesize = 1  # as Blosc2 takes it
        stripes = _stripes(memoryview(sample), typesize)
        # zlib finds whatever LZ4 finds, and is always imported or cheap to import: where
        # it does not shrink the sample, a new process needn't load Blosc2 to know.
        if "blosc2" not in sys.modules and not _shrinks_with_zlib(stripes, typesize):
            return self._raw
        compressed = sum(
            len(self._compressing.compress(stripe, typesize=typesize)) for stripe in stripes
        )
        pays = compressed <= WORTH * sum(map(len, stripes))
        return self._compressing if pays else self._raw

    def compress(self, buffer: Buffer, *, typesize: int = 1) -> Buffer:
        """Compress with ``blosc2-lz4``; the core asks `choose` instead."""
        return self._compressing.compress(buffer, typesize=typesize)

    def decompress(self, buffer: Buffer, *, max_size: int) -> Buffer:
        return self._compressing.decompress(buffer, max_size=max_size)


def _stripes(sample: memoryview, typesize: int) -> list[memoryview]:
    length = _STRIPE_BYTES - _STRIPE_BYTES % typesize
    if len(sample) <= _STRIPES * length:
        return [sample]
    # In the middles of equal parts: what begins or ends a payload is often unlike the rest.
    spare = len(sample) - length
    starts = [spare * (2 * i + 1) // (2 * _STRIPES) for i in range(_STRIPES)]
    return [sample[at - at % typesize :][:length] for at in starts]


def _shrinks_with_zlib(stripes: list[memoryview], typesize: int) -> bool:
    import zlib

    shuffled = [bytes(s[i::typesize]) for s in stripes for i in range(typesize)]
    deflater = zlib.compressobj(1)
    compressed = sum(len(deflater.compress(plane)) for plane in shuffled) + len(deflater.flush())
    return compressed <= WORTH * sum(map(len, shuffled))
