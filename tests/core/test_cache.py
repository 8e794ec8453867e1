"""What UnifiedCache promises of putting, getting and naming entries, on every backend."""

import datetime
import gc
import io
import os
import pickle
import sqlite3
import threading
import warnings

import numpy as np
import pytest

import cacheness
from cacheness import (
    CacheClosedError,
    CacheConfig,
    CachenessWarning,
    ConfigError,
    InvalidKeyError,
    ReadOnlyError,
    SerializationError,
    UnhashableParameterError,
    UnifiedCache,
)

BACKENDS = {
    "sqlite": {},
    "json": {"metadata_backend": "json"},
    "memory": {"metadata_backend": "memory"},
    "tiered": {"memory_bytes": "10MB"},
}


@pytest.fixture(params=list(BACKENDS))
def cache(request, tmp_path):
    with UnifiedCache(tmp_path / "cache", **BACKENDS[request.param]) as made:
        yield made


VALUES = [
    None,
    True,
    0,
    -(2**80),
    1.5,
    "text \ud800",
    b"bytes",
    bytearray(b"more"),
    {"a": [1, {"b": None}]},
    (1, 2.0, "three"),
    {1: "one", (2, 3): {4, 5}},
    datetime.date(2024, 2, 29),
    np.arange(12.0).reshape(3, 4).T,
    np.float32(0.1),
    {"weights": np.ones(3), "name": "n", "nested": [np.zeros((2, 2), dtype="M8[s]")]},
    "x" * 100_000,
    bytes(200_000),
    np.random.default_rng(0).normal(size=50_000),
    list(range(50_000)),
]


def same(a, b):
    """Equal and of the same types all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_a_value_comes_back_as_it_was(cache, value):
    key = cache.put(value, experiment="a", lr=0.1)

    assert same(cache.get(experiment="a", lr=0.1), value)
    assert same(cache.get(key), value)
    assert same(cache[key], value)


def test_what_is_got_is_the_callers_own(cache):
    for value in ({"a": [1]}, np.zeros(3), np.zeros(100_000), bytearray(b"x")):
        cache.put(value, "k")
        first = cache.get("k")
        if isinstance(first, dict):
            first["a"].append(2)
        else:
            first[0] = 7
        assert same(cache.get("k"), value)


def test_none_is_a_value_and_a_miss_is_the_default(cache):
    cache.put(None, k=1)

    assert cache.get(k=1, default="d") is None
    assert cache.get(k=2, default="d") == "d"
    assert cache.get(k=2) is None
    assert cache.exists(k=1)
    assert not cache.exists(k=2)


def test_named_parameters_are_never_hashed(cache):
    key = cache.put(
        1,
        a=1,
        prefix="p",
        description="d",
        custom_metadata={"x": 1},
        ttl_seconds=60,
        tags=("t",),
        cost_seconds=2,
        pin=True,
        options={},
    )

    assert key == cache.put(1, a=1, prefix="p")
    assert cache.get(a=1) == 1
    assert cache.get(a=1, prefix="p", description="other", custom_metadata={}, ttl_seconds=60) == 1
    assert cache.put(1, params={"a": 1}, prefix="p") == key
    assert cache.put(1, params={"a": 1, "description": "d"}) != key
    assert cache.get(params={"a": 1, "description": "d"}) == 1


def test_parameters_of_different_types_are_different(cache):
    values = [1, 1.0, True, np.int64(1), "1"]
    for i, value in enumerate(values):
        cache.put(i, x=value)

    assert [cache.get(x=value) for value in values] == [0, 1, 2, 3, 4]
    assert cache.put(0, a=1, b=2) == cache.put(0, b=2, a=1)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), {}),
        (("key",), {"a": 1}),
        (("key",), {"params": {"a": 1}}),
        ((), {"params": {"a": 1}, "b": 2}),
    ],
)
def test_nothing_or_more_than_one_name_is_a_type_error(cache, arguments, named):
    for method in (cache.get, cache.exists, cache.invalidate, cache.get_entry, cache.open):
        with pytest.raises(TypeError, match="name one entry"):
            method(*arguments, **named)
    with pytest.raises(TypeError, match="name one entry"):
        cache.put(1, *arguments, **named)


def test_an_option_that_a_method_has_no_use_for_points_at_params(cache):
    with pytest.raises(TypeError, match=r"params=\{'handler'"):
        cache.get(a=1, handler="json")
    with pytest.raises(TypeError, match=r"params=\{'where'"):
        cache.put(1, a=1, where=2)


WORDS = ("self", "obj", "fn", "function", "path", "other_cache", "names", "cache", "filters")


@pytest.mark.parametrize("word", WORDS)
def test_any_word_that_is_not_reserved_may_be_a_parameter(cache, tmp_path, word):
    named = {word: 1}
    key = cache.put("old", **named)

    assert cache.get(**named) == "old"
    assert cache.open(**named) == "old"
    assert cache.exists(**named)
    assert cache.add("other", **named) is False
    assert cache.get_or_compute(lambda: "other", **named) == "old"
    assert cache.update_data("new", **named)
    assert cache.update_entry(description="d", **named)
    assert cache.touch(**named)
    assert cache.get_entry(**named).description == "d"
    assert cache.get_with_metadata(**named)[0] == "new"
    assert cache.query_meta(**named) == [key]
    assert [entry.cache_key for entry in cache.entries(**named)] == [key]
    assert cache.touch_batch(**named) == 1
    assert cache.export(tmp_path / "export.tar", **named) == 1
    with UnifiedCache(tmp_path / "other") as other:
        assert cache.copy_to(other, **named) == 1
    assert cache.pop(**named) == "new"
    cache.put("new", **named)
    assert cache.delete_matching(**named) == 1
    cache.put("new", **named)
    assert cache.invalidate(**named)


@pytest.mark.parametrize("key", ["", "a\0b", "k" * 513, "é" * 257, "\ud800", 5, b"k"])
def test_an_impossible_key_is_refused(cache, key):
    with pytest.raises(InvalidKeyError, match="1 to 512 bytes"):
        cache.put(1, key)


def test_keys_are_compared_byte_by_byte(cache):
    keys = [
        "k",
        "K",
        "k ",
        " k",
        "é",
        "e\u0301",
        "k" * 512,
        "../../etc/passwd",
        "'; DROP TABLE entries; --",
    ]
    for i, key in enumerate(keys):
        cache[key] = i

    assert [cache[key] for key in keys] == list(range(len(keys)))
    assert sorted(cache) == sorted(keys)
    assert len(cache) == len(keys)


def test_the_mapping_protocol(cache):
    cache["name"] = [1]

    assert "name" in cache
    assert 5 not in cache
    assert cache["name"] == [1]
    del cache["name"]
    assert "name" not in cache
    with pytest.raises(KeyError, match="name"):
        cache["name"]
    with pytest.raises(KeyError, match="name"):
        del cache["name"]


def test_a_put_replaces_and_starts_anew(cache):
    cache.put(np.zeros(50_000), k=1, description="old", tags=("t",))
    cache.get(k=1)
    first = cache.get_entry(k=1)
    cache.put("new", k=1)
    second = cache.get_entry(k=1)

    assert cache.get(k=1) == "new"
    assert second.generation != first.generation
    assert (second.description, second.tags, second.hits) == ("", (), 0)
    assert len(cache) == 1


def test_a_replaced_and_an_invalidated_blob_is_removed(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        for i in range(3):
            cache.put(np.full(50_000, i), k=1)
        assert len(blobs(tmp_path)) == 1
        assert cache.invalidate(k=1)
        assert not cache.invalidate(k=1)
        assert blobs(tmp_path) == []


def blobs(directory):
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory / "blobs")
        for name in names
        if not name.startswith(("store-id", "owner-"))
    ]


def test_add_stores_only_where_there_is_none(cache):
    assert cache.add(1, k=1)
    assert not cache.add(2, k=1)
    assert cache.get(k=1) == 1
    cache.put(3, k=2, ttl_seconds=0.01)
    wait_past(cache.get_entry(k=2) or 0)
    assert cache.add(4, k=2)
    assert cache.get(k=2) == 4


def wait_past(_entry, seconds=0.02):
    threading.Event().wait(seconds)


def test_time_to_live(cache):
    cache.put(1, k=1, ttl_seconds=0.01)
    cache.put(2, k=2, ttl_seconds=None)
    wait_past(None)

    assert cache.get(k=1, default="gone") == "gone"
    assert cache.get_entry(k=1) is None
    assert cache.get(k=2) == 2
    assert cache.get(k=2, ttl_seconds="1h") == 2
    assert cache.get(k=2, ttl_seconds=0.01) is None
    assert len(cache) == 1


@pytest.mark.parametrize("ttl", [0, -1, "soon", float("nan"), float("inf"), True])
def test_an_impossible_time_to_live_is_refused(cache, ttl):
    with pytest.raises(ConfigError, match="ttl_seconds"):
        cache.put(1, k=1, ttl_seconds=ttl)


IMPOSSIBLE = [
    {"ttl_seconds": 0},
    {"ttl_seconds": "soon"},
    {"prefix": 1},
    {"options": 5},
    {"options": {1: 2}},
]
TAKES_OPTIONS = {"get", "open", "pop", "get_with_metadata", "add", "update_data", "get_or_compute"}


@pytest.mark.parametrize("asked", IMPOSSIBLE, ids=str)
def test_what_cant_be_asked_for_is_refused_whether_or_not_there_is_an_entry(cache, asked):
    methods = TAKES_OPTIONS | {"get_entry", "exists", "update_entry", "touch", "invalidate"}
    value = {"add": 1, "update_data": 1, "get_or_compute": lambda: 1}
    ways = [
        (getattr(cache, name), (value[name],) if name in value else ())
        for name in (TAKES_OPTIONS if "options" in asked else methods)
    ]
    for _ in range(2):
        for method, obj in ways:
            with pytest.raises(ConfigError, match=next(iter(asked))):
                method(*obj, k=1, **asked)
        with pytest.raises(ConfigError, match=next(iter(asked))):
            cache.get_batch([], **asked)
        with pytest.raises(ConfigError, match=next(iter(asked))):
            cache.put_batch([(1, "b")], **asked)
        cache.put("value", k=1)
    assert cache.get(k=1) == "value"


@pytest.mark.parametrize("option", ["tags", "secret"])
@pytest.mark.parametrize("wrong", ["one", 5, [1]])
def test_a_list_of_names_is_one(cache, option, wrong):
    with pytest.raises(ConfigError, match=option):
        cache.put(1, k=1, **{option: wrong})
    with pytest.raises(ConfigError, match=option):
        cache.put_batch([(1, {"k": 1})], **{option: wrong})
    assert not cache.exists(k=1)


@pytest.mark.parametrize(
    "store",
    [
        lambda cache, secret: cache.put(1, token="t", secret=secret),
        lambda cache, secret: cache.put(1, params={"token": "t"}, secret=secret),
        lambda cache, secret: cache.put(1, "key", secret=secret),
        lambda cache, secret: cache.add(1, token="t", secret=secret),
        lambda cache, secret: cache.get_or_compute(lambda: 1, token="t", secret=secret),
        lambda cache, secret: cache.put_batch([(1, {"token": "t"}), (2, "key")], secret=secret),
    ],
)
def test_a_secret_that_is_no_parameter_is_refused_as_it_would_be_recorded(cache, store):
    with pytest.raises(ConfigError, match=r"secret='tokne' is no parameter.*there are: "):
        store(cache, ("tokne",))

    assert len(cache) == 0


def test_a_stated_prefix_must_be_the_entrys(cache):
    cache.put(1, k=1, prefix="a")

    assert cache.get(k=1, prefix="a") == 1
    assert cache.get(k=1, prefix="b") is None
    assert not cache.invalidate(k=1, prefix="b")
    with pytest.warns(CachenessWarning, match="prefix"):
        cache.put(2, k=1, prefix="b")
    assert cache.get(k=1) == 2


def test_namespaces_do_not_see_each_other(tmp_path):
    for backend in ("sqlite", "json"):
        with (
            UnifiedCache(tmp_path / backend, metadata_backend=backend, namespace="one") as one,
            UnifiedCache(tmp_path / backend, metadata_backend=backend, namespace="two") as two,
        ):
            one.put(1, "k")
            two.put(2, "k")
            assert (one["k"], two["k"], len(one), list(two)) == (1, 2, 1, ["k"])
            assert one.clear() == 1
            assert two["k"] == 2


def test_clear_by_prefix_and_whole(cache):
    for i in range(6):
        cache.put(i, i=i, prefix="even" if i % 2 == 0 else "odd")

    assert cache.clear("even") == 3
    assert len(cache) == 3
    assert cache.clear() == 3
    assert len(cache) == 0


def test_the_entry_tells_what_was_stored(cache):
    cache.put(
        np.zeros((1000, 50)),
        lr=0.1,
        data=np.arange(10**5),
        password="hunter2",
        description="d",
        custom_metadata={"a": [1, {"b": None}]},
        tags=("x", "y"),
        cost_seconds=1.5,
        secret=("password",),
    )
    value, entry = cache.get_with_metadata(lr=0.1, data=np.arange(10**5), password="hunter2")

    assert value.shape == (1000, 50)
    assert entry.summary == "float64 (1000, 50)"
    assert entry.object_type == "numpy.ndarray"
    assert entry.handler == "numpy"
    assert entry.distribution == "cacheness-core"
    assert entry.custom_metadata == {"a": [1, {"b": None}]}
    assert (entry.description, entry.tags, entry.cost_seconds) == ("d", ("x", "y"), 1.5)
    assert entry.params["lr"] == 0.1
    assert "hunter2" not in repr(entry)
    assert len(repr(entry.params)) < 500
    assert cache.get_with_metadata(lr=7, default="d") == ("d", None)


def test_custom_metadata_that_json_would_change_is_refused(cache):
    for bad in ({"a": (1,)}, {1: "a"}, {"a": float("nan")}, {"a": object()}):
        with pytest.raises(ConfigError, match="custom_metadata"):
            cache.put(1, k=1, custom_metadata=bad)


def test_hits_are_recorded_without_a_write_for_each(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, "k")
        for _ in range(10):
            cache.get("k")
        assert cache.get_entry("k").hits == 0
    with UnifiedCache(tmp_path) as cache:
        assert cache.get_entry("k").hits == 10


def test_mmap_and_open_give_read_only_views(tmp_path):
    array = np.random.default_rng(0).normal(size=200_000)
    with UnifiedCache(tmp_path) as cache:
        cache.put(array, k=1)
        for view in (cache.get(k=1, mmap=True), cache.open(k=1)):
            assert not view.flags.owndata
            assert not view.flags.writeable
            assert (view == array).all()
        assert cache.open(k=2, default="d") == "d"


def test_the_formats_own_tools_read_the_blobs(tmp_path):
    array = np.random.default_rng(0).normal(size=200_000)
    with UnifiedCache(tmp_path) as cache:
        cache.put(array, k=1)
        (path,) = blobs(tmp_path)
        assert path.endswith(".npy")
        assert (np.load(path) == array).all()


def test_a_container_is_a_tar_whose_arrays_can_be_mapped(tmp_path):
    import tarfile

    array = np.random.default_rng(0).normal(size=200_000)
    with UnifiedCache(tmp_path) as cache:
        cache.put({"a": array, "again": array, "n": [1, 2]}, k=1)
        got = cache.get(k=1)
        assert got["a"] is got["again"]
        (path,) = blobs(tmp_path)
        assert cache.get_entry(k=1).signature is None
    with tarfile.open(path) as tar:
        members = tar.getmembers()
        assert [m.name for m in members][-1] == "manifest.json"
        assert [m.name for m in members].count("000001.npy") == 0
        assert members[0].offset_data % 512 == 0
        assert (np.load(io.BytesIO(tar.extractfile(members[0]).read())) == array).all()


def test_a_value_that_nothing_keeps_says_so_and_changes_nothing(cache):
    cache.put("old", k=1)

    with pytest.raises(SerializationError, match="generator|lock"):
        cache.put((i for i in ()), k=1)
    assert cache.get(k=1) == "old"


def test_a_parameter_without_a_fingerprint_is_named(cache):
    with pytest.raises(UnhashableParameterError, match="'guard'.*lock"):
        cache.get(guard=threading.Lock())


def test_a_closed_cache_says_so(cache):
    cache.put(1, "k")
    cache.close()
    cache.close()

    for call in (
        lambda: cache.get("k"),
        lambda: cache.put(1, "k"),
        lambda: cache.exists("k"),
        lambda: len(cache),
        lambda: list(cache),
        lambda: cache.invalidate("k"),
        cache.clear,
        lambda: cache.put_batch([]),
        lambda: cache.get_batch([]),
        lambda: cache.delete_batch([]),
    ):
        with pytest.raises(CacheClosedError):
            call()
    assert "closed" in repr(cache)


def test_a_read_only_cache_changes_nothing(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, "k")
        cache.put(2, "expired", ttl_seconds=0.01)
        cache.put(np.zeros(50_000), "big")
    wait_past(None)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    with UnifiedCache(tmp_path, read_only=True) as cache:
        assert cache["k"] == 1
        assert cache["big"].sum() == 0
        assert cache.get("expired") is None
        for call in (lambda: cache.put(1, "k"), lambda: cache.invalidate("k"), cache.clear):
            with pytest.raises(ReadOnlyError):
                call()

    after = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert {
        p: b for p, b in after.items() if p.suffix not in {".sqlite3-shm", ".sqlite3-wal"}
    } == before


def test_disabled_makes_every_get_a_miss_and_every_put_nothing(cache):
    cache.put(1, "k")

    with cacheness.disabled():
        assert cache.get("k") is None
        assert not cache.exists("k")
        cache.put(2, "k")
    assert cache["k"] == 1


def test_a_cache_is_pickled_as_its_configuration(tmp_path):
    with UnifiedCache(tmp_path, namespace="n") as cache:
        cache.put(1, "k")
        with pickle.loads(pickle.dumps(cache)) as other:
            assert other["k"] == 1
            assert other.config == cache.config


def test_two_caches_on_one_directory_see_each_other(tmp_path):
    with UnifiedCache(tmp_path) as one, UnifiedCache(CacheConfig(cache_dir=tmp_path)) as two:
        one["k"] = 1
        assert two["k"] == 1
        two["k"] = np.zeros(50_000)
        assert one["k"].shape == (50_000,)


@pytest.mark.slow
def test_a_cache_that_is_dropped_unclosed_leaves_nothing_open(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(50):
            UnifiedCache(tmp_path).put(1, "k")
        gc.collect()
    held = [one for one in gc.get_objects() if isinstance(one, sqlite3.Connection)]

    assert not any(str(tmp_path) in str(path) for path in map(database_of, held))


def database_of(connection):
    length = sqlite3.SQLITE_LIMIT_SQL_LENGTH
    try:
        before = connection.setlimit(length, 100)  # those of a cache compile nothing without
        try:
            return connection.execute("PRAGMA database_list").fetchall()
        finally:
            connection.setlimit(length, before)
    except sqlite3.ProgrammingError:
        return "closed, or another thread's"


def test_a_memory_cache_leaves_the_disk_alone(tmp_path):
    with UnifiedCache(tmp_path / "none", metadata_backend="memory") as cache:
        cache.put(np.zeros(50_000), "k")
        assert cache["k"].shape == (50_000,)
    assert not (tmp_path / "none").exists()
