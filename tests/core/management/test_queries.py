"""What UnifiedCache promises of finding entries and removing what was found, everywhere."""

import time

import pytest

from cacheness import Entry, UnifiedCache

LARGE = bytes(100_000)


@pytest.fixture
def filled(cache):
    for n in range(6):
        cache.put(
            LARGE,
            f"k{n}",
            prefix="even" if n % 2 == 0 else "odd",
            tags=("all", f"t{n}"),
            custom_metadata={"n": n},
        )
    return cache


def blobs_of(cache):
    return [name for name, _, _ in cache.engine.blobs().iter_blobs()]


def test_cache_keys_are_found_oldest_first(filled):
    assert filled.query_meta() == [f"k{n}" for n in range(6)]
    assert filled.query_meta(prefix="even") == ["k0", "k2", "k4"]
    assert filled.query_meta(prefix="even", meta__n__gt=0) == ["k2", "k4"]
    assert filled.query_meta(tags=["all", "t3"]) == ["k3"]
    assert filled.query_meta(entry__cache_key__in=["k1", "k9"]) == ["k1"]


def test_params_are_found_by_their_names(cache):
    key = cache.put(1, lr=0.1, model__alpha=2)
    other = cache.put(2, params={"description": "a", "lr": 0.2})

    assert cache.query_meta(lr=0.1) == [key]
    assert cache.query_meta(lr__gte=0.1) == [key, other]
    assert cache.query_meta(model__alpha=2) == [key]
    assert cache.query_meta(params={"description": "a"}) == [other]


def test_entries_are_given_without_payload(filled):
    filled.put({"small": 1}, "small")

    found = {entry.cache_key: entry for entry in filled.entries()}

    assert set(found) == set(filled)
    for key, entry in found.items():
        whole = filled.get_entry(key)
        assert isinstance(entry, Entry)
        assert entry.inline is None
        for name in set(Entry.__slots__) - {"inline"}:
            assert getattr(entry, name) == getattr(whole, name), name
    assert {entry.cache_key for entry in filled.entries(prefix="odd")} == {"k1", "k3", "k5"}
    assert list(filled.entries(prefix="none")) == []


def test_entries_may_be_removed_while_they_are_listed(filled):
    for entry in filled.entries(tags="all"):
        filled.invalidate(entry.cache_key)

    assert len(filled) == 0


@pytest.mark.parametrize("method", ["query_meta", "entries", "delete_matching", "touch_batch"])
@pytest.mark.parametrize("name", ["description", "entry__nonsense", "cache_key"])
def test_a_filter_that_means_nothing_is_an_error(filled, method, name):
    with pytest.raises(TypeError, match=name.rpartition("__")[2]):
        getattr(filled, method)(**{name: "x"})

    assert len(filled) == 6


def test_what_filters_select_is_removed_with_its_blobs(filled):
    assert filled.delete_matching(prefix="even") == 3
    assert sorted(filled) == ["k1", "k3", "k5"]
    assert len(blobs_of(filled)) == 3
    assert filled.delete_matching(prefix="even") == 0


@pytest.mark.parametrize("method", ["delete_matching", "touch_batch"])
@pytest.mark.parametrize("nothing", [{}, {"params": {}}, {"tags": []}])
def test_without_any_filter_nothing_is_changed(filled, method, nothing):
    with pytest.raises(TypeError, match=r"clear\(\)"):
        getattr(filled, method)(**nothing)

    assert len(filled) == 6


def test_what_a_function_accepts_is_removed(filled):
    assert filled.delete_where(lambda entry: entry["custom_metadata"]["n"] in (1, 4)) == 2
    assert sorted(filled) == ["k0", "k2", "k3", "k5"]
    assert len(blobs_of(filled)) == 4


def test_what_is_replaced_after_a_function_saw_it_stays(filled):
    def accept_and_replace(entry):
        assert "inline" not in entry
        if entry["cache_key"] == "k2" and entry["tags"]:
            filled.put(LARGE[1:], "k2", prefix="even")
        return entry["tags"]

    assert filled.delete_where(accept_and_replace) == 5
    assert filled.get("k2") == LARGE[1:]
    assert len(blobs_of(filled)) == 1


def test_a_function_that_fails_removes_nothing(filled):
    with pytest.raises(ZeroDivisionError):
        filled.delete_where(lambda entry: 1 / (entry["custom_metadata"]["n"] - 3))

    assert len(filled) == 6


def test_filters_are_no_function(filled):
    with pytest.raises(TypeError, match="delete_matching takes filters"):
        filled.delete_where({"prefix": "even"})


def test_what_filters_select_is_touched(cache):
    cache.put(1, "a", prefix="p", ttl_seconds=60)
    cache.put(1, "b", prefix="q", ttl_seconds=60)
    cache.put(1, "c", prefix="p", ttl_seconds=0.005)
    before = {key: cache.get_entry(key) for key in "ab"}
    time.sleep(0.01)

    assert cache.touch_batch(prefix="p") == 1

    after = cache.get_entry("a")
    assert after.renewed_at == after.accessed_at > before["a"].renewed_at
    assert after.expires_at == after.renewed_at + 60
    assert cache.get_entry("b") == before["b"]
    assert not cache.exists("c")


def test_clear_removes_all_or_a_prefix(filled):
    assert filled.clear("odd") == 3
    assert filled.clear() == 3
    assert blobs_of(filled) == []


def test_long_removals_say_how_far_they_are(filled):
    calls = []

    def show(done, total):
        calls.append((done, total))

    filled.touch_batch(tags="all", progress=show)
    filled.delete_matching(entry__cache_key__in=["k0", "k1"], progress=show)
    filled.delete_where(lambda entry: entry["cache_key"] == "k2", progress=show)
    filled.clear(progress=show)

    assert calls == [(6, None), (1, 2), (2, 2), (1, 1), (1, 3), (2, 3), (3, 3)]


# --- namespaces -----------------------------------------------------------------------


@pytest.fixture
def two(options, tmp_path):
    if options.get("metadata_backend") == "memory":
        options = {
            **options,
            "metadata_options": {"name": str(tmp_path)},
            "blob_options": {"name": str(tmp_path)},
        }
    with (
        UnifiedCache(tmp_path / "cache", namespace="one", **options) as one,
        UnifiedCache(tmp_path / "cache", namespace="two", **options) as two,
    ):
        yield one, two


def test_each_namespace_is_its_own(two):
    one, other = two
    one.put(LARGE, "k", prefix="p")
    other.put(LARGE, "k", prefix="p")

    assert [entry.namespace for entry in one.entries()] == ["one"]
    assert one.query_meta(prefix="p") == ["k"]
    assert one.touch_batch(prefix="p") == 1
    assert one.delete_matching(prefix="p") == 1
    assert one.put_batch([(1, "a")]) == ["a"]
    assert one.delete_where(lambda entry: True) == 1
    assert other.get("k") == LARGE


def test_a_manager_sees_all_namespaces(two):
    one, other = two
    one.put(LARGE, "k", prefix="p")
    other.put(LARGE, "k", prefix="p")
    other.put(LARGE, "l", ttl_seconds=0.005)
    time.sleep(0.01)

    found = sorted((e.namespace, e.cache_key) for e in one.entries(all_namespaces=True))
    assert found == [("one", "k"), ("two", "k"), ("two", "l")]
    assert one.query_meta(all_namespaces=True, prefix="p") == ["k", "k"]
    assert one.cleanup_expired() == 0
    assert one.cleanup_expired(all_namespaces=True) == 1
    assert one.delete_matching(all_namespaces=True, prefix="p") == 2
    other.put(LARGE, "k")
    assert one.clear(all_namespaces=True) == 1
    assert len(one) == len(other) == 0
    assert blobs_of(one) == []


# --- conditions of SQLAlchemy ---------------------------------------------------------


def test_conditions_of_sqlalchemy_select_in_stores_with_tables(options, tmp_path):
    from cacheness.backends.sql import entries

    large = entries.c.stored_bytes > 1000
    with UnifiedCache(tmp_path / "cache", **options) as cache:
        cache.put_batch([(LARGE, "a"), (1, "b"), (LARGE, "c"), (LARGE, "d")], ttl_seconds=60)
        cache.update_entry("c", tags=("t",))
        if options.get("metadata_backend"):
            for method in ("query_meta", "entries", "delete_matching", "touch_batch"):
                with pytest.raises(TypeError, match="where="):
                    list(getattr(cache, method)(where=large))
            return

        assert cache.query_meta(where=large) == ["a", "c", "d"]
        assert cache.query_meta(where=large, tags="t") == ["c"]
        assert [e.cache_key for e in cache.entries(where=large, tags="t")] == ["c"]
        before = cache.get_entry("a").renewed_at
        assert cache.touch_batch(where=large, tags="t") == 1
        assert cache.get_entry("a").renewed_at == before
        assert cache.get_entry("c").renewed_at > before
        assert cache.delete_matching(where=large) == 3
        assert list(cache) == ["b"]
        assert blobs_of(cache) == []
