# SPDX-License-Identifier: MIT
"""The handlers of the package keep the promises that any handler makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

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


def model(units: int) -> keras.Model:
    built = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(units, name="dense")], name="named"
    )
    built.compile("sgd", "mse")
    return built
