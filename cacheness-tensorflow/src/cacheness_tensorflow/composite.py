# SPDX-License-Identifier: MIT
"""The handlers of tensors that are made of several dense ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cacheness.handlers.base import BufferHandler
from cacheness_tensorflow.fingerprint import feed_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext
    from cacheness.handlers.protocols import Buffer, Update
    from cacheness_tensorflow.arrays import Tensor

__all__ = ["IndexedSlicesHandler", "RaggedTensorHandler", "SparseTensorHandler"]


class RaggedTensorHandler(BufferHandler):
    """`tf.RaggedTensor` objects: flat values, row splits, and which rows are uniform.

    Values and splits are parts, each kept by the handler of its tensor.
    ``options={"as_numpy": True}`` on get gives a dict of arrays, ``flat_values`` and the
    list ``nested_row_splits``, without TensorFlow.
    """

    name = "tensorflow_ragged"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        import tensorflow as tf

        return type(obj) is tf.RaggedTensor

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        metadata = {
            "values": context.put_part(obj.flat_values),
            "splits": [context.put_part(splits) for splits in obj.nested_row_splits],
            "uniform": _uniform_lengths(obj),
        }
        return (), metadata

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        values = context.get_part(metadata["values"])
        splits = [context.get_part(part) for part in metadata["splits"]]
        if context.options.get("as_numpy"):
            return {"flat_values": values, "nested_row_splits": splits}
        import tensorflow as tf

        uniform = metadata["uniform"]
        for row_splits, length in reversed(list(zip(splits, uniform, strict=True))):
            if length is None:
                values = tf.RaggedTensor.from_row_splits(values, row_splits)
            else:
                rows = row_splits.shape[0] - 1
                length = tf.constant(length, row_splits.dtype)
                values = tf.RaggedTensor.from_uniform_row_length(values, length, rows)
        return values

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed which rows are uniform, the flat values and the row splits."""
        kind = f"ragged {_uniform_lengths(obj)}"
        feed_tensors(kind, (obj.flat_values, *obj.nested_row_splits), update)

    def describe(self, obj: Any) -> str:
        return f"ragged {obj.dtype.name} {tuple(obj.shape)}"


class SparseTensorHandler(BufferHandler):
    """`tf.SparseTensor` objects: indices, values and dense shape, in their order.

    Each is a part. ``options={"as_numpy": True}`` on get gives them as a dict of arrays,
    without TensorFlow.
    """

    name = "tensorflow_sparse"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        import tensorflow as tf

        return type(obj) is tf.SparseTensor

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        return (), {
            "indices": context.put_part(obj.indices),
            "values": context.put_part(obj.values),
            "dense_shape": context.put_part(obj.dense_shape),
        }

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        names = ("indices", "values", "dense_shape")
        parts = {name: context.get_part(metadata[name]) for name in names}
        if context.options.get("as_numpy"):
            return parts
        import tensorflow as tf

        return tf.SparseTensor(**parts)

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed indices, values and dense shape."""
        feed_tensors("sparse", (obj.indices, obj.values, obj.dense_shape), update)

    def describe(self, obj: Any) -> str:
        return f"sparse {obj.dtype.name} {tuple(obj.shape)}, {obj.values.shape[0]} values"


class IndexedSlicesHandler(BufferHandler):
    """`tf.IndexedSlices` objects: values, indices and, where there is one, the dense shape.

    Each is a part. ``options={"as_numpy": True}`` on get gives them as a dict of arrays,
    without TensorFlow; ``dense_shape`` may be None.
    """

    name = "tensorflow_slices"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        import tensorflow as tf

        return type(obj) is tf.IndexedSlices

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        return (), {
            "values": context.put_part(obj.values),
            "indices": context.put_part(obj.indices),
            "dense_shape": _put_optional(obj.dense_shape, context),
        }

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        shape = metadata["dense_shape"]
        parts = {
            "values": context.get_part(metadata["values"]),
            "indices": context.get_part(metadata["indices"]),
            "dense_shape": None if shape is None else context.get_part(shape),
        }
        if context.options.get("as_numpy"):
            return parts
        import tensorflow as tf

        return tf.IndexedSlices(**parts)

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed values, indices and the dense shape."""
        feed_tensors("slices", (obj.values, obj.indices, obj.dense_shape), update)

    def describe(self, obj: Any) -> str:
        return f"slices {obj.values.dtype.name} {tuple(obj.values.shape)}"


def _put_optional(tensor: Tensor | None, context: HandlerContext) -> dict[str, Any] | None:
    return None if tensor is None else context.put_part(tensor)


def _uniform_lengths(ragged: Tensor) -> list[int | None]:
    """The length of each partition's rows where the tensor says that they are uniform."""
    lengths: list[int | None] = []
    for _ in range(ragged.ragged_rank):
        length = ragged.uniform_row_length
        lengths.append(None if length is None else int(length))
        ragged = ragged.values
    return lengths
