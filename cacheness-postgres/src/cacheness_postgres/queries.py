# SPDX-License-Identifier: MIT
"""Filters as conditions of SQL, with every value bound.

A condition here is true of exactly those exact rows (see `cacheness_postgres.rows`) that
`cacheness.filters` selects, or of more: then `Translation.is_exact` is false, and the caller
asks the filter itself about each row that comes back.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    Numeric,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    false,
    func,
    literal_column,
    or_,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import BigInteger, Boolean

from cacheness_postgres.indexes import descend
from cacheness_postgres.rows import TIMES, can_be_stored, json_image
from cacheness_postgres.tables import (
    DIALECT,
    INDEXED_CHARACTERS,
    beginning,
    filled,
    number_at,
    tables,
    text_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, FromClause
    from sqlalchemy.sql.expression import ClauseElement

    from cacheness.filters import Condition, Filter

    Clause = ColumnElement[bool]

__all__ = ["Translation", "compiled", "translate"]

_INT8 = 1 << 63
_EXACT_IN_DOUBLE = 1 << 53
_LARGEST_EXACT = 1e15
"""Exact rows hold no number in JSON from here on."""
_TEXTS = ARRAY(Text())
_INDEXED_BY_BEGINNING = frozenset({"prefix", "function"})


class Translation(NamedTuple):
    """A filter as SQL."""

    clause: ColumnElement[bool]
    """What a row has to fulfil."""
    is_exact: bool
    """Whether every exact row that fulfils it is selected by the filter."""


class _Inexact(Exception):  # noqa: N818  # no error: says that SQL can't tell
    """The condition has no counterpart in SQL."""


def translate(filter: Filter, schema: str, distance: float) -> Translation:
    """The filter as a condition on ``entries``, with times moved by ``distance`` seconds."""
    entries = tables(schema).entries
    clauses: list[Clause] = []
    is_exact = True
    for condition in filter.conditions:
        try:
            clauses.append(_clause(condition, entries, distance))
        except _Inexact:
            is_exact = False
    return Translation(and_(true(), *clauses), is_exact)


def compiled(statement: ClauseElement) -> tuple[str, dict[str, Any]]:
    """The statement's text and its values, for psycopg."""
    made = statement.compile(dialect=DIALECT)
    return str(made), dict(made.params)  # pyright: ignore[reportReturnType]  # names to values


def _clause(condition: Condition, entries: FromClause, distance: float) -> Clause:
    name, *within = condition.path
    column = entries.c[name]
    if name == "tags":
        return _on_tags(column, condition)
    if isinstance(column.type, JSONB):
        return _on_json(column, within, condition)
    if name in ("metadata", "key_parts"):
        raise _Inexact
    if isinstance(column.type, Text):
        return _on_text(column, condition)
    if isinstance(column.type, Boolean):
        return _on_scalar(column, condition, _flag)
    if isinstance(column.type, BigInteger):
        return _on_scalar(column, condition, _whole)
    shift = distance if name in TIMES else 0.0
    return _on_scalar(column, condition, lambda operator, value: _double(operator, value, shift))


# --- plain columns ------------------------------------------------------------------------


def _on_scalar(
    column: ColumnElement[Any],
    condition: Condition,
    bound: Callable[[str, Any], tuple[str, Any] | bool],
) -> Clause:
    """Numbers and flags: ``bound`` gives what to compare with, or what is always so."""
    operator, value = condition.operator, condition.value
    if operator == "in":
        each = (_on_scalar_once(column, "eq", one, bound) for one in value)
        return or_(false(), *each)
    if operator in ("contains", "startswith"):
        return false()
    return _on_scalar_once(column, operator, value, bound)


def _on_scalar_once(
    column: ColumnElement[Any],
    operator: str,
    value: Any,
    bound: Callable[[str, Any], tuple[str, Any] | bool],
) -> Clause:
    if operator == "ne":
        return ~func.coalesce(_on_scalar_once(column, "eq", value, bound), false())
    if value is None:
        return column.is_(None) if operator == "eq" else false()
    comparison = bound(operator, value)
    if isinstance(comparison, bool):
        return column.isnot(None) if comparison else false()
    return _compare(column, comparison[0], bindparam(None, comparison[1], type_=column.type))


def _compare(left: ColumnElement[Any], operator: str, right: ColumnElement[Any]) -> Clause:
    if operator == "eq":
        return left == right
    if operator == "gt":
        return left > right
    if operator == "gte":
        return left >= right
    return left < right if operator == "lt" else left <= right


def _flag(operator: str, value: Any) -> tuple[str, Any] | bool:
    return (operator, value) if isinstance(value, bool) and operator == "eq" else False


def _whole(operator: str, value: Any) -> tuple[str, Any] | bool:
    """Compare a column of integers with any number, without rounding either."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if not -_INT8 <= value < _INT8:
        return (operator in ("lt", "lte")) == (value > 0) and operator != "eq"
    if value == int(value):
        return operator, int(value)
    if operator == "eq":
        return False
    return ("lte" if operator.startswith("lt") else "gte"), (
        math.floor(value) if operator.startswith("lt") else math.ceil(value)
    )


def _double(operator: str, value: Any, shift: float) -> tuple[str, Any] | bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if isinstance(value, int) and abs(value) > _EXACT_IN_DOUBLE:
        raise _Inexact
    return operator, float(value) + shift


def _on_text(column: ColumnElement[str], condition: Condition) -> Clause:
    operator, value = condition.operator, condition.value
    if operator == "in":
        texts = [one for one in value if isinstance(one, str) and can_be_stored(one)]
        among = _among(column, texts) if texts else false()
        return or_(among, column.is_(None)) if None in value else among
    if value is None:
        return column.is_(None) if operator == "eq" else _not_null_if(column, operator)
    if not isinstance(value, str):
        return true() if operator == "ne" else false()
    if not can_be_stored(value):
        if operator in ("gt", "gte", "lt", "lte"):
            raise _Inexact
        return true() if operator == "ne" else false()
    return _on_text_with(column, operator, value)


def _among(column: ColumnElement[str], texts: list[str]) -> Clause:
    among = column == func.any(bindparam(None, texts, type_=_TEXTS))
    if getattr(column, "name", "") not in _INDEXED_BY_BEGINNING:
        return among
    short = [text[:INDEXED_CHARACTERS] for text in texts]
    return and_(beginning(column) == any_(bindparam(None, short, type_=_TEXTS)), among)


def _not_null_if(column: ColumnElement[str], operator: str) -> Clause:
    return column.isnot(None) if operator == "ne" else false()


def _on_text_with(column: ColumnElement[str], operator: str, value: str) -> Clause:
    bound = _text(value)
    indexed = getattr(column, "name", "") in _INDEXED_BY_BEGINNING
    if operator == "eq":
        short = beginning(column) == _text(value[:INDEXED_CHARACTERS])
        return and_(short, column == bound) if indexed else column == bound
    if operator == "ne":
        return column.is_distinct_from(bound)
    if operator == "contains":
        return func.strpos(column, bound) > 0
    if operator == "startswith":
        starts = func.starts_with(column, bound)
        return and_(_starting(beginning(column), value), starts) if indexed and value else starts
    return _compare(column, operator, bound)


def _starting(short: ColumnElement[str], value: str) -> Clause:
    """The range of an index of beginnings in which texts that start with ``value`` lie."""
    least = value[:INDEXED_CHARACTERS]
    above = short >= _text(least)
    last = ord(least[-1]) + 1
    if last > 0x10FFFF or 0xD800 <= last <= 0xDFFF:
        return above
    return and_(above, short < _text(least[:-1] + chr(last)))


# --- JSON columns -------------------------------------------------------------------------


def _on_tags(column: ColumnElement[Any], condition: Condition) -> Clause:
    if condition.operator == "lacks":
        return ~_has_tag(column, condition.value)
    if condition.operator == "overlaps":
        return and_(filled(column), or_(false(), *(_has_tag(column, t) for t in condition.value)))
    return and_(filled(column), _has_tag(column, condition.value))


def _has_tag(column: ColumnElement[Any], tag: Any) -> Clause:
    image = json_image([tag])
    return false() if image is None else _holds(column, image)


def _on_json(column: ColumnElement[Any], names: Sequence[str], condition: Condition) -> Clause:
    if not all(can_be_stored(name) for name in names):
        return false()
    operator, value = condition.operator, condition.value
    found, text = descend(column, [_text(name) for name in names])
    if operator in ("eq", "in"):
        values = value if operator == "in" else (value,)
        equal = or_(false(), *(_json_equal(column, names, found, one) for one in values))
        return and_(filled(column), equal) if names else equal
    if operator == "ne":
        image = json_image(value)
        return found.isnot(None) if image is None else found != _json(image)
    if operator == "contains":
        return _json_contains(found, text, value)
    if isinstance(value, str):
        return _json_text(operator, text_at(found, text), value)
    return _json_number(operator, found, number_at(found, text), value)


def _json_equal(
    column: ColumnElement[Any], names: Sequence[str], found: ColumnElement[Any], value: Any
) -> Clause:
    """Containment is what the index answers; equality is what was asked."""
    image = json_image(value)
    if image is None:
        return false()
    if not names:
        return found == _json(image)
    whole = json_image(reduce(lambda inner, name: {name: inner}, reversed(names), value))
    if whole is None:
        return false()
    return and_(_holds(column, whole), found == _json(image))


def _json_contains(found: ColumnElement[Any], text: ColumnElement[str], value: Any) -> Clause:
    image = json_image([value])
    if image is None:
        return false()
    # Where a scalar stands, "@>" would take it for a list of one.
    element = and_(func.jsonb_typeof(found) == literal_column("'array'"), _holds(found, image))
    if not isinstance(value, str):
        return element
    return or_(element, func.strpos(text_at(found, text), _text(value)) > 0)


def _json_text(operator: str, stored: ColumnElement[Any], value: str) -> Clause:
    if not can_be_stored(value):
        if operator == "startswith":
            return false()
        raise _Inexact
    short = func.left(stored, literal_column(str(INDEXED_CHARACTERS)))
    if operator == "startswith":
        starts = func.starts_with(stored, _text(value))
        return and_(_starting(short, value), starts) if value else starts
    # The beginnings are in the same order or equal, and indexes hold only them.
    loosely = {"gt": "gte", "lt": "lte"}.get(operator, operator)
    beginnings = _compare(short, loosely, _text(value[:INDEXED_CHARACTERS]))
    return and_(beginnings, _compare(stored, operator, _text(value)))


def _json_number(
    operator: str, found: ColumnElement[Any], stored: ColumnElement[Any], value: Any
) -> Clause:
    if abs(value) >= _LARGEST_EXACT:
        is_number: Clause = func.jsonb_typeof(found) == literal_column("'number'")
        return is_number if operator.startswith("lt") == (value > 0) else false()
    return _compare(stored, operator, cast(_text(repr(value)), Numeric))


def _holds(column: ColumnElement[Any], image: str) -> Clause:
    return column.op("@>", is_comparison=True, return_type=Boolean())(_json(image))


def _json(image: str) -> ColumnElement[Any]:
    return cast(_text(image), JSONB)


def _text(value: str) -> ColumnElement[str]:
    return bindparam(None, value, type_=Text())
