# SPDX-License-Identifier: MIT
"""Filters as SQL for SQLite, with exactly the meaning of `cacheness.filters`.

A condition on a column is SQL. For one on what lies within JSON, SQLite's own functions
narrow the rows down, where a name or value has nothing in it that they might read
otherwise, and `Condition.matches` has the last word: a function in the same statement.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from cacheness.backends.sqlite_functions import callable_by_sql
from cacheness.backends.sqlite_rows import DETAILS, details_of, load_object
from cacheness.backends.sqlite_schema import COLUMNS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from cacheness.backends.sqlite_connections import Connections
    from cacheness.filters import Condition, Filter

__all__ = ["Selection"]

_TYPES = {
    name: "bool" if name == "pinned" else "str" if of.startswith("TEXT") else "number"
    for name, of in COLUMNS.items()
    if name not in ("worth", "inline", "details", "metadata")
}
"""The columns that hold plain values, and of which kind these are."""

_COLUMNS = {*_TYPES, "metadata"}
_ORDERS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SAFE_NAME = re.compile(r"[A-Za-z0-9_ ./-]+")
_SAFE_TEXT = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")
"""What JSON writes as it is: no quote, backslash, control or other character."""


class Selection:
    """A filter in SQL, with its values; what it calls is known to one connection at least.

    Args:
        filter: What selects.
        connections: Where the statement will be executed, by the calling thread, as long
            as this object lives.
    """

    __slots__ = ("__weakref__", "_columns", "_looked_at", "fields", "sql", "values")

    def __init__(self, filter: Filter, connections: Connections) -> None:
        self.fields = {condition.path[0] for condition in filter.conditions}
        """The fields of `Entry` that it looks at."""
        self.values: list[Any] = []
        """What is bound to the placeholders, in their order."""
        clauses: list[str] = []
        self._looked_at: list[Condition] = []
        for condition in filter.conditions:
            if not condition.path[1:] and condition.path[0] in _TYPES and _is_bindable(condition):
                clause, values = _on_column(condition)
            else:
                clause, values = _on_json(condition)
                self._looked_at.append(condition)
            if clause:
                clauses.append(clause)
                self.values += values
        if self._looked_at:
            # Last, since SQLite goes from left to right: it takes microseconds.
            clauses.append(self._call(connections))
        self.sql = " AND ".join(f"({clause})" for clause in clauses) or "1"
        """For a WHERE, beside the namespace."""

    def _call(self, connections: Connections) -> str:
        fields = {condition.path[0] for condition in self._looked_at}
        columns = {name if name in _COLUMNS else "details" for name in fields}
        self._columns = tuple(sorted(columns))
        _living[id(self)] = self
        connections.function(_MATCHES, -1, _matches)
        self.values.append(id(self))
        return f"{_MATCHES}(?, {', '.join(self._columns)})"

    def register(self, connection: sqlite3.Connection) -> None:
        """Make what selections call known to one more connection."""
        connection.create_function(_MATCHES, -1, callable_by_sql(_matches))

    def matches(self, row: Sequence[Any]) -> bool:
        """Whether these columns, read from a row, fulfil what SQL can't have the last word on."""
        fields = DETAILS.copy()
        for name, value in zip(self._columns, row, strict=True):
            if name == "details":
                fields.update(details_of(value) if isinstance(value, str) else {})
            elif name == "metadata":
                fields[name] = load_object(value) if isinstance(value, str) else {}
            else:
                fields[name] = bool(value) if name == "pinned" else value
        return all(condition.matches(fields) for condition in self._looked_at)


_MATCHES = "cacheness_matches"
_living: WeakValueDictionary[int, Selection] = WeakValueDictionary()


def _matches(selection: int, *row: Any) -> bool:
    return _living[selection].matches(row)


def _is_bindable(condition: Condition) -> bool:
    """Whether SQLite takes the values: text of Unicode characters, integers of 64 bits."""
    value = condition.value
    for one in value if isinstance(value, (tuple, list)) else (value,):
        if isinstance(one, str) and not one.isascii():
            try:
                one.encode()
            except UnicodeEncodeError:
                return False
        elif isinstance(one, int) and not -(2**63) <= one < 2**63:
            return False
    return True


# --- columns ------------------------------------------------------------------------------


def _on_column(condition: Condition) -> tuple[str, list[Any]]:
    """The condition in SQL, its last word.

    A comparison with NULL is NULL, which selects nothing, as it has to: None has no order.
    """
    name, operator, value = condition.path[0], condition.operator, condition.value
    if operator == "in":
        parts = [_is(name, one) for one in value]
        clause = " OR ".join(part for part, _ in parts) or "0"
        return clause, [bound for _, values in parts for bound in values]
    if operator == "eq":
        return _is(name, value)
    if operator == "ne":
        clause, values = _is(name, value)
        return f"({clause}) IS NOT 1", values
    kind = _kind(value)
    if operator in _ORDERS:
        if kind != _TYPES[name]:
            return "0", []
        return f"{name} {_ORDERS[operator]} ?", [value]
    if kind != "str" or _TYPES[name] != "str":
        return "0", []
    if operator == "contains":
        return f"instr({name}, ?) > 0", [value]
    # The first half finds the rows in an index.
    return f"{_indexed(name, value)} >= ? AND instr({name}, ?) = 1", [value, value]


def _is(name: str, value: Any) -> tuple[str, list[Any]]:
    if value is None:
        return f"{name} IS NULL", []
    if _kind(value) != _TYPES[name]:
        return "0", []
    return f"{_indexed(name, value)} = ?", [value]


def _indexed(name: str, value: Any) -> str:
    """The column, with what tells SQLite that the index of those that have one will do."""
    return f"{name} != '' AND {name}" if name == "prefix" and value else name


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "str" if isinstance(value, str) else "other"


# --- JSON ---------------------------------------------------------------------------------


def _on_json(condition: Condition) -> tuple[str, list[Any]]:
    """What is true of every row that the condition selects, in SQL; nothing if there is none."""
    path, operator = condition.path, condition.operator
    if path == ("tags",) and operator == "contains" and _is_safe(condition.value):
        return "instr(details, ?) > 0", [f'"{condition.value}"']
    column = "metadata" if path[0] == "metadata" else "details"
    inner = path[1:] if column == "metadata" else path
    if len(path) < 2 or not all(_SAFE_NAME.fullmatch(name) for name in inner):
        return "", []
    where = "$" + "".join(f'."{name}"' for name in inner)
    clause, values = _narrowed(condition, column, where)
    # Python reads more than SQLite: numbers that are none, and what is nested too deep.
    return f"json_valid({column}) IS NOT 1 OR {clause}", values


def _narrowed(condition: Condition, column: str, where: str) -> tuple[str, list[Any]]:
    operator, value = condition.operator, condition.value
    there = f"json_type({column}, '{where}')"
    inside = f"json_extract({column}, '{where}')"
    if operator in ("eq", "in"):
        wanted = value if operator == "in" else (value,)
        parts = [_may_be(there, inside, one) for one in wanted]
        clause = " OR ".join(f"({part})" for part, _ in parts) or "0"
        return clause, [bound for _, values in parts for bound in values]
    if operator in _ORDERS and _kind(value) == "number" and _is_bindable(condition):
        sign = -1 if operator in ("gt", "gte") else 1
        return (
            f"{there} IN ('integer', 'real') AND {inside} {_ORDERS[operator][0]}= ?",
            [float(value) + sign * _slack(value)],
        )
    return f"{there} IS NOT NULL", []


def _may_be(there: str, inside: str, value: Any) -> tuple[str, list[Any]]:
    kind = _kind(value)
    if value is None:
        return f"{there} = 'null'", []
    if kind == "bool":
        return f"{there} = '{'true' if value else 'false'}'", []
    if kind == "number":
        if abs(value) > 1e300:
            return f"{there} IN ('integer', 'real')", []
        return (
            f"{there} IN ('integer', 'real') AND {inside} BETWEEN ? AND ?",
            [value - _slack(value), value + _slack(value)],
        )
    if _is_safe(value):
        return f"{there} = 'text' AND {inside} = ?", [value]
    return f"{there} IS NOT NULL", []


def _slack(number: float) -> float:
    """What two readers of a number may differ by: SQLite before 3.43 rounds otherwise."""
    return abs(float(number)) * 1e-12 + 1e-300


def _is_safe(value: object) -> bool:
    return isinstance(value, str) and _SAFE_TEXT.fullmatch(value) is not None
