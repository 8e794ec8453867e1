# SPDX-License-Identifier: MIT
"""Ragged and sparse tensors and slices come back with all that they are made of."""

import numpy as np
import pytest
import tensorflow as tf

from cacheness import SerializationError

RAGGED = {
    "numbers": lambda: tf.ragged.constant([[[1], [2, 3]], [], [[4]]]),
    "strings": lambda: tf.ragged.constant([["a", "b\0"], [], ["c"]]),
    "short splits": lambda: tf.ragged.constant([[1.0], []], row_splits_dtype=tf.int32),
    "dense inside": lambda: tf.RaggedTensor.from_row_lengths(tf.ones([4, 2]), [1, 3]),
    "uniform": lambda: tf.RaggedTensor.from_uniform_row_length(
        tf.ragged.constant([[1], [2, 3], [], [4]]), 2
    ),
    "uniform and empty": lambda: tf.RaggedTensor.from_uniform_row_length(tf.zeros([0]), 0, 3),
    "bfloat16": lambda: tf.cast(tf.ragged.constant([[1.0], [2.0, 3.0]]), tf.bfloat16),
}


@pytest.mark.parametrize("kind", RAGGED)
def test_a_ragged_tensor_comes_back(cache, kind):
    ragged = RAGGED[kind]()

    cache.put(ragged, "r")
    again = cache.get("r")

    assert (again.dtype, again.ragged_rank) == (ragged.dtype, ragged.ragged_rank)
    assert again.shape.as_list() == ragged.shape.as_list()
    assert again.row_splits.dtype == ragged.row_splits.dtype
    assert again.uniform_row_length == ragged.uniform_row_length
    assert again.to_list() == ragged.to_list()


def test_a_ragged_tensor_as_numpy_is_its_values_and_splits(cache):
    cache.put(RAGGED["numbers"](), "r")

    arrays = cache.get("r", options={"as_numpy": True})

    assert arrays["flat_values"].tolist() == [1, 2, 3, 4]
    assert [splits.tolist() for splits in arrays["nested_row_splits"]] == [
        [0, 2, 2, 3],
        [0, 1, 3, 4],
    ]


def test_a_sparse_tensor_keeps_the_order_of_its_values(cache):
    sparse = tf.SparseTensor([[1, 0], [0, 1]], tf.constant([5, 6], tf.int8), [3, 4])

    cache.put(sparse, "s")
    again = cache.get("s")
    arrays = cache.get("s", options={"as_numpy": True})

    assert (again.dtype, again.shape) == (tf.int8, sparse.shape)
    assert again.indices.numpy().tolist() == [[1, 0], [0, 1]]
    assert again.values.numpy().tolist() == [5, 6]
    assert arrays["dense_shape"].tolist() == [3, 4]
    assert isinstance(arrays["values"], np.ndarray)


@pytest.mark.parametrize("shape", [None, [4, 2]])
def test_slices_come_back_with_and_without_a_dense_shape(cache, shape):
    dense_shape = None if shape is None else tf.constant(shape)
    slices = tf.IndexedSlices(tf.ones([2, 2]), tf.constant([0, 3]), dense_shape)

    cache.put(slices, "s")
    again = cache.get("s")

    assert isinstance(again, tf.IndexedSlices)
    assert again.indices.numpy().tolist() == [0, 3]
    assert np.array_equal(again.values, np.ones([2, 2]))
    assert (None if again.dense_shape is None else again.dense_shape.numpy().tolist()) == shape


def test_they_need_no_signature(cache):
    for value in (RAGGED["numbers"](), tf.sparse.from_dense([[1, 0]])):
        cache.put(value, "v")

        assert cache.get_entry("v").signature is None


def test_a_tensor_array_is_refused_with_what_to_do(cache):
    with pytest.raises(SerializationError, match=r"stack\(\)"):
        cache.put(tf.TensorArray(tf.float32, 1), "v")


def test_a_symbolic_part_is_refused(cache):
    def put_while_tracing(values):
        ragged = tf.RaggedTensor.from_row_lengths(values, [1, 1])
        with pytest.raises(SerializationError, match="symbolic"):
            cache.put(ragged, "v")
        return values

    tf.function(put_while_tracing, autograph=False)(tf.constant([1.0, 2.0]))
