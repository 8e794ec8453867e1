# SPDX-License-Identifier: MIT
"""The encoding gives different values different bytes, and equal ones the same."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
import tracemalloc
from types import MappingProxyType

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import (
    CallKeys,
    FunctionKey,
    call_key,
    encode,
    encode_params,
    params_bytes,
    params_digest,
    params_key,
    part_digests,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.binary(max_size=8)
    | st.sampled_from(["", "s1:a", "n0:", "1", 0, 1, 0.0, -0.0, 1.0, b"", b"1"])
)
hashables = st.recursive(
    scalars,
    lambda inner: st.tuples(inner) | st.tuples(inner, inner) | st.frozensets(inner),
    max_leaves=4,
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.sets(hashables, max_size=3)
    ),
    max_leaves=8,
)


def strict(value):
    """A form in which two values are equal exactly if type and content are, at every depth."""
    kind = type(value)
    if kind is float:
        return (kind, "nan" if math.isnan(value) else struct.pack(">d", value))
    if kind in (list, tuple):
        return (kind, tuple(map(strict, value)))
    if kind in (set, frozenset):
        return (kind, frozenset(map(strict, value)))
    if kind is dict:
        return (kind, frozenset((strict(k), strict(v)) for k, v in value.items()))
    return (kind, value)


@pytest.mark.slow
@settings(max_examples=150)
@given(values, values)
@example([1, [2]], [[1], 2])
@example(["a", "b"], ["ab", ""])
@example({"a": "b"}, [("a", "b")])
@example(True, 1)
@example((), [])
@example({}, set())
def test_two_values_encode_alike_exactly_if_they_are_alike(left, right):
    assert (encode(left) == encode(right)) == (strict(left) == strict(right))


@given(values)
def test_a_rebuilt_value_encodes_alike(value):
    assert encode(rebuilt(value)) == encode(value)


def rebuilt(value):
    """An equal value of new objects, with dicts and sets in reverse order of insertion."""
    kind = type(value)
    if kind in (list, tuple):
        return kind(rebuilt(element) for element in value)
    if kind in (set, frozenset):
        return kind(reversed([rebuilt(element) for element in value]))
    if kind is dict:
        return {rebuilt(k): rebuilt(v) for k, v in reversed(list(value.items()))}
    if kind is str:
        return "".join(list(value))
    return value


@pytest.mark.slow
@settings(max_examples=50)
@given(st.lists(values, max_size=3), st.lists(values, max_size=3))
def test_no_encoding_is_a_prefix_of_another_sequence(left, right):
    joined = [b"".join(map(encode, parts)) for parts in (left, right)]

    assert (joined[0] == joined[1]) == (strict(left) == strict(right))


@pytest.mark.slow
@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=4), values, max_size=4))
def test_the_order_of_parameters_does_not_matter(params):
    backwards = dict(reversed(params.items()))

    assert params_key(params) == params_key(backwards)


@given(
    st.dictionaries(st.sampled_from("abc"), scalars, max_size=3),
    st.dictionaries(st.sampled_from("abc"), scalars, max_size=3),
)
def test_parameters_share_a_key_exactly_if_they_are_alike(left, right):
    assert (params_key(left) == params_key(right)) == (strict(left) == strict(right))


def test_the_encoding_is_as_specified():
    body = b"s1:a" + b"i2:-f" + b"d8:" + struct.pack(">d", 1.5) + b"n0:t0:f0:" + b"y1:\xff"

    assert encode(["a", -15, 1.5, None, True, False, b"\xff"]) == b"l%d:%b" % (len(body), body)
    assert encode({"b": 1, "a": ()}) == b"m15:s1:au0:s1:bi1:1"
    assert encode(1j) == b"o32:s7:complexd8:" + bytes(8) + b"d8:" + struct.pack(">d", 1)
    assert encode("x" * 1024) == b"s1024:" + b"x" * 1024
    assert encode("x" * 1025) == b"s#" + blake3(b"x" * 1025).digest()


def test_a_key_is_as_specified():
    text = b"cacheness 1 params\ns1:ai1:1s1:by1:x"

    key = params_key({"b": b"x", "a": 1})

    assert key == blake3(text).hexdigest(16)
    assert len(key) == 32


def short_text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return b"u" + struct.pack("<i", len(encoded)) + encoded


def short_scalar(value: object) -> bytes:
    """The short form of docs/KEYS.md, written out."""
    if value is None or value is True or value is False:
        return {None: b"N", True: b"T", False: b"F"}[value]
    if isinstance(value, float):
        return b"g" + struct.pack("<d", value)
    if isinstance(value, str):
        return short_text(value)
    assert isinstance(value, int)
    if -(2**31) <= value < 2**31:
        return b"i" + struct.pack("<i", value)
    digits, rest = b"", abs(value)
    while rest:
        digits, rest = digits + struct.pack("<H", rest & 0x7FFF), rest >> 15
    count = len(digits) // 2
    return b"l" + struct.pack("<i", count if value > 0 else -count) + digits


def short_form(params: dict[str, object]) -> bytes:
    ordered = sorted(params, key=encode)
    return b"{%b0" % b"".join(short_text(name) + short_scalar(params[name]) for name in ordered)


short_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from([2**31, 2**31 - 1, -(2**31), -(2**31) - 1, 2**63, "\ud800", "\x7f", "\xff"])
)
short_names = st.text(st.characters(codec=None), max_size=12)


@given(st.dictionaries(short_names, short_scalars, max_size=5))
@example({"b": 1, "a": "x", "%b": 2.5, "50%": None})
@example({"a" * 10: 1, "b": 2})
@example({})
def test_a_key_of_scalars_is_as_specified(params):
    written = short_form(params)

    assert params_bytes(params) == written
    assert params_key(params) == blake3(b"cacheness 1 params\n" + written).hexdigest(16)
    function = FunctionKey("f", "", None)
    assert params_digest(params) == blake3(written).hexdigest()
    keys = CallKeys(function, params)
    values = tuple(params[name] for name in keys.names)
    assert keys.key("d", values) == function.key("d", params)


@pytest.mark.parametrize("length", [1010, 1011, 1012, 1013, 5000])
def test_a_long_text_has_no_short_form(length):
    params = {"x": "y" * length}
    written = short_form(params)
    long = b"s1:x" + encode(params["x"])
    expected = written if len(written) <= 1024 else long

    assert params_bytes(params) == expected
    assert params_key(params) == blake3(b"cacheness 1 params\n" + expected).hexdigest(16)


def test_what_is_no_number_has_one_key_whatever_its_bits():
    nans = [
        struct.unpack("<Q", struct.pack("<d", float("nan")))[0] ^ bits for bits in (0, 1, 1 << 63)
    ]
    params = [{"x": struct.unpack("<d", struct.pack("<Q", bits))[0], "y": 1} for bits in nans]
    long = b"s1:x" + encode(float("nan")) + b"s1:yi1:1"

    assert {params_bytes(one) for one in params} == {long}
    assert len({params_key(one) for one in params}) == 1
    assert params_key({"x": float("inf")}) != params_key({"x": float("-inf")})


def test_a_call_is_no_set_of_parameters_and_each_part_of_it_counts():
    base = ("module:f", "", 1, "aa" * 16, {"x": 1})
    others = [
        ("module:g", "", 1, "aa" * 16, {"x": 1}),
        ("module:f", "p", 1, "aa" * 16, {"x": 1}),
        ("module:f", "", "1", "aa" * 16, {"x": 1}),
        ("module:f", "", 1, "bb" * 16, {"x": 1}),
        ("module:f", "", 1, "aa" * 16, {"x": 2}),
        ("module:f", "", 1, "aa" * 16, {}),
    ]

    keys = {call_key(*call) for call in [base, *others]} | {params_key({"x": 1})}

    assert len(keys) == 8


def test_a_key_from_pieces_is_the_key():
    function = FunctionKey("module:f", "", 1)
    params = {"x": [1.0] * 5000, "a": "b"}

    pieces = encode_params(params)

    assert part_digests(params, pieces) == part_digests(params)
    assert params_digest(params, pieces) == params_digest(params)
    assert function.rekeyed("d", params_digest(params, pieces)) == function.key("d", params)
    assert function.rekeyed("e", params_digest(params, pieces)) == function.key("e", params)


def test_part_digests_tell_which_parameter_differs():
    before = part_digests({"x": 1, "y": [1, 2], "z": "same"})
    after = part_digests({"z": "same", "y": [1, 3], "x": 1.0})

    assert {name for name in "xyz" if before[name] != after[name]} == {"x", "y"}
    assert len(before["x"]) == 16


def test_shared_parts_are_encoded_once():
    # given a structure of 2**60 paths
    value = ["leaf" * 500]
    for _ in range(60):
        value = [value, value]

    # when and then: it is encoded at all, and as if nothing were shared
    assert encode(value).startswith(b"l#")
    small = ["leaf" * 500]
    assert encode([small, small]) == encode([["leaf" * 500], ["leaf" * 500]])


def test_a_name_that_is_no_string_is_refused():
    with pytest.raises(UnhashableParameterError, match="named 1"):
        params_key({1: "a"})


def test_a_version_without_a_value_is_refused():
    with pytest.raises(UnhashableParameterError, match="'version'.*object"):
        FunctionKey("module:f", "", object())


def test_names_that_are_equal_strings_share_a_plan():
    class Name(str):
        __slots__ = ()

    assert params_key({Name("a"): 1}) == params_key({"a": 1})
    assert params_key({Name("a"): [1]}) == params_key({"a": [1]})
    assert params_key(MappingProxyType({"b": 2, "a": 1})) == params_key({"a": 1, "b": 2})


@pytest.mark.parametrize("value", ["\ud800", "é" * 63, "é" * 40, "x" * 63, "x" * 64], ids=ascii)
def test_a_text_is_encoded_alike_as_a_parameter_and_inside(value):
    assert encode_params({"x": value})[1] == encode(value)


@pytest.mark.parametrize("letter", ["a", "é", "\ud83d", "\U0001f600", "a\udc00"], ids=ascii)
@pytest.mark.parametrize("length", [1 << 20, (1 << 20) + 1, (8 << 20) + 3])
def test_a_long_text_is_encoded_by_the_digest_of_all_of_it(letter, length):
    text = (letter * length)[:length]
    whole = b"s#" + blake3(text.encode("utf-8", "surrogatepass")).digest()

    assert encode(text) == whole
    assert encode_params({"text": text})[1] == whole


def test_a_long_text_is_not_copied_as_a_whole():
    text = "text " * (10 << 20)
    tracemalloc.start()
    try:
        encode_params({"text": text, "more": [text]})
        params_bytes({"text": text, "n": 1})
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 12 << 20


@pytest.mark.parametrize("value", [16**62, 16**63, -(16**63), 10**5000], ids=hash)
def test_an_integer_is_encoded_alike_as_a_parameter_and_inside(value):
    assert encode_params({"x": value})[1] == encode(value)
    assert int(encode(value).partition(b":")[2], 16) == value if value < 16**64 else True


def test_making_a_key_imports_little():
    code = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "from cacheness.keys.encoding import FunctionKey, params_key\n"
        "params_key({'a': 1, 'b': [1.5, {'c': None}], 'd': 'e'})\n"
        "FunctionKey('f', '', 1).key('', {'a': (1, 'b')})\n"
        "print(*sorted(set(sys.modules) - before))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    allowed = {"cacheness", "blake3", "struct", "operator", "__future__", "warnings"}
    allowed |= {f"_{name}" for name in allowed}
    assert [name for name in loaded if name.partition(".")[0] not in allowed] == []


class Named(str):
    """Shows another text than it is, as a `str` with a mixed-in `Enum` does."""

    __slots__ = ()

    def __str__(self):
        return f"Named.{super().__str__()}"


def test_a_name_counts_as_the_text_that_it_is_whatever_it_shows():
    for first, second in (({Named("a"): 1}, {"a": 1}), ({"c": 1, "d": 1}, {"d": 1, "c": 1})):
        assert params_key(first) == params_key(second)
        assert params_bytes(first) == params_bytes(second)
        assert encode_params(first) == encode_params(second)
    assert params_key({Named("a"): 1, "Named.a": 2}) != params_key({"Named.a": 2})
    assert params_key({Named("a"): [1]}) == params_key({"a": [1]})
    function = FunctionKey("f", "", None)
    calls = CallKeys(function, ["a"])
    assert calls.key("d", (1,)) == function.key("d", {"a": 1})
    assert [type(name) for name in calls.names] == [str]  # which is compiled into a wrapper
    assert [type(name) for name in part_digests({Named("z"): 1})] == [str]
    assert [type(name) for name in CallKeys(function, ["z"]).names] == [str]


class Unequal(str):
    """As no other text is, not even the one that it is."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other


def test_a_name_that_equals_no_text_counts_as_the_text_that_it_is():
    for value in (1, [1]):
        assert params_key({Unequal("a"): value}) == params_key({"a": value})
        assert params_bytes({Unequal("a"): value}) == params_bytes({"a": value})
