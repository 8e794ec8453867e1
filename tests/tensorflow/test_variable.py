# SPDX-License-Identifier: MIT
"""Variables come back with all that their constructor takes."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cacheness import SerializationError, UnifiedCache

NUMBERS = npst.scalar_dtypes().filter(lambda dtype: dtype.kind in "biufc" and dtype.isnative)
SMALL = NUMBERS.filter(lambda dtype: dtype.itemsize <= 16 and dtype.char not in "gG")


@settings(max_examples=40)
@given(
    value=npst.arrays(SMALL, npst.array_shapes(min_dims=0, min_side=0, max_side=3)),
    name=st.from_regex(r"[A-Za-z0-9.][A-Za-z0-9_.\-]*(/[A-Za-z0-9_]+)?", fullmatch=True),
    trainable=st.booleans(),
    aggregation=st.sampled_from(list(tf.VariableAggregation)),
)
def test_value_name_and_options_come_back(cache, value, name, trainable, aggregation):
    variable = tf.Variable(value, name=name, trainable=trainable, aggregation=aggregation)

    cache.put(variable, "v")
    again = cache.get("v")

    assert type(again) is type(variable)
    assert (again.name, again.dtype, again.shape) == (
        variable.name,
        variable.dtype,
        variable.shape,
    )
    assert (again.trainable, again.aggregation) == (trainable, variable.aggregation)
    assert again.numpy().tobytes() == value.tobytes()


def test_a_variable_is_assigned_to_without_touching_what_is_stored(cache):
    cache.put(tf.Variable(np.zeros((300, 400), np.float32)), "v")

    first = cache.get("v")
    first.assign_add(tf.ones([300, 400]))

    assert np.array_equal(cache.get("v"), np.zeros((300, 400)))


@pytest.mark.parametrize("shape", [None, [None, 3]])
def test_a_shape_wider_than_the_value_comes_back(cache, shape):
    variable = tf.Variable(tf.zeros([2, 3]), shape=tf.TensorShape(shape))

    cache.put(variable, "v")
    again = cache.get("v")

    assert again.shape.rank == variable.shape.rank
    again.assign(tf.ones([5, 3]))
    assert again.numpy().shape == (5, 3)


def test_synchronization_and_string_values_come_back(cache):
    variable = tf.Variable(
        ["a\0", ""], synchronization=tf.VariableSynchronization.ON_READ, trainable=False
    )

    cache.put(variable, "v")
    again = cache.get("v")

    assert again.synchronization == tf.VariableSynchronization.ON_READ
    assert again.numpy().tolist() == [b"a\0", b""]


def test_a_caching_device_comes_back(cache):
    cache.put(tf.Variable(1.0, caching_device="/device:CPU:0"), "v")

    assert cache.get("v")._caching_device == "/device:CPU:0"


def test_the_name_does_not_depend_on_where_it_is_read(cache):
    cache.put(tf.Variable(1.0, name="outer/inner"), "v")

    with tf.name_scope("elsewhere"):
        again = cache.get("v")

    assert again.name == "outer/inner:0"


def test_a_constraint_comes_back_and_needs_a_signature(cache):
    cache.put(tf.Variable([1.0], constraint=tf.nn.relu), "v")

    assert cache.get_entry("v").signature is not None
    assert cache.get("v").constraint is tf.nn.relu


def test_a_variable_without_one_needs_none(cache):
    cache.put(tf.Variable([1.0]), "v")

    assert cache.get_entry("v").signature is None


def test_a_constraint_is_refused_where_code_is(tmp_path):
    with UnifiedCache(str(tmp_path), allow_pickle=False) as cache:
        with pytest.raises(SerializationError):
            cache.put(tf.Variable([1.0], constraint=tf.nn.relu), "v")
        cache.put(tf.Variable([1.0]), "v")

        assert cache.get("v").numpy().tolist() == [1.0]


def test_as_numpy_gives_the_value(cache):
    cache.put(tf.Variable([[1, 2]]), "v")

    assert cache.get("v", options={"as_numpy": True}).tolist() == [[1, 2]]


def test_a_variable_of_a_distribution_strategy_is_refused(cache):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        variable = tf.Variable(1.0)

    with pytest.raises(SerializationError, match="distribution strategy"):
        cache.put(variable, "v")
