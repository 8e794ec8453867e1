# SPDX-License-Identifier: MIT
"""Promises of the handler of JSON values."""

from __future__ import annotations

import contextlib
import enum
import json
import math
import subprocess
import sys
import tracemalloc
import uuid
from collections import OrderedDict, namedtuple
from datetime import date

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cacheness.errors import CannotHandleError
from cacheness.handlers.json import JsonHandler
from cacheness.handlers.json_bytes import plain_json
from cacheness.handlers.json_check import check_json, is_shallow
from cacheness.handlers.json_text import _Decoder, decode_with_json

HANDLER = JsonHandler()

# Every code point, halves of surrogate pairs included.
TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def identical(a, b):
    """Equal in type, value, sign of zero and order of keys, all the way down."""
    if type(a) is not type(b):
        return False
    if type(a) is dict:
        return list(a) == list(b) and all(identical(a[k], b[k]) for k in a)
    if type(a) is list:
        return len(a) == len(b) and all(map(identical, a, b))
    if type(a) is float:
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return a == b


@given(VALUES)
def test_what_is_taken_comes_back_exactly(round_trip, value):
    try:
        back = round_trip(HANDLER, value)
    except CannotHandleError:
        # Only two halves of a pair side by side, which JSON takes for one character.
        text = json.dumps(value)
        assert json.loads(text) != value
    else:
        assert identical(back, value)


@given(VALUES)
def test_both_decoders_read_what_needs_no_mark(dump, value):
    try:
        payload, metadata = dump(HANDLER, value)
    except CannotHandleError:
        return
    if not metadata:
        assert identical(decode_with_json(memoryview(payload)), value)
        assert identical(json.loads(payload), value)


@pytest.mark.parametrize(
    ("value", "marked"),
    [
        (2**64 - 1, False),
        (-(2**63), False),
        (2**64, True),
        (-(2**63) - 1, True),
        ([10**400], True),
        ("\ud800", True),
        ({"\udfff": 1}, True),
        (-0.0, False),
        (5e-324, False),
        (1e308, False),
        ("\x00\u2028\U0010ffff", False),
    ],
)
def test_only_what_orjson_would_change_is_marked_for_json(round_trip, dump, value, marked):
    assert dump(HANDLER, value)[1] == ({"decoder": "json"} if marked else {})
    assert identical(round_trip(HANDLER, value), value)


class Colour(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


class Table(dict):
    pass


Point = namedtuple("Point", "x y")
SHARED = [1]
CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [1.0, float("-inf")],
        {"a": [1, float("nan")]},
        [(1, 2)],
        {1: 2},
        {None: 2},
        {Text("a"): 1},
        [Text("a")],
        [True, Number.ONE],
        [Colour.RED],
        [Table()],
        {"a": OrderedDict()},
        [Point(1, 2)],
        [uuid.UUID(int=1)],
        [date(2020, 1, 1)],
        [b"x"],
        [{1}],
        [SHARED, SHARED],
        {"a": SHARED, "b": {"c": SHARED}},
        CYCLE,
        "\ud83d\ude00",
    ],
    ids=repr,
)
def test_what_json_would_change_is_refused(dump, value):
    with pytest.raises(CannotHandleError):
        dump(HANDLER, value)


@pytest.mark.parametrize("value", [(1,), Text("a"), Table(), Number.ONE, b"a", {1}, Colour.RED])
def test_other_types_are_not_taken(value):
    assert not HANDLER.can_handle(value)


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}])
def test_nesting_is_kept_to_a_depth_and_refused_beyond(round_trip, dump, wrap):
    value = wrap(1)
    for _ in range(249):
        value = wrap(value)
    assert round_trip(HANDLER, value) == value

    for _ in range(100_000):
        value = wrap(value)
    with pytest.raises(CannotHandleError, match="levels"):
        dump(HANDLER, value)


def test_equal_lists_that_are_not_the_same_are_kept(round_trip):
    assert round_trip(HANDLER, [[], [], {}, {}]) == [[], [], {}, {}]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_fail(MemoryContext, private, data):
    for metadata in ({}, {"decoder": "json"}):
        with contextlib.suppress(ValueError):
            HANDLER.loads(private(data), metadata, MemoryContext())


@pytest.mark.parametrize("metadata", [{}, {"decoder": "json"}])
@pytest.mark.parametrize("hostile", [b"[" * 10**6, b'{"a":' * 10**6, b"9" * 10**6])
def test_hostile_bytes_fail(MemoryContext, private, metadata, hostile):
    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(private(hostile), metadata, MemoryContext())


def test_the_decoder_changes_to_orjson_once_that_is_imported():
    import orjson

    decoder = _Decoder()

    assert decoder.decode(memoryview(b"[1]")) == [1]
    assert decoder.decode is orjson.loads


READER = """
import sys
from cacheness.handlers.json import JsonHandler
from cacheness.handlers.json_text import DECODER
handler = JsonHandler()
payload = memoryview(b'{"a": [1, 2.5, "x"]}')
for _ in range(int(sys.argv[1])):
    assert handler.loads(payload, {}, None) == {"a": [1, 2.5, "x"]}
print("orjson" in sys.modules)
"""


@pytest.mark.parametrize(("reads", "imported"), [(1, "False"), (10_000, "True")])
def test_a_process_that_reads_little_never_imports_orjson(reads, imported):
    command = [sys.executable, "-c", READER, str(reads)]

    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert output.strip() == imported


class _Colour(enum.StrEnum):
    RED = "red"


class _Name(str):
    __slots__ = ()


_SHARED = [1]
_REFUSED = st.sampled_from((math.nan, math.inf, (), (1,), b"", date(2026, 1, 1), uuid.UUID(int=0)))
_ODD = _REFUSED | st.sampled_from(
    (_Colour.RED, _Name("n"), {1}, _SHARED, {1: 2}, OrderedDict(a=1), {_Name("a"): 1}, {None: 1})
)


@given(
    st.recursive(
        SCALARS | _ODD,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    ).filter(HANDLER.can_handle)
)
@example([-(2**63) - 1, math.nan])
def test_the_quick_look_takes_what_the_thorough_one_takes(value):
    try:
        check_json(value)
    except CannotHandleError:
        with pytest.raises(CannotHandleError):
            plain_json(value)
    else:
        payload = plain_json(value)
        assert payload is None or identical(json.loads(payload), value)


def test_a_dict_that_is_changed_meanwhile_gets_the_thorough_look():
    class Changing(type):
        def __hash__(cls):
            changed.setdefault("meanwhile", 1)  # as another thread may, between any two steps
            return type.__hash__(int)

        def __eq__(cls, other):
            return other is int

    changed = {"a": Changing("One", (), {})(), "b": 1}

    assert not is_shallow(changed)
    assert "meanwhile" in changed


@pytest.mark.parametrize("container", [list, lambda values: dict(enumerate(values))])
def test_a_value_with_two_lists_gets_the_thorough_look(container):
    assert is_shallow(container([1, [2, "3"], None]))
    assert not is_shallow(container([1, [2], []]))
    assert not is_shallow(container([1, [2, []]]))
    assert not is_shallow(container([1, {}]))


def test_it_is_described_in_a_line():
    assert HANDLER.describe({"a": 1}) == "dict of 1"
    assert HANDLER.describe("abc") == "str of 3"
    assert HANDLER.describe(None) == "NoneType"


@pytest.mark.parametrize("dumps", [HANDLER.dumps_plain, lambda obj: HANDLER.dumps(obj, None)])
def test_a_payload_takes_no_more_memory_than_its_size(dumps):
    dumps([0])
    tracemalloc.start()
    try:
        kept = [dumps([number]) for number in range(500)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 500 * 500, "5 bytes each, and a few objects around them"
    assert len(kept) == 500
