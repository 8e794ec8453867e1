# SPDX-License-Identifier: MIT
"""The handlers of the package keep the promises that any handler makes.

`tensorflow_refused` has no suite: it keeps nothing, so there is nothing that could come back. What
it refuses, and how it says so, is in test_composite.py, test_model.py and test_fingerprint.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from cacheness.testing import HandlerContract

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import SearchStrategy

pytestmark = [
    pytest.mark.slow,  # each class starts processes that import TensorFlow
    # Keras makes arrays of variables in a way that NumPy 2 wants changed.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
    ),
]

Dataset = tf.data.Dataset
DTYPES = [tf.float32, tf.int8, tf.bool, tf.bfloat16, tf.complex64, tf.float16, tf.quint8]


def bits(tensor: Any) -> tuple[Any, ...]:
    """All that makes a dense tensor what it is."""
    flat = np.asarray(tf.reshape(tensor, [-1]))
    values = flat.tolist() if tensor.dtype == tf.string else flat.tobytes()
    return tensor.dtype.name, tuple(tensor.shape), values


def dense(shape: tuple[int, ...], dtype: tf.DType, seed: int) -> tf.Tensor:
    numbers = np.random.default_rng(seed).integers(0, 2, shape)
    return (
        tf.cast(tf.constant(numbers, tf.int32), dtype)
        if dtype != tf.quint8
        else (tf.bitcast(tf.constant(numbers, tf.uint8), dtype))
    )


def shapes() -> SearchStrategy[tuple[int, ...]]:
    return st.sampled_from([(), (0,), (3,), (2, 0), (2, 3), (1, 2, 2)])


class TensorContract(HandlerContract):
    """What is immutable, and equal where its parts are."""

    examples = 8

    def parts(self, obj: Any) -> list[Any]:
        """The dense tensors that the object is made of."""
        return tf.nest.flatten(obj, expand_composites=True)

    def equal(self, one: Any, other: Any) -> bool:
        return type(one) is type(other) and list(map(bits, self.parts(one))) == list(
            map(bits, self.parts(other))
        )

    def copy_of(self, obj: Any) -> Any:
        return tf.nest.map_structure(tf.identity, obj, expand_composites=True)

    def change_in_place(self, obj: Any) -> bool:
        return False

    def refused(self) -> Iterable[object]:
        return [np.zeros(2), [tf.constant(1)], 1.0]


class TestTensorFlowHandler(TensorContract):
    handler = "tensorflow"

    def objects(self) -> SearchStrategy[Any]:
        return st.builds(dense, shapes(), st.sampled_from(DTYPES), st.integers(0, 9))

    def changed(self, obj: Any) -> Any:
        return tf.reshape(obj, [1, *obj.shape])

    def refused(self) -> Iterable[object]:
        return [*super().refused(), tf.constant(["a"]), tf.Variable(1.0)]


class TestStringTensorHandler(TensorContract):
    handler = "tensorflow_string"

    def objects(self) -> SearchStrategy[Any]:
        return st.lists(st.binary(max_size=4), max_size=4).map(
            lambda texts: tf.constant(texts, tf.string)
        ) | st.binary(max_size=4).map(lambda text: tf.constant(text, tf.string))

    def changed(self, obj: Any) -> Any:
        return tf.strings.join([obj, "\0"])

    def refused(self) -> Iterable[object]:
        return [*super().refused(), tf.constant(1), b"a"]


class TestVariableHandler(TensorContract):
    handler = "tensorflow_variable"

    def objects(self) -> SearchStrategy[Any]:
        values = st.builds(dense, shapes(), st.sampled_from(DTYPES[:5]), st.integers(0, 9))
        return st.builds(
            lambda value, name, trainable: tf.Variable(value, name=name, trainable=trainable),
            values,
            st.sampled_from(["a", "scope/b"]),
            st.booleans(),
        )

    def parts(self, obj: Any) -> list[Any]:
        return [tf.convert_to_tensor(obj), tf.constant(obj.name), tf.constant(obj.trainable)]

    def copy_of(self, obj: Any) -> Any:
        name = obj.name.removesuffix(":0")
        return tf.Variable(tf.identity(obj), name=name, trainable=obj.trainable)

    def change_in_place(self, obj: Any) -> bool:
        if not tf.size(obj):
            return False
        different = ~np.asarray(obj) if obj.dtype == tf.bool else np.asarray(obj) + 1
        obj.assign(tf.constant(different, obj.dtype))
        return True

    def refused(self) -> Iterable[object]:
        return [*super().refused(), tf.constant(1)]


class TestRaggedTensorHandler(TensorContract):
    handler = "tensorflow_ragged"

    def objects(self) -> SearchStrategy[Any]:
        rows = st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=3)
        return rows.map(lambda found: tf.ragged.constant(found, tf.int32, ragged_rank=1))

    def changed(self, obj: Any) -> Any:
        return tf.concat([obj, tf.ragged.constant([[7]], tf.int32)], 0)

    def refused(self) -> Iterable[object]:
        return [*super().refused(), tf.constant(1), tf.sparse.from_dense([1])]


class TestSparseTensorHandler(TensorContract):
    handler = "tensorflow_sparse"

    def objects(self) -> SearchStrategy[Any]:
        return st.lists(st.sampled_from([0.0, 1.5]), min_size=4, max_size=4).map(
            lambda found: tf.sparse.from_dense(tf.reshape(tf.constant(found), [2, 2]))
        )

    def changed(self, obj: Any) -> Any:
        return tf.SparseTensor(obj.indices, obj.values, [2, 3])

    def refused(self) -> Iterable[object]:
        return [*super().refused(), tf.constant(1), tf.ragged.constant([[1]])]


class TestIndexedSlicesHandler(TensorContract):
    handler = "tensorflow_slices"

    def objects(self) -> SearchStrategy[Any]:
        return st.builds(
            lambda count, known: tf.IndexedSlices(
                tf.ones([count, 2]), tf.range(count), tf.constant([9, 2]) if known else None
            ),
            st.integers(0, 3),
            st.booleans(),
        )

    def changed(self, obj: Any) -> Any:
        return tf.IndexedSlices(obj.values, obj.indices + 1, tf.constant([8, 2]))

    def refused(self) -> Iterable[object]:
        return [*super().refused(), tf.constant(1)]


class TestDatasetHandler(TensorContract):
    handler = "tensorflow_dataset"
    examples = 3
    keeps_class = False

    def objects(self) -> SearchStrategy[Any]:
        return st.sampled_from([0, 1, 5]).map(
            lambda count: Dataset.from_tensor_slices(
                {"x": np.ones((count, 2), "f4"), "text": np.array(["a"] * count, object)}
                if count
                else np.zeros((0, 2))
            )
        )

    def equal(self, one: Any, other: Any) -> bool:
        return (
            isinstance(one, Dataset)
            and isinstance(other, Dataset)
            and one.element_spec == other.element_spec
            and int(one.cardinality()) == int(other.cardinality())
            and all(TensorContract.equal(self, a, b) for a, b in zip(one, other, strict=True))
        )

    def copy_of(self, obj: Any) -> Any:
        return obj.take(-1)

    def refused(self) -> Iterable[object]:
        return [*super().refused(), Dataset.range(2).repeat()]


class TestKerasModelHandler(TensorContract):
    handler = "keras_model"
    examples = 2

    def objects(self) -> SearchStrategy[Any]:
        return st.sampled_from([model(1), model(2)])  # drawn, not made: Keras takes random names

    def equal(self, one: Any, other: Any) -> bool:
        return (
            type(one) is type(other)
            and json.dumps(one.get_config()) == json.dumps(other.get_config())
            and all(map(np.array_equal, one.get_weights(), other.get_weights()))
        )

    def copy_of(self, obj: Any) -> Any:
        twin = keras.Sequential.from_config(obj.get_config())
        twin.set_weights(obj.get_weights())
        return twin

    def change_in_place(self, obj: Any) -> bool:
        obj.set_weights([weight + 1 for weight in obj.get_weights()])
        return True

    def refused(self) -> Iterable[object]:
        return [*super().refused(), keras.Sequential([keras.layers.Dense(1)])]


class TestKerasWeightsHandler(TestKerasModelHandler):
    """Takes models and gives their weights, so that these alone are compared."""

    handler = "keras_weights"
    options: ClassVar = {"weights_only": True}
    keeps_class = False

    def equal(self, one: Any, other: Any) -> bool:
        ours, theirs = weights_of(one), weights_of(other)
        return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))

    def change_in_place(self, obj: Any) -> bool:
        if isinstance(obj, keras.Model):
            return super().change_in_place(obj)
        for array in obj.values():
            array += 1
        return True


class TestSavedModelHandler(TensorContract):
    handler = "tensorflow_saved_model"
    examples = 2
    keeps_class = False

    def objects(self) -> SearchStrategy[Any]:
        return st.sampled_from([1.0, 2.5]).map(Scaler)

    def equal(self, one: Any, other: Any) -> bool:
        """By what it does: what comes back is of a class of TensorFlow's."""
        given = tf.constant([1.0, 2.0])
        return bits(one.scale(given)) == bits(other.scale(given))

    def copy_of(self, obj: Any) -> Any:
        return Scaler(float(obj.factor))

    def refused(self) -> Iterable[object]:
        return [*super().refused(), tf.Module()]


class Scaler(tf.Module):
    """A variable and a function of it."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = tf.Variable(factor)

    @tf.function(input_signature=[tf.TensorSpec([None])])
    def scale(self, values):
        return values * self.factor


def weights_of(obj: Any) -> list[Any]:
    """The arrays of a model, or of what came back of one."""
    return obj.get_weights() if isinstance(obj, keras.Model) else list(obj.values())


def model(units: int) -> keras.Model:
    built = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(units, name="dense")], name="named"
    )
    built.compile("sgd", "mse")
    return built
