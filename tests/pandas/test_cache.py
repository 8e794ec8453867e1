# SPDX-License-Identifier: MIT
"""Frames and tables in a cache: found by entry point, stored as files that others read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

from cacheness import CacheConfig, CorruptionWarning, SerializationError, UnifiedCache, cached
from cacheness_pandas import StoredTable

ROWS = 20_000


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path / "cache", signing_key=b"k" * 32) as made:
        yield made


def flights(rows=ROWS):
    n = np.arange(rows)
    return pd.DataFrame(
        {
            "carrier": pd.Categorical(np.array(["UA", "AA", "B6"])[n % 3]),
            "delay": np.where(n % 11, n * 0.5, np.nan),
            "tail": [f"N{i % 999}" for i in n],
            "time": pd.date_range("2013-01-01", periods=rows, freq="min"),
        }
    )


def blob_of(cache, key):
    entry = cache.get_entry(key)
    return str(Path(cache.config.cache_dir) / "blobs" / entry.blob)


LARGE = 200_000
"""Rows of a frame whose payload is mapped instead of copied."""


def is_mapped(path):
    return path in Path("/proc/self/maps").read_text()


@pytest.mark.slow
def test_a_large_frame_lies_in_the_pages_of_its_file(cache):
    cache.put(flights(LARGE), "large", compressor="none")

    frame = cache["large"]

    assert is_mapped(blob_of(cache, "large")) == (sys.platform == "linux")
    assert_frame_equal(frame, flights(LARGE), check_exact=True)


@pytest.mark.slow
def test_a_change_to_a_mapped_frame_stays_with_its_owner(cache):
    cache.put(flights(LARGE), "large", compressor="none")
    frame = cache["large"]

    frame.iloc[:, 1] = 13.0
    frame.loc[7, "delay"] = 7.0

    assert_frame_equal(cache["large"], flights(LARGE), check_exact=True)


@pytest.mark.slow
def test_a_mapped_frame_outlives_its_entry(cache):
    cache.put(flights(LARGE), "large", compressor="none")
    frame = cache["large"]

    cache.put(flights(3), "large")

    assert_frame_equal(frame, flights(LARGE), check_exact=True)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0.001, 0.5, 0.999])
def test_a_mapped_payload_is_verified(cache, at):
    cache.put(flights(LARGE), "large", compressor="none")
    path = Path(blob_of(cache, "large"))
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 4
    path.write_bytes(content)

    with pytest.warns(CorruptionWarning):
        assert cache.get("large", default="gone") == "gone"


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"signing": "all"}, {"permissions": "group"}],
    ids=["signed", "writeable by a group"],
)
def test_what_somebody_else_might_change_is_copied(tmp_path, options):
    with UnifiedCache(tmp_path / "copied", signing_key=b"k" * 32, **options) as cache:
        cache.put(flights(LARGE), "large", compressor="none")

        frame = cache["large"]

        assert_frame_equal(frame, flights(LARGE), check_exact=True)
        assert not is_mapped(blob_of(cache, "large"))


@pytest.mark.parametrize("rows", [0, 3, ROWS])
def test_a_frame_comes_back(cache, rows):
    cache.put(flights(rows), rows=rows)

    assert_frame_equal(cache.get(rows=rows), flights(rows), check_exact=True)


def test_each_kind_goes_to_its_handler(cache):
    kinds = {
        "dataframe": flights(3),
        "series": flights(3)["delay"],
        "index": pd.MultiIndex.from_product([["a"], [1, 2]]),
        "arrow": pa.table({"a": [1]}),
    }
    for name, obj in kinds.items():
        cache.put(obj, kind=name)
        assert cache.get_entry(kind=name).handler == name
        assert cache.get_entry(kind=name).distribution == "cacheness-pandas"
        assert type(cache.get(kind=name)) is type(obj)
    assert_series_equal(cache.get(kind="series"), kinds["series"])
    assert_index_equal(cache.get(kind="index"), kinds["index"])
    assert cache.get(kind="arrow").equals(kinds["arrow"])


@pytest.mark.slow
def test_the_blob_is_a_file_that_pandas_opens(cache):
    arrow = cache.put(flights(), "arrow")
    parquet = cache.put(flights(), "parquet", options={"format": "parquet"})

    assert_frame_equal(pd.read_feather(blob_of(cache, arrow)), flights())
    assert_frame_equal(pd.read_parquet(blob_of(cache, parquet)), flights())
    assert_frame_equal(cache.get(parquet), flights())


@pytest.mark.slow
def test_the_format_may_be_chosen_for_the_whole_cache(tmp_path):
    config = CacheConfig(tmp_path, handler_options={"dataframe": {"format": "parquet"}})
    with UnifiedCache(config) as cache:
        key = cache.put(flights(), a=1)

        assert blob_of(cache, key).endswith(".parquet")
        assert_frame_equal(cache.get(a=1), flights())


def test_a_frame_with_mixed_columns_is_signed(cache):
    frame = flights(3).assign(mixed=[1, "a", None])
    cache.put(frame, a=1)

    assert cache.get_entry(a=1).signature is not None
    assert_frame_equal(cache.get(a=1), frame)


@pytest.mark.slow
def test_a_large_frame_with_mixed_columns_comes_back(cache):
    frame = flights().assign(mixed=[1, "a"] * (ROWS // 2))
    cache.put(frame, a=1)

    assert blob_of(cache, cache.get_entry(a=1).cache_key).endswith(".tar")
    assert_frame_equal(cache.get(a=1), frame)


@pytest.mark.slow
def test_a_frame_of_plain_columns_needs_no_pickle(tmp_path):
    with UnifiedCache(tmp_path, allow_pickle=False) as cache:
        cache.put(flights(), a=1)
        assert cache.get_entry(a=1).signature is None
        assert_frame_equal(cache.get(a=1), flights())
        with pytest.raises(SerializationError):
            cache.put(flights(3).assign(mixed=[1, "a", None]), a=2)


def test_a_subclass_is_kept_whole(cache):
    cache.put(Journeys(flights(3)), a=1)

    found = cache.get(a=1)

    assert type(found) is Journeys
    assert cache.get_entry(a=1).handler == "pickle"


class Journeys(pd.DataFrame):
    """A subclass that a pickle finds again."""


@pytest.mark.slow
def test_a_dict_of_frames_and_arrays_comes_back(cache):
    value = {"train": flights(), "test": flights(3), "weights": np.arange(10_000.0)}
    cache.put(value, a=1)

    found = cache.get(a=1)

    assert list(found) == list(value)
    assert_frame_equal(found["train"], value["train"])
    assert_frame_equal(found["test"], value["test"])


@pytest.mark.slow
def test_what_was_read_is_the_callers_own(cache):
    cache.put(flights(), a=1)
    found = cache.get(a=1)

    found.loc[0, "delay"] = -1.0

    assert_frame_equal(cache.get(a=1), flights())


def test_a_part_is_read(cache):
    cache.put(flights(), a=1)
    part = {"columns": ["delay", "carrier"], "rows": slice(100, 200)}

    found = cache.get(a=1, options=part)

    assert_frame_equal(found, flights()[["delay", "carrier"]].iloc[100:200])


def test_a_large_frame_opens_lazily(cache):
    cache.put(flights(), a=1)

    with cache.open(a=1) as opened:
        assert isinstance(opened, StoredTable)
        assert opened.num_rows == ROWS
        part = opened.to_pandas(columns=["tail"], rows=slice(5))
    assert part["tail"].tolist() == ["N0", "N1", "N2", "N3", "N4"]


def test_the_summary_tells_shape_dtypes_and_memory(cache):
    cache.put(flights(), a=1)

    summary = cache.get_entry(a=1).summary

    assert summary.startswith("DataFrame (20000, 4) 1 category, 1 float64")
    assert "MiB" in summary or "KiB" in summary


def test_a_cached_function_takes_and_gives_frames(cache):
    calls = []

    @cached(cache=cache)
    def mean_delay(frame):
        calls.append(len(frame))
        return frame.groupby("carrier", observed=True)["delay"].mean()

    first = mean_delay(flights())
    again = mean_delay(flights())

    assert calls == [ROWS]
    assert_series_equal(first, again)


def test_the_plugin_module_imports_nothing_heavy():
    code = (
        "import sys, cacheness_pandas.plugin as plugin\n"
        "specs = plugin.cacheness_handlers()\n"
        "heavy = {'numpy', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "assert len(specs) == 4 and not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})


@pytest.mark.slow
def test_the_package_imports_nothing_heavy_and_names_what_it_has():
    code = (
        "import sys, cacheness_pandas\n"
        "assert not {'numpy', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "assert all(getattr(cacheness_pandas, name) for name in cacheness_pandas.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
