# SPDX-License-Identifier: MIT
"""A key that is remembered is the key that would be made, and a constant is compared exactly."""

import struct

from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from cacheness.keys import code
from cacheness.keys.constants import is_plain
from cacheness.keys.encoding import (
    KEY_BYTES,
    PARAMS_DOMAIN,
    CallKeys,
    FunctionKey,
    exact_bytes,
    params_bytes,
    params_digest,
    params_key,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from([0, 0.0, -0.0, False, "", "0", 1, 1.0, True, None])
)
plain = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


def strict(value):
    kind = type(value)
    if kind is float:
        return kind, struct.pack(">d", value)
    if kind in (list, tuple):
        return kind, [strict(each) for each in value]
    if kind is dict:
        return kind, [(name, strict(each)) for name, each in value.items()]
    return kind, value


@given(st.lists(st.dictionaries(st.sampled_from("ab"), scalars, max_size=2), max_size=6))
@example([{"a": 1}, {"a": True}, {"a": 1.0}, {"a": "1"}, {"a": 0.0}, {"a": -0.0}, {"b": 1}])
def test_whatever_was_asked_for_before_the_key_is_the_one_that_is_made(asked):
    function = FunctionKey("m:f", "", 1)
    calls = {names: CallKeys(function, names) for names in ((), ("a",), ("b",), ("a", "b"))}
    for params in asked + asked:
        made = blake3(PARAMS_DOMAIN + params_bytes(params)).digest(KEY_BYTES).hex()
        assert params_key(params) == made
        keys = calls[tuple(sorted(params))]
        values = tuple(params[name] for name in keys.names)
        assert keys.key("code", values) == function.rekeyed("code", params_digest(params))


def test_remembered_keys_are_those_of_the_code_that_is_asked_about():
    function = FunctionKey("m:f", "", 1)
    keys = CallKeys(function, ("a",))
    first, second = (keys.key(digest, (1,)) for digest in ("old", "new"))
    assert first != second
    assert keys.key("old", (1,)) == first == function.key("old", {"a": 1})


def test_a_buffer_is_not_taken_for_the_bytes_in_it():
    assert params_key({"a": bytearray(b"x")}) != params_key({"a": b"x"})
    assert not is_plain([b"x"])
    assert not is_plain({"a": (1, bytearray(b"x"))})


@given(plain, plain)
@example([0.0], [-0.0])
@example({"a": 1}, {"a": True})
def test_exact_bytes_are_equal_exactly_for_the_same_values(left, right):
    assert is_plain(left)
    assert (exact_bytes(left) == exact_bytes(right)) == (strict(left) == strict(right))


LIMITS = {"low": 0, "names": ["a", "b"]}


def uses_limits():
    return LIMITS["low"]


def test_a_plain_constant_counts_by_value_at_each_call():
    digest = code.CodeDigest(uses_limits)
    before = digest.current()
    changes = (("low", False), ("low", 0.0), ("names", ["a", b"b"]), ("names", ["a"]))
    try:
        for name, value in changes:
            kept, LIMITS[name] = LIMITS[name], value
            assert digest.current() != before
            LIMITS[name] = kept
            assert digest.current() == before
        LIMITS["names"].append("c")
        assert digest.current() != before
        LIMITS["names"].remove("c")
        assert digest.current() == before
        LIMITS["object"] = object()
        assert digest.current() != before
    finally:
        LIMITS.pop("object", None)
