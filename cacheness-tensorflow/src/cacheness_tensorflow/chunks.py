# SPDX-License-Identifier: MIT
"""Carries a dataset's elements to a tar and back, a megabyte at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cacheness.handlers.npy import header, read_array
from cacheness.handlers.slabs import byte_view
from cacheness_tensorflow.arrays import lend, strings_of, to_tensor
from cacheness_tensorflow.string_tensor import dump_strings, load_strings
from cacheness_tensorflow.tarball import slice_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from cacheness.handlers.protocols import Buffer
    from cacheness_tensorflow.arrays import Tensor
    from cacheness_tensorflow.elements import ElementPlan
    from cacheness_tensorflow.slots import Slot
    from cacheness_tensorflow.tarball import TarWriter

__all__ = ["Chunk", "ChunkReader", "batches_of", "chunks_of", "write_chunk"]

_CHUNK_BYTES = 1 << 20
_MOST_ELEMENTS = 1 << 16
_AT_ONCE = 128
"""How many elements are asked for at once where their sizes are not known before."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some elements of a dataset."""

    elements: int
    tensors: list[Tensor]
    """The dense tensors that all slots are taken apart into."""


def chunks_of(dataset: Any, plan: ElementPlan) -> Iterator[Chunk]:
    """Run a dataset, and give its elements in chunks of about a megabyte."""
    slots = plan.slots
    waiting: list[list[Any]] = []
    size = 0
    for batch in batches_of(dataset, plan, _elements_at_once(slots)):
        waiting.append(batch)
        size += _size_of(slots, batch)
        if size >= _CHUNK_BYTES:
            yield _joined(slots, waiting)
            waiting, size = [], 0
    if waiting:
        yield _joined(slots, waiting)


def batches_of(dataset: Any, plan: ElementPlan, size: int) -> Iterator[list[Any]]:
    """Run a dataset, and give for each batch of ``size`` elements what its slots hold."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # no types
    def encode(*element: Any) -> tuple[Any, ...]:
        return plan.encode(element)

    some_serialised = "serialised" in plan.layouts
    if some_serialised:
        dataset = dataset.map(encode, num_parallel_calls=tf.data.AUTOTUNE)
    # A row of a ragged tensor that went through the map is a dense one of another size.
    if "rows" in plan.layouts or (some_serialised and plan.has_bare_ragged):
        batches = dataset.ragged_batch(size, row_splits_dtype=tf.int64)
    else:
        batches = dataset.batch(size)
    for batch in batches.prefetch(1):
        yield tf.nest.flatten(batch)


def _elements_at_once(slots: tuple[Slot, ...]) -> int:
    sizes = [slot.element_bytes for slot in slots]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return _AT_ONCE
    return min(max(_CHUNK_BYTES // max(sum(known), 1), 1), _MOST_ELEMENTS)


def _size_of(slots: tuple[Slot, ...], batch: list[Any]) -> int:
    """About how many bytes a batch takes."""
    return sum(
        _bytes_of(tensor)
        for slot, value in zip(slots, batch, strict=True)
        for tensor in slot.take_apart(value)
    )


def _bytes_of(tensor: Tensor) -> int:
    if tensor.dtype.name == "string":
        # NumPy's view of the few strings of a batch takes a twentieth of TensorFlow's own sum.
        strings = np.asarray(tensor).reshape(-1).tolist()
        return sum(map(len, strings)) + 8 * len(strings)
    return int(tensor.dtype.size) * int(tensor.shape.num_elements())


def _joined(slots: tuple[Slot, ...], batches: list[list[Any]]) -> Chunk:
    values = [
        slot.join(list(own)) for slot, own in zip(slots, zip(*batches, strict=True), strict=True)
    ]
    tensors = [
        tensor
        for slot, value in zip(slots, values, strict=True)
        for tensor in slot.take_apart(value)
    ]
    return Chunk(int(values[0].shape[0]), tensors)


def write_chunk(tar: TarWriter, number: int, chunk: Chunk) -> list[Any]:
    """Append a chunk's tensors as members, and say how many elements and where they lie."""
    spans = [
        tar.add(f"{number:06d}-{index}.npy", _npy(tensor))
        for index, tensor in enumerate(chunk.tensors)
    ]
    return [chunk.elements, spans]


def _npy(tensor: Tensor) -> Iterable[Buffer]:
    if tensor.dtype.name == "string":
        return dump_strings(strings_of(tensor), tuple(tensor.shape))
    array, _ = lend(tensor)
    head = header(array.dtype, array.shape, fortran=False)
    return (head, byte_view(array)) if array.nbytes else (head,)


class ChunkReader:
    """Reads chunks as tensors over the tar's own memory.

    Args:
        tar: The tar's bytes, mapped copy-on-write.
        chunks: What `write_chunk` gave, one for each chunk.
    """

    def __init__(self, tar: memoryview, chunks: list[Any]) -> None:
        self._tar = tar
        self._chunks = chunks
        self.count = len(chunks)
        self.elements = sum(elements for elements, _ in chunks)

    def tensors(self, number: int, first: int, dtypes: list[str]) -> list[Tensor]:
        """The chunk's tensors from ``first`` on, as many as there are dtypes."""
        spans = self._chunks[number][1][first : first + len(dtypes)]
        return [
            self._tensor(slice_of(self._tar, span), dtype)
            for span, dtype in zip(spans, dtypes, strict=True)
        ]

    def _tensor(self, member: memoryview, dtype: str) -> Tensor:
        import tensorflow as tf

        if dtype == "string":
            return tf.constant(load_strings(member)[0], tf.string)
        return to_tensor(read_array(member)[0], dtype)
