# SPDX-License-Identifier: MIT
"""Writes and reads ``.b2nd`` files: arrays in contiguous frames of compressed Blosc2 chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cacheness.compressors.blosc2 import COMPRESSORS
from cacheness.compressors.blosc2_chunk import HEADER_BYTES, chunk_size, is_zeros
from cacheness.compressors.blosc2_threads import thread_count
from cacheness.handlers.pages import Pages
from cacheness.handlers.slabs import byte_view, cut, slabs
from cacheness.handlers.spool import Spool
from cacheness.payloads.limits import check_declared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cacheness.compressors.blosc2 import Blosc2Compressor
    from cacheness.handlers.npy import AnyArray
    from cacheness.handlers.protocols import Buffer

__all__ = ["Layout", "is_ours", "read_frame", "write_frame"]

# Of 2 to 16 MiB and 64 to 256 KiB, these compress and decompress 100 MB fastest: 40 and
# 25 ms on two cores, where the library's own array, with chunks of half of it, takes 60 to
# 100 and 60 to 85.
_CHUNK_BYTES = 8 << 20
_BLOCK_BYTES = 128 << 10

# Where the frame's header says what (README_CFRAME_FORMAT.rst of C-Blosc2), big-endian.
_MAGIC = b"\x9e\xa8b2frame\0"
_HEADER_LENGTH = slice(11, 15)
_FRAME_LENGTH = slice(16, 24)
_COMPRESSED_BYTES = slice(39, 47)
_TRAILER_LENGTH = slice(-22, -18)
_ZEROS = -(0x7F << 56)
"""The offset that stands for a chunk of zeros, which has no bytes of its own."""
_MOST_CHUNKS = 1 << 20


@dataclass(frozen=True)
class Layout:
    """How an array lies in chunks, so that each chunk is a run of it in C order.

    A chunk takes one index of each axis before ``axis``, some of ``axis``, all of those after,
    and is padded to whole blocks; its blocks are runs too.
    """

    shape: tuple[int, ...]
    itemsize: int
    chunks: tuple[int, ...]
    blocks: tuple[int, ...]

    @classmethod
    def plan(cls, shape: tuple[int, ...], itemsize: int) -> Layout:
        """Lay out an array of at least one element."""
        axis, most = cut(shape, itemsize, _CHUNK_BYTES)
        block_axis, block_step = cut(shape, itemsize, _BLOCK_BYTES)
        if block_axis > axis:
            most_in_block, block_step = block_step, _divisor(shape[block_axis], block_step)
            if block_step * 8 < most_in_block:
                # No blocks of a good size fill the line evenly: one takes all of it, or,
                # where it is long, each line has chunks of its own, the last one padded.
                row = math.prod(shape[block_axis + 1 :]) * itemsize
                if shape[block_axis] * row <= 8 * _BLOCK_BYTES:
                    block_step = shape[block_axis]
                else:
                    axis, most, block_step = block_axis, _CHUNK_BYTES // row, most_in_block
        step = math.ceil(shape[axis] / math.ceil(shape[axis] / most))
        if block_axis == axis:
            block_step = min(block_step, step)
            step = min(math.ceil(step / block_step) * block_step, shape[axis])
        ones = (1,) * len(shape)
        return cls(
            shape,
            itemsize,
            (*ones[:axis], step, *shape[axis + 1 :]),
            (*ones[:block_axis], block_step, *shape[block_axis + 1 :]),
        )

    def __post_init__(self) -> None:
        # The parts may come from a stored entry, so none of them is taken for granted.
        everything = (*self.shape, *self.chunks, *self.blocks, self.itemsize)
        if not all(type(n) is int and n > 0 for n in everything) or not (
            len(self.shape) == len(self.chunks) == len(self.blocks) > 0
        ):
            raise ValueError("not the layout of an array in chunks")
        rest = self.axis + 1
        if self.chunks[rest:] != self.shape[rest:] or self.padded_bytes > 64 * _CHUNK_BYTES:
            raise ValueError("a layout whose chunks are no runs of the array")
        if self.count > _MOST_CHUNKS:
            raise ValueError(f"an array in {self.count} chunks, which is more than can be")

    @cached_property
    def axis(self) -> int:
        """The axis along which the chunks cut."""
        return next((i for i, n in enumerate(self.chunks) if n > 1), len(self.shape) - 1)

    @property
    def step(self) -> int:
        """How many indices of ``axis`` a chunk takes."""
        return self.chunks[self.axis]

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one index of ``axis``."""
        return math.prod(self.shape[self.axis + 1 :]) * self.itemsize

    @cached_property
    def padded_bytes(self) -> int:
        """Bytes of a chunk with its padding, which every chunk has."""
        block = self.blocks[self.axis]
        return math.ceil(self.step / block) * block * self.row_bytes

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.itemsize

    def runs(self) -> Iterator[tuple[int, int]]:
        """Give the start and the end of each chunk's bytes in the array's, in order."""
        line, step = self.shape[self.axis] * self.row_bytes, self.step * self.row_bytes
        for line_start in range(0, self.nbytes, line):
            for start in range(line_start, line_start + line, step):
                yield start, min(start + step, line_start + line)

    @property
    def count(self) -> int:
        """The number of chunks."""
        return math.prod(self.shape[: self.axis]) * math.ceil(self.shape[self.axis] / self.step)


def _divisor(length: int, most: int) -> int:
    return next(n for n in range(most, 0, -1) if length % n == 0)


def write_frame(array: AnyArray, layout: Layout, compressor: Blosc2Compressor) -> Iterator[Buffer]:
    """Compress an array, and give its file.

    The frame's header holds the size of all that follows it, so the compressed chunks wait
    in a `Spool` meanwhile.

    Args:
        array: In C order, contiguous or not, of a dtype that Blosc2 knows.
        layout: How to lay it out.
        compressor: Which codec and level.
    """
    import blosc2

    header, trailer = _template(array.dtype, layout, compressor)
    settings = compressor.settings(layout.itemsize)
    blocksize = math.prod(layout.blocks) * layout.itemsize
    offsets = []
    with Spool() as spool:
        for run in _runs(array, layout):
            chunk: bytes = blosc2.compress2(run, blocksize=blocksize, **settings)
            if is_zeros(chunk):
                offsets.append(_ZEROS)
                continue
            offsets.append(spool.size)
            spool.append(chunk)
        index = blosc2.compress2(np.array(offsets, "<i8"), **compressor.settings(8))
        length = len(header) + spool.size + len(index) + len(trailer)
        header[_FRAME_LENGTH] = length.to_bytes(8, "big")
        header[_COMPRESSED_BYTES] = spool.size.to_bytes(8, "big")
        yield header
        yield from spool
        yield index
        yield trailer


def _runs(array: AnyArray, layout: Layout) -> Iterator[memoryview]:
    for slab in slabs(array, layout.axis, layout.step):
        run = byte_view(np.ascontiguousarray(slab))
        if len(run) < layout.padded_bytes:
            padded = bytearray(layout.padded_bytes)
            padded[: len(run)] = run
            run = memoryview(padded)
        yield run


def _template(
    dtype: np.dtype[Any], layout: Layout, compressor: Blosc2Compressor
) -> tuple[bytearray, bytes]:
    """The library's own header and trailer for such an array, of which only sizes change."""
    import blosc2

    empty = blosc2.empty(
        layout.shape,
        dtype=dtype,
        chunks=layout.chunks,
        blocks=layout.blocks,
        cparams=compressor.settings(layout.itemsize),
        dparams={"nthreads": thread_count()},
    )
    frame: bytes = empty.to_cframe()
    header_length = int.from_bytes(frame[_HEADER_LENGTH], "big")
    trailer_length = int.from_bytes(frame[_TRAILER_LENGTH], "big")
    return bytearray(frame[:header_length]), frame[-trailer_length:]


def read_frame(frame: memoryview, layout: Layout) -> AnyArray:
    """Decompress a file into an array of unsigned bytes, chunk by chunk in place.

    Memory of the file that belongs to the caller alone is given back on the way.

    Every size is checked before anything of it is made: the library is only ever given
    whole chunks of a known kind, and the memory that they fill.

    Raises:
        ValueError: The bytes are no such frame, or not of this layout.
    """
    import blosc2

    chunks = _chunks(frame, layout)
    pages, done = Pages(frame), 0
    check_declared(layout.nbytes)
    data = np.zeros(layout.nbytes, np.uint8)
    padded = np.empty(layout.padded_bytes, np.uint8)
    threads = thread_count()
    try:
        for chunk, (start, end) in zip(chunks, layout.runs(), strict=True):
            if chunk is None:
                continue
            if end - start == layout.padded_bytes:
                blosc2.decompress2(chunk, dst=data[start:end], nthreads=threads)
            else:
                blosc2.decompress2(chunk, dst=padded, nthreads=threads)
                data[start:end] = padded[: end - start]
            done += len(chunk)
            pages.read_up_to(done)
    except RuntimeError as error:
        raise ValueError(f"not a Blosc2 frame: {error}") from error
    return data


def _chunks(frame: memoryview, layout: Layout) -> list[memoryview | None]:
    """The frame's chunks in order, None for zeros, after all that can be was checked."""
    header_length = int.from_bytes(frame[_HEADER_LENGTH], "big")
    compressed = int.from_bytes(frame[_COMPRESSED_BYTES], "big")
    index_start = header_length + compressed
    if (
        bytes(frame[: len(_MAGIC)]) != _MAGIC
        or int.from_bytes(frame[_FRAME_LENGTH], "big") != len(frame)
        or not _COMPRESSED_BYTES.stop < header_length <= index_start <= len(frame) - HEADER_BYTES
    ):
        raise ValueError("not a Blosc2 frame, or cut short")
    chunks: list[memoryview | None] = []
    data = frame[header_length:index_start]
    position = 0
    for offset in _offsets(frame[index_start:], layout):
        if offset == _ZEROS:
            chunks.append(None)
            continue
        length = int.from_bytes(data[position + 12 : position + 16], "little")
        chunk = data[position : position + length]
        # Chunks that shared bytes would let a small file ask for any amount of memory.
        if offset != position or chunk_size(chunk) != layout.padded_bytes:
            raise ValueError("a Blosc2 frame whose chunks have other sizes than they should")
        chunks.append(chunk)
        position += length
    return chunks


def _offsets(rest: memoryview, layout: Layout) -> list[int]:
    import blosc2

    index = rest[: int.from_bytes(rest[12:16], "little")]
    if chunk_size(index) != 8 * layout.count:
        raise ValueError("a Blosc2 frame with more or fewer chunks than it should have")
    try:
        data = blosc2.decompress2(index, nthreads=1)
        offsets: list[int] = np.frombuffer(data, "<i8").tolist()
    except RuntimeError as error:
        raise ValueError(f"not a Blosc2 frame: {error}") from error
    return offsets


def is_ours(frame: memoryview, dtype: np.dtype[Any], layout: Layout) -> bool:
    """Whether the library may open the file by itself: it has what `write_frame` writes.

    A frame can ask for more than an array: expressions, other files, Python objects.
    """
    try:
        _chunks(frame, layout)
    except ValueError:
        return False
    return any(_is_framed_by(compressor(), frame, dtype, layout) for compressor in COMPRESSORS)


def _is_framed_by(
    compressor: Blosc2Compressor, frame: memoryview, dtype: np.dtype[Any], layout: Layout
) -> bool:
    expected, trailer = _template(dtype, layout, compressor)
    header = bytearray(frame[: len(expected)])
    for part in (_FRAME_LENGTH, _COMPRESSED_BYTES):
        expected[part] = header[part]
    return header == expected and bytes(frame[-len(trailer) :]) == trailer
