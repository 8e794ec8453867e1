# SPDX-License-Identifier: MIT
"""A small value stored by the short way is recorded as by the long one."""

import json
import sys
from collections import Counter, OrderedDict
from dataclasses import replace
from datetime import date
from enum import StrEnum
from types import ModuleType
from uuid import UUID

import pytest

from cacheness import Handler, PluginWarning, UnifiedCache, register_handler, unregister_handler
from cacheness.generations import new_generation
from cacheness.handlers.json import JsonHandler
from cacheness.keys.summary import summarise_params
from cacheness.testing.store import forked
from cacheness.writer import Writer

VALUE = {"score": 0.93, "classes": ["cat", "dog"]}


@pytest.fixture(params=["sqlite", "json", "memory"])
def cache(request, tmp_path):
    options = {"metadata_backend": request.param, "default_ttl_seconds": 60, "namespace": "n"}
    with UnifiedCache(tmp_path, **options) as opened:
        yield opened


@pytest.mark.parametrize("value", [VALUE, [1, 2], "text", 1, 0.5, True, None], ids=repr)
def test_a_batch_records_the_same(cache, value):
    cache.put(value, a=1, b="two", description="said", tags=["t"], pin=True, ttl_seconds=60)
    one = cache.get_entry(a=1, b="two")
    name = {"a": 1, "b": "two"}
    cache.put_batch([(value, name)], description="said", tags=["t"], pin=True, ttl_seconds=60)
    batch = cache.get_entry(a=1, b="two")

    now = {name: getattr(one, name) for name in ("created_at", "renewed_at", "accessed_at")}
    assert one.generation != batch.generation
    assert one == replace(batch, generation=one.generation, expires_at=one.created_at + 60, **now)


@pytest.mark.parametrize("value", [VALUE, [1, 2], "text", 1, 0.5, True, None], ids=repr)
def test_both_ways_record_the_same(cache, value):
    cache.put(value, a=1, b="two")
    short = cache.get_entry(a=1, b="two")
    cache.put(value, a=1, b="two", cost_seconds=2)  # which the short way does not take
    long = cache.get_entry(a=1, b="two")

    now = {name: getattr(short, name) for name in ("created_at", "renewed_at", "accessed_at")}
    assert short.generation != long.generation
    assert short == replace(
        long,
        generation=short.generation,
        cost_seconds=None,
        expires_at=short.created_at + 60,
        **now,
    )
    assert cache.get(a=1, b="two") == value


class Text(str):
    __slots__ = ()


class Names(dict):
    pass


class Numbers(list):
    pass


class Color(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [Text("x"), Names(a=1), Numbers([1]), Color.RED, OrderedDict(a=1), Counter("aab")],
    ids=lambda value: type(value).__name__,
)
def test_a_subclass_comes_back_as_one_whatever_was_stored_before(cache, value):
    cache.put("first", "first")  # looks at the disk, which the long way does
    cache.put(value, a=1)

    assert type(cache.get(a=1)) is type(value)
    assert cache.get(a=1) == value


def test_a_handler_that_fails_to_answer_is_passed_over(cache):
    class Failing(Handler):
        def can_handle(self, obj):
            raise ZeroDivisionError

        def put(self, obj, file_path):
            raise AssertionError

        def get(self, file_path):
            raise AssertionError

        def dumps_plain(self, obj):
            return b"wrong"

    register_handler(Failing, priority=1000)
    try:
        with UnifiedCache(cache.config) as opened:
            for key in ("first", "second"):
                with pytest.warns(PluginWarning, match="can_handle"):
                    opened.put(key, key)
            assert opened.get("second") == "second"
    finally:
        unregister_handler("failing")


@pytest.mark.parametrize(("version", "data_only"), [(2, True), (1, False)])
def test_what_has_to_be_recorded_is_recorded(tmp_path, version, data_only):
    class Point:
        pass

    class PointHandler(Handler):
        name = "point"

        def can_handle(self, obj):
            return type(obj) is Point

        def dumps(self, obj, context):
            return (b"point",), {}

        def dumps_plain(self, obj):
            return b"point"

        def loads(self, buffer, metadata, context):
            return "a point"

    PointHandler.version, PointHandler.data_only = version, data_only
    register_handler(PointHandler)
    try:
        with UnifiedCache(tmp_path) as cache:
            cache.put(Point(), "one")
            cache.put_batch([(Point(), "many")])
            entries = [cache.get_entry("one"), cache.get_entry("many")]
            values = [cache.get("one"), cache.get("many")]
    finally:
        unregister_handler("point")

    assert [entry.handler_version for entry in entries] == [version] * 2
    assert [entry.signature is None for entry in entries] == [data_only] * 2
    assert values == ["a point", "a point"]


def test_only_what_is_as_usual_goes_the_short_way(tmp_path, monkeypatch):
    went_long = []
    store = Writer.store

    def counted(self, key, *arguments, **options):
        went_long.append(key)
        return store(self, key, *arguments, **options)

    monkeypatch.setattr(Writer, "store", counted)
    with UnifiedCache(tmp_path) as cache:
        cache.put("first", "first")  # looks at the disk
        cache.put(VALUE, "usual")
        cache.put({"t": (1, 2)}, "a tuple")
        cache.put(2**70, "beyond 64 bits")
        cache.put("x" * 40_000, "large")
        cache.put(VALUE, "prefixed", prefix="p")
        cache.put(VALUE, "living", ttl_seconds=1)
        cache.put(VALUE, "tagged", tags=["t"])
        cache.put(VALUE, "handled", handler="pickle")
    with UnifiedCache(tmp_path, signing="all", signing_key="k" * 32) as cache:
        cache.put(VALUE, "signed")
        assert cache.get_entry("signed").signature is not None

    others = ["a tuple", "beyond 64 bits", "large", "prefixed", "living", "tagged", "handled"]
    assert went_long == ["first", *others, "signed"]


def test_the_short_way_replaces_what_was_there_and_its_blob(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(b"x" * 100_000, "key")
        assert len(list((tmp_path / "blobs").rglob("*.bin"))) == 1

        cache.put(VALUE, "key")

        assert cache.get("key") == VALUE
        assert not list((tmp_path / "blobs").rglob("*.bin"))


def test_the_short_way_keeps_within_the_bounds(tmp_path):
    with UnifiedCache(tmp_path, max_entries=5, max_size=10_000) as cache:
        for number in range(30):
            cache.put(VALUE, f"{number}")
            assert len(cache) <= 5


@pytest.mark.slow
def test_a_forked_child_draws_other_generations():
    ours = [forked(new_generation) for _ in range(3)]

    assert len({*ours, new_generation()}) == 4
    assert all(0 < number < 2**63 for number in ours)


def test_a_handler_that_comes_later_is_asked_and_one_that_goes_is_not(tmp_path):
    class Doubles(Handler):
        name = "doubles"
        extension = ".x"
        data_only = True

        def can_handle(self, obj):
            return type(obj) is dict

        def put(self, obj, file_path):
            with open(file_path, "w") as file:
                file.write(repr(obj))
            return {}

        def get(self, file_path, metadata):
            return {}

    def handler_of(name):
        cache.put(VALUE, name)
        return cache.get_entry(name).handler

    with UnifiedCache(tmp_path) as cache:
        assert handler_of("a") == "json"
        register_handler(Doubles, types=("builtins.dict",))
        try:
            assert handler_of("b") == "doubles"
        finally:
            unregister_handler("doubles")
        assert handler_of("c") == "json"


@pytest.mark.parametrize(("by_type", "asked"), [(True, 1), (False, 5)])
def test_a_handler_that_decides_by_type_is_asked_once_for_each(tmp_path, by_type, asked):
    of = []

    class PointHandler(Handler):
        name = "points"
        data_only = True
        decides_by_type = by_type

        def can_handle(self, obj):
            of.append(obj)
            return type(obj) is complex

        def dumps_plain(self, obj):
            return str(obj).encode()

        def loads(self, buffer, metadata, context):
            return complex(bytes(buffer).decode())

    register_handler(PointHandler, priority=1000)
    try:
        with UnifiedCache(tmp_path) as cache:
            for number in range(2):  # has a look at the disk
                cache.put(number * 1j, "first")
            of.clear()
            plain = cache.engine.writer.small.plain_entry
            cache.engine.writer.small._recipes.clear()
            made = [plain("key", number * 1j, None, None) for number in range(5)]

            assert all(one is not None and one.handler == "points" for one in made)
            assert len(of) == asked
            assert plain("key", 1.5, None, None) is None
            assert cache.get("first") == 1j
    finally:
        unregister_handler("points")


@pytest.mark.parametrize("options", [{}, {"json": {"any": 1}}])
def test_a_handler_that_is_given_options_goes_the_long_way(tmp_path, options):
    with UnifiedCache(tmp_path, handler_options=options) as cache:
        cache.put(VALUE, "first")  # and has a look at the disk
        entry = cache.engine.writer.small.plain_entry("k", VALUE, None, None)

    assert (entry is None) is bool(options)


WAYS = {
    "key": lambda cache, value: cache.put(value, "k"),
    "params": lambda cache, value: cache.put(value, k=1),
    "params as one": lambda cache, value: cache.put(value, params={"k": 1}),
    "details": lambda cache, value: cache.put(value, "k", prefix="p", tags=["t"]),
    "batch": lambda cache, value: cache.put_batch([(value, "k")]),
    "batch with details": lambda cache, value: cache.put_batch([(value, "k")], prefix="p"),
    "computed": lambda cache, value: cache.get_or_compute(lambda: value, "k"),
}


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("way", WAYS)
def test_a_payload_is_made_once_whatever_its_size(tmp_path, way, size):
    made = []

    class TallHandler(Handler):
        name = "tall"
        data_only = True

        def can_handle(self, obj):
            return type(obj) is range

        def dumps_plain(self, obj):
            made.append(len(obj))
            return bytes(len(obj))

        def dumps(self, obj, context):
            return (self.dumps_plain(obj),), {}

        def loads(self, buffer, metadata, context):
            return range(len(buffer))

    register_handler(TallHandler, priority=1000)
    try:
        with UnifiedCache(tmp_path) as cache:
            cache.put("first", "first")  # has a look at the disk
            WAYS[way](cache, range(size))
            assert made == [size]
            (entry,) = (one for one in cache.entries() if one.handler == "tall")
            assert cache.get(entry.cache_key) == range(size)
            assert entry.logical_bytes == size
    finally:
        unregister_handler("tall")


class MarkedHandler(JsonHandler):
    """Of dicts, those with a mark; it says nothing of how it decides."""

    name = "marked"

    def can_handle(self, obj):
        return type(obj) is dict and "mark" in obj


class TurnedHandler(JsonHandler):
    """Keeps its bytes in another order than the class that it extends."""

    name = "turned"

    def dumps(self, obj, context):
        buffers, metadata = super().dumps(obj, context)
        return (b"".join(buffers)[::-1],), metadata

    def loads(self, buffer, metadata, context):
        return super().loads(memoryview(bytes(buffer)[::-1]), metadata, context)


@pytest.fixture
def registered():
    made = []

    def register(handler, **options):
        register_handler(handler, **{"priority": 1000, **options})
        made.append(handler.name)

    yield register
    for name in made:
        unregister_handler(name)


def test_what_a_handler_promises_is_no_promise_of_a_subclass_that_decides_otherwise(
    tmp_path, registered
):
    registered(MarkedHandler)
    with UnifiedCache(tmp_path) as cache:
        for number in range(3):
            cache.put({"mark": number}, f"marked {number}")
            cache.put({"x": number}, f"plain {number}")
        handlers = {entry.cache_key: entry.handler for entry in cache.entries()}

    assert set(handlers.values()) == {"marked", "json"}
    assert all(key.startswith("marked") == (name == "marked") for key, name in handlers.items())


@pytest.mark.parametrize("value", [{"a": 1}, {"a": "x" * 100_000}], ids=["small", "large"])
def test_a_subclass_that_makes_other_bytes_is_asked_for_them(tmp_path, registered, value):
    registered(TurnedHandler)
    with UnifiedCache(tmp_path, compressor="none") as cache:
        for key in ("first", "second"):
            cache.put(value, key)
            assert cache.get_entry(key).handler == "turned"
            assert cache.get(key) == value


def test_a_handler_that_comes_in_the_middle_of_a_put_is_not_given_the_bytes_of_another(
    tmp_path, registered
):
    class SecondHandler(MarkedHandler):
        name = "second"

        def can_handle(self, obj):
            return type(obj) is complex

        def dumps(self, obj, context):
            return (b"%d" % obj.imag,), {}

        def loads(self, buffer, metadata, context):
            return complex(0, int(bytes(buffer)))

    class FirstHandler(SecondHandler):
        name = "first"
        data_only = True

        def dumps_plain(self, obj):
            if not came:
                came.append(1)
                registered(SecondHandler, priority=2000)
            return b"first" * 10_000

    came = []
    registered(FirstHandler)
    with UnifiedCache(tmp_path, compressor="none") as cache:
        cache.put(3j, "k")
        assert came
        assert cache.get_entry("k").handler == "second"
        assert cache.get("k") == 3j


def test_parameters_are_taken_as_they_are_at_the_call(tmp_path):
    params = {"b": 1, "a": 1}

    class Changing(JsonHandler):
        name = "changing"

        def can_handle(self, obj):
            params["a"] = 2
            return False

    register_handler(Changing, priority=1000)
    try:
        with UnifiedCache(tmp_path) as cache:
            key = cache.put([1], params=params)
            recorded = cache.get_entry(key).params
            params["a"] = 1
            (listed,) = cache.put_batch([([1], params)])
            assert recorded == cache.get_entry(listed).params == {"b": 1, "a": 1}
            assert key == listed == cache.put([2], a=1, b=1)
    finally:
        unregister_handler("changing")


def test_a_handler_whose_type_is_imported_later_is_asked_from_then_on(
    tmp_path, registered, monkeypatch
):
    registered(MarkedHandler, types=("imported_later.Marked",))
    late = ModuleType("imported_later")
    late.Marked = dict
    with UnifiedCache(tmp_path) as cache:
        for _ in range(2):  # has a look at the disk
            cache.put({"mark": 1}, "before")
        monkeypatch.setitem(sys.modules, "imported_later", late)
        cache.put({"mark": 1}, "after")

        assert cache.get_entry("before").handler == "json"
        assert cache.get_entry("after").handler == "marked"


def test_hits_that_have_waited_are_written_by_the_put_of_each_second_that_looks_at_the_disk(
    tmp_path,
):
    def hits():
        return cache.get_entry("k").hits

    with UnifiedCache(tmp_path) as cache:
        for _ in range(2):
            cache.put(VALUE, "k")
        cache.get("k")
        engine = cache.engine
        engine.hits.reads[:] = [(key, at - 11) for key, at in engine.hits.reads]
        cache.put(VALUE, "other")
        before = hits()
        engine.upkeep().space.quiet_until = 0.0
        cache.put(VALUE, "another")

        assert (before, hits()) == (0, 1)


@pytest.mark.parametrize(
    "params",
    [{"a": 1}, {"a": 1, "b": [1, 2]}, {"a": float("nan")}, {"a": "x" * 300}, {"a": "\ud800"}],
    ids=str,
)
@pytest.mark.parametrize("secret", [(), ("a",)], ids=["told", "secret"])
def test_what_is_told_in_json_is_what_the_entry_tells(cache, params, secret):
    cache.put(VALUE, "first")  # and has a look at the disk
    plain = cache.engine.writer.small.plain_entry("k", VALUE, params, None, secret)
    cache.engine.backend.put_plain(plain)
    entry = cache.get_entry("k")

    told = {"object_type": entry.object_type, "summary": entry.summary, "params": entry.params}
    assert told["params"].keys() == {"a", "b"} & params.keys() - {*secret}
    assert plain.params == told["params"]
    assert plain.details is None or json.loads(plain.details) == told
    assert (plain.details is not None) is (params == {"a": 1} and not secret)


@pytest.mark.parametrize(
    "value",
    [(1, 2), {"a": 1}, UUID(int=7), date(2020, 1, 2), Color.RED, Text("x"), [1, (2,)], True, "x"],
    ids=repr,
)
def test_parameters_that_are_no_scalars_are_recorded_as_by_the_long_way(cache, value):
    cache.put(VALUE, "first")  # and has a look at the disk
    cache.put(VALUE, a=1, b=value)
    short = cache.get_entry(a=1, b=value)
    cache.put(VALUE, a=1, b=value, cost_seconds=2)  # which the short way does not take

    assert short.params == cache.get_entry(a=1, b=value).params
    assert short.params == summarise_params({"a": 1, "b": value})


def test_what_an_entry_tells_is_made_json_of_once_and_its_types_looked_at_once(
    tmp_path, monkeypatch
):
    def again(value):
        raise AssertionError(f"JSON of {value} is made again")

    with UnifiedCache(tmp_path) as cache:
        cache.put(VALUE, "first")  # and has a look at the disk
        with monkeypatch.context() as patched:
            patched.setattr("cacheness.backends.sqlite_rows._dump", again)
            patched.setattr("cacheness.keys.summary._SCALARS", frozenset())
            cache.put(VALUE, a=1, b="two")

        assert cache.get_entry(a=1, b="two").params == {"a": 1, "b": "two"}
