"""Of an entry that is gone the store says why, for a while."""

import os
import warnings
from dataclasses import asdict

import pytest

from cacheness import CorruptionWarning, UnifiedCache
from cacheness.entry import Entry
from cacheness.upkeep.tombstones import KEPT, TRIM_EVERY, find, record

BACKENDS = ["sqlite", "json", "memory"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


def remember(key):
    return key


def test_an_evicted_entry_is_said_to_be_evicted(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_entries=1) as cache:
        cache.put("gone", "a")
        cache.put("stays", "b")

        tombstone = find(cache.engine.backend, "a")

        assert (tombstone.cache_key, tombstone.why) == ("a", "evicted")
        assert tombstone.stored_bytes == cache.get_entry("b").stored_bytes - 1
        assert find(cache.engine.backend, "b") is None


def test_an_expired_entry_is_said_to_be_expired_when_a_read_removes_it(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        cache.put("old", "a", ttl_seconds=60)
        cache.engine.backend.update_fields("a", {"expires_at": 1.0})
        assert find(cache.engine.backend, "a") is None

        cache.get("a")

        assert find(cache.engine.backend, "a").why == "expired"


def test_the_function_of_a_tombstone_is_the_one_that_made_the_entry(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_entries=1) as cache:
        cached = cache.cached(remember)
        cached("a")
        cached("b")

        tombstone = find(cache.engine.backend, cached.cache_key("a"))

        assert tombstone.function == f"{__name__}:remember"


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_entry_is_said_to_be_quarantined_and_why(tmp_path, damage):
    with UnifiedCache(tmp_path) as cache:
        cache.put(os.urandom(100_000), "a")
        path = cache.engine.blobs().path_of(cache.get_entry("a").blob)
        if damage == "changed":
            with open(path, "r+b") as file:
                file.write(b"damage")
        else:
            os.unlink(path)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptionWarning)
            assert cache.get("a") is None

        tombstone = find(cache.engine.backend, "a")
        assert tombstone.why == "quarantined"
        assert ("checksum" if damage == "changed" else "missing") in tombstone.reason


def test_a_put_of_the_same_key_makes_the_tombstone_moot(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_entries=1) as cache:
        cache.put(1, "a")
        cache.put(2, "b")

        cache.put(3, "a")

        assert find(cache.engine.backend, "a") is None
        assert find(cache.engine.backend, "b").why == "evicted"


def test_a_tombstone_outlives_the_process_and_is_of_its_namespace(tmp_path):
    for backend in ("sqlite", "json"):
        with UnifiedCache(
            tmp_path / backend, metadata_backend=backend, namespace="one", max_entries=1
        ) as cache:
            cache.put(1, "a")
            cache.put(2, "b")
        with UnifiedCache(tmp_path / backend, metadata_backend=backend, namespace="one") as again:
            assert find(again.engine.backend, "a").why == "evicted"
        with UnifiedCache(tmp_path / backend, metadata_backend=backend, namespace="two") as other:
            assert find(other.engine.backend, "a") is None


def test_a_tombstone_tells_nothing_of_the_parameters(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_entries=1) as cache:
        key = cache.put(1, token="hunter2", lr=0.125, secret=("token",), description="swordfish")
        cache.put(2, "b")

        told = repr(asdict(find(cache.engine.backend, key)))

        assert "hunter2" not in told
        assert "0.125" not in told
        assert "swordfish" not in told


@pytest.mark.slow
def test_the_newest_stay_and_the_table_is_bounded(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        store = cache.engine.backend
        total = KEPT + 3 * TRIM_EVERY
        for start in range(0, total, 500):
            entries = [Entry("", f"k{number}", 1) for number in range(start, start + 500)]
            record(store, entries, "evicted", now=float(start))

        left = len(store.read_notes("tombstones"))

        assert KEPT <= left < KEPT + TRIM_EVERY + 500
        assert find(store, "k0") is None
        assert find(store, f"k{total - KEPT}") is not None
        assert find(store, f"k{total - 1}").at == total - 500


def test_what_is_no_tombstone_explains_nothing(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        store = cache.engine.backend
        store.write_notes("tombstones", {"a": "text", "b": ["eaten", 1.0, None, 3, ""]})

        assert find(store, "a") is None
        assert find(store, "b") is None
