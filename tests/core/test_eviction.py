"""A bounded cache stays within its bounds and keeps what its policy says."""

import os

import pytest

from cacheness import UnifiedCache

BACKENDS = ["sqlite", "json", "memory"]


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
    left = {
        f"{os.path.basename(folder)}/{name}"
        for folder, _, names in os.walk(tmp_path / "blobs")
        for name in names
        if name != "store-id"
    }
    assert left == kept
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
