# SPDX-License-Identifier: MIT
"""Keras models come back trained, and go on training as if nothing had happened."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from cacheness import CachenessWarning, SerializationError, UnifiedCache
from cacheness_tensorflow import model_digest

# Keras makes arrays of variables in a way that NumPy 2 wants changed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

FEATURES = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
TARGETS = FEATURES.sum(1)


def made(optimizer: str | None = "adam") -> keras.Model:
    """A small model with a dropout, whose random state Keras' own format would lose."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,), name="input"),
            keras.layers.Dense(8, activation="relu", name="first"),
            keras.layers.Dropout(0.5, name="dropout"),
            keras.layers.Dense(1, name="last"),
        ],
        name="small",
    )
    if optimizer:
        model.compile(optimizer, "mse")
    return model


def train(model: keras.Model) -> list[float]:
    history = model.fit(FEATURES, TARGETS, epochs=2, batch_size=16, shuffle=False, verbose=0)
    return history.history["loss"]


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    model = made()
    train(model)
    return model


def test_a_trained_model_predicts_the_same_to_the_bit(cache, trained):
    cache.put(trained, "m")

    again = cache.get("m")

    assert type(again) is type(trained)
    assert [layer.name for layer in again.layers] == ["first", "dropout", "last"]
    assert np.array_equal(again(FEATURES), trained(FEATURES))


def test_it_needs_a_signature(cache, trained):
    cache.put(trained, "m")

    assert cache.get_entry("m").signature is not None


def test_training_goes_on_with_optimizer_and_random_state(cache):
    model = made()
    train(model)
    cache.put(model, "m")

    again = cache.get("m")

    assert train(again) == train(model)
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))


GO_ON = """
import json, sys
import numpy as np
from cacheness import UnifiedCache

directory, = sys.argv[1:]
features = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
with UnifiedCache(directory, signing_key="1" * 64) as cache:
    model = cache.get("m")
predictions = model.predict(features, verbose=0)
history = model.fit(features, features.sum(1), epochs=2, batch_size=16, shuffle=False, verbose=0)
print(json.dumps([predictions.tolist(), history.history["loss"]]))
"""


@pytest.mark.slow
def test_a_new_process_predicts_the_same_and_trains_on(tmp_path):
    model = made()
    train(model)
    with UnifiedCache(str(tmp_path), signing_key="1" * 64) as cache:
        cache.put(model, "m")

    run = subprocess.run(
        [sys.executable, "-c", GO_ON, str(tmp_path)], capture_output=True, text=True, check=True
    )

    predictions, losses = json.loads(run.stdout)
    assert np.array_equal(np.float32(predictions), model.predict(FEATURES, verbose=0))
    assert losses == train(model)


def test_a_model_that_was_not_compiled_comes_back_so(cache):
    cache.put(made(optimizer=None), "m")

    assert not cache.get("m").compiled


def test_a_model_can_be_read_without_its_optimizer(cache, trained):
    cache.put(trained, "m")

    assert not cache.get("m", options={"compile": False}).compiled


def test_the_payload_is_an_archive_of_keras(cache):
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(200)])
    cache.put(model, "m", compressor="none")

    path = f"{cache.config.cache_dir}/blobs/{cache.get_entry('m').blob}"

    assert path.endswith(".keras")
    assert "config.json" in zipfile.ZipFile(path).namelist()
    assert keras.saving.load_model(path).name == model.name


@keras.saving.register_keras_serializable("cacheness_tests")
class Registered(keras.Model):
    def __init__(self, units: int = 2, **named):
        super().__init__(**named)
        self.dense = keras.layers.Dense(units)
        self.units = units

    def call(self, inputs):
        return self.dense(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Unregistered(Registered):
    pass


def test_a_registered_class_of_the_callers_comes_back(cache):
    model = Registered(3)
    outputs = model(FEATURES)

    cache.put(model, "m")
    again = cache.get("m")

    assert type(again) is Registered
    assert np.array_equal(again(FEATURES), outputs)


def test_a_class_that_keras_could_not_find_again_is_refused_at_the_put(cache):
    model = Unregistered(3)
    model(FEATURES)

    with pytest.raises(SerializationError, match="can't read it back.*Unregistered"):
        cache.put(model, "m")


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.Lambda(lambda x: x),
        lambda: keras.layers.Dense(1, activation=lambda x: x),
    ],
)
def test_a_lambda_which_safe_mode_would_refuse_is_refused_at_the_put(cache, layer):
    with pytest.raises(SerializationError, match="lambda"):
        cache.put(keras.Sequential([keras.Input((4,)), layer()]), "m")


def test_a_model_without_weights_yet_is_refused(cache):
    with pytest.raises(SerializationError, match="never built"):
        cache.put(Registered(), "m")


def test_a_keras_tensor_is_refused(cache):
    with pytest.raises(SerializationError, match="store the model"):
        cache.put(keras.Input((4,)), "m")


def test_weights_alone_go_into_a_model_of_the_same_architecture(cache, trained):
    cache.put(trained, "w", options={"weights_only": True})
    other = made(optimizer=None)

    again = cache.get("w", options={"into": other})

    assert again is other
    assert np.array_equal(other(FEATURES), trained(FEATURES))


def test_weights_alone_are_data(tmp_path, trained):
    with UnifiedCache(str(tmp_path), allow_pickle=False) as cache:
        cache.put(trained, "w", options={"weights_only": True})
        arrays = cache.get("w")

        assert cache.get_entry("w").signature is None
        assert all(map(np.array_equal, arrays.values(), trained.get_weights()))
        assert [path.rsplit("/")[-1] for path in arrays] == ["kernel", "bias"] * 2
        with pytest.raises(SerializationError):
            cache.put(trained, "m")


def test_weights_of_narrow_dtypes_come_back(cache):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, dtype="bfloat16")])

    cache.put(model, "w", options={"weights_only": True})

    for array, weight in zip(cache.get("w").values(), model.weights, strict=True):
        assert array.dtype == weight.value.dtype.as_numpy_dtype
        assert np.array_equal(array, weight.numpy())


def test_weights_of_another_architecture_are_a_miss_that_says_so(cache, trained):
    cache.put(trained, "w", options={"weights_only": True})
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])

    with pytest.warns(CachenessWarning, match="other weights"):
        assert cache.get("w", options={"into": other}) is None


def test_a_digest_counts_weights_and_architecture_alone(cache, trained):
    cache.put(trained, "m")

    assert model_digest(cache.get("m")) == model_digest(trained)
    assert model_digest(trained) != model_digest(made())
    assert model_digest(made()) == model_digest(made(optimizer="sgd"))


def test_a_keras_variable_comes_back(cache):
    variable = keras.Variable(tf.ones([2]), name="kept", trainable=False)

    cache.put(variable, "v")
    again = cache.get("v")

    assert (again.name, again.trainable) == ("kept", False)
    assert again.numpy().tolist() == [1.0, 1.0]


def test_a_listing_says_what_the_model_is(cache, trained):
    cache.put(trained, "m")

    assert cache.get_entry("m").summary == "Sequential 'small', 49 parameters, compiled"
