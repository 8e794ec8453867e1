# SPDX-License-Identifier: MIT
"""A DataFrame of a million rows with columns of several kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa

from cacheness import UnifiedCache
from measuring import Row, interleaved, once

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 1_000_000


def rows(folder: str) -> Iterator[Row]:
    """Compare putting and getting a frame, and naming a call by one, with joblib and Arrow."""
    frame = mixed(SIZE)
    dumped, written = f"{folder}/frame.joblib", f"{folder}/frame.arrow"
    with UnifiedCache(f"{folder}/ours") as cache:
        sides = {
            "ours": once(lambda: cache.put(frame, "frame")),
            "theirs": once(lambda: joblib.dump(frame, dumped)),
        }
        taken = interleaved(sides, rounds=25, number=1)
        what = "1M-row mixed frame"
        yield Row(f"{what}, put", taken["ours"], "joblib.dump", taken["theirs"], 1.2, 1.0)

        pd.testing.assert_frame_equal(cache.get("frame"), frame)
        _write(frame, written)
        sides = {
            "ours": once(lambda: cache.get("frame")),
            "theirs": once(lambda: _read(written)),
        }
        taken = interleaved(sides, rounds=25, number=1)
        peer = "limit: Arrow IPC mapped, to_pandas"
        yield Row(f"{what}, get, verified", taken["ours"], peer, taken["theirs"], 1.4, 1.15)

        cached = cache.cached(total)
        sides = {
            "ours": once(lambda: cached.cache_key(frame)),
            "theirs": once(lambda: joblib.hash(frame)),
        }
        taken = interleaved(sides, rounds=25, number=1)
        yield Row(
            f"{what} as an argument", taken["ours"], "joblib.hash", taken["theirs"], 0.2, 0.12
        )


def mixed(size: int) -> pd.DataFrame:
    """Integers, floats, texts, categories and times."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "count": rng.integers(0, 1000, size),
            "value": rng.normal(size=size),
            "name": rng.choice(["north", "south", "east", "west"], size),
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], size)),
            "at": pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 10**6, size), "s"),
        }
    )


def total(frame: pd.DataFrame) -> float:
    """The function whose calls are named; it is never called."""
    return float(frame["value"].sum())


def _write(frame: pd.DataFrame, path: str) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _read(path: str) -> pd.DataFrame:
    with pa.memory_map(path) as source:
        frame: pd.DataFrame = pa.ipc.open_file(source).read_all().to_pandas()
    return frame
