# SPDX-License-Identifier: MIT
"""A filter means one thing, whatever the backend."""

from __future__ import annotations

import datetime
import enum
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheness.errors import ConfigError
from cacheness.filters import Condition, Filter, eviction_order
from cacheness.naming import RESERVED
from cacheness.testing.strategies import json_values
from cacheness.worth import cost_rank

SUMMARY: dict[str, Any] = {
    "namespace": "",
    "cache_key": "k",
    "generation": 7,
    "prefix": "train",
    "description": "A run",
    "params": {
        "lr": 0.1,
        "n": 1,
        "flag": True,
        "text": "1",
        "none": None,
        "list": [1, "a", [2]],
        "dict": {"a": {"b": 1}},
        "model__alpha": 0.5,
        "description": "hashed",
        "x__gt": 5,
        "meta__x": 6,
    },
    "metadata": {"shape": [2, 3]},
    "custom_metadata": {"run": {"id": 7, "none": None}, "owner": "me"},
    "tags": ("etl", "daily"),
    "hits": 3,
    "pinned": False,
    "function": None,
    "created_at": 1000.0,
    "stored_bytes": 100,
}


def matches(**filters: Any) -> bool:
    return Filter.parse(filters).matches(SUMMARY)


@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"lr": 0.1},
        {"n": 1.0},
        {"n": np.int64(1)},
        {"lr": np.float64(0.1)},
        {"n__in": {1, 2}},
        {"n__in": (x for x in [3, 1])},
        {"flag": True},
        {"flag": np.bool_(True)},
        {"flag__ne": 1},
        {"text": "1"},
        {"text__ne": 1},
        {"none": None},
        {"none__ne": 0},
        {"none__in": [None]},
        {"list": [1, "a", [2]]},
        {"list": (1.0, "a", (2,))},
        {"list__contains": "a"},
        {"list__contains": 1},
        {"dict": {"a": {"b": 1}}},
        {"text__lt": "2"},
        {"text__startswith": ""},
        {"lr__gt": 0, "lr__lt": 1, "n__gte": 1, "text__lte": "1"},
        {"model__alpha": 0.5},
        {"model__alpha__gt": 0.4},
        {"params": {"description": "hashed", "meta__x": 6}},
        {"params": {"description__contains": "ash"}},
        {"x__gt__in": [5]},
        {"prefix": "train"},
        {"prefix__startswith": "tr"},
        {"tags": "etl"},
        {"tags": ["daily", "etl"]},
        {"tags__contains": "etl"},
        {"tags__in": ["etl", "other"]},
        {"tags__ne": "other"},
        {"tags": []},
        {"entry__tags": "etl"},
        {"meta__owner": "me"},
        {"meta__run__id__gte": 7},
        {"meta__run__none": None},
        {"entry__hits__gt": 2},
        {"entry__pinned": False},
        {"entry__function": None},
        {"entry__description__contains": "run"},
        {"entry__metadata__shape": [2, 3]},
        {"entry__params__dict__a__b": 1},
        {"entry__created_at__lt": datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)},
    ],
)
def test_what_a_filter_selects(filters: dict[str, Any]) -> None:
    assert matches(**filters)


@pytest.mark.parametrize(
    "filters",
    [
        {"n": True},
        {"n": "1"},
        {"flag": 1},
        {"flag__gt": 0},
        {"flag__in": [1]},
        {"text": 1},
        {"text__gt": 0},
        {"n__gt": "0"},
        {"none__lt": 1},
        {"none__ne": None},
        {"missing": None},
        {"missing__ne": 1},
        {"missing__in": [None]},
        {"list": [True, "a", [2]]},
        {"list__contains": 2},
        {"list__contains": True},
        {"list__startswith": "1"},
        {"n__contains": 1},
        {"n__in": []},
        {"dict": {"a": {"b": 1}, "c": 2}},
        {"dict__a": {"b": 1}},
        {"text__startswith": "2"},
        {"prefix": "Train"},
        {"tags": "et"},
        {"tags": ["etl", "other"]},
        {"tags__ne": ["etl", "other"]},
        {"tags__in": []},
        {"meta__run__id__x": None},
        {"meta__other__ne": 1},
        {"entry__hits": True},
        {"lr": 0.1, "n": 2},
    ],
)
def test_what_a_filter_leaves_out(filters: dict[str, Any]) -> None:
    assert not matches(**filters)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"entry__nonsense": 1}, "no field 'nonsense'.*there are: namespace"),
        ({"entry__inline": b""}, "no field 'inline'"),
        ({"entry__hits__typo": 1}, "'hits' has no parts, and the suffixes are: __ne"),
        ({"description": "x"}, "entry__description for the entry's own, or params="),
        ({"description__contains": "x"}, "entry__description__contains"),
        ({"custom_metadata": {}}, "meta__NAME"),
        ({"handler": "x"}, "entry__handler"),
        ({"where": 1}, "params="),
        ({"params": 1}, "no mapping"),
        ({"n__gt": True}, "only numbers and text have an order"),
        ({"n__gt": None}, "only numbers and text have an order"),
        ({"n__lt": [1]}, "only numbers and text have an order"),
        ({"n__in": "abc"}, "give a list"),
        ({"n__in": 1}, "give a list"),
        ({"n__contains": [1]}, "give a substring, or one element"),
        ({"n__startswith": 1}, "give a str"),
        ({"n": object()}, "a object can't be compared"),
        ({"n": {1: 2}}, "key 1, which is no str"),
        ({"n": b"x"}, "a bytes can't be compared"),
        ({"n": np.zeros(2)}, "a ndarray can't be compared"),
        ({"tags": 1}, "give a tag or several"),
        ({"tags__gt": "a"}, "tags take no suffix but"),
        ({"tags__startswith": "a"}, "tags take no suffix but"),
    ],
)
def test_what_means_nothing_is_an_error_that_says_what_does(
    filters: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        Filter.parse(filters)


def test_not_a_number_selects_nothing_and_says_so() -> None:
    with pytest.raises(ConfigError, match="NaN"):
        Filter.parse({"n": [1, float("nan")]})


@pytest.mark.parametrize("name", sorted(RESERVED - {"params", "prefix", "tags"}))
def test_no_reserved_name_is_a_parameter_unless_in_params(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        Filter.parse({name: 1})

    (condition,) = Filter.parse({"params": {name: 1}}).conditions
    assert condition == Condition(("params", name), "eq", 1)


def test_values_are_plain_json() -> None:
    class Level(enum.IntEnum):
        HIGH = 3

    class Text(str):
        __slots__ = ()

    parsed = Filter.parse({"a": Level.HIGH, "b": Text("t"), "c": (1, (2,)), "d__in": {4}})

    values = [condition.value for condition in parsed.conditions]
    assert values == [3, "t", [1, [2]], (4,)]
    assert [type(value) for value in values] == [int, str, list, tuple]


@pytest.mark.slow
@given(json_values(), json_values(), st.sampled_from(["", "__ne", "__contains", "__in"]))
def test_comparing_any_values_never_raises(stored: Any, wanted: Any, suffix: str) -> None:
    if suffix == "__in":
        wanted = [wanted]
    if suffix == "__contains" and isinstance(wanted, (list, dict)):
        wanted = None

    selected = Filter.parse({"params": {f"x{suffix}": wanted}})

    assert selected.matches({"params": {"x": stored}}) in (True, False)
    assert not selected.matches({"params": {}})


@given(json_values())
def test_every_value_is_equal_to_itself_and_nothing_else(value: Any) -> None:
    summary = {"params": {"x": value}}

    assert Filter.parse({"x": value}).matches(summary)
    assert Filter.parse({"x__in": [value]}).matches(summary)
    assert not Filter.parse({"x__ne": value}).matches(summary)
    assert not Filter.parse({"x": [value]}).matches(summary)


# --- the order of eviction --------------------------------------------------------------


def order(policy: str, *summaries: dict[str, Any]) -> str:
    return "".join(s["cache_key"] for s in sorted(summaries, key=eviction_order(policy)))


def entry(cache_key: str, **fields: Any) -> dict[str, Any]:
    defaults = {"accessed_at": 0.0, "created_at": 0.0, "hits": 0, "stored_bytes": 1000}
    return {"cache_key": cache_key, "cost_seconds": 1.0, **defaults, **fields}


def test_each_policy_evicts_its_own_way() -> None:
    a = entry("a", accessed_at=3.0, created_at=1.0, hits=2)
    b = entry("b", accessed_at=1.0, created_at=3.0, hits=2)
    c = entry("c", accessed_at=2.0, created_at=2.0, hits=1)

    assert order("lru", a, b, c) == "bca"
    assert order("lfu", a, b, c) == "cba"
    assert order("fifo", a, b, c) == "acb"
    with pytest.raises(ConfigError, match="'lru', 'lfu', 'fifo', 'cost'"):
        eviction_order("random")


def test_cost_keeps_what_is_dear_small_and_read() -> None:
    plain = entry("p")

    assert order("cost", entry("d", cost_seconds=2.0), plain) == "pd"
    assert order("cost", entry("s", stored_bytes=100), plain) == "ps"
    assert order("cost", entry("r", hits=1), plain) == "pr"
    assert order("cost", entry("n", accessed_at=1.0), plain) == "pn"
    assert order("cost", entry("u", cost_seconds=None), entry("z", cost_seconds=0.0)) == "zu"


def test_worth_halves_with_the_time_since_the_last_read() -> None:
    day = 86_400.0

    assert cost_rank(2.0, 1000, 0, 0.0) == pytest.approx(cost_rank(1.0, 1000, 0, day))
    assert cost_rank(8.0, 1000, 0, 0.0) < cost_rank(1.0, 1000, 0, 4 * day)


def test_cost_saves_more_seconds_than_lru_and_lfu() -> None:
    """On a Zipf trace over costs and sizes of four decades."""
    saved = {policy: _seconds_saved(policy) for policy in ("lru", "lfu", "cost")}

    assert saved["cost"] > 1.1 * max(saved["lru"], saved["lfu"])


def _seconds_saved(policy: str) -> float:
    chance = random.Random(5)
    keys = range(300)
    costs = [10 ** chance.uniform(-2, 2) for _ in keys]
    sizes = [int(10 ** chance.uniform(2, 6)) for _ in keys]
    weights = [1 / (1 + rank) for rank in keys]
    sequence = eviction_order(policy)
    held: dict[int, dict[str, Any]] = {}
    used, saved = 0, 0.0
    for now, key in enumerate(chance.choices(keys, weights, k=3000)):
        if key in held:
            saved += costs[key]
            held[key]["hits"] += 1
            held[key]["accessed_at"] = float(now)
            continue
        summary = entry(f"{key:03}", cost_seconds=costs[key], stored_bytes=sizes[key])
        held[key] = {**summary, "accessed_at": float(now), "created_at": float(now)}
        used += sizes[key]
        while used > 4_000_000:
            victim = min(held, key=lambda k: sequence(held[k]))
            used -= held.pop(victim)["stored_bytes"]
    return saved
