# SPDX-License-Identifier: MIT
"""Takes batches of tensors, ragged and sparse ones too, apart into dense tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal, TypeAlias

    from cacheness_tensorflow.arrays import Tensor

    Kind: TypeAlias = Literal["tensor", "ragged", "sparse"]

__all__ = ["STRING", "Slot"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor of each element of a batch."""

    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    """An element's shape; of a ragged tensor, that of one of its flat values."""
    ragged_rank: int = 0
    """How many dimensions of a batch are ragged."""
    splits_dtype: str = "int64"

    @property
    def dtypes(self) -> list[str]:
        """The dtypes of the dense tensors that a batch is taken apart into."""
        if self.kind == "sparse":
            return ["int64", self.dtype, "int64"]
        return [self.dtype] + [self.splits_dtype] * self.ragged_rank

    @property
    def element_bytes(self) -> int | None:
        """The size of an element, where all have the same."""
        import tensorflow as tf

        if self.kind != "tensor" or self.dtype == "string":
            return None
        return int(tf.as_dtype(self.dtype).size) * math.prod(self.shape)

    def take_apart(self, batch: Any) -> list[Tensor]:
        """The dense tensors of a batch."""
        if self.kind == "sparse":
            return [batch.indices, batch.values, batch.dense_shape]
        if self.kind == "ragged":
            batch = batch.with_row_splits_dtype(self.splits_dtype)
            return [batch.flat_values, *batch.nested_row_splits]
        return [batch]

    def put_together(self, tensors: Sequence[Tensor]) -> Any:
        """The batch that `take_apart` took apart; also inside a graph, for want of shapes."""
        import tensorflow as tf

        if self.kind == "sparse":
            indices, values, dense_shape = tensors
            rank = len(self.shape) + 1
            indices = tf.ensure_shape(indices, [None, rank])
            return tf.SparseTensor(
                indices, tf.ensure_shape(values, [None]), tf.ensure_shape(dense_shape, [rank])
            )
        values = tf.ensure_shape(tensors[0], [None, *self.shape])
        if self.kind == "tensor":
            return values
        splits = [tf.ensure_shape(row_splits, [None]) for row_splits in tensors[1:]]
        return tf.RaggedTensor.from_nested_row_splits(values, splits, validate=False)

    def join(self, batches: list[Any]) -> Any:
        """One batch of the elements of several."""
        import tensorflow as tf

        if len(batches) == 1:
            return batches[0]
        return tf.sparse.concat(0, batches) if self.kind == "sparse" else tf.concat(batches, 0)


STRING = Slot("tensor", "string", ())
"""One string of each element."""
