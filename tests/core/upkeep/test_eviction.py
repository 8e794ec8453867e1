"""A bounded cache stays within its bounds and keeps what its policy says."""

import os

import pytest
from benchmarks.eviction_trace import START, make_trace, run

from cacheness import CacheConfig, CachenessWarning, UnifiedCache
from cacheness.backends.base import BackendContext
from cacheness.backends.memory import MemoryBackend
from cacheness.entry import Entry
from cacheness.plugins.registry import registry_for
from cacheness.upkeep.eviction import Evictor
from cacheness.upkeep.tombstones import find

BACKENDS = ["sqlite", "json", "memory"]


@pytest.fixture(params=BACKENDS)
def store(request, tmp_path):
    """A metadata backend, without a cache in front of it."""
    config = CacheConfig(tmp_path, metadata_backend=request.param)
    make = registry_for(()).metadata_backend(request.param)
    backend = make(BackendContext(str(tmp_path), "", config))
    yield backend
    backend.close()


def blobs_of(directory):
    return {
        f"{os.path.basename(folder)}/{name}"
        for folder, _, names in os.walk(directory / "blobs")
        for name in names
        if not name.startswith(("store-id", "owner-"))
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_entries_holds_after_every_put(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_entries=20) as cache:
        for i in range(100):
            cache.put(i, f"k{i}")
            assert len(cache) <= 20
        assert cache["k99"] == 99
        assert "k0" not in cache


def test_max_size_holds_and_blobs_go_with_their_entries(tmp_path):
    with UnifiedCache(tmp_path, max_size="1MB") as cache:
        for i in range(40):
            cache.put(os.urandom(100_000), f"k{i}")
            assert cache.engine.backend.total_size() <= 10**6
        kept = {cache.get_entry(key).blob for key in cache}
    assert blobs_of(tmp_path) == kept
    assert kept


def test_the_policy_decides_who_goes(tmp_path):
    for policy, survivor in (
        ("lru", "read"),
        ("lfu", "read"),
        ("fifo", "newer"),
        ("cost", "costly"),
    ):
        with UnifiedCache(tmp_path / policy, max_entries=10, policy=policy) as cache:
            cache.put("x", "costly", cost_seconds=10_000)
            cache.put("x", "read")
            for _ in range(5):
                cache.put("x", "newer")
            for i in range(30):
                for _ in range(3):
                    cache.get("read")
                cache.put("y", f"k{i}", cost_seconds=0.001)
            if policy != "fifo":
                assert survivor in cache, policy
            else:
                assert "read" not in cache
                assert "k29" in cache


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_pinned_stays(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_entries=5) as cache:
        cache.put("pinned", "p", pin=True)
        for i in range(30):
            cache.put(i, f"k{i}")
        assert cache["p"] == "pinned"


def test_pins_stay_even_where_they_alone_are_over_the_bound(tmp_path):
    with UnifiedCache(tmp_path, max_entries=2) as cache:
        for i in range(4):
            cache.put(i, f"p{i}", pin=True)
        cache.put("x", "unpinned")

        assert sorted(cache) == ["p0", "p1", "p2", "p3"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_hits_that_are_still_buffered_count(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_entries=3, policy="lfu") as cache:
        for key in ("a", "b", "c"):
            cache.put(key, key)
        for key in ("a", "a", "c", "c", "c"):
            cache.get(key)

        cache.put("d", "d")

        assert "b" not in cache
        assert {"a", "c"} <= set(cache)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bounds_are_of_the_namespace(tmp_path, backend):
    options = {"metadata_backend": backend}
    if backend == "memory":
        options |= {"metadata_options": {"name": str(tmp_path)}}
    with (
        UnifiedCache(tmp_path, namespace="other", **options) as other,
        UnifiedCache(tmp_path, namespace="bounded", max_entries=5, **options) as bounded,
    ):
        for i in range(20):
            other.put(i, f"k{i}")
        for i in range(5):
            bounded.put(i, f"k{i}")

        assert (len(other), len(bounded)) == (20, 5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_value_larger_than_the_cache_drives_nothing_out(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, max_size=100_000) as cache:
        cache.put("small", "a")
        cache.put("old", "b")

        with pytest.warns(CachenessWarning, match="more than all of max_size=100000"):
            cache.put(os.urandom(200_000), "b")

        assert list(cache) == ["a"], "the old value of b is no longer true"
        assert find(cache.engine.backend, "b").why == "evicted"
        assert blobs_of(tmp_path) == set()


def test_observers_are_told_of_each_eviction_once(tmp_path):
    told = []
    with UnifiedCache(tmp_path, max_entries=10) as cache:
        cache.engine.watch(told.append)
        for i in range(30):
            cache.put(i, f"k{i}")
        evicted = [event.cache_key for event in told if event.kind == "evict"]

        assert evicted == [f"k{i}" for i in range(30 - len(cache))]


# --- backends ---------------------------------------------------------------------------------


def test_a_backend_evicts_down_to_the_slack_below_the_bound(store):
    store.put_entries(
        Entry("", f"k{i:03}", i + 1, stored_bytes=10, accessed_at=float(i)) for i in range(101)
    )

    assert store.evict("lru", max_size=1010, max_entries=101, slack=0.1) == []
    by_count = store.evict("lru", max_size=None, max_entries=100, slack=0.1)
    assert [entry.cache_key for entry in by_count] == [f"k{i:03}" for i in range(11)]
    by_size = store.evict("lru", max_size=800, max_entries=100, slack=0.0)
    assert [entry.cache_key for entry in by_size] == [f"k{i:03}" for i in range(11, 21)]
    assert (store.count(), store.total_size()) == (80, 800)


def test_a_backend_evicts_in_the_order_of_the_policy(store):
    store.put_entries(
        [
            Entry("", "a", 1, created_at=3.0, accessed_at=1.0, hits=9, cost_seconds=9.0),
            Entry("", "b", 2, created_at=1.0, accessed_at=2.0, hits=5, cost_seconds=90.0),
            Entry("", "c", 3, created_at=2.0, accessed_at=3.0, hits=1, cost_seconds=900.0),
            Entry("", "d", 4, created_at=4.0, accessed_at=4.0, hits=7, cost_seconds=0.1),
        ]
    )
    for policy, first in (("lru", "a"), ("lfu", "c"), ("fifo", "b"), ("cost", "d")):
        (evicted,) = store.evict(policy, max_size=None, max_entries=store.count() - 1, slack=0.0)
        assert evicted.cache_key == first, policy
        store.put_entry(evicted)


# --- how often the store is asked -------------------------------------------------------------


class Uncounted(MemoryBackend):
    """Does not know its size."""

    knows_its_size = False
    counts = 0

    def count(self):
        self.counts += 1
        return super().count()


def test_a_store_that_does_not_know_its_size_is_counted_from_time_to_time(tmp_path, monkeypatch):
    # On a busy machine a count may take long, and is then made less often.
    monkeypatch.setattr("cacheness.upkeep.eviction.monotonic", lambda: 1000.0)
    config = CacheConfig(tmp_path, max_entries=1000)
    backend = Uncounted(BackendContext(str(tmp_path), "", config))
    evictor = Evictor(backend, config, lambda: None)
    entries = [Entry("", f"k{i}", i + 1, accessed_at=float(i)) for i in range(1100)]

    for entry in entries[:512]:
        backend.put_entry(entry)
        assert evictor.added(entry.stored_bytes) == []
    assert backend.counts == 2
    removed = []
    for entry in entries[512:]:
        backend.put_entry(entry)
        removed += evictor.added(entry.stored_bytes)

    assert [entry.cache_key for entry in removed] == [f"k{i}" for i in range(101)]
    assert backend.counts < 12


def test_a_store_that_takes_long_to_count_is_counted_less_often(tmp_path, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("cacheness.upkeep.eviction.monotonic", lambda: now)

    class Slow(Uncounted):
        def count(self):
            nonlocal now
            now += 3.0
            return super().count()

    config = CacheConfig(tmp_path, max_entries=10_000)
    backend = Slow(BackendContext(str(tmp_path), "", config))
    evictor = Evictor(backend, config, lambda: None)

    for _ in range(1 + 3 * 256):
        evictor.added(1)
    assert backend.counts == 1
    now += 60.0
    evictor.added(1)
    assert backend.counts == 2
    now += 60.0
    for _ in range(256):
        evictor.added(1)
    assert backend.counts == 3


# --- which policy is worth it -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_cost_saves_more_seconds_than_the_others_do(seed):
    """On a trace whose costs and sizes spread over four decades, by the trace's own clock."""
    trace = make_trace(seed, calls=4000, values=500, seconds=7 * 86_400.0)
    whole = sum({value.key: value.stored_bytes for _, value in trace}.values())

    saved = {
        policy: run(trace, policy, whole // 20).saved for policy in ("lru", "lfu", "fifo", "cost")
    }

    assert saved["cost"] > 1.2 * max(saved["lru"], saved["lfu"], saved["fifo"])


def test_worth_ages(store):
    """What was costly and often read goes in the end, when nobody reads it any more."""
    days = 86_400.0
    store.put_entries(
        [
            Entry("", "once loved", 1, accessed_at=START, hits=100, cost_seconds=100.0),
            Entry("", "in use", 2, accessed_at=START + 5 * days, hits=1, cost_seconds=10.0),
            Entry("", "new", 3, accessed_at=START + 15 * days, hits=0, cost_seconds=10.0),
        ]
    )

    evicted = store.evict("cost", max_size=None, max_entries=1, slack=0.0)

    assert [entry.cache_key for entry in evicted] == ["in use", "once loved"]
