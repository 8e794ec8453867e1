# SPDX-License-Identifier: MIT
"""The sums for statistics are those of the rows, whatever happened to these."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheness import UnifiedCache
from cacheness.backends import sqlite_sums
from cacheness.backends.base import BackendContext, MetadataBackend
from cacheness.backends.sqlite import SQLiteBackend
from cacheness.config import CacheConfig
from cacheness.filters import Filter
from cacheness.statistics.stats import gather
from cacheness.testing.metadata_entries import make_entry

NOW = 5e9


def open_backend(path, namespace=""):
    config = CacheConfig(cache_dir=str(path), namespace=namespace)
    return SQLiteBackend(BackendContext(str(path), namespace, config))


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Sums are made of four entries, by two at a time, and two younger ones are left."""
    monkeypatch.setattr(sqlite_sums, "_MANY", 4)
    monkeypatch.setattr(sqlite_sums, "_FEW", 2)
    monkeypatch.setattr(sqlite_sums, "_AT_ONCE", 2)


def totals(held, *, newest):
    """What is held, by group; of groups that are gone nobody knows when the last came."""
    sums = {}
    expired = 0
    for *group, number, stored, logical, pinned, over, at in held:
        expired += over
        if number:
            key = (*group, int(at // 86_400))
            so_far = sums.get(key, (0, 0, 0, 0, 0.0))
            amounts = (number, stored, logical, pinned)
            sums[key] = (
                *(a + b for a, b in zip(so_far, amounts, strict=False)),
                max(so_far[-1], at) if newest else 0.0,
            )
    return sums, expired


def agrees(backend, *, newest=False):
    visited = MetadataBackend.held(backend, NOW)
    return totals(backend.held(NOW), newest=newest) == totals(visited, newest=newest)


KEYS = st.sampled_from("abcdefgh")
ENTRIES = st.fixed_dictionaries(
    {
        "function": st.sampled_from([None, "m:f", "m:g"]),
        "code_digest": st.sampled_from([None, "d0", "d1"]),
        "params": st.sampled_from([{}, {"code_digest": "d2"}, {"text": "\ud800"}]),
        "prefix": st.sampled_from(["", "p"]),
        "handler": st.sampled_from(["json", "pickle"]),
        "created_at": st.sampled_from([1e9, 1e9 + 7, 2e9]),
        "expires_at": st.sampled_from([None, 4e9, 6e9]),
        "pinned": st.booleans(),
        "stored_bytes": st.integers(0, 9),
        "logical_bytes": st.integers(0, 9),
    }
).map(lambda of: of if of["function"] else {**of, "code_digest": None})
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, ENTRIES),
    st.tuples(st.just("put many"), st.lists(KEYS, max_size=5), ENTRIES),
    st.tuples(st.just("change"), KEYS, ENTRIES),
    st.tuples(st.just("touch"), KEYS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("delete where"), st.sampled_from(["", "p"])),
    st.tuples(st.just("evict"), st.integers(0, 6)),
    st.tuples(st.just("repair")),
)


def take(backend, step):
    match step:
        case "put", key, of:
            backend.put_entry(make_entry(key, **of))
        case "put many", keys, of:
            backend.put_entries(make_entry(key, **of) for key in keys)
        case "change", key, of:
            backend.update_fields(key, of)
        case "touch", key:
            backend.touch_entry(key, None, now=3e9)
        case "delete", key:
            backend.delete_entry(key)
        case "delete where", prefix:
            backend.delete_where(Filter.parse({"prefix": prefix}))
        case "evict", most:
            backend.evict("lru", max_size=None, max_entries=most, slack=0)
        case ("repair",):
            assert backend.check_store(repair=True) == []


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(first=st.lists(st.tuples(KEYS, ENTRIES), min_size=8), steps=st.lists(STEPS, max_size=12))
def test_the_sums_are_those_of_a_visit_of_all_rows(tmp_path_factory, first, steps):
    path = tmp_path_factory.mktemp("sums")
    one, other = open_backend(path), open_backend(path, "other")
    try:
        for number, (key, of) in enumerate(first):
            one.put_entry(make_entry(f"{key}{number}", **of))
            other.put_entry(make_entry(f"{key}{number}", namespace="other", **of))
        assert agrees(one)
        assert one._connections.row(sqlite_sums._IS_MADE, ()) is not None
        for step in steps:
            take(one, step)
            assert agrees(one)
            assert agrees(other)
    finally:
        one.close()
        other.close()


@pytest.mark.parametrize("gone", [1, 3, 9])
def test_an_id_that_is_given_again_is_no_row_that_is_summed(tmp_path, gone):
    backend = open_backend(tmp_path)
    for number in range(9):
        backend.put_entry(make_entry(f"k{number}", stored_bytes=number))
    assert agrees(backend)
    assert backend._connections.row(sqlite_sums._HOW_YOUNG, ()) == (0,)
    for number in range(9 - gone, 9):
        backend.delete_entry(f"k{number}")
    for number in range(gone):
        backend.put_entry(make_entry(f"new{number}", stored_bytes=100 + number))
        assert agrees(backend)
    backend.close()


def test_few_entries_make_no_sums_and_cost_their_puts_nothing(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        for number in range(4):
            cache.put(number, f"k{number}")
        assert cache.stats().entries == 4

        connections = cache.engine.backend._connections
        assert connections.row(sqlite_sums._IS_MADE, ()) is None


def test_what_stored_a_result_last_is_known_from_the_sums(tmp_path):
    backend = open_backend(tmp_path)
    for number in range(9):
        backend.put_entry(
            make_entry(
                f"k{number}",
                function="m:f",
                code_digest=f"d{number % 3}",
                created_at=1e9 + number,
                stored_bytes=10,
            )
        )
    assert agrees(backend, newest=True)
    assert gather(backend).superseded_bytes == 60
    backend.put_entry(
        make_entry("new", function="m:f", code_digest="d0", created_at=2e9, stored_bytes=1)
    )
    assert gather(backend).superseded_bytes == 60
    backend.close()


@pytest.mark.slow
def test_a_process_that_has_the_file_open_takes_the_new_tables_for_ours(tmp_path):
    program = f"""
from cacheness import UnifiedCache
with UnifiedCache({str(tmp_path)!r}) as cache:
    cache.put_batch([(number, f"k{{number}}") for number in range(6000)])
    assert cache.stats().entries == 6001
    assert cache.put(1, "k1") == "k1"
"""
    with UnifiedCache(tmp_path) as cache:
        cache.put(0, "there")
        subprocess.run([sys.executable, "-c", program.replace("600", "510")], check=True)

        assert cache.get("k5099") == 5099
        cache.put(2, "k1")
        cache.invalidate("k2")
        assert cache.stats().entries == 5100 == len(cache)
    with UnifiedCache(tmp_path) as cache:
        assert cache.stats().entries == 5100


def test_sums_are_right_where_they_can_not_be_made(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put_batch([(number, f"k{number}") for number in range(9)])
    with UnifiedCache(tmp_path, read_only=True) as cache:
        assert cache.stats().entries == 9
        assert cache.engine.backend._connections.row(sqlite_sums._IS_MADE, ()) is None
