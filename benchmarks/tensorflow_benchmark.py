# SPDX-License-Identifier: MIT
"""Compares tensors and datasets in a cache with TensorFlow's own ways, and NumPy's.

    uv run python benchmarks/tensorflow_benchmark.py          about two minutes
    uv run python benchmarks/tensorflow_benchmark.py --json   for programs

A tensor of 100 MB of incompressible numbers is put and got, verified. A dataset of a million small
elements is put, and got and read to its end; each side in one round after one that does not count,
since TensorFlow's own take ten seconds and more. The target is the best of the others: the row
that has one, where the ratio may be at most 1.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from cacheness import UnifiedCache
from measuring import Row, interleaved, once, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TENSOR_BYTES = 100_000_000
ELEMENTS = 1_000_000
BATCH = 4096


def rows(folder: str) -> Iterator[Row]:
    """Everything that is compared."""
    with UnifiedCache(f"{folder}/ours", signing_key="0" * 64) as cache:
        yield from _tensors(cache, Path(folder))
        yield from _datasets(cache, Path(folder))


def _tensors(cache: UnifiedCache, folder: Path) -> Iterator[Row]:
    numbers = np.random.default_rng(0).normal(size=TENSOR_BYTES // 4).astype(np.float32)
    tensor = tf.constant(numbers)
    variable = tf.Variable(tensor)
    serialised, saved = str(folder / "tensor.pb"), str(folder / "tensor.npy")
    checkpoint = tf.train.Checkpoint(tensor=variable)
    writes = {
        "ours": lambda: cache.put(tensor, "tensor"),
        "tf.io.write_file": lambda: tf.io.write_file(serialised, tf.io.serialize_tensor(tensor)),
        "np.save": lambda: np.save(saved, tensor.numpy()),
        "tf.train.Checkpoint": lambda: checkpoint.write(str(folder / "checkpoint")),
    }
    yield from _compared("100 MB tensor, put", writes, rounds=5)
    reads = {
        "ours": lambda: cache.get("tensor"),
        "tf.io.read_file": lambda: tf.io.parse_tensor(tf.io.read_file(serialised), tf.float32),
        "np.load": lambda: tf.constant(np.load(saved)),
        "tf.train.Checkpoint": lambda: checkpoint.read(str(folder / "checkpoint")),
    }
    for name, read in reads.items():
        given = read()
        if name != "tf.train.Checkpoint":
            assert np.array_equal(given.numpy(), numbers)
    yield from _compared("100 MB tensor, get", reads, rounds=5)


def _datasets(cache: UnifiedCache, folder: Path) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    elements = rng.normal(size=(ELEMENTS, 8)).astype(np.float32), rng.integers(0, 9, ELEMENTS)
    dataset = tf.data.Dataset.from_tensor_slices(elements)
    saved = folder / "dataset"

    def save() -> None:
        rmtree(saved, ignore_errors=True)
        dataset.save(str(saved))

    writes = {"ours": lambda: cache.put(dataset, "dataset"), "Dataset.save": save}
    yield from _compared("dataset of 1M elements, put", writes, rounds=1)
    reads = {
        "ours": lambda: _read_to_its_end(cache.get("dataset")),
        "Dataset.load": lambda: _read_to_its_end(tf.data.Dataset.load(str(saved))),
    }
    yield from _compared("dataset of 1M elements, get and read", reads, rounds=1)


def _read_to_its_end(dataset: Any) -> None:
    read = sum(len(labels) for _, labels in dataset.batch(BATCH))
    assert read == ELEMENTS


def _compared(
    what: str, sides: Mapping[str, Callable[[], object]], *, rounds: int
) -> Iterator[Row]:
    """A row for each of the others; the best of them is the target."""
    taken = interleaved({name: once(run) for name, run in sides.items()}, rounds=rounds, number=1)
    ours = taken.pop("ours")
    best = min(taken, key=lambda name: taken[name])
    for name, seconds in taken.items():
        yield Row(what, ours, name, seconds, 1.0 if name == best else None)


if __name__ == "__main__":
    sys.exit(report(__doc__ or "", rows, sys.argv[1:]))
