# SPDX-License-Identifier: MIT
"""Promises of the handler of containers."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import struct
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheness.errors import CannotHandleError, SerializationError, SignatureError
from cacheness.handlers.base import BufferHandler
from cacheness.handlers.bytes import BytesHandler
from cacheness.handlers.container import ContainerHandler
from cacheness.handlers.json import JsonHandler
from cacheness.handlers.numpy import NumpyHandler
from cacheness.handlers.pickle import PickleHandler

HANDLER = ContainerHandler()
ALL = (BytesHandler(), JsonHandler(), NumpyHandler(), HANDLER, PickleHandler())
PARTS = (BytesHandler(), JsonHandler(), NumpyHandler(), PickleHandler())


@pytest.fixture(scope="module")
def new(MemoryContext):
    def make(handlers=ALL, **options: Any):
        context = MemoryContext(handlers, **options)
        # As in the core, a container's own handler is never asked for a part.
        context.encode_parts = lambda: encode_parts(context)
        return context

    def encode_parts(context):
        for obj in context.parts:
            handlers, context.handlers = context.handlers, PARTS
            context.encoded.append(context._encode(obj))
            context.handlers = handlers

    return make


class Point(NamedTuple):
    x: Any
    y: Any


Bare = namedtuple("Bare", "array")


@dataclass
class Plain:
    array: Any
    name: str = "n"


@dataclass(frozen=True)
class Frozen:
    array: Any

    @cached_property
    def total(self):
        return float(np.sum(self.array))


@dataclass(slots=True)
class Slotted:
    array: Any
    other: Any = None


@dataclass(frozen=True, slots=True)
class FrozenSlotted:
    array: Any
    names: list = field(default_factory=list)


@dataclass
class Child(Plain):
    more: Any = 3


class Inheriting(Plain):
    pass


@dataclass
class Counting:
    array: Any
    made = 0

    def __post_init__(self):
        type(self).made += 1
        if self.array is None:
            raise ValueError("needs an array")


def identical(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return len(a) == len(b) and all(
            identical(k, j) and identical(v, w)
            for (k, v), (j, w) in zip(a.items(), b.items(), strict=True)
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, Plain):
        return identical(vars(a), vars(b))
    if type(a) is float:
        return struct.pack("d", a) == struct.pack("d", b)
    return a == b


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=4)
)
KEYS = SCALARS | st.tuples(SCALARS, SCALARS)
LEAVES = SCALARS | st.binary(max_size=9) | st.integers(0, 3).map(np.arange)
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.tuples(inner, inner).map(lambda pair: Point(*pair))
        | inner.map(Plain)
    ),
    max_leaves=12,
)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=80)
@given(NESTED)
def test_containers_with_arrays_come_back_exactly(round_trip, new, inner):
    value = [inner, np.arange(2)]

    assert identical(round_trip(HANDLER, value, new()), value)


@given(PLAIN)
def test_plain_containers_come_back_exactly_and_ask_for_no_signature(round_trip, new, inner):
    value = (inner, 1.0)
    context = new(allow_pickle=False)

    assert identical(round_trip(HANDLER, value, context), value)
    assert not context.signature_required
    assert context.parts == []


def test_leaves_go_to_their_own_handlers(dump, new):
    context = new()
    array, data = np.zeros(3), b"x"

    dump(HANDLER, {"a": array, "b": [data, {"c": 1}]}, context)
    context.encode_parts()

    assert [handler.name for handler, _, _ in context.encoded] == ["numpy", "bytes"]


def test_what_occurs_twice_is_stored_once_and_occurs_twice(round_trip, new):
    array, inner = np.zeros(3), [1]
    pair, instance = (inner, 2), Plain(array)
    context = new()

    back = round_trip(
        HANDLER,
        {"a": array, "b": array, "l": [inner, inner], "p": [pair, pair], "d": [instance, instance]},
        context,
    )

    assert len(context.parts) == 1
    assert back["a"] is back["b"]
    assert back["l"][0] is back["l"][1]
    assert back["p"][0][0] is back["l"][0]
    assert back["p"][0] is back["p"][1]
    assert back["d"][0] is back["d"][1]
    assert back["d"][0].array is back["a"]


def test_shared_containers_cost_what_they_hold_once(dump, new):
    value: Any = [np.zeros(1)]
    for _ in range(60):
        value = [value, value]

    assert len(dump(HANDLER, value, new())[0]) < 10_000


@pytest.mark.parametrize(
    "make",
    [Point._make, Bare._make, Plain, Frozen, Slotted, FrozenSlotted, Child, Inheriting],
    ids=lambda make: getattr(make, "__qualname__", "")[:20],
)
def test_classes_come_back_exactly_under_a_signature(round_trip, new, make):
    if make in (Point._make, Bare._make):
        value = make([np.arange(2), "y"][: 2 if make == Point._make else 1])
    else:
        value = make(np.arange(2))
    context = new()

    back = round_trip(HANDLER, value, context)

    assert type(back) is type(value)
    assert repr(back) == repr(value)
    assert context.signature_required


def test_attributes_beside_the_fields_are_kept_and_missing_ones_stay_missing(round_trip, new):
    frozen, plain, slotted = Frozen(np.arange(3)), Plain(np.arange(2)), Slotted(np.arange(2))
    assert frozen.total == 3
    plain.extra = [1]
    del plain.name
    del slotted.other

    back = round_trip(HANDLER, [frozen, plain, slotted], new())

    assert back[0].__dict__["total"] == 3
    assert back[1].extra == [1]
    assert "name" not in back[1].__dict__
    assert not hasattr(back[2], "other")


def test_instances_are_made_without_calling_their_methods(round_trip, new):
    value = Counting(np.arange(2))
    value.array = None
    made = Counting.made

    assert round_trip(HANDLER, [value, np.zeros(1)], new())[0].array is None
    assert Counting.made == made


def test_pickled_leaves_share_what_they_shared(round_trip, new):
    shared = {1, 2}
    one, two = OrderedDict(s=shared), OrderedDict(s=shared)
    context = new()

    back = round_trip(HANDLER, {"a": np.zeros(1), "o": one, "t": two, "again": one}, context)

    assert len(context.parts) == 2
    assert back["o"]["s"] is back["t"]["s"]
    assert back["again"] is back["o"]


def test_a_handler_of_the_class_itself_goes_first(round_trip, new):
    class PlainHandler(BufferHandler):
        name = "mine"
        data_only = True

        def can_handle(self, obj):
            return type(obj) is Plain

        def dumps(self, obj, context):
            return [b""], {"name": obj.name}

        def loads(self, buffer, metadata, context):
            return Plain(None, metadata["name"])

    context = new((PlainHandler(), *ALL))
    context.encode_parts = type(context).encode_parts.__get__(context)

    back = round_trip(HANDLER, [Plain(1, "mine"), np.zeros(1)], context)

    assert back[0] == Plain(None, "mine")
    assert not context.signature_required


@pytest.mark.parametrize("depth", [10_000])
def test_nesting_of_any_depth_comes_back(round_trip, new, depth):
    value: Any = np.zeros(1)
    for _ in range(depth):
        value = (value,)

    back = round_trip(HANDLER, value, new())

    for _ in range(depth):
        (back,) = back
    assert back.shape == (1,)


# --- what it leaves to others ------------------------------------------------------------

CYCLE: list[Any] = [np.zeros(1)]
CYCLE.append({"again": CYCLE})


class WithState(Plain):
    def __getstate__(self):
        return {}


class WithReduce(Plain):
    def __reduce__(self):
        return (Plain, (None,))


@dataclass
class Error(Exception):
    array: Any


@dataclass
class Mapping(dict):
    array: Any


class Colour(enum.Enum):
    RED = 1


def local_class():
    @dataclass
    class Local:
        array: Any

    return Local


class Table(dict):
    pass


@pytest.mark.parametrize(
    "value",
    [
        CYCLE,
        {b"bytes": np.zeros(1)},
        {(1, (2, 3)): np.zeros(1)},
        {Colour.RED: np.zeros(1)},
        {frozenset(): np.zeros(1)},
        [WithState(np.zeros(1))],
        [WithReduce(np.zeros(1))],
        [Error(np.zeros(1))],
        [Mapping(np.zeros(1))],
        [local_class()(np.zeros(1))],
        [{1}],
        [Decimal(1), "nothing better"],
        Plain("nothing better"),
        Point(1, 2),
        list(map(float, range(10_001))),
        [bytes([i % 256]) for i in range(2000)],
    ],
    ids=lambda v: repr(v)[:30],
)
def test_what_pickle_keeps_better_is_refused(dump, new, value):
    with pytest.raises(CannotHandleError):
        dump(HANDLER, value, new())


@pytest.mark.parametrize("value", [Table(), OrderedDict(), "text", {1}, Plain, Point, 1.0, None])
def test_other_types_are_not_taken(value):
    assert not HANDLER.can_handle(value)


def test_without_pickle_large_plain_containers_are_taken(round_trip, new):
    value = {"numbers": [float(i) for i in range(20_000)] + [float("nan")], 1: (2**70,)}

    assert identical(round_trip(HANDLER, value, new(allow_pickle=False)), value)


@pytest.mark.parametrize("value", [[Decimal(1), np.zeros(1)], Plain(np.zeros(1)), Point(1, 2)])
def test_without_pickle_what_needs_it_is_refused(dump, new, value):
    with pytest.raises(CannotHandleError):
        dump(HANDLER, value, new(allow_pickle=False))


# --- reading what it should not -----------------------------------------------------------


def test_a_class_is_imported_only_under_a_signature(new, private):
    manifest = {
        "root": ["node", 0],
        "nodes": [{"class": "antigravity:x", "fields": [], "namedtuple": []}],
    }
    context = new(verified=False)

    with pytest.raises(SignatureError):
        HANDLER.loads(private(json.dumps(manifest).encode()), {}, context)
    assert "antigravity" not in sys.modules
    assert context.asked == ["the class antigravity:x"]


def test_pickled_leaves_are_read_only_under_a_signature(dump, new, private):
    context = new()
    payload, metadata = dump(HANDLER, [Decimal(1), np.zeros(1)], context)
    context.encode_parts()

    with pytest.raises(SignatureError):
        HANDLER.loads(private(payload), metadata, context.reading(verified=False))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"class": f"{__name__}:Plain"}, "array, name"),
        ({"class": f"{__name__}:Gone"}, "Gone"),
        ({"class": f"{__name__}:identical"}, "no namedtuple"),
        ({"class": "no_such_module:Plain"}, "no_such_module"),
        ({"class": "not a name"}, "not a name"),
    ],
)
def test_a_class_that_changed_is_told(new, private, changed, says):
    node = {"fields": ["array"], "dataclass": [1], "attributes": ["array"], "slots": []} | changed

    with pytest.raises(SerializationError, match=says):
        HANDLER.loads(
            private(json.dumps({"root": ["node", 0], "nodes": [node]}).encode()), {}, new()
        )


PLAIN_NODE = {
    "class": f"{__name__}:Plain",
    "fields": ["array", "name"],
    "attributes": ["array"],
    "slots": [],
}


@pytest.mark.parametrize(
    "manifest",
    [
        [],
        {},
        3,
        {"root": ["node", 0], "nodes": []},
        {"root": ["node", -1], "nodes": [{"list": []}]},
        {"root": ["node", True], "nodes": [{"list": []}]},
        {"root": ["node", 0], "nodes": [{"list": [["node", 0]]}]},
        {"root": ["node", 0], "nodes": [{"list": [["node", 1]]}, {"list": []}]},
        {"root": ["node"], "nodes": []},
        {"root": ["eval", "1"], "nodes": []},
        {"root": [["list"], 1], "nodes": []},
        {"root": ["part", 0], "nodes": []},
        {"root": ["part", {"part": 7}], "nodes": []},
        {"root": ["part", {"part": "0"}], "nodes": []},
        {"root": ["pickled", 0], "nodes": []},
        {"root": ["pickled", 0], "pickled": {"part": 0}, "nodes": []},
        {"root": ["int", 12], "nodes": []},
        {"root": ["int", "zz"], "nodes": []},
        {"root": ["float", "00"], "nodes": []},
        {"root": ["float", "zz"], "nodes": []},
        {"root": ["str", "ff"], "nodes": []},
        {"root": ["str", 5], "nodes": []},
        {"root": 1, "nodes": [[]]},
        {"root": 1, "nodes": [{"set": []}]},
        {"root": 1, "nodes": [{"list": 3}]},
        {"root": 1, "nodes": [{"list": {"a": 1}}]},
        {"root": 1, "nodes": [{"dict": [1], "values": []}]},
        {"root": 1, "nodes": [{"list": []}, {"dict": [["node", 0]], "values": [1]}]},
        {"root": 1, "nodes": [PLAIN_NODE]},
        {"root": 1, "nodes": [PLAIN_NODE | {"dataclass": []}]},
        {"root": 1, "nodes": [PLAIN_NODE | {"dataclass": [1], "attributes": [["a"]]}]},
        {"root": 1, "nodes": [PLAIN_NODE | {"dataclass": [1], "attributes": [], "slots": [3]}]},
        {
            "root": 1,
            "nodes": [PLAIN_NODE | {"dataclass": [1], "attributes": [], "slots": ["__dict__"]}],
        },
        {"root": 1, "nodes": [PLAIN_NODE | {"namedtuple": [1]}]},
        {"root": 1, "nodes": [PLAIN_NODE | {"class": 3, "dataclass": [1]}]},
        {"root": 1, "nodes": [{"class": f"{__name__}:Point", "fields": 3, "namedtuple": [1]}]},
    ],
    ids=str,
)
def test_a_manifest_that_is_none_fails(new, private, manifest):
    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(private(json.dumps(manifest).encode()), {}, new())


def test_a_deeply_nested_manifest_fails(new, private):
    hostile = b'{"nodes": [], "root": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(private(hostile), {}, new())


@pytest.mark.slow
@settings(max_examples=100)
@given(st.data())
def test_changed_bytes_fail_or_give_something(dump, new, private, data):
    context = new()
    payload, _ = dump(HANDLER, {"a": np.zeros(2), "b": [(1, float("nan")), "x"]}, context)
    context.encode_parts()
    changed = bytearray(payload)
    for position in data.draw(st.lists(st.integers(0, len(payload) - 1), max_size=3)):
        changed[position] = data.draw(st.integers(32, 126))
    with contextlib.suppress(ValueError, SignatureError):
        HANDLER.loads(private(bytes(changed)), {}, context.reading(verified=False))


def test_floats_that_are_not_finite_keep_their_bits(round_trip, new):
    odd = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]

    back = round_trip(HANDLER, (odd, math.inf, -math.inf, -0.0), new())

    assert struct.pack(">4d", *back) == struct.pack(">4d", odd, math.inf, -math.inf, -0.0)


def test_it_is_described_in_a_line():
    assert HANDLER.describe({"a": 1}) == "dict of 1"
    assert HANDLER.describe(Point(1, 2)) == "Point of 2"
    assert HANDLER.describe(Plain(1)) == "Plain"


ROWS = [{"id": i, "tags": ["a"], "score": i / 3} for i in range(200)]


def test_long_lists_that_json_keeps_stand_in_the_manifest_as_they_are(dump, round_trip, new):
    value = {"array": np.zeros(1), "rows": ROWS, "again": ROWS}

    back = round_trip(HANDLER, value, new())

    assert json.loads(dump(HANDLER, value, new())[0])["nodes"][0] == {"json": ROWS}
    assert identical(back["rows"], ROWS)
    assert back["rows"] is back["again"]


@pytest.mark.parametrize("first", ["rows", "row"])
def test_what_is_shared_with_the_inside_of_a_long_list_stays_shared(round_trip, new, first):
    value = {"array": np.zeros(1), "rows": ROWS, "row": ROWS[7]["tags"], "more": list(ROWS)}
    value = {first: value[first], **value}

    back = round_trip(HANDLER, value, new())

    assert identical(back, value)
    assert back["row"] is back["rows"][7]["tags"]
    assert back["rows"][3] is back["more"][3]


@pytest.mark.parametrize("odd", [2**70, "\ud800", float("nan"), (1,)])
def test_a_long_list_with_what_json_lacks_comes_back(round_trip, new, odd):
    value = [np.zeros(1), [*ROWS, odd]]

    assert identical(round_trip(HANDLER, value, new()), value)


@dataclass
class LongRows(list):
    array: Any = None


def test_a_dataclass_that_is_a_list_is_not_taken_for_its_contents(dump, new):
    rows = LongRows()
    rows.extend([{1}] * 100)

    with pytest.raises(CannotHandleError):
        dump(HANDLER, [rows, np.zeros(1)], new())
