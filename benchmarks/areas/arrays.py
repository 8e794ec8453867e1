# SPDX-License-Identifier: MIT
"""Arrays of 100 MB: what a cache costs where the bytes are what counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import blosc2
import joblib
import numpy as np

from cacheness import UnifiedCache
from measuring import Row, interleaved, once

if TYPE_CHECKING:
    from collections.abc import Iterator

    Array = np.ndarray[Any, np.dtype[Any]]

ELEMENTS = 12_500_000
ROUNDS = 9


def rows(folder: str) -> Iterator[Row]:
    """Compare putting, getting and mapping large arrays with the bare libraries."""
    with UnifiedCache(f"{folder}/ours") as cache:
        yield from _incompressible(cache, folder)
        yield from _compressible(cache, folder)


def incompressible() -> Array:
    """100 MB of noise."""
    return np.random.default_rng(0).integers(0, 1 << 64, ELEMENTS, dtype=np.uint64)


def compressible() -> Array:
    """100 MB of a counter's readings, a random walk in whole steps."""
    return np.cumsum(np.random.default_rng(0).integers(-3, 4, ELEMENTS))


def _incompressible(cache: UnifiedCache, folder: str) -> Iterator[Row]:
    array = incompressible()
    path = f"{folder}/array.npy"
    # Both replace what was there, so both free 100 MB of the last round.
    sides = {
        "ours": once(lambda: cache.put(array, "noise")),
        "theirs": once(lambda: np.save(path, array)),
    }
    taken = interleaved(sides, rounds=ROUNDS, number=1)
    yield Row("100 MB array, put", taken["ours"], "limit: np.save", taken["theirs"], 1.35, 1.15)

    _check(cache.get("noise"), array)
    sides = {
        "ours": once(lambda: cache.get("noise")),
        "theirs": once(lambda: np.load(path)),
    }
    taken = interleaved(sides, rounds=ROUNDS, number=1)
    yield Row(
        "100 MB array, get, verified", taken["ours"], "limit: np.load", taken["theirs"], 1.35, 1.15
    )

    cache.put({"score": 0.93}, "small")

    def theirs() -> None:
        np.load(path, mmap_mode="r")
        cache.get("small")

    sides = {"ours": once(lambda: cache.get("noise", mmap=True)), "theirs": once(theirs)}
    taken = interleaved(sides, rounds=ROUNDS, number=50)
    peer = "limit: np.load(mmap_mode='r') + small get"
    yield Row("100 MB array, mmap=True", taken["ours"], peer, taken["theirs"], 2, 1.3)


def _compressible(cache: UnifiedCache, folder: str) -> Iterator[Row]:
    array = compressible()
    cache.put(array, "walk")
    _check(cache.get("walk"), array)
    settings = _settings(cache)
    path, dumped = f"{folder}/array.b2nd", f"{folder}/array.joblib"
    joblib.dump(array, dumped)
    sides = {
        "ours": once(lambda: cache.put(array, "walk")),
        "theirs": once(lambda: blosc2.asarray(array, urlpath=path, mode="w", **settings)),
    }
    taken = interleaved(sides, rounds=ROUNDS, number=1)
    peer = "limit: blosc2, same settings"
    yield Row("100 MB compressible array, put", taken["ours"], peer, taken["theirs"], 1.25, 1.1)

    sides = {
        "ours": once(lambda: cache.get("walk")),
        peer: once(lambda: blosc2.open(path, mode="r")[:]),
        "joblib.load, uncompressed": once(lambda: joblib.load(dumped)),
    }
    taken = interleaved(sides, rounds=ROUNDS, number=1)
    for name, target, stretch in ((peer, 1.25, 1.1), ("joblib.load, uncompressed", 1.5, 1.0)):
        what = "100 MB compressible array, get"
        yield Row(what, taken["ours"], name, taken[name], target, stretch)


def _settings(cache: UnifiedCache) -> dict[str, Any]:
    """What to tell blosc2, so that it does what the cache did: codec, level, filter, chunks."""
    entry = cache.get_entry("walk")
    if entry is None or entry.metadata.get("storage_format") != "b2nd":
        raise RuntimeError("the cache did not compress the array with blosc2")
    parameters = {
        "codec": blosc2.Codec.LZ4,
        "clevel": 5,
        "filters": [blosc2.Filter.SHUFFLE],
        "filters_meta": [0],
        "nthreads": blosc2.nthreads,
    }
    chunks, blocks = tuple(entry.metadata["chunks"]), tuple(entry.metadata["blocks"])
    return {"cparams": parameters, "chunks": chunks, "blocks": blocks}


def _check(got: object, array: Array) -> None:
    if not np.array_equal(np.asarray(got), array):
        raise RuntimeError("the cache gave another array than it was given")
