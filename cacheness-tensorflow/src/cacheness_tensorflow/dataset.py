# SPDX-License-Identifier: MIT
"""The handler of datasets."""

from __future__ import annotations

import mmap
import pickle
from operator import itemgetter
from typing import TYPE_CHECKING

from cacheness.errors import SerializationError, UnhashableParameterError
from cacheness.handlers.base import Handler
from cacheness_tensorflow.chunks import ChunkReader, chunks_of, write_chunk
from cacheness_tensorflow.elements import ElementPlan, Leaf
from cacheness_tensorflow.tarball import TarWriter, read_manifest, slice_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, TypeAlias

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Update
    from cacheness_tensorflow.arrays import Tensor
    from cacheness_tensorflow.slots import Slot

    Dataset: TypeAlias = Any
    """A `tf.data.Dataset`; TensorFlow ships no types."""

__all__ = ["DatasetHandler", "require_finite"]

_DESCRIBED = 8


class DatasetHandler(Handler):
    """`tf.data.Dataset` objects, by a snapshot of their elements.

    A put runs the dataset once and keeps a megabyte of it in memory at a time. What comes back
    reads the elements from the stored file, mapped into memory, without running
    any of what made them; ``element_spec`` is the same, and the cardinality is the number of
    elements (also where the original could not tell it). It can't be sent to other processes
    or saved in a graph, as one from ``from_generator`` can't.

    Elements may hold dense tensors, ragged and sparse ones in any structure that
    ``tf.nest`` knows; a dataset that is infinite or holds others is refused.

    The payload is an uncompressed tar of ``.npy`` members, some for each megabyte of elements:
    what `Slot.take_apart` gives of them as a batch. Where the elements differ in shape
    otherwise than in the first dimension, they are strings of ``tf.io.serialize_tensor``.
    """

    name = "tensorflow_dataset"
    extension = ".tar"

    def can_handle(self, obj: object) -> bool:
        import tensorflow as tf

        return isinstance(obj, tf.data.Dataset)

    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        require_finite(obj)
        plan = ElementPlan.of(obj.element_spec)
        structure = plan.structure_bytes()
        with open(file_path, "wb") as file:
            tar = TarWriter(file)
            chunks = [
                write_chunk(tar, number, chunk) for number, chunk in enumerate(chunks_of(obj, plan))
            ]
            manifest = {
                "leaves": [leaf.to_json() for leaf in plan.leaves],
                "structure": tar.add("structure.pickle", (structure,)),
                "chunks": chunks,
            }
            return {"manifest": tar.finish(manifest)}

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        with open(file_path, "rb") as file:
            # Copy-on-write, because TensorFlow takes over writeable memory alone. The pages
            # stay when the file's name is gone, until the last tensor over them is.
            tar = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        manifest = read_manifest(tar, metadata["manifest"])
        leaves = tuple(Leaf.from_json(leaf) for leaf in manifest["leaves"])
        # The core read the signature first, because this handler is not data-only.
        structure = pickle.loads(slice_of(tar, manifest["structure"]))
        return _restored(ElementPlan(leaves, structure), ChunkReader(tar, manifest["chunks"]))

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed nothing: what a dataset is, only its elements would tell.

        Raises:
            UnhashableParameterError: Always; the message says what to do.
        """
        raise UnhashableParameterError(
            "a tf.data.Dataset is known by its elements alone, and to read them all for a key "
            "may take long, never end, or give others each time; choose what counts: pass "
            "what it is made of, or cacheness_tensorflow.dataset_digest(dataset), or leave "
            "it out with ignore="
        )

    def describe(self, obj: Any) -> str:
        import tensorflow as tf

        cardinality = int(obj.cardinality())
        count = "unknown" if cardinality < 0 else str(cardinality)
        specs = tf.nest.flatten(obj.element_spec)
        texts = [f"{spec.dtype.name} {spec.shape}" for spec in specs[:_DESCRIBED]]
        more = ", …" if len(specs) > _DESCRIBED else ""
        return f"dataset of {count} elements: {', '.join(texts)}{more}"


def require_finite(dataset: Dataset) -> None:
    """Make sure that a dataset does not say it were infinite.

    Raises:
        SerializationError: It does.
    """
    import tensorflow as tf

    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise SerializationError(
            "the dataset is infinite, so it can't be stored; store dataset.take(n), or what "
            "comes before repeat()"
        )


def _restored(plan: ElementPlan, reader: ChunkReader) -> Dataset:
    """A dataset of the chunks' elements, with the original's element spec."""
    import tensorflow as tf

    if plan.layouts == {"batched"}:
        dataset = _read(plan.slots, reader, plan.pack).unbatch()
    elif plan.has_bare_ragged:
        # What goes through a map loses such a spec, so the leaves are read apart. A map to
        # batches of one, taken apart again, would keep it, but crashes where one is empty.
        dataset = tf.data.Dataset.zip(tuple(_leaves_apart(plan, reader)))
    else:
        dataset = _decoded(_read(plan.slots, reader, tuple).unbatch(), plan.decode)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(reader.elements))
    return _with_spec(dataset, plan.element_spec())


def _leaves_apart(plan: ElementPlan, reader: ChunkReader) -> Iterator[Dataset]:
    """A dataset for each leaf."""
    first = 0
    for leaf in plan.leaves:
        if leaf.layout == "batched":
            yield _read(leaf.slots, reader, itemgetter(0), first).unbatch()
        else:
            yield _decoded(_read(leaf.slots, reader, tuple, first).unbatch(), leaf.decode)
        first += sum(len(slot.dtypes) for slot in leaf.slots)


def _read(
    slots: tuple[Slot, ...],
    reader: ChunkReader,
    pack: Callable[[list[Any]], Any],
    first: int = 0,
) -> Dataset:
    """A dataset of the chunks, as batches.

    Args:
        slots: The slots to read.
        reader: Where from.
        pack: Makes an element of what the slots have.
        first: The number of the slots' first tensor in a chunk.
    """
    import tensorflow as tf

    dtypes = [dtype for slot in slots for dtype in slot.dtypes]

    def tensors_of(number: Tensor) -> list[Tensor]:
        return reader.tensors(int(number), first, dtypes)

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # no types
    def read(number: Tensor) -> Any:
        tensors = iter(tf.py_function(tensors_of, [number], dtypes))
        return pack([slot.put_together([next(tensors) for _ in slot.dtypes]) for slot in slots])

    return tf.data.Dataset.range(reader.count).map(read)


def _decoded(dataset: Dataset, decode: Callable[[Sequence[Any]], Any]) -> Dataset:
    """A dataset of what the parts of each element stand for."""
    import tensorflow as tf

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # no types
    def decode_parts(*parts: Any) -> Any:
        return decode(parts)

    return dataset.map(decode_parts, num_parallel_calls=tf.data.AUTOTUNE)


def _with_spec(dataset: Dataset, element_spec: Any) -> Dataset:
    """The same dataset where what TensorFlow infers says less: names, sizes of ragged rows."""
    import tensorflow as tf

    if dataset.element_spec == element_spec:
        return dataset
    variant = tf.data.experimental.to_variant(dataset)
    restored = tf.data.experimental.from_variant(variant, element_spec)
    # The variant does not keep the functions that read alive; the dataset does.
    restored._source = dataset
    return restored
