"""What UnifiedCache promises of taking, changing and renewing single entries, everywhere."""

import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import cacheness
from cacheness import (
    CacheClosedError,
    ConfigError,
    CorruptionWarning,
    ReadOnlyError,
    SerializationError,
    UnifiedCache,
)

LARGE = bytes(100_000)


def blobs_of(cache):
    return [name for name, _, _ in cache.engine.blobs().iter_blobs()]


def at_once(*tasks):
    """Run each in a thread, starting together; give what they returned."""
    barrier = threading.Barrier(len(tasks))
    results = [None] * len(tasks)

    def run(number, task):
        barrier.wait()
        results[number] = task()

    threads = [
        threading.Thread(target=run, args=(number, task)) for number, task in enumerate(tasks)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- pop ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"a": 1}, None, LARGE, np.arange(50_000)])
def test_pop_gives_the_value_and_leaves_nothing(cache, value):
    cache.put(value, a=1)

    popped = cache.pop(a=1, default="d")

    assert np.array_equal(popped, value) if isinstance(value, np.ndarray) else popped == value
    assert not cache.exists(a=1)
    assert len(cache) == 0
    assert blobs_of(cache) == []
    assert cache.pop(a=1, default="d") == "d"


@pytest.mark.slow
def test_of_several_that_pop_at_once_one_gets_it(cache):
    for number in range(20):
        cache.put({"n": number}, "k")

        popped = at_once(*[lambda: cache.pop("k", default="missed")] * 4)

        assert sorted(map(str, popped)) == sorted([str({"n": number}), *["missed"] * 3])


def test_pop_leaves_what_get_would_not_give(cache):
    cache.put(1, "k", prefix="p")

    assert cache.pop("k", prefix="q", default="d") == "d"
    assert cache.pop("k", ttl_seconds=1e-9, default="d") == "d"
    assert cache.pop("k", prefix="p") == 1


def test_every_pop_gets_another_put(cache):
    """Of values that are put while others pop, none is popped twice and none lost but by a put."""
    popped = []

    def pop():
        for _ in range(200):
            value = cache.pop("k")
            if value is not None:
                popped.append(value[0])

    def put():
        for number in range(100):
            cache.put([number], "k")

    at_once(put, pop, pop)

    assert len(popped) == len(set(popped))


# --- update_data ----------------------------------------------------------------------


def test_update_data_replaces_the_value_and_keeps_the_rest(cache):
    cache.put(
        LARGE,
        a=1,
        prefix="p",
        description="d",
        custom_metadata={"m": 1},
        tags=("t",),
        ttl_seconds=60,
        cost_seconds=2,
        pin=True,
    )
    cache.get(a=1)
    cache.engine.flush()
    before = cache.get_entry(a=1)

    assert cache.update_data({"new": True}, a=1)

    after = cache.get_entry(a=1)
    assert cache.get(a=1) == {"new": True}
    assert blobs_of(cache) == []
    kept = {"prefix", "description", "custom_metadata", "tags", "ttl_seconds", "cost_seconds"}
    for name in kept | {"pinned", "params", "hits"}:
        assert getattr(after, name) == getattr(before, name), name
    assert after.hits == 1
    assert after.generation != before.generation
    assert after.handler == "json"
    assert after.stored_bytes < 100
    assert after.renewed_at > before.renewed_at
    assert after.created_at == after.renewed_at
    assert after.expires_at == after.renewed_at + 60


def test_update_data_of_nothing_stores_nothing(cache):
    assert not cache.update_data(LARGE, a=1)
    assert len(cache) == 0
    assert blobs_of(cache) == []


def test_update_data_takes_on_what_is_given(cache):
    cache.put(1, a=1, description="old", ttl_seconds=60, tags=("t",))

    assert cache.update_data(2, a=1, description="new", custom_metadata={"m": 1}, ttl_seconds=None)

    entry = cache.get_entry(a=1)
    assert (entry.description, entry.custom_metadata, entry.tags) == ("new", {"m": 1}, ("t",))
    assert (entry.ttl_seconds, entry.expires_at) == (None, None)


def test_update_data_signs_anew(cache, tmp_path):
    class_that_needs_pickle = time.struct_time(range(9))
    cache.put({"plain": 1}, "k")

    cache.update_data(class_that_needs_pickle, "k")

    assert cache.get_entry("k").signature is not None
    assert cache.get("k") == class_that_needs_pickle


def test_a_value_that_no_handler_keeps_leaves_the_old_one(cache):
    cache.put(1, "k")

    with pytest.raises(SerializationError):
        cache.update_data(threading.Lock(), "k")

    assert cache.get("k") == 1


@pytest.mark.slow
def test_an_update_never_brings_back_what_was_removed(cache):
    """A delete and an update at once leave nothing, or what a later put stored."""
    for _ in range(30):
        cache.put(1, "k")

        at_once(
            lambda: cache.update_data(LARGE, "k"),
            lambda: cache.update_entry("k", description="d"),
            lambda: cache.touch("k"),
            lambda: cache.invalidate("k"),
        )

        assert not cache.exists("k")
        assert blobs_of(cache) == []


def test_updates_and_puts_at_once_leave_one_whole_entry(cache):
    for _ in range(10):
        at_once(
            lambda: cache.put(bytes(50_000), "k"),
            lambda: cache.update_data(bytes(60_000), "k"),
            lambda: cache.put(bytes(70_000), "k"),
        )

        value, entry = cache.get_with_metadata("k")
        assert len(value) == entry.logical_bytes
        assert len(blobs_of(cache)) == 1


# --- update_entry ---------------------------------------------------------------------


def test_update_entry_changes_what_is_given_and_nothing_else(cache):
    cache.put({"v": 1}, a=1, prefix="p", description="d", tags=("t",), custom_metadata={"m": 1})
    before = cache.get_entry(a=1)

    assert cache.update_entry(a=1, description="new")
    assert cache.update_entry(a=1, tags=["x", "y"])
    assert cache.update_entry(a=1, custom_metadata={"n": [1, None]})

    after = cache.get_entry(a=1)
    assert after.description == "new"
    assert after.tags == ("x", "y")
    assert after.custom_metadata == {"n": [1, None]}
    assert cache.get(a=1) == {"v": 1}
    unchanged = set(type(before).__slots__) - {"description", "tags", "custom_metadata"}
    for name in unchanged:
        assert getattr(after, name) == getattr(before, name), name


def test_update_entry_empties_what_is_given_empty(cache):
    cache.put(1, "k", description="d", tags=("t",), custom_metadata={"m": 1})

    assert cache.update_entry("k", description="", tags=(), custom_metadata=None)

    entry = cache.get_entry("k")
    assert (entry.description, entry.tags, entry.custom_metadata) == ("", (), {})


def test_another_time_to_live_counts_from_where_the_age_does(cache):
    cache.put(1, "k", ttl_seconds=60)
    entry = cache.get_entry("k")

    assert cache.update_entry("k", ttl_seconds="2h")
    assert cache.get_entry("k").expires_at == entry.renewed_at + 7200
    assert cache.get_entry("k").renewed_at == entry.renewed_at
    assert cache.update_entry("k", ttl_seconds=None)
    assert cache.get_entry("k").expires_at is None
    time.sleep(0.01)
    assert cache.update_entry("k", ttl_seconds=0.005)
    assert not cache.exists("k")


def test_update_entry_of_nothing_is_false(cache):
    cache.put(1, "k", prefix="p")

    assert not cache.update_entry("other", description="d")
    assert not cache.update_entry("k", prefix="q", description="d")
    assert cache.update_entry("k", prefix="p", description="d")
    assert cache.get_entry("k").prefix == "p"


@pytest.mark.parametrize(
    "wrong", [{"description": 3}, {"tags": "t"}, {"custom_metadata": {1: 2}}, {"ttl_seconds": 0}]
)
def test_what_an_entry_can_not_keep_is_refused(cache, wrong):
    cache.put(1, "k", description="d")

    with pytest.raises(ConfigError, match=next(iter(wrong))):
        cache.update_entry("k", **wrong)

    assert cache.get_entry("k").description == "d"


# --- touch ----------------------------------------------------------------------------


def test_touch_starts_the_age_anew(cache):
    cache.put(1, "k", ttl_seconds=60)
    before = cache.get_entry("k")
    time.sleep(0.01)

    assert cache.touch("k")

    after = cache.get_entry("k")
    assert after.renewed_at > before.renewed_at
    assert after.accessed_at == after.renewed_at
    assert after.expires_at == after.renewed_at + 60
    assert (after.created_at, after.generation) == (before.created_at, before.generation)


def test_touch_takes_on_a_time_to_live_that_is_given(cache):
    cache.put(1, "k", ttl_seconds=60)

    assert cache.touch("k", ttl_seconds="1h")

    entry = cache.get_entry("k")
    assert entry.ttl_seconds == 3600
    assert entry.expires_at == entry.renewed_at + 3600


def test_touch_brings_nothing_back(cache):
    cache.put(1, "k", ttl_seconds=0.005, prefix="p")
    time.sleep(0.01)

    assert not cache.touch("k")
    assert not cache.update_data(2, "k")
    assert not cache.update_entry("k", ttl_seconds=60)
    assert not cache.touch("never")
    cache.put(1, "k", prefix="p")
    assert not cache.touch("k", prefix="q")


def test_a_touch_and_another_time_to_live_at_once_both_count(cache):
    for _ in range(30):
        cache.put(1, "k", ttl_seconds=60)

        at_once(lambda: cache.touch("k"), lambda: cache.update_entry("k", ttl_seconds=600))

        entry = cache.get_entry("k")
        assert entry.ttl_seconds == 600
        assert entry.expires_at == pytest.approx(entry.renewed_at + 600, rel=0, abs=1e-5)


# --- cleanup_expired ------------------------------------------------------------------


def test_what_has_expired_is_cleaned_up(cache):
    cache.put(LARGE, "old", ttl_seconds=0.005)
    cache.put(LARGE, "young", ttl_seconds=60)
    cache.put(LARGE, "for ever")
    time.sleep(0.01)

    assert cache.cleanup_expired() == 1
    assert sorted(cache) == ["for ever", "young"]
    assert len(blobs_of(cache)) == 2
    assert cache.cleanup_expired() == 0


# --- get_with_metadata ----------------------------------------------------------------


@pytest.mark.slow
def test_the_entry_is_of_the_generation_that_the_value_is_of(cache):
    """While others replace large values, whose blobs go, each value comes with its own entry."""
    cache.put(bytes(40_000), "k")
    done = threading.Event()

    def replace():
        for number in range(150):
            cache.put(bytes(40_000 + number), "k")
        done.set()

    def read():
        over = False
        while not over:
            over = done.is_set()
            value, entry = cache.get_with_metadata("k")
            assert value is not None
            assert len(value) == entry.logical_bytes

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        at_once(replace, read, read)


def test_an_entry_whose_blob_is_gone_is_no_value_with_metadata(options, tmp_path):
    if options.get("metadata_backend") == "memory":
        options = {**options, "blob_backend": "file"}
    with UnifiedCache(tmp_path / "cache", **options) as cache:
        cache.put(LARGE, "k")
        with cache.engine.blobs().local_path(cache.get_entry("k").blob) as path:
            Path(path).unlink()

        with pytest.warns(CorruptionWarning, match="missing"):
            assert cache.get_with_metadata("k", default="d") == ("d", None)

        assert len(cache) == 0


# --- all of them ----------------------------------------------------------------------

WRITING = {
    "pop": lambda cache: cache.pop("k"),
    "update_data": lambda cache: cache.update_data(2, "k"),
    "update_entry": lambda cache: cache.update_entry("k", description="d"),
    "touch": lambda cache: cache.touch("k"),
    "cleanup_expired": lambda cache: cache.cleanup_expired(),
    "put_batch": lambda cache: cache.put_batch([(1, "k")]),
    "delete_batch": lambda cache: cache.delete_batch(["k"]),
    "touch_batch": lambda cache: cache.touch_batch(a=1),
    "delete_matching": lambda cache: cache.delete_matching(a=1),
    "delete_where": lambda cache: cache.delete_where(lambda entry: True),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("method", WRITING)
def test_a_read_only_cache_changes_nothing(method, tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, "k")

    with UnifiedCache(tmp_path, read_only=True) as cache:
        with pytest.raises(ReadOnlyError):
            WRITING[method](cache)
        assert cache.get("k") == 1


READING = {
    "get_batch": lambda cache: cache.get_batch(["k"]),
    "query_meta": lambda cache: cache.query_meta(a=1),
    "entries": lambda cache: list(cache.entries()),
}


@pytest.mark.parametrize("method", [*WRITING, *READING])
def test_a_closed_cache_says_so(method, cache):
    cache.close()

    with pytest.raises(CacheClosedError):
        {**WRITING, **READING}[method](cache)


def test_while_caches_are_off_every_get_misses_and_every_put_does_nothing(cache):
    cache.put(1, "k", ttl_seconds=60)
    before = cache.get_entry("k")

    with cacheness.disabled():
        assert cache.pop("k", default="d") == "d"
        assert not cache.update_data(2, "k")
        assert not cache.update_entry("k", description="d")
        assert not cache.touch("k")
        assert cache.get_batch(["k"], "d") == ["d"]
        assert cache.put_batch([(2, "k"), (3, "new")]) == ["k", "new"]

    assert cache.get_entry("k") == before
    assert sorted(cache) == ["k"]


@pytest.mark.parametrize("method", ["pop", "update_entry", "touch", "get_with_metadata"])
def test_every_method_names_an_entry_as_put_does(cache, method):
    shared = {
        "prefix": "p",
        "description": "d",
        "custom_metadata": {"m": 1},
        "ttl_seconds": 60,
        "params": {"description": "hashed", "x": 1},
    }
    cache.put(1, **shared)

    assert getattr(cache, method)(**shared)
    with pytest.raises(TypeError, match="name one entry"):
        getattr(cache, method)()
    with pytest.raises(TypeError, match="name one entry"):
        getattr(cache, method)("k", x=1)
    with pytest.raises(TypeError, match=r"params=\{'secret'"):
        getattr(cache, method)(x=1, secret=("y",))


def test_update_data_names_an_entry_as_put_does(cache):
    cache.put(1, self=1, obj=2)

    assert cache.update_data(2, self=1, obj=2)
    assert cache.get(self=1, obj=2) == 2
    with pytest.raises(TypeError, match=r"params=\{'tags'"):
        cache.update_data(3, self=1, obj=2, tags=("t",))
