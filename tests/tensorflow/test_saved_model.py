# SPDX-License-Identifier: MIT
"""Modules come back with their variables, functions and assets, from a tar that is safe to read."""

import gc
import io
import os
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cacheness import SerializationError
from cacheness_tensorflow.saved_model import SavedModelHandler
from cacheness_tensorflow.tarball import TarWriter


class Scaler(tf.Module):
    """Variables of several dtypes, a function, and a table that is filled from a file."""

    def __init__(self, vocabulary: str) -> None:
        super().__init__()
        self.factor = tf.Variable(2.0, name="factor")
        self.others = [
            tf.Variable(tf.constant([1, 2], dtype=dtype))
            for dtype in (tf.int8, tf.bfloat16, tf.complex128)
        ]
        lookup = tf.lookup.TextFileInitializer(
            vocabulary,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticVocabularyTable(lookup, 1)

    @tf.function(input_signature=[tf.TensorSpec([None])])
    def scale(self, values):
        return values * self.factor

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def number(self, words):
        return self.table.lookup(words)


class Untraced(tf.Module):
    @tf.function
    def double(self, value):
        return value * 2


HELD = ["bool", "int8", "int64", "float16", "bfloat16", "complex64"]


class Holder(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.held = []

    @tf.function(input_signature=[], autograph=False)
    def read(self):
        return [variable.read_value() for variable in self.held]


@pytest.fixture(scope="module")
def scaler(tmp_path_factory) -> Scaler:
    vocabulary = tmp_path_factory.mktemp("words") / "words.txt"
    vocabulary.write_text("a\nb\nc\n")
    return Scaler(str(vocabulary))


def test_variables_functions_and_assets_come_back(cache, scaler):
    cache.put(scaler, "s")

    again = cache.get("s")

    assert again.scale([1.0, 2.0]).numpy().tolist() == [2.0, 4.0]
    assert again.number(["b", "?"]).numpy().tolist() == [1, 3]
    for variable, other in zip(scaler.others, again.others, strict=True):
        assert variable.dtype == other.dtype
        assert np.array_equal(variable, other)
    assert cache.get_entry("s").signature is not None
    assert cache.get_entry("s").summary == "Scaler with number, scale"


@pytest.mark.slow
@settings(max_examples=3, deadline=None)
@given(st.lists(npst.array_shapes(min_dims=0, min_side=0, max_side=3), min_size=6, max_size=6))
def test_variables_of_any_dtype_and_shape_come_back_in_a_module(cache, shapes):
    module = Holder()
    for dtype, shape in zip(HELD, shapes, strict=True):
        numbers = np.random.default_rng(0).integers(0, 2, shape)
        module.held.append(tf.Variable(tf.cast(numbers, dtype), name=f"held_{dtype}"))

    cache.put(module, "m")
    again = cache.get("m")

    for one, other, read in zip(module.held, again.held, again.read(), strict=True):
        assert (other.name, other.dtype, other.shape) == (one.name, one.dtype, one.shape)
        assert other.numpy().tobytes() == read.numpy().tobytes() == one.numpy().tobytes()


def test_what_came_back_can_be_stored_again(cache, scaler):
    cache.put(scaler, "s")
    cache.put(cache.get("s"), "s")
    gc.collect()

    assert cache.get("s").number(["c"]).numpy().tolist() == [2]


def test_the_payload_is_a_saved_model_in_a_tar(cache, scaler, tmp_path):
    cache.put(scaler, "s", compressor="none")
    entry = cache.get_entry("s")
    if entry.blob:
        path = f"{cache.config.cache_dir}/blobs/{entry.blob}"
    else:
        path = tmp_path / "payload.tar"
        path.write_bytes(entry.inline)

    subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)

    assert tf.saved_model.load(str(tmp_path)).scale([1.0]).numpy().tolist() == [2.0]


def test_a_function_without_a_graph_is_refused_until_it_was_called(cache):
    module = Untraced()

    with pytest.raises(SerializationError, match="Untraced.double was never called"):
        cache.put(module, "m")
    module.double(tf.constant(1.0))
    cache.put(module, "m")

    assert cache.get("m").double(tf.constant(3.0)) == 6.0


def test_a_module_without_functions_keeps_its_own_type(cache):
    module = tf.Module(name="plain")
    module.weight = tf.Variable([1.0, 2.0])

    cache.put(module, "m")

    assert type(cache.get("m")) is tf.Module
    assert cache.get("m").weight.numpy().tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "name", ["../out", "/out", "a/../../out", "a//out", "..\\out", "C:out", "", ".", 5]
)
def test_a_name_that_leads_out_of_the_directory_is_refused(tmp_path, name):
    payload = io.BytesIO()
    tar = TarWriter(payload)
    span = tar.add("out", [b"planted"])
    manifest = tar.finish({"files": [[name, span]]})
    path = tmp_path / "in" / "payload.tar"
    path.parent.mkdir()
    path.write_bytes(payload.getvalue())
    before = set(os.listdir(tmp_path))

    with pytest.raises(ValueError, match="not the name of a SavedModel's file"):
        SavedModelHandler().get_with(str(path), {"manifest": manifest}, None)

    assert set(os.listdir(tmp_path)) == before
