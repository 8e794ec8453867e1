# SPDX-License-Identifier: MIT
"""How entries are selected: filters for queries, an order for eviction.

A filter's name says where to look, its suffix how to compare:

======================  ==============================================================
``NAME``                a parameter; the whole name, ``model__alpha`` included
``params={NAME: …}``    parameters too, for names that mean something else here
``prefix``, ``tags``    the entry's own; ``tags="etl"`` asks for that tag among others,
                        ``tags=["etl", "daily"]`` for both
``meta__NAME``          custom metadata; ``meta__run__id`` is ``id`` within ``run``
``entry__FIELD``        any other field of `Entry`; ``entry__metadata__shape`` is
                        ``shape`` within the handler's metadata
======================  ==============================================================

Without a suffix the value has to be equal; ``__ne`` is different, ``__gt __gte __lt __lte``
order, ``__in`` is equal to one of several, ``__contains`` finds a substring in a str or an
element in a list, ``__startswith`` is for str. Of several suffixes only the last counts, so
``x__gt__in=[5]`` asks for a parameter that is called ``x__gt``.

The meaning is the same on every backend:

- What an entry does not have matches nothing, not even ``__ne``. None is a value: it is
  equal to None, different from all else, and has no order.
- Numbers compare by value, whatever their type: ``1`` finds ``1.0``. A bool is no number,
  and text is never a number: ``1``, ``True`` and ``"1"`` are three things.
- Values of different kinds are different and have no order; comparing them raises nothing.
- Text compares by code point, and case counts.
- Lists and mappings are equal when all that is in them is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isnan
from typing import Any, Literal, Protocol, TypeAlias

from cacheness.entry import Entry
from cacheness.errors import ConfigError
from cacheness.naming import RESERVED
from cacheness.worth import cost_rank

__all__ = [
    "Condition",
    "Fields",
    "Filter",
    "Operator",
    "eviction_order",
]

Operator: TypeAlias = Literal[
    "eq",
    "ne",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "contains",
    "startswith",
    "lacks",
    "overlaps",
]
"""``lacks`` (no such element) and ``overlaps`` (any of these elements) are of ``tags`` only."""

_SUFFIXES: dict[str, Operator] = {
    "ne": "ne",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
    "in": "in",
    "contains": "contains",
    "startswith": "startswith",
}
_FIELDS = tuple(name for name in Entry.__slots__ if name != "inline")
_NESTED_FIELDS = frozenset({"params", "metadata", "key_parts", "custom_metadata"})
_TIME_FIELDS = frozenset({"created_at", "renewed_at", "accessed_at", "expires_at", "stale_until"})


class Fields(Protocol):
    """What a filter looks at: the fields of an entry by name, as an entry summary has them."""

    def __getitem__(self, name: str, /) -> Any:
        """The field's value."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison."""

    path: tuple[str, ...]
    """A field of `Entry`, then the names within it: ``("params", "lr")``."""
    operator: Operator
    """How to compare."""
    value: Any
    """What to compare with: None, bool, int, float, str, or lists and dicts of them; a
    tuple of such values for ``in`` and ``overlaps``."""

    def matches(self, summary: Fields) -> bool:
        """Whether an entry with these fields fulfils the condition."""
        stored = summary[self.path[0]]
        for name in self.path[1:]:
            if not isinstance(stored, Mapping) or name not in stored:
                return False
            stored = stored[name]
        return _COMPARE[self.operator](stored, self.value)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that an entry has to fulfil, all of them; without any, every entry does."""

    conditions: tuple[Condition, ...] = ()
    """In the order in which they were given."""

    @classmethod
    def parse(cls, filters: Mapping[str, Any]) -> Filter:
        """Make a filter of keyword arguments; the module's docstring has their grammar.

        Raises:
            TypeError: A name means nothing here, or a value can't be compared so.
            ConfigError: A value is not a number, which is equal to nothing.

        Example:
            >>> Filter.parse({"lr__gte": 0.1}).conditions
            (Condition(path=('params', 'lr'), operator='gte', value=0.1),)
        """
        conditions: list[Condition] = []
        for name, value in filters.items():
            if name != "params":
                conditions += _conditions(name, value)
            elif isinstance(value, Mapping):
                for param, wanted in value.items():
                    conditions.append(_of_param(param, wanted))
            else:
                raise TypeError(f"params={value!r} is no mapping of parameters to values")
        return cls(tuple(conditions))

    def matches(self, summary: Fields) -> bool:
        """Whether an entry with these fields fulfils every condition."""
        return all(condition.matches(summary) for condition in self.conditions)


def eviction_order(policy: str) -> Callable[[Fields], tuple[Any, ...]]:
    """The sort key by which ``policy`` evicts: the smallest goes first.

    - ``lru``: what was read longest ago;
    - ``lfu``: what was read least often, of those what was read longest ago;
    - ``fifo``: what was stored longest ago;
    - ``cost``: what is worth least, see `cost_rank`.

    Entries that are equal otherwise go in the order of their cache keys.

    Raises:
        ConfigError: There is no such policy.
    """
    try:
        return _ORDERS[policy]
    except KeyError:
        raise ConfigError(
            f"policy={policy!r} is not allowed: give one of {', '.join(map(repr, _ORDERS))}"
        ) from None


# --- names --------------------------------------------------------------------------------


def _conditions(name: str, value: Any) -> list[Condition]:
    bare, operator = _split_suffix(name)
    if bare == "prefix":
        return [_condition(name, ("prefix",), operator, value)]
    if bare == "tags":
        return _of_tags(name, operator, value)
    if bare.startswith("meta__"):
        path = ("custom_metadata", *bare.removeprefix("meta__").split("__"))
        return [_condition(name, path, operator, value)]
    if bare.startswith("entry__"):
        return _of_field(name, bare.removeprefix("entry__").split("__"), operator, value)
    if bare in RESERVED:
        raise TypeError(_reserved(name, bare))
    return [_condition(name, ("params", bare), operator, value)]


def _split_suffix(name: str) -> tuple[str, Operator]:
    bare, separator, suffix = name.rpartition("__")
    if separator and bare and suffix in _SUFFIXES:
        return bare, _SUFFIXES[suffix]
    return name, "eq"


def _of_param(name: str, value: Any) -> Condition:
    bare, operator = _split_suffix(name)
    return _condition(name, ("params", bare), operator, value)


def _of_field(name: str, parts: list[str], operator: Operator, value: Any) -> list[Condition]:
    field, *within = parts
    if field not in _FIELDS:
        raise TypeError(
            f"{name}: an entry has no field {field!r} to select by; there are: {', '.join(_FIELDS)}"
        )
    if field == "tags" and not within:
        return _of_tags(name, operator, value)
    if within and field not in _NESTED_FIELDS:
        raise TypeError(
            f"{name}: {field!r} has no parts, and the suffixes are: "
            f"{', '.join(f'__{suffix}' for suffix in _SUFFIXES)}"
        )
    if field in _TIME_FIELDS and hasattr(value, "timestamp"):
        value = value.timestamp()
    return [_condition(name, (field, *within), operator, value)]


def _of_tags(name: str, operator: Operator, value: Any) -> list[Condition]:
    tags = (value,) if isinstance(value, str) else value
    if not isinstance(tags, (tuple, list, set, frozenset)) or not all(
        isinstance(tag, str) for tag in tags
    ):
        raise TypeError(f"{name}={value!r}: give a tag or several, each a str")
    if operator in ("eq", "contains"):
        return [Condition(("tags",), "contains", _plain(name, tag)) for tag in tags]
    if operator == "in":
        return [Condition(("tags",), "overlaps", tuple(_plain(name, tag) for tag in tags))]
    if operator == "ne":
        return [Condition(("tags",), "lacks", _plain(name, tag)) for tag in tags]
    raise TypeError(f"{name}: tags take no suffix but __contains, __in and __ne")


def _reserved(name: str, bare: str) -> str:
    hints = {"custom_metadata": "meta__NAME for custom metadata", "pin": "entry__pinned for pins"}
    hint = hints.get(bare)
    if hint is None and bare in _FIELDS:
        hint = f"entry__{name} for the entry's own"
    return (
        f"{name} is no filter: use {hint + ', or ' if hint else ''}"
        f"params={{{name!r}: …}} for a parameter of that name"
    )


# --- values -------------------------------------------------------------------------------


def _condition(name: str, path: tuple[str, ...], operator: Operator, value: Any) -> Condition:
    if operator == "in":
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
            raise TypeError(f"{name}={value!r}: give a list of values to be among")
        return Condition(path, operator, tuple(_plain(name, one) for one in value))
    plain = _plain(name, value)
    if operator in ("gt", "gte", "lt", "lte") and _kind(plain) not in ("number", "str"):
        raise TypeError(f"{name}={value!r}: only numbers and text have an order")
    if operator == "startswith" and not isinstance(plain, str):
        raise TypeError(f"{name}={value!r}: give a str to start with")
    if operator == "contains" and isinstance(plain, (list, dict)):
        raise TypeError(f"{name}={value!r}: give a substring, or one element of a list")
    return Condition(path, operator, plain)


def _plain(name: str, value: Any) -> Any:
    """The value as JSON would give it back: no subclasses, no tuples, no numpy scalars."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _number(name, float(value))
    if isinstance(value, (list, tuple)):
        return [_plain(name, one) for one in value]
    if isinstance(value, Mapping):
        return {_key(name, key): _plain(name, one) for key, one in value.items()}
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return _plain(name, value.item())
    raise TypeError(
        f"{name}={value!r}: a {type(value).__qualname__} can't be compared; give None, a bool, "
        "a number, a str, or a list or mapping of them"
    )


def _number(name: str, value: float) -> float:
    if isnan(value):
        raise ConfigError(f"{name}: NaN is equal to nothing, so it can't select anything")
    return value


def _key(name: str, key: object) -> str:
    if isinstance(key, str):
        return str.__str__(key)
    raise TypeError(f"{name}: the mapping has the key {key!r}, which is no str")


# --- comparisons --------------------------------------------------------------------------


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "str"
    if isinstance(value, (list, tuple)):
        return "list"
    return "dict" if isinstance(value, Mapping) else "none"


def _equal(stored: Any, wanted: Any) -> bool:
    kind = _kind(stored)
    if kind != _kind(wanted):
        return False
    if kind == "list":
        return len(stored) == len(wanted) and all(map(_equal, stored, wanted))
    if kind == "dict":
        return stored.keys() == wanted.keys() and all(
            _equal(value, wanted[name]) for name, value in stored.items()
        )
    return bool(stored == wanted)


def _ordered(stored: object, wanted: object) -> bool:
    kind = _kind(stored)
    return kind in ("number", "str") and kind == _kind(wanted)


def _contains(stored: Any, wanted: Any) -> bool:
    if isinstance(stored, str):
        return isinstance(wanted, str) and wanted in stored
    return _kind(stored) == "list" and any(_equal(element, wanted) for element in stored)


_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    "eq": _equal,
    "ne": lambda stored, wanted: not _equal(stored, wanted),
    "gt": lambda stored, wanted: _ordered(stored, wanted) and stored > wanted,
    "gte": lambda stored, wanted: _ordered(stored, wanted) and stored >= wanted,
    "lt": lambda stored, wanted: _ordered(stored, wanted) and stored < wanted,
    "lte": lambda stored, wanted: _ordered(stored, wanted) and stored <= wanted,
    "in": lambda stored, wanted: any(_equal(stored, one) for one in wanted),
    "contains": _contains,
    "startswith": lambda stored, wanted: isinstance(stored, str) and stored.startswith(wanted),
    "lacks": lambda stored, wanted: not _contains(stored, wanted),
    "overlaps": lambda stored, wanted: any(_contains(stored, one) for one in wanted),
}

_ORDERS: dict[str, Callable[[Fields], tuple[Any, ...]]] = {
    "lru": lambda of: (of["accessed_at"], of["cache_key"]),
    "lfu": lambda of: (of["hits"], of["accessed_at"], of["cache_key"]),
    "fifo": lambda of: (of["created_at"], of["cache_key"]),
    "cost": lambda of: (
        cost_rank(of["cost_seconds"], of["stored_bytes"], of["hits"], of["accessed_at"]),
        of["cache_key"],
    ),
}
