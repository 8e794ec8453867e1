# SPDX-License-Identifier: MIT
"""Compares formats and compressors on several kinds of data: bytes, time to put, time to get.

    uv run python benchmarks/serialization_benchmark.py          all, about a minute
    uv run python benchmarks/serialization_benchmark.py --json   for programs

Each value goes through a cache as a user's would, with its checksum and its entry. ``auto`` is
what a cache does by itself; the others are told to it by ``compressor=`` or ``options=``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from areas.arrays import compressible, incompressible
from areas.frames import mixed
from cacheness import UnifiedCache
from measuring import figure, interleaved, once, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMPRESSORS = (
    "none",
    "auto",
    "gzip",
    "blosc2-lz4",
    "blosc2-zstd",
    "blosc2-blosclz",
    "blosc2-zlib",
    "lz4",
    "zstd",
)
ELEMENTS = 1_000_000
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Result:
    """What one way of keeping one kind of data took."""

    data: str
    """The data."""
    way: str
    """Compressor, or format."""
    became: str
    """The handler and the compressor that the entry tells of."""
    stored: int
    """Bytes in the store."""
    ratio: float
    """Of these to the bytes before compression."""
    put: float
    """Seconds."""
    get: float
    """Seconds, verified."""


def main(arguments: Sequence[str]) -> int:
    """Measure all kinds of data, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="Compare formats and compressors.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cacheness-benchmark-") as folder:
        results = list(_results(folder))
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
        return 0
    head = ("data", "way", "became", "stored", "ratio", "put", "get")
    lines = [
        (
            result.data,
            result.way,
            result.became,
            f"{result.stored / 1e6:.1f} MB",
            f"{result.ratio:.2f}",
            figure(result.put, "s"),
            figure(result.get, "s"),
        )
        for result in results
    ]
    print(table(head, ("---", "---", "---", "---:", "---:", "---:", "---:"), lines))
    return 0


def _results(folder: str) -> Iterator[Result]:
    told: dict[str, Any]
    with UnifiedCache(folder, signing_key="a key of the benchmark's own") as cache:
        for name, value in _kinds().items():
            plain = None
            for compressor in COMPRESSORS:
                result = _measured(
                    cache, name, value, compressor, {"compressor": compressor}, plain
                )
                if compressor == "none":
                    plain = result.stored
                yield result
        frame, plain = mixed(300_000), None
        for way in ("arrow", "parquet"):
            told = {"options": {"format": way}}
            result = _measured(cache, "frame, by format", frame, way, told, plain)
            plain = plain or result.stored
            yield result


def _kinds() -> dict[str, Any]:
    """Some 8 MB each."""
    rng = np.random.default_rng(0)
    words = rng.choice(["alpha", "beta", "gamma", "delta", "epsilon"], 200_000)
    return {
        "noise": incompressible()[:ELEMENTS],
        "walk of integers": compressible()[:ELEMENTS],
        "floats, normal": rng.normal(size=ELEMENTS),
        "floats, two digits": rng.normal(size=ELEMENTS).round(2),
        "flags": rng.random(8 * ELEMENTS) < 0.01,
        "text": " ".join(words).encode(),
        "records (JSON)": [{"id": i, "word": str(words[i]), "x": i / 7} for i in range(25_000)],
        "mixed frame": mixed(300_000),
        "set of texts (pickle)": {f"{word} {i}" for i, word in enumerate(words[:100_000])},
    }


def _measured(
    cache: UnifiedCache,
    name: str,
    value: object,
    way: str,
    arguments: Mapping[str, Any],
    plain: int | None,
) -> Result:
    sides = {
        "put": once(lambda: cache.put(value, "value", **arguments)),
        "get": once(lambda: cache.get("value")),
    }
    taken = interleaved(sides, rounds=ROUNDS, number=1)
    _check(cache.get("value"), value)
    entry = cache.get_entry("value")
    if entry is None:
        raise RuntimeError(f"the cache has lost {name}")
    stored = entry.stored_bytes
    became = f"{entry.handler}, {entry.metadata.get('storage_format') or entry.compressor}"
    before = plain or max(entry.logical_bytes, stored)
    return Result(name, way, became, stored, stored / before, taken["put"], taken["get"])


def _check(got: object, value: object) -> None:
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(got, value)
    elif isinstance(value, np.ndarray):
        np.testing.assert_array_equal(np.asarray(got), value)
    elif got != value:
        raise RuntimeError("the cache gave another value than it was given")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
