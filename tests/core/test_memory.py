# SPDX-License-Identifier: MIT
"""What is kept in memory is given as fast as it can be, and never to two callers."""

import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheness import UnifiedCache
from cacheness.outcomes import MISS
from cacheness.payloads.copies import giver

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=10,
)
REPORT = {"score": 0.93, "names": ["a", {"deep": [1, 2]}], "flat": {"x": 1}}


def mutable_parts(value):
    if isinstance(value, (dict, list)):
        yield id(value)
        for part in value.values() if isinstance(value, dict) else value:
            yield from mutable_parts(part)


@given(json_values)
def test_what_is_given_is_equal_and_shares_nothing_that_can_change(value):
    give = giver(value)

    first, second = give(), give()

    assert first == second == value
    assert list(map(repr, [first, second])) == [repr(value)] * 2
    sets = [set(mutable_parts(each)) for each in (value, first, second)]
    assert not sets[0] & sets[1]
    assert not (sets[0] | sets[1]) & sets[2]


def test_what_takes_more_than_plain_copies_is_left_to_others():
    class Text(str):
        __slots__ = ()

    for value in (np.arange(3), {"a": np.arange(3)}, [{1}], (1, [2]), bytearray(b"x"), Text("a")):
        assert giver(value) is None


def test_an_immutable_value_is_given_itself():
    for value in ("text", b"bytes", 10**30, (1, ("a", None))):
        assert giver(value)() is value


@pytest.mark.parametrize("memory_bytes", [0, "1 MiB"])
@pytest.mark.parametrize(
    "value", [REPORT, [1, [2]], "text", b"bytes", None, np.arange(5), bytearray(b"x")], ids=repr
)
def test_callers_share_nothing_mutable(tmp_path, memory_bytes, value):
    with UnifiedCache(tmp_path, memory_bytes=memory_bytes) as cache:
        cache.put(value, "key")
        for read in (cache.get, cache.engine.reader.read_remembered):
            for _ in range(4):
                got = read("key")
                assert repr(got) == repr(value)
                if isinstance(got, dict):
                    got["names"][1]["deep"].append(3)
                    got["flat"].clear()
                elif not isinstance(got, (str, bytes, type(None))):
                    got[0] = 7


def test_what_is_asked_for_as_shared_is_one_object(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(np.arange(100_000), "key")

        first = cache.engine.reader.read_remembered("key", shared=True)

        assert cache.engine.reader.read_remembered("key", shared=True) is first
        assert cache.engine.reader.read_remembered("key") is not first
        assert cache.get("key") is not first


@pytest.mark.parametrize("shared", [False, True])
def test_what_this_process_changes_is_seen_at_once(tmp_path, shared):
    with UnifiedCache(tmp_path, memory_staleness=60) as cache:
        cache.put({"a": 1}, "key")
        assert cache.engine.reader.read_remembered("key", shared=shared) == {"a": 1}
        cache.put({"a": 2}, "key")
        assert cache.engine.reader.read_remembered("key", shared=shared) == {"a": 2}
        cache.invalidate("key")
        assert cache.engine.reader.read_remembered("key", shared=shared) is MISS


@pytest.mark.slow
@pytest.mark.parametrize("memory_bytes", [0, "1 MiB"])
def test_what_has_expired_is_not_given(tmp_path, memory_bytes):
    with UnifiedCache(tmp_path, memory_bytes=memory_bytes, memory_staleness=60) as cache:
        cache.put({"a": 1}, "key", ttl_seconds=0.2)
        assert cache.engine.reader.read_remembered("key") == cache.get("key") == {"a": 1}
        time.sleep(0.25)
        assert cache.engine.reader.read_remembered("key") is MISS
        assert cache.get("key") is None


PUT = """
import sys
from cacheness import UnifiedCache
UnifiedCache(sys.argv[1]).put({"a": 2}, "key")
"""


@pytest.mark.slow
@pytest.mark.parametrize("memory_bytes", [0, "1 MiB"])
def test_a_change_by_another_process_is_seen(tmp_path, memory_bytes):
    with UnifiedCache(tmp_path, memory_bytes=memory_bytes, memory_staleness=0) as cache:
        cache.put({"a": 1}, "key")
        for _ in range(3):
            assert cache.engine.reader.read_remembered("key") == cache.get("key") == {"a": 1}

        subprocess.run([sys.executable, "-c", PUT, str(tmp_path)], check=True)

        assert cache.engine.reader.read_remembered("key") == cache.get("key") == {"a": 2}


def test_plain_reads_are_never_stale_where_only_some_ask_for_memory(tmp_path):
    with UnifiedCache(tmp_path, memory_staleness=60) as cache, UnifiedCache(tmp_path) as other:
        cache.put({"a": 1}, "key")
        assert cache.engine.reader.read_remembered("key") == cache.get("key") == {"a": 1}
        assert cache.get_entry("key").generation == other.get_entry("key").generation

        other.put({"a": 2}, "key")

        assert cache.engine.reader.read_remembered("key") == {"a": 1}, (
            "it may be stale for that long"
        )
        assert cache.get("key") == {"a": 2}
        assert cache.get_entry("key").generation == other.get_entry("key").generation


def test_hits_from_memory_count_as_hits(tmp_path):
    with UnifiedCache(tmp_path, memory_bytes="1 MiB") as cache:
        cache.put("value", "key")
        for _ in range(5):
            cache.get("key")
            cache.engine.reader.read_remembered("key")
        cache.engine.flush()
        assert cache.get_entry("key").hits == 10


def test_threads_may_ask_for_memory_at_the_same_time(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put("value", "key")
        got = []

        def ask():
            got.append(cache.engine.reader.read_remembered("key"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert got == ["value"] * 8


def test_memory_is_bounded(tmp_path):
    with UnifiedCache(tmp_path, memory_bytes=100_000) as cache:
        for i in range(200):
            cache.put({"text": "x" * 1000, "i": i}, f"key-{i}")
            assert cache.get(f"key-{i}")["i"] == i
        tier = cache.engine.backend
        assert 0 < tier._bytes <= 100_000
        assert tier._bytes == sum(kept.size for kept in tier._kept.values())
        cache.clear()
        assert tier._bytes == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    [
        [[]] * 200,
        [{"a": number, "b": str(number)} for number in range(300, 340)],
        [{"deep": [[number]]} for number in range(300, 330)],
        [number + 0.5 for number in range(300)],
        {str(number): number for number in range(300, 500)},
        "x" * 10_000,
        bytes(10_000),
    ],
    ids=lambda value: repr(value)[:16],
)
def test_what_small_parts_take_counts_to_the_bound(tmp_path, value):
    bound = 400_000
    with UnifiedCache(tmp_path, memory_bytes=bound, memory_staleness=60) as cache:
        cache.put_batch((value, f"key-{i}") for i in range(40))
        cache.get("key-0")
        tracemalloc.start()
        for i in range(40):
            cache.get(f"key-{i}")
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()

        counted = cache.engine.memory._bytes
        assert counted <= bound
        assert 0.5 * counted < taken < 1.25 * counted + 50_000, "2 bytes of JSON may be 240 here"


def test_a_touch_is_seen_at_once(tmp_path):
    with UnifiedCache(tmp_path, memory_bytes=1 << 20, memory_staleness=10) as cache:
        cache.put(1, "key")
        before = cache.get_entry("key").renewed_at
        cache.get("key")

        assert cache.touch("key")

        assert cache.get_entry("key").renewed_at > before
