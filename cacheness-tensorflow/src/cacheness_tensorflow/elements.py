# SPDX-License-Identifier: MIT
"""Spells what a dataset's elements are made of as JSON, and how they can be batched."""

from __future__ import annotations

import pickle
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from cacheness.errors import SerializationError
from cacheness_tensorflow.slots import STRING, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Literal, TypeAlias

    from cacheness_tensorflow.arrays import Tensor
    from cacheness_tensorflow.slots import Kind

    Layout: TypeAlias = Literal["batched", "rows", "serialised"]

__all__ = ["ElementPlan", "Leaf"]

_DTYPES = {
    *("bool", "bfloat16", "float16", "float32", "float64", "complex64", "complex128", "string"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}
"""What tf.data can batch, take apart again, and write as bytes; the others fail in its kernels."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor of each element, dense, ragged or sparse."""

    kind: Kind
    dtype: str
    shape: tuple[int | None, ...] | None
    name: str | None = None
    ragged_rank: int = 0
    splits_dtype: str = "int64"

    @classmethod
    def of(cls, spec: Any) -> Leaf:
        """Spell a `tf.TypeSpec`.

        Raises:
            SerializationError: Such elements can't be stored.
        """
        import tensorflow as tf

        if type(spec) not in (tf.TensorSpec, tf.RaggedTensorSpec, tf.SparseTensorSpec):
            raise SerializationError(
                f"a dataset whose elements hold a {type(spec).__name__.removesuffix('Spec')} "
                "can't be stored; map or flat_map it to tensors first"
            )
        dtype = spec.dtype.name
        if dtype not in _DTYPES:
            raise SerializationError(
                f"a dataset of {dtype} tensors can't be stored, because tf.data can't batch "
                "them; map it to a dtype that it can"
            )
        shape = None if spec.shape.rank is None else tuple(spec.shape)
        if type(spec) is tf.RaggedTensorSpec:
            return cls("ragged", dtype, shape, None, spec.ragged_rank, spec.row_splits_dtype.name)
        if type(spec) is tf.SparseTensorSpec:
            return cls("sparse", dtype, shape)
        return cls("tensor", dtype, shape, spec.name)

    @classmethod
    def from_json(cls, given: Sequence[Any]) -> Leaf:
        """What `to_json` spelled."""
        kind, dtype, shape, *rest = given
        return cls(kind, dtype, None if shape is None else tuple(shape), *rest)

    def to_json(self) -> list[Any]:
        """The fields in order."""
        return list(astuple(self))

    def spec(self) -> Any:
        """The `tf.TypeSpec` that it was spelled of."""
        import tensorflow as tf

        shape = tf.TensorShape(self.shape)
        if self.kind == "sparse":
            return tf.SparseTensorSpec(shape, self.dtype)
        if self.kind == "ragged":
            splits = tf.as_dtype(self.splits_dtype)
            return tf.RaggedTensorSpec(shape, self.dtype, self.ragged_rank, splits)
        return tf.TensorSpec(shape, self.dtype, self.name)

    @property
    def layout(self) -> Layout:
        """How it is batched.

        ``batched``: as it is. ``rows``: as the rows of a ragged tensor, because only its
        first dimension varies. ``serialised``: the tensors that make it up are written
        out singly, each as a string, because a batch would not keep their shapes, or
        because they are empty, of which `unbatch` crashes the process (TensorFlow 2.21).
        """
        if self.shape is None:
            return "serialised"
        inner = self.shape[self.ragged_rank + 1 :] if self.kind == "ragged" else self.shape
        if self.kind == "tensor" and 0 in inner:
            return "serialised"
        if None not in inner:
            return "batched"
        first_alone = self.kind == "tensor" and None not in self.shape[1:]
        return "rows" if first_alone else "serialised"

    @property
    def slots(self) -> tuple[Slot, ...]:
        """What a batch has of it."""
        shape = tuple(size or 0 for size in self.shape or ())
        if self.layout == "serialised":
            return (STRING,) * {"tensor": 1, "ragged": 1 + self.ragged_rank, "sparse": 3}[self.kind]
        if self.layout == "rows":
            return (Slot("ragged", self.dtype, shape[1:], 1),)
        if self.kind == "ragged":
            rank = self.ragged_rank
            return (Slot("ragged", self.dtype, shape[rank + 1 :], rank + 1, self.splits_dtype),)
        return (Slot(self.kind, self.dtype, shape),)

    def encode(self, value: Any) -> list[Any]:
        """What its slots have of an element, for use inside a graph."""
        import tensorflow as tf

        if self.layout != "serialised":
            return [value]
        if self.kind == "sparse":
            parts = [value.indices, value.values, value.dense_shape]
        elif self.ragged_rank:
            parts = [value.flat_values, *value.nested_row_splits]
        else:
            parts = [value]
        return [tf.io.serialize_tensor(part) for part in parts]

    def decode(self, parts: Sequence[Any]) -> Any:
        """What `encode` was given, for use inside a graph."""
        import tensorflow as tf

        if self.layout != "serialised":
            return parts[0]
        values = tf.io.parse_tensor(parts[1 if self.kind == "sparse" else 0], self.dtype)
        if self.kind == "sparse":
            return self._sparse(values, *(tf.io.parse_tensor(p, "int64") for p in parts[::2]))
        if not self.ragged_rank:
            return tf.ensure_shape(values, self.shape)
        splits = [
            tf.ensure_shape(tf.io.parse_tensor(part, self.splits_dtype), [None])
            for part in parts[1:]
        ]
        return tf.RaggedTensor.from_nested_row_splits(values, splits, validate=False)

    def _sparse(self, values: Tensor, indices: Tensor, dense_shape: Tensor) -> Any:
        import tensorflow as tf

        rank = None if self.shape is None else len(self.shape)
        indices = tf.ensure_shape(indices, [None, rank])
        dense_shape = tf.ensure_shape(dense_shape, [rank])
        return tf.SparseTensor(indices, tf.ensure_shape(values, [None]), dense_shape)

    @property
    def is_bare_ragged(self) -> bool:
        """Whether it is a row of a ragged tensor: dense, but its spec says it were ragged."""
        return self.kind == "ragged" and not self.ragged_rank


@dataclass(frozen=True, slots=True)
class ElementPlan:
    """The leaves of a dataset's elements, and the structure that they hang in."""

    leaves: tuple[Leaf, ...]
    structure: Any
    """An element with numbers where the tensors are."""

    @classmethod
    def of(cls, element_spec: Any) -> ElementPlan:
        """Plan how a dataset is stored.

        Raises:
            SerializationError: Its elements can't be.
        """
        import tensorflow as tf

        specs = tf.nest.flatten(element_spec)
        if not specs:
            raise SerializationError("a dataset whose elements hold no tensors can't be stored")
        numbers = tf.nest.pack_sequence_as(element_spec, range(len(specs)))
        return cls(tuple(Leaf.of(spec) for spec in specs), numbers)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """What a batch holds."""
        return tuple(slot for leaf in self.leaves for slot in leaf.slots)

    @property
    def layouts(self) -> set[Layout]:
        """The layouts that the leaves have."""
        return {leaf.layout for leaf in self.leaves}

    @property
    def has_bare_ragged(self) -> bool:
        """Whether some leaf is a row of a ragged tensor, which only `unbatch` makes."""
        return any(leaf.is_bare_ragged for leaf in self.leaves)

    def element_spec(self) -> Any:
        """The `element_spec` of the dataset."""
        return self.pack([leaf.spec() for leaf in self.leaves])

    def encode(self, element: Any) -> tuple[Any, ...]:
        """What the slots have of an element, for use inside a graph."""
        import tensorflow as tf

        pairs = zip(self.leaves, tf.nest.flatten(element), strict=True)
        return tuple(part for leaf, value in pairs for part in leaf.encode(value))

    def decode(self, parts: Sequence[Any]) -> Any:
        """The element that `encode` was given, for use inside a graph."""
        values = []
        start = 0
        for leaf in self.leaves:
            end = start + len(leaf.slots)
            values.append(leaf.decode(parts[start:end]))
            start = end
        return self.pack(values)

    def pack(self, values: Iterable[Any]) -> Any:
        """The structure with these in the tensors' places."""
        import tensorflow as tf

        return tf.nest.pack_sequence_as(self.structure, list(values))

    def structure_bytes(self) -> bytes:
        """The structure, pickled, because it may be of classes of the caller's.

        Raises:
            SerializationError: It can't be.
        """
        try:
            return pickle.dumps(self.structure, 5)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise SerializationError(
                f"the structure of the dataset's elements can't be stored ({error}); define "
                "its classes at the top of a module"
            ) from error
