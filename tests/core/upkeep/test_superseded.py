"""What older code of a function left behind is removed once nobody uses it."""

import time

import pytest

from cacheness import UnifiedCache
from cacheness.management.details import checked_details
from cacheness.upkeep.tombstones import find

BACKENDS = ["sqlite", "json", "memory"]
DAY = 86_400.0


@pytest.fixture(params=BACKENDS)
def store(request, tmp_path):
    """Makes caches of one store, whose superseded entries live for a day."""
    options = {"metadata_backend": request.param, "superseded_ttl_seconds": DAY}
    if request.param == "memory":
        options |= {
            "metadata_options": {"name": str(tmp_path)},
            "blob_options": {"name": str(tmp_path)},
        }
    caches = []

    def make(**more):
        caches.append(UnifiedCache(tmp_path, **options, **more))
        return caches[-1]

    yield make
    for cache in caches:
        cache.close()


def keep(cache, key, digest, function="module:function", **fields):
    """Store a result as `cached` does."""
    details = checked_details(cache.config, None, ttl_seconds=None, cost_seconds=1.0)
    details |= {"function": function, "code_digest": digest}
    cache.engine.writer.store(key, f"value of {key}", details)
    if fields:
        cache.engine.backend.update_fields(key, fields)


def pass_time(cache, seconds):
    """Make everything in the store older."""
    backend = cache.engine.backend
    cache.engine.flush()
    for key in list(cache):
        entry = backend.get_entry(key)
        changes = {
            name: getattr(entry, name) - seconds
            for name in ("created_at", "accessed_at", "renewed_at")
        }
        backend.update_fields(key, changes)
    notes = backend.read_notes("code versions")
    for versions in notes.values():
        versions["swept"] -= seconds
        versions["seen"] = {digest: at - seconds for digest, at in versions["seen"].items()}
    backend.write_notes("code versions", notes)


def test_results_of_older_code_go_a_time_to_live_after_they_were_superseded(store):
    cache = store()
    keep(cache, "old", "one")
    pass_time(cache, 10 * DAY)
    cache = store()
    keep(cache, "new", "two")
    assert sorted(cache) == ["new", "old"], "an edit that is taken back finds all again"

    pass_time(cache, 1.1 * DAY)
    cache = store()
    keep(cache, "newer", "two")

    assert sorted(cache) == ["new", "newer"]
    tombstone = find(cache.engine.backend, "old")
    assert (tombstone.why, tombstone.function) == ("superseded", "module:function")


def test_versions_that_are_used_in_turns_all_stay(store):
    cache = store()
    for turn in range(8):
        cache = store()
        keep(cache, f"a{turn}", "branch a")
        for key in [key for key in cache if key.startswith("a")]:
            assert cache.get(key) == f"value of {key}"
        pass_time(cache, 0.6 * DAY)
        cache = store()
        keep(cache, f"b{turn}", "branch b")
        for key in [key for key in cache if key.startswith("b")]:
            assert cache.get(key) == f"value of {key}"

    assert len(cache) == 16


def test_of_two_that_are_used_in_turns_a_third_goes(store):
    cache = store()
    keep(cache, "third", "branch c")
    for turn in range(4):
        pass_time(cache, 0.6 * DAY)
        cache = store()
        keep(cache, f"a{turn}", "branch a")
        keep(cache, f"b{turn}", "branch b")
        for key in [key for key in cache if key != "third"]:
            assert cache.get(key) == f"value of {key}"

    assert "third" not in cache
    assert len(cache) == 8


def test_reads_that_are_still_buffered_count(store):
    cache = store()
    keep(cache, "old", "one")
    keep(cache, "older", "one")
    keep(cache, "new", "two")
    pass_time(cache, 2 * DAY)
    cache = store()
    cache.get("old")

    keep(cache, "newer", "two")

    assert sorted(cache) == ["new", "newer", "old"]


def test_what_is_pinned_or_of_another_function_stays(store):
    cache = store()
    keep(cache, "old", "one")
    keep(cache, "pinned", "one", pinned=True)
    keep(cache, "other", "one", function="module:other")
    cache.put("no function's", "plain")
    keep(cache, "new", "two")
    pass_time(cache, 2 * DAY)

    keep(store(), "newer", "two")

    assert sorted(cache) == ["new", "newer", "other", "pinned", "plain"]


@pytest.mark.slow
def test_a_function_is_looked_through_ten_times_in_a_time_to_live_at_most(store):
    cache = store()
    backend = cache.engine.backend
    keep(cache, "a", "two")
    pass_time(cache, 2 * DAY)
    sweeps = []
    for put in range(20):
        cache = store()
        backend = cache.engine.backend
        before = backend.read_notes("code versions")["module:function"]["swept"]
        keep(cache, f"k{put}", "two")
        after = backend.read_notes("code versions")["module:function"]["swept"]
        sweeps.append(after > before)
        pass_time(cache, 0.051 * DAY)

    assert sum(sweeps) == 10


def test_without_the_option_everything_stays(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        keep(cache, "old", "one")
        cache.engine.backend.update_fields("old", {"accessed_at": time.time() - 1000 * DAY})
        keep(cache, "new", "two")

        assert len(cache) == 2
        assert cache.engine.backend.read_notes("code versions") == {}


def test_only_the_newest_versions_of_a_function_are_remembered(store):
    cache = store()
    for number in range(50):
        keep(cache, "k", f"digest {number}")

    seen = cache.engine.backend.read_notes("code versions")["module:function"]["seen"]

    assert set(seen) == {f"digest {number}" for number in range(18, 50)}
