# SPDX-License-Identifier: MIT
"""The entries of a cache as a frame."""

import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from cacheness import UnifiedCache
from cacheness_pandas import entries_frame


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path / "cache", signing_key=b"k" * 32) as made:
        yield made


def test_each_entry_is_a_row_oldest_first(cache):
    before = datetime.now(UTC)
    cache.put([1] * 9, "b", prefix="runs", description="d", tags=("x", "y"), ttl_seconds=60)
    cache.put(np.zeros(9), "a", pin=True)
    cache.get("b")

    frame = entries_frame(cache)

    assert frame["cache_key"].tolist() == ["b", "a"]
    assert frame["prefix"].tolist() == ["runs", ""]
    assert frame["description"].tolist() == ["d", ""]
    assert frame["tags"].tolist() == [("x", "y"), ()]
    assert frame["pinned"].tolist() == [False, True]
    assert frame["handler"].tolist() == ["json", "numpy"]
    assert frame["stored_bytes"].tolist() == [
        e.stored_bytes for e in cache.entries(prefix="runs")
    ] + [cache.get_entry("a").stored_bytes]
    assert before <= frame["created_at"][0] <= frame["created_at"][1] <= datetime.now(UTC)
    assert frame["expires_at"][0] - frame["renewed_at"][0] == pd.Timedelta(60, "s")
    assert frame["expires_at"].isna().tolist() == [False, True]
    assert frame["ttl_seconds"].tolist()[0] == 60.0
    assert frame["function"].isna().all()


@pytest.mark.parametrize("entries", [0, 2])
def test_columns_are_of_their_dtypes_with_entries_or_without(cache, entries):
    for n in range(entries):
        cache.put(n, str(n))

    dtypes = entries_frame(cache).dtypes

    for name in ("stored_bytes", "logical_bytes", "hits"):
        assert dtypes[name] == "int64"
    for name in ("created_at", "renewed_at", "accessed_at", "expires_at"):
        assert dtypes[name] == "datetime64[us, UTC]"
    for name in ("ttl_seconds", "cost_seconds"):
        assert dtypes[name] == "float64"
    for name in ("cache_key", "handler", "function", "summary"):
        assert dtypes[name] == pd.Series(["a"], dtype="str").dtype
    assert dtypes["pinned"] == "bool"


def test_a_time_is_the_entrys_to_the_microsecond(cache):
    cache.put(1, "k")

    created = entries_frame(cache)["created_at"][0]

    assert created.timestamp() == pytest.approx(cache.get_entry("k").created_at, abs=1e-6)


def test_parameters_and_custom_metadata_are_columns_of_what_they_hold(cache):
    cache.put(1, lr=0.5, steps=3, name="a", mixed=1, several=[1, 2], custom_metadata={"by": "me"})
    cache.put(2, lr=0.25, name="b", mixed="x", flag=True)

    frame = entries_frame(cache)

    assert frame["param.lr"].tolist() == [0.5, 0.25]
    assert frame["param.lr"].dtype == "float64"
    assert frame["param.steps"].dtype == "Int64"
    assert frame["param.steps"].tolist() == [3, pd.NA]
    assert frame["param.name"].tolist() == ["a", "b"]
    assert frame["param.mixed"].tolist() == [1, "x"]
    assert frame["param.several"][0] == [1, 2]
    assert frame["param.name"].dtype == frame["cache_key"].dtype
    assert frame["param.flag"].tolist() == [pd.NA, True]
    assert frame["meta.by"].tolist()[0] == "me"
    assert frame["meta.by"].isna().tolist() == [False, True]


def test_a_whole_number_beyond_64_bits_stays_itself(cache):
    cache.put(1, "k", custom_metadata={"n": 1 << 63})

    assert entries_frame(cache)["meta.n"].tolist() == [1 << 63]


def test_filters_are_those_of_entries(cache, tmp_path):
    for n in range(4):
        cache.put(n, prefix="odd" if n % 2 else "even", n=n)
    with UnifiedCache(tmp_path / "cache", namespace="other") as other:
        other.put("there", "k")

    assert entries_frame(cache, prefix="odd", n__gt=1)["param.n"].tolist() == [3]
    assert set(entries_frame(cache, all_namespaces=True)["namespace"]) == {"", "other"}
    with pytest.raises(TypeError):
        entries_frame(cache, entry__nonsense=1)


def test_no_payload_is_read(cache):
    for n in range(20):
        cache.put(np.random.default_rng(n).integers(0, 255, 30_000, np.uint8), f"k{n}")
    entries_frame(cache)

    tracemalloc.start()
    try:
        entries_frame(cache)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 300_000, "half of what the payloads take"
    assert entries_frame(cache)["stored_bytes"].sum() > 600_000


@pytest.mark.slow
def test_to_import_the_package_imports_no_pandas():
    script = (
        "import sys, cacheness_pandas\n"
        "assert 'entries_frame' in dir(cacheness_pandas)\n"
        "assert not {'pandas', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "cacheness_pandas.entries_frame\n"
        "assert 'pandas' in sys.modules and 'pyarrow.parquet' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
