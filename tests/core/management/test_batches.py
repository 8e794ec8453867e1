"""What UnifiedCache promises of many named entries at once, on every backend."""

import sqlite3
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from cacheness import (
    CachenessWarning,
    CorruptionWarning,
    InvalidKeyError,
    SerializationError,
    UnifiedCache,
)
from cacheness.keys.encoding import params_key

LARGE = bytes(100_000)


def blobs_of(cache):
    return [name for name, _, _ in cache.engine.blobs().iter_blobs()]


class CannotBeKept:
    def __reduce__(self):
        raise TypeError("not me")


# --- put_batch ------------------------------------------------------------------------


def test_a_batch_is_stored_under_its_names(cache):
    keys = cache.put_batch(
        [({"v": 1}, "by key"), (np.ones(50_000), {"x": 1, "y": [2]}), (None, {"params": 3})]
    )

    assert cache.get("by key") == {"v": 1}
    assert np.array_equal(cache.get(x=1, y=[2]), np.ones(50_000))
    assert cache.get(params={"params": 3}, default="d") is None
    assert keys[0] == "by key"
    assert sorted(keys) == sorted(cache)
    assert cache.get_entry(x=1, y=[2]).params == {"x": 1, "y": [2]}


def test_a_batch_shares_what_it_is_given(cache):
    cache.put_batch(
        [(1, {"a": 1, "token": "s"}), (2, "k")],
        prefix="p",
        description="d",
        custom_metadata={"m": 1},
        tags=(tag for tag in ("t", "u")),
        ttl_seconds=60,
        cost_seconds=3,
        pin=True,
        secret=(name for name in ("token",)),
    )

    for entry in cache.entries():
        assert (entry.prefix, entry.description, entry.custom_metadata) == ("p", "d", {"m": 1})
        assert (entry.tags, entry.ttl_seconds, entry.cost_seconds) == (("t", "u"), 60, 3)
        assert entry.pinned
        assert entry.expires_at == entry.created_at + 60
    assert cache.get_entry(a=1, token="s").params == {"a": 1}


def test_a_batch_that_fails_in_the_middle_stores_nothing(cache):
    cache.put("old", "a")

    def source():
        yield LARGE, "a"
        yield LARGE, "b"
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        cache.put_batch(source())
    with pytest.raises(SerializationError):
        cache.put_batch([(LARGE, "c"), (CannotBeKept(), "d")])
    with pytest.raises(InvalidKeyError):
        cache.put_batch([(LARGE, "c"), (1, "")])

    assert sorted(cache) == ["a"]
    assert cache.get("a") == "old"
    assert blobs_of(cache) == []


def test_of_one_name_given_twice_the_last_value_stays(cache):
    keys = cache.put_batch([(LARGE, "k"), (LARGE[1:], {"x": 1}), (LARGE[2:], "k")])

    assert cache.get("k") == LARGE[2:]
    assert keys[0] == keys[2]
    assert len(cache) == 2
    assert len(blobs_of(cache)) == 2


def test_a_batch_replaces_what_was_there(cache):
    cache.put(LARGE, "k", description="old", tags=("t",))
    cache.get("k")

    cache.put_batch([(LARGE[1:], "k")])

    cache.engine.flush()
    entry = cache.get_entry("k")
    assert (entry.description, entry.tags) == ("", ())
    assert cache.get("k") == LARGE[1:]
    assert len(blobs_of(cache)) == 1


def test_a_batch_that_changes_a_prefix_warns_once(cache):
    cache.put_batch([(1, "a"), (2, "b")], prefix="old")

    with pytest.warns(CachenessWarning, match="had the prefix 'old', now 'new'") as seen:
        cache.put_batch([(1, "a"), (2, "b")], prefix="new")

    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_an_empty_batch_is_none(cache):
    assert cache.put_batch([]) == []
    assert cache.get_batch([]) == []
    assert cache.delete_batch([]) == 0


def test_more_than_fits_in_memory_at_once_is_stored_as_well(cache, monkeypatch):
    monkeypatch.setattr("cacheness.management.spool._CHUNK", 20_000)

    # Every other one is small enough to be said in short.
    values = [bytes(1000 + number) if number % 2 else [number] for number in range(50)]

    cache.put_batch((value, {"n": number}) for number, value in enumerate(values))

    assert cache.get_batch([{"n": number} for number in range(50)]) == values
    assert cache.query_meta(n__gte=48) == [params_key({"n": 48}), params_key({"n": 49})]


def test_a_batch_says_how_far_it_is(cache):
    calls = []

    cache.put_batch([(1, "a"), (2, "b")], progress=lambda done, total: calls.append((done, total)))
    cache.put_batch(
        ((n, f"n{n}") for n in range(2)), progress=lambda done, total: calls.append((done, total))
    )
    cache.delete_batch(["a", "b", "c"], progress=lambda done, total: calls.append((done, total)))

    assert calls == [(1, 2), (2, 2), (1, None), (2, None), (1, 2), (2, 2)]


def test_a_batch_that_is_called_off_stores_nothing(cache):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.put_batch([(LARGE, "a"), (LARGE, "b"), (LARGE, "c")], progress=stop)

    assert len(cache) == 0
    assert blobs_of(cache) == []


def test_a_batch_is_held_to_the_bounds(tmp_path):
    with UnifiedCache(tmp_path, max_entries=10) as cache:
        cache.put_batch((n, f"n{n}") for n in range(50))

        assert len(cache) <= 10


def test_a_batch_may_read_the_cache_while_it_makes_its_values(cache):
    cache.put(1, "n0")

    cache.put_batch((cache.get("n0") + n, f"n{n}") for n in range(1, 4))

    assert cache.get_batch(["n0", "n1", "n2", "n3"]) == [1, 2, 3, 4]


# --- get_batch ------------------------------------------------------------------------


def test_many_are_read_in_the_order_of_their_names(cache):
    cache.put_batch([(n, {"n": n}) for n in range(5)])
    cache.put(LARGE, "large")

    names = [{"n": 4}, "large", {"n": 7}, {"n": 0}, "large"]

    assert cache.get_batch(iter(names), "d") == [4, LARGE, "d", 0, LARGE]
    assert cache.get_batch(names) == [4, LARGE, None, 0, LARGE]


def test_what_is_got_many_times_is_the_callers_own_each_time(cache):
    cache.put({"a": []}, "k")

    one, other = cache.get_batch(["k", "k"])
    one["a"].append(1)

    assert other == {"a": []}


def test_none_is_a_value_among_many(cache):
    cache.put(None, "k")

    assert cache.get_batch(["k", "other"], "d") == [None, "d"]


def test_each_hit_is_counted(cache):
    cache.put_batch([(1, "a"), (LARGE, "b")])

    cache.get_batch(["a", "b", "a", "c"])

    cache.engine.flush()
    assert (cache.get_entry("a").hits, cache.get_entry("b").hits) == (2, 1)


def test_a_damaged_one_among_many_is_a_miss_of_its_own(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put_batch([(LARGE, "gone"), (LARGE, "bad"), (LARGE, "good")])
        for name, damage in (("gone", Path.unlink), ("bad", lambda at: at.write_bytes(b"?"))):
            with cache.engine.blobs().local_path(cache.get_entry(name).blob) as path:
                damage(Path(path))

        with pytest.warns(CorruptionWarning) as seen:
            got = cache.get_batch(["gone", "good", "bad", "gone"], "d")

        assert got == ["d", LARGE, "d", "d"]
        assert len(seen) == 2
        assert list(cache) == ["good"]


def test_many_are_read_as_get_reads_one(cache):
    cache.put_batch([(1, "a"), (2, "b")], prefix="p", ttl_seconds=60)
    cache.put(np.arange(4), "array")

    assert cache.get_batch(["a", "b"], prefix="q") == [None, None]
    assert cache.get_batch(["a", "b"], ttl_seconds=1e-9, description="d") == [None, None]
    cache.update_entry("a", ttl_seconds=1e-6)
    assert cache.get_batch(["a", "b"]) == [None, 2]
    assert sorted(cache) == ["array", "b"], "what a read finds expired is removed"


# --- delete_batch ---------------------------------------------------------------------


def test_many_are_removed_at_once(cache):
    cache.put_batch([(LARGE, "a"), (2, {"b": 1}), (LARGE, "c")])

    assert cache.delete_batch(iter(["a", {"b": 1}, "nope", "a"])) == 2
    assert list(cache) == ["c"]
    assert len(blobs_of(cache)) == 1


def test_of_another_prefix_none_is_removed(cache):
    cache.put(1, "a", prefix="p")
    cache.put(2, "b", prefix="q")

    assert cache.delete_batch(["a", "b"], prefix="p") == 1
    assert list(cache) == ["b"]


# --- names ----------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["k", {"a": 1}])
def test_one_name_is_not_many(cache, wrong):
    with pytest.raises(TypeError, match="names one entry"):
        cache.get_batch(wrong)
    with pytest.raises(TypeError, match="names one entry"):
        cache.delete_batch(wrong)


@pytest.mark.parametrize("pairs", [[1], ["ab"], [(1,)], [(1, "a", "b")], {"ab": 1}])
def test_what_is_no_pair_is_refused_and_nothing_is_stored(cache, pairs):
    with pytest.raises(TypeError, match="pairs of a value and its name"):
        cache.put_batch(pairs)
    assert len(cache) == 0


@pytest.mark.parametrize("wrong", [3, None, b"k", {1: 2}])
def test_what_is_no_name_is_refused(cache, wrong):
    with pytest.raises(TypeError, match="name"):
        cache.get_batch([wrong])
    with pytest.raises(TypeError, match="name"):
        cache.put_batch([(1, wrong)])
    assert len(cache) == 0


# --- one transaction ------------------------------------------------------------------


def transactions_of(cache, task):
    """How many transactions committed on this thread's connection while the task ran."""
    statements = []
    connection = cache.engine.backend._connections.connection()
    connection.set_trace_callback(statements.append)
    task()
    connection.set_trace_callback(None)
    # One that gives rows is told again at each of them.
    statements = [one for one, after in pairwise([*statements, ""]) if one != after]
    begun = [one for one in statements if one.startswith("BEGIN IMMEDIATE")]
    inside, alone = False, 0
    for one in statements:
        if one.startswith(("BEGIN", "COMMIT")):
            inside = one.startswith("BEGIN")
        elif not inside and not one.startswith(("SELECT", "PRAGMA", "--")):
            alone += 1
    return len(begun) + alone


def test_each_bulk_form_is_one_transaction_in_sqlite(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        pairs = [(n, {"n": n}) for n in range(20)]
        assert transactions_of(cache, lambda: cache.put_batch(pairs)) == 1
        assert transactions_of(cache, lambda: cache.put_batch(pairs)) == 1
        assert transactions_of(cache, lambda: cache.delete_batch([{"n": 1}, {"n": 2}])) == 1
        names = [name for _, name in pairs]
        assert transactions_of(cache, lambda: cache.get_batch(names)) == 0
        chosen = {0, 5, 9}
        accept = lambda entry: entry["params"]["n"] in chosen  # noqa: E731
        assert transactions_of(cache, lambda: cache.delete_where(accept)) == 1
        assert len(cache) == 15


def test_a_reader_sees_all_of_a_batch_or_none(tmp_path):
    """Another connection, after each put of the batch's own entry, still sees nothing."""
    with UnifiedCache(tmp_path) as cache:
        cache.put(0, "before")
        other = sqlite3.connect(tmp_path / "metadata.sqlite3")
        seen = []

        def source():
            for n in range(10):
                yield n, f"n{n}"
                seen.append(other.execute("SELECT count(*) FROM entries").fetchone()[0])

        cache.put_batch(source())

        assert set(seen) == {1}
        assert other.execute("SELECT count(*) FROM entries").fetchone()[0] == 11
        other.close()


def test_nothing_is_left_in_the_temporary_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("cacheness.management.spool._CHUNK", 1)
    (tmp_path / "tmp").mkdir()
    with UnifiedCache(tmp_path / "cache") as cache, warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put_batch((n, f"n{n}") for n in range(5))

        with pytest.raises(InvalidKeyError):
            cache.put_batch([(1, "a"), (2, "")])

    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("pairs", [list, iter], ids=["list", "iterator"])
def test_parameters_whose_names_are_no_texts_are_refused(tmp_path, pairs):
    with UnifiedCache(tmp_path) as cache:
        with pytest.raises(TypeError, match="not all str"):
            cache.put_batch(pairs([("kept", "key"), ("value", {1: 2})]))

        assert len(cache) == 0
