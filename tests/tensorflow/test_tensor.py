# SPDX-License-Identifier: MIT
"""Dense tensors come back exactly, and their payloads open without TensorFlow."""

import blosc2
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cacheness import SerializationError
from cacheness_tensorflow.arrays import lend, to_tensor

QUANTISED = {"qint8": "i1", "qint16": "i2", "qint32": "i4", "quint8": "u1", "quint16": "u2"}
MASKS = {"bool": 1, "int2": 3, "uint2": 3, "int4": 15, "uint4": 15, "float4_e2m1fn": 15}
DTYPES = [
    *("bool", "float16", "float32", "float64", "complex64", "complex128", "bfloat16"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("int2", "int4", "uint2", "uint4", "float4_e2m1fn", "float8_e5m2", "float8_e5m2fnuz"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz"),
    *QUANTISED,
]


def numpy_dtype(name: str) -> np.dtype:
    if name in QUANTISED:
        return np.dtype(QUANTISED[name])
    return np.dtype(getattr(ml_dtypes, name, None) or name)


@st.composite
def tensors(draw: st.DrawFn) -> tf.Tensor:
    """Tensors of every dtype, with any bits that are a value of it."""
    name = draw(st.sampled_from(DTYPES))
    dtype = numpy_dtype(name)
    shape = draw(npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    array = (raw & MASKS.get(name, 255)).view(dtype).reshape(shape)
    return tf.constant(array, dtype=name)


def bits(value) -> bytes:
    # Of some dtypes, TensorFlow makes no array of a single value.
    return np.asarray(tf.reshape(value, [-1]) if tf.is_tensor(value) else value).tobytes()


@given(tensors())
def test_every_dtype_and_shape_comes_back_bit_by_bit(cache, tensor):
    cache.put(tensor, "t")

    again = cache.get("t")

    assert isinstance(again, tf.Tensor)
    assert (again.dtype, again.shape) == (tensor.dtype, tensor.shape)
    assert bits(again) == bits(tensor)


@given(tensors())
def test_as_numpy_gives_what_the_tensor_itself_would(cache, tensor):
    cache.put(tensor, "t")

    array = cache.get("t", options={"as_numpy": True})

    assert isinstance(array, np.ndarray)
    assert (array.dtype, array.shape) == (numpy_dtype(tensor.dtype.name), tuple(tensor.shape))
    assert bits(array) == bits(tensor)


@given(npst.arrays(object, npst.array_shapes(min_dims=0, min_side=0), elements=st.binary()))
def test_strings_of_any_bytes_come_back(cache, strings):
    tensor = tf.constant(strings, tf.string)
    cache.put(tensor, "t")

    again = cache.get("t")

    assert (again.dtype, again.shape) == (tf.string, strings.shape)
    flat = tf.reshape(again, [-1]).numpy()
    assert flat.tolist() == strings.reshape(-1).tolist()
    array = cache.get("t", options={"as_numpy": True})
    assert array.shape == strings.shape
    assert array.reshape(-1).tolist() == strings.reshape(-1).tolist()


def random_tensor(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).standard_normal(shape, np.float32))


def blob_path(cache, key: str) -> str:
    return f"{cache.config.cache_dir}/blobs/{cache.get_entry(key).blob}"


def test_a_large_tensor_is_a_file_that_numpy_opens(cache):
    tensor = random_tensor(300, 400)

    cache.put(tensor, "t")

    path = blob_path(cache, "t")
    assert path.endswith(".npy")
    assert np.array_equal(np.load(path), tensor.numpy())


def test_a_tensor_of_many_megabytes_comes_back_and_outlives_its_entry(cache):
    tensor = random_tensor(2000, 4000)
    cache.put({"large": tensor, "narrow": tf.cast(tensor, tf.bfloat16)}, "nested")
    cache.put(tensor, "t")

    again, parts = cache.get("t"), cache.get("nested")
    cache.invalidate("t")
    cache.invalidate("nested")

    assert np.array_equal(again, tensor)
    assert np.array_equal(parts["large"], tensor)
    assert bits(parts["narrow"]) == bits(tf.cast(tensor, tf.bfloat16))


def test_a_tensor_of_a_dtype_that_numpy_lacks_is_a_file_of_its_bits(cache):
    tensor = tf.cast(random_tensor(300, 400), tf.bfloat16)

    cache.put(tensor, "t")

    opened = np.load(blob_path(cache, "t"))
    assert cache.get_entry("t").metadata["tensor"] == "bfloat16"
    assert np.array_equal(opened.view(ml_dtypes.bfloat16), tensor.numpy())


def test_strings_are_two_arrays_that_numpy_opens(cache):
    cache.put(tf.constant([["ab" * 99999, ""], ["c\0", "d"]]), "t", compressor="none")

    with open(blob_path(cache, "t"), "rb") as file:
        lengths, joined = np.load(file), np.load(file)

    assert lengths.tolist() == [[199998, 0], [2, 1]]
    assert joined.tobytes() == b"ab" * 99999 + b"c\0d"


def test_a_compressible_tensor_is_a_file_that_blosc2_opens(cache):
    tensor = tf.reshape(tf.range(300_000, dtype=tf.float64), [300, 1000])

    cache.put(tensor, "t")

    path = blob_path(cache, "t")
    assert path.endswith(".b2nd")
    assert np.array_equal(blosc2.open(path)[:], tensor.numpy())
    assert np.array_equal(cache.get("t"), tensor)
    assert np.array_equal(cache.get("t", mmap=True), tensor)


def test_a_mapped_tensor_has_the_values_and_outlives_its_entry(cache):
    tensor = random_tensor(300, 400)
    cache.put(tensor, "t")

    mapped = cache.get("t", mmap=True)
    array = cache.get("t", mmap=True, options={"as_numpy": True})
    cache.invalidate("t")

    assert isinstance(mapped, tf.Tensor)
    assert np.array_equal(mapped, tensor)
    assert np.array_equal(array, tensor)
    assert not array.flags.writeable


def test_a_tensor_is_made_of_aligned_memory_without_a_copy():
    memory = np.zeros(1064, np.uint8)
    start = -memory.ctypes.data % 64
    array = memory[start : start + 1000].view(np.float32)

    tensor = to_tensor(array, "float32")

    assert np.shares_memory(np.asarray(tensor), array)


def test_a_bfloat16_tensor_lends_its_memory_without_a_copy():
    tensor = tf.cast(random_tensor(100), tf.bfloat16)

    assert np.shares_memory(lend(tensor)[0], lend(tensor)[0])


def test_a_tensor_in_unaligned_or_read_only_memory_is_copied():
    array = np.arange(9, dtype=np.uint8)[1:]

    tensor = to_tensor(array, "uint8")
    array[0] = 99

    assert tensor.numpy().tolist() == list(range(1, 9))


def test_tensors_in_containers_come_back_and_shared_ones_stay_shared(cache):
    shared = tf.constant([1.0, 2.0])
    nested = {"a": shared, "b": [shared, (tf.constant("x"), 3)], "c": np.arange(3)}

    cache.put(nested, "t")
    again = cache.get("t")
    arrays = cache.get("t", options={"as_numpy": True})

    assert again["a"] is again["b"][0]
    assert again["a"].numpy().tolist() == [1.0, 2.0]
    assert again["b"][1][0].numpy() == b"x"
    assert isinstance(arrays["a"], np.ndarray)
    assert cache.get_entry("t").signature is None


def test_a_symbolic_tensor_is_refused_with_what_to_do(cache):
    def put_while_tracing(tensor):
        with pytest.raises(SerializationError, match=r"symbolic.*outside tf\.function"):
            cache.put(tensor, "t")
        return tensor

    tf.function(put_while_tracing, autograph=False)(tf.constant(1.0))
    tf.function(put_while_tracing, autograph=False)(tf.constant("a"))


def test_a_placeholder_is_refused(cache):
    with tf.Graph().as_default():
        placeholder = tf.compat.v1.placeholder(tf.float32, [3])

        with pytest.raises(SerializationError, match="symbolic"):
            cache.put(placeholder, "t")


def test_a_handle_is_refused(cache):
    variant = tf.data.experimental.to_variant(tf.data.Dataset.range(3))

    with pytest.raises(SerializationError, match="a handle of an object"):
        cache.put(variant, "t")


def test_a_tensor_read_while_tracing_is_eager_all_the_same(cache):
    cache.put(tf.constant([1.0]), "t")
    seen = []

    def read() -> None:
        seen.append(cache.get("t"))

    tf.function(read, autograph=False)()

    assert seen[0].numpy().tolist() == [1.0]


def test_a_listing_says_what_the_tensor_is(cache):
    cache.put(tf.zeros([2, 3], tf.bfloat16), "t")

    assert cache.get_entry("t").summary == "bfloat16 (2, 3)"
