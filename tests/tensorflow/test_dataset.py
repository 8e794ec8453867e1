# SPDX-License-Identifier: MIT
"""Datasets come back with the same elements, element spec and count, without being run again."""

import collections
import gc
import itertools

import numpy as np
import pytest
import tensorflow as tf

from cacheness import SecurityWarning, SerializationError, UnifiedCache
from cacheness_tensorflow import dataset_digest
from cacheness_tensorflow.chunks import chunks_of
from cacheness_tensorflow.elements import ElementPlan

Dataset = tf.data.Dataset
Point = collections.namedtuple("Point", "x y")  # what tf.nest knows


def ragged() -> tf.RaggedTensor:
    return tf.ragged.constant([[1], [], [2, 3]])


def growing(function) -> Dataset:
    """A dataset of four elements whose shape is their number's."""
    return Dataset.range(4).map(tf.autograph.experimental.do_not_convert(function))


def generated(signature) -> Dataset:
    return Dataset.from_generator(lambda: iter([1, 2]), output_signature=signature)


DATASETS = {
    "numbers": lambda: Dataset.range(10),
    "none": lambda: Dataset.range(0),
    "pairs": lambda: Dataset.from_tensor_slices((np.ones((30, 8), "f4"), np.arange(30))),
    "one in a tuple": lambda: Dataset.from_tensors((1,)),
    "a mapping": lambda: Dataset.from_tensor_slices({"b": [1, 2], "a": (["x", "y\0"], [1.0, 2.0])}),
    "a namedtuple": lambda: Dataset.from_tensor_slices(Point([1, 2], [3.0, 4.0])),
    "bfloat16": lambda: Dataset.from_tensor_slices(tf.constant([1.0, 2.0], tf.bfloat16)),
    "empty tensors": lambda: Dataset.zip(
        (Dataset.range(2), Dataset.from_tensor_slices(tf.zeros([2, 0])))
    ),
    "sequences": lambda: growing(lambda i: (tf.ones([i, 3]), tf.strings.as_string(i))),
    "of unknown size": lambda: growing(lambda i: tf.ones([i, i + 1])),
    "of unknown rank": lambda: generated(tf.TensorSpec(None, tf.int32)),
    "with a name": lambda: generated(tf.TensorSpec([], tf.int32, name="a")),
    "ragged": lambda: Dataset.from_tensors(ragged()),
    "rows of a ragged tensor": lambda: Dataset.from_tensor_slices((ragged(), [1, 2, 3])),
    "ragged with uniform rows": lambda: Dataset.from_tensor_slices(
        tf.RaggedTensor.from_uniform_row_length(tf.ragged.constant([[1], [2, 3], [4], []]), 2)
    ),
    "ragged, short splits": lambda: Dataset.from_tensor_slices(
        tf.ragged.constant([[[1], [2, 3]], [[4]]], row_splits_dtype=tf.int32)
    ),
    "sparse": lambda: Dataset.from_tensor_slices(tf.sparse.from_dense([[1, 0], [2, 3]])),
    "sparse of unknown size": lambda: growing(lambda i: tf.sparse.from_dense(tf.range(i))),
    "all together": lambda: Dataset.zip(
        (
            Dataset.from_tensor_slices(ragged()),
            growing(tf.range),
            growing(lambda i: tf.sparse.from_dense(tf.range(i))),
            Dataset.from_tensor_slices(tf.zeros([4, 0])),
            Dataset.from_tensor_slices(["a", "b", "c"]),
        )
    ),
}


def texts(dataset: Dataset) -> list[str]:
    return [str(element) for element in dataset]


@pytest.mark.parametrize("kind", DATASETS)
def test_elements_spec_and_count_come_back(cache, kind):
    dataset = DATASETS[kind]()
    elements = texts(dataset)

    cache.put(dataset, "d")
    again = cache.get("d")

    assert isinstance(again, Dataset)
    assert again.element_spec == dataset.element_spec
    assert again.cardinality() == len(elements)
    assert texts(again) == elements
    assert texts(again) == elements  # a dataset can be run any number of times
    assert dataset_digest(again) == dataset_digest(dataset)


def test_many_chunks_come_back_in_order(cache):
    values = np.random.default_rng(0).standard_normal((60_000, 20), np.float32)
    dataset = Dataset.from_tensor_slices((values, np.arange(len(values))))

    cache.put(dataset, "d")

    batches = list(cache.get("d").batch(7_000))
    assert np.array_equal(np.concatenate([batch[0] for batch in batches]), values)
    assert np.concatenate([batch[1] for batch in batches]).tolist() == list(range(60_000))


def test_strings_of_many_chunks_come_back_in_order(cache):
    strings = [b"%d" % i * (i % 40) for i in range(20_000)]

    cache.put(Dataset.from_tensor_slices(strings), "d")

    batches = [batch.numpy().tolist() for batch in cache.get("d").batch(7_000)]
    assert list(itertools.chain(*batches)) == strings


@pytest.mark.parametrize("kind", ["numbers", "strings", "sequences"])
def test_a_put_holds_about_a_megabyte_of_elements(kind):
    megabyte = Dataset.from_tensors(tf.zeros([100, 100])).repeat(100)
    strings = Dataset.from_tensors(tf.constant("x" * 10_000)).repeat(400)
    sequences = Dataset.range(400).map(
        lambda _: tf.ones([tf.random.uniform([], 0, 5000, tf.int64)])
    )
    dataset = {"numbers": megabyte, "strings": strings, "sequences": sequences}[kind]

    sizes = [
        sum(
            len(t.numpy().tobytes()) if t.dtype != tf.string else 10_000 * len(t)
            for t in chunk.tensors
        )
        for chunk in chunks_of(dataset, ElementPlan.of(dataset.element_spec))
    ]

    assert len(sizes) > 1
    assert max(sizes) < 4 << 20


def test_what_made_the_elements_is_run_once(cache):
    runs = []

    def generate():
        runs.append(1)
        yield from range(3)

    cache.put(Dataset.from_generator(generate, output_signature=tf.TensorSpec([], tf.int64)), "d")
    again = cache.get("d")

    assert [int(n) for n in again.concatenate(again)] == [0, 1, 2, 0, 1, 2]
    assert runs == [1]


def test_it_outlives_its_entry_and_what_it_was_made_from(cache):
    cache.put(generated(tf.TensorSpec([], tf.int32, name="a")), "d")

    doubled = cache.get("d").map(lambda n: n * 2)
    cache.invalidate("d")
    gc.collect()

    assert [int(n) for n in doubled] == [2, 4]


def test_it_goes_on_through_shuffling_and_batching(cache):
    cache.put(Dataset.range(1000), "d")

    shuffled = cache.get("d").shuffle(1000, seed=1).batch(10).prefetch(2)

    assert sorted(int(n) for batch in shuffled for n in batch) == list(range(1000))


def test_an_infinite_dataset_is_refused(cache):
    with pytest.raises(SerializationError, match="infinite.*take"):
        cache.put(Dataset.range(3).repeat(), "d")


def test_datasets_in_a_dataset_are_refused(cache):
    with pytest.raises(SerializationError, match="hold a Dataset"):
        cache.put(Dataset.range(4).window(2), "d")


def test_a_dtype_that_tensorflow_cannot_batch_is_refused(cache):
    elements = tf.cast([1, 2], tf.as_dtype("int4"))

    with pytest.raises(SerializationError, match="int4"):
        cache.put(Dataset.from_tensors(elements), "d")


def test_it_needs_a_signature(tmp_path):
    with UnifiedCache(str(tmp_path), signing_key="1" * 64) as cache:
        cache.put(Dataset.range(3), "d")
        cache.put(tf.range(3), "t")

    with UnifiedCache(str(tmp_path), signing_key="2" * 64) as stranger:
        with pytest.warns(SecurityWarning):
            assert stranger.get("d") is None
        assert stranger.get("t").numpy().tolist() == [0, 1, 2]


def test_a_listing_says_what_the_elements_are(cache):
    cache.put(Dataset.from_tensor_slices((np.ones((30, 8), "f4"), ["a"] * 30)), "d")

    assert cache.get_entry("d").summary == "dataset of 30 elements: float32 (8,), string ()"
