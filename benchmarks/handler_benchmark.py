# SPDX-License-Identifier: MIT
"""Puts and gets a value by each handler, beside the least work that keeps such a value.

    uv run python benchmarks/handler_benchmark.py          every handler, about a minute
    uv run python benchmarks/handler_benchmark.py --json   for programs

The least work is the format's own library on a bare file (or, for what is small, a row of a SQLite
file), without a checksum, a key or an entry. What a handler refuses to lose, as the order
of an array or the index of a frame, it keeps for nothing here: the library may not.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from areas.frames import mixed
from cacheness import UnifiedCache
from measuring import Row, interleaved, once, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd


@dataclass(frozen=True)
class Case:
    """A value, and how its format's library keeps it."""

    what: str
    value: Any
    limit: str
    dump: Callable[[Any, str], object]
    load: Callable[[str], object]
    rounds: int = 9


class Point:
    """What only pickle keeps."""

    def __init__(self, size: int) -> None:
        self.numbers = list(range(size))
        self.names = {str(i): float(i) for i in range(size)}


def rows(folder: str) -> Iterator[Row]:
    """Compare every case's put and get."""
    with UnifiedCache(f"{folder}/ours", signing_key="a key of the benchmark's own") as cache:
        for number, case in enumerate(_cases()):
            yield from _compared(cache, case, f"{folder}/limit-{number}")


def _compared(cache: UnifiedCache, case: Case, path: str) -> Iterator[Row]:
    sides = {
        "ours": once(lambda: cache.put(case.value, "value")),
        "theirs": once(lambda: case.dump(case.value, path)),
    }
    taken = interleaved(sides, rounds=case.rounds, number=1)
    entry = cache.get_entry("value")
    if entry is None:
        raise RuntimeError(f"the cache has lost {case.what}")
    told = f"{case.what} ({entry.handler}, {entry.compressor})"
    yield Row(f"{told}, put", taken["ours"], f"limit: {case.limit}", taken["theirs"])
    sides = {
        "ours": once(lambda: cache.get("value")),
        "theirs": once(lambda: case.load(path)),
    }
    taken = interleaved(sides, rounds=case.rounds, number=1)
    yield Row(f"{told}, get", taken["ours"], f"limit: {case.limit}", taken["theirs"])


def _cases() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 20_000_000, dtype=np.uint8)
    records = [{"id": i, "name": f"name {i}", "score": i / 7} for i in range(20_000)]
    frame = mixed(200_000)
    yield Case("array, 20 MB", noise, "np.save, np.load", _save, np.load)
    yield Case("array, 800 bytes", noise[:800], "np.save, np.load", _save, np.load, 51)
    yield Case(
        "array in Fortran order, 20 MB",
        noise.reshape(-1, 1000).T,
        "np.save, np.load",
        _save,
        np.load,
    )
    masked = np.ma.masked_array(noise, noise < 9)
    yield Case("masked array, 20 MB", masked, "pickle", _pickle, _unpickle)
    yield Case("bytes, 20 MB", noise.tobytes(), "a file", _write, _read)
    yield Case("list of 20,000 dicts", records, "json", _json, _unjson)
    yield Case("dict of three fields", records[0], "json", _json, _unjson, 51)
    arrays = {f"a{i}": rng.normal(size=250_000) for i in range(10)}
    yield Case("dict of 10 arrays, 20 MB", arrays, "np.savez, np.load", _savez, _loadz)
    yield Case("instance of a class", Point(20_000), "pickle", _pickle, _unpickle)
    yield Case("frame, 200,000 rows", frame, "Arrow IPC", _arrow, _unarrow)
    yield Case("series, 200,000 floats", frame["value"], "pickle", _pickle, _unpickle)


def _save(array: Any, path: str) -> None:
    with open(path, "wb") as file:
        np.save(file, array)


def _savez(arrays: Any, path: str) -> None:
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _loadz(path: str) -> object:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive}


def _write(value: bytes, path: str) -> None:
    with open(path, "wb") as file:
        file.write(value)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _json(value: object, path: str) -> None:
    _write(json.dumps(value).encode(), path)


def _unjson(path: str) -> object:
    return json.loads(_read(path))


def _pickle(value: object, path: str) -> None:
    with open(path, "wb") as file:
        pickle.dump(value, file, protocol=5)


def _unpickle(path: str) -> object:
    with open(path, "rb") as file:
        return pickle.load(file)


def _arrow(frame: pd.DataFrame, path: str) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.OSFile(os.fspath(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _unarrow(path: str) -> object:
    with pa.memory_map(path) as source:
        return pa.ipc.open_file(source).read_all().to_pandas()


if __name__ == "__main__":
    sys.exit(report(__doc__ or "", rows, sys.argv[1:]))
