# SPDX-License-Identifier: MIT
"""What an entry keeps of its parameters is short, JSON, and tells nothing secret."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cacheness import UnifiedCache
from cacheness.keys.encoding import part_digests
from cacheness.keys.summary import as_recorded, summarise_params

plain = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=200)
)
anything = st.recursive(
    plain
    | st.floats()
    | st.binary()
    | st.text(max_size=500)
    | st.integers()
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner)
    ),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=5), plain, max_size=5))
def test_scalars_stay_as_they_are(params):
    assert summarise_params(params) == params


@pytest.mark.slow
@settings(max_examples=40)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), anything, max_size=5))
def test_every_summary_is_short_json_that_reads_back(params):
    summary = summarise_params(params)

    text = json.dumps(summary, allow_nan=False)
    assert json.loads(text) == summary
    assert summary.keys() == params.keys()
    assert len(text) < 100_000


@pytest.mark.parametrize(
    "value",
    [
        *(float(text) for text in ("nan", "inf", "-inf")),
        *(2**63, 2**64 - 1, -(2**63) - 1, 2**100),
        *("a\0b", "\ud800", "x" * 201),
    ],
    ids=ascii,
)
def test_a_scalar_that_json_or_a_database_would_change_is_told_in_a_line(value):
    told = summarise_params({"a": 1, "value": value, "b": "text"})

    assert (told["a"], told["b"]) == (1, "text")
    assert told["value"] != value
    assert "digest" in told["value"]


@pytest.mark.parametrize(
    "value", [None, "null", "\\u0000", 2**53, 2**63 - 1, -(2**63), "x" * 200, "\x1f"], ids=ascii
)
def test_a_scalar_that_only_looks_like_one_of_these_stays(value):
    assert summarise_params({"a": 1, "value": value}) == {"a": 1, "value": value}


def test_short_containers_stay_as_they_are():
    params = {"names": ["a", "b"], "grid": {"lr": [0.1, 0.2], "deep": {"x": None}}, "none": []}

    assert summarise_params(params) == params


def test_of_larger_things_there_is_a_line_with_a_digest():
    params = {
        "text": "x" * 1000,
        "many": list(range(1000)),
        "array": np.zeros((1000, 50)),
        "tuple": (1, 2),
        "nan": float("nan"),
        "function": len,
    }
    digests = part_digests(params)

    summary = summarise_params(params, digests=digests)

    assert summary == summarise_params(params)
    assert summary["text"] == f"str of 1000, digest {digests['text']}"
    assert summary["many"] == f"list of 1000, digest {digests['many']}"
    assert summary["array"].startswith("float64 (1000, 50)")
    assert summary["array"].endswith(f"digest {digests['array']}")
    assert summary["tuple"] == f"tuple of 2, digest {digests['tuple']}"
    assert summary["nan"] == f"float nan, digest {digests['nan']}"
    assert all(len(line) < 100 for line in summary.values())


def test_of_what_is_secret_there_is_nothing():
    params = {"token": "hunter2", "keys": {"token": "hunter3"}, "x": 1}

    summary = summarise_params(params, secret=("token", "keys"))

    assert summary == {"x": 1}
    assert "token" in params


def test_what_has_no_fingerprint_is_described_all_the_same():
    assert summarise_params({"lock": threading.Lock()}) == {"lock": "_thread.lock, digest none"}


class Loud:
    """Its text takes seconds, as that of a large object may."""

    def __init__(self):
        self.size = 10**6

    def __repr__(self):
        raise AssertionError("it was formatted")

    __str__ = __repr__

    def __format__(self, _):
        return repr(self)


class LoudList(list):
    __repr__ = __str__ = Loud.__repr__


@pytest.mark.parametrize(
    "value",
    [Loud(), [Loud()] * 100, {"a": Loud()}, (Loud(),), LoudList([1]), {1: LoudList()}],
    ids=lambda value: type(value).__name__,
)
def test_no_argument_is_ever_formatted(tmp_path, value):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, a=value)
        assert cache.get(a=value) == 1
        assert "digest" in cache.get_entry(a=value).params["a"]

        @cache.cached
        def f(a):
            return 2

        assert f(value) == f(value) == 2
        assert f.cache_info().hits == 1
        assert f.cache_explain(value)


@given(
    st.dictionaries(st.text(max_size=5), plain | anything, max_size=4),
    st.sampled_from(["dict of 3", "null", "a\0b", "\ud800", "x" * 300]),
)
@example({"a": 1, "b": "two"}, "dict of 3")
@example({}, "dict of 3")
def test_json_is_made_at_once_of_what_is_recorded_as_it_is(params, summary):
    details = {"summary": summary, "params": params}

    text = as_recorded(details)

    assert text or params not in ({}, {"a": 1, "b": "two"}) or summary != "dict of 3"
    if text is not None:
        assert json.loads(text) == details
        assert summarise_params(params) == params
