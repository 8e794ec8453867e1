# SPDX-License-Identifier: MIT
"""Tensors count in keys by their values; what has no stable value is refused with ways out."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cacheness import UnhashableParameterError
from cacheness.keys.encoding import params_key
from cacheness_tensorflow import dataset_digest


def key(value) -> str:
    return params_key({"value": value})


EQUAL = {
    "numbers": lambda: tf.constant([1.0, 2.0]),
    "one": lambda: tf.constant(3),
    "none": lambda: tf.zeros([0, 3]),
    "bfloat16": lambda: tf.cast([1.0, 2.0], tf.bfloat16),
    "strings": lambda: tf.constant(["a", "b\0"]),
    "ragged": lambda: tf.ragged.constant([[1], [2, 3]]),
    "sparse": lambda: tf.sparse.from_dense([[1, 0]]),
    "slices": lambda: tf.IndexedSlices(tf.ones([1, 2]), tf.constant([3])),
    "variable": lambda: tf.Variable([1.0], name="v"),
}


@pytest.mark.parametrize("kind", EQUAL)
def test_equal_values_make_equal_keys(kind):
    assert key(EQUAL[kind]()) == key(EQUAL[kind]())


def test_a_copy_on_another_device_makes_the_same_key():
    tf.config.list_logical_devices()
    with tf.device("CPU:0"):
        tensor = tf.identity(tf.constant([1.0, 2.0]))

    assert key(tensor) == key(tf.constant([1.0, 2.0]))


def test_all_these_make_different_keys():
    values = [
        *(make() for make in EQUAL.values()),
        tf.constant([[1.0, 2.0]]),
        tf.constant([1.0, 2.0], tf.float64),
        tf.constant([0.0]),
        tf.constant([-0.0]),
        tf.zeros([3, 0]),
        np.array([1.0, 2.0], np.float32),
        tf.constant(["ab", "\0"]),
        tf.constant(["a", "b"]),
        tf.ragged.constant([[1, 2], [3]]),
        tf.Variable([1.0], name="w"),
        tf.Variable([1.0], name="v", trainable=False),
        tf.IndexedSlices(tf.ones([1, 2]), tf.constant([3]), tf.constant([4, 2])),
    ]

    assert len(set(map(key, values))) == len(values)


@pytest.mark.parametrize(
    ("value", "way_out"),
    [
        (lambda: tf.data.Dataset.range(3), r"dataset_digest\(dataset\)"),
        (lambda: keras.Sequential([keras.Input((2,))]), r"model_digest\(model\)"),
        (lambda: tf.Module(), "what it was made of"),
        (lambda: keras.Input((2,)), "store the model"),
        (lambda: tf.TensorArray(tf.float32, 1), r"stack\(\)"),
        (lambda: tf.Variable(1.0, constraint=tf.nn.relu), r"read_value\(\)"),
    ],
)
def test_what_has_no_stable_value_is_refused_with_ways_out(value, way_out):
    with pytest.raises(UnhashableParameterError, match=way_out):
        key(value())


def test_a_symbolic_tensor_is_refused():
    @tf.autograph.experimental.do_not_convert
    def trace(tensor):
        with pytest.raises(UnhashableParameterError, match="symbolic"):
            key(tensor)
        return tensor

    tf.function(trace)(tf.constant(1.0))


def test_a_digest_tells_datasets_apart_by_their_elements_in_order():
    datasets = [
        tf.data.Dataset.range(300),
        tf.data.Dataset.range(301),
        tf.data.Dataset.range(300, output_type=tf.int32),
        tf.data.Dataset.range(299, -1, -1),
        tf.data.Dataset.range(300).batch(1),
    ]

    assert len(set(map(dataset_digest, datasets))) == len(datasets)
    assert dataset_digest(datasets[0]) == dataset_digest(datasets[1].take(300))
