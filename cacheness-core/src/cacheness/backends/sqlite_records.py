# SPDX-License-Identifier: MIT
"""Records of custom metadata in the SQLite file, a table for each model.

A record bears the generation of its entry, and is of use only with that. Triggers remove
it when its entry goes or is replaced, whoever does that: a process that knows nothing of
the model, or a tool that has the file open.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cacheness.backends.sqlite_later import KINDS, record_table, record_triggers
from cacheness.custom_metadata import TypedMetadata
from cacheness.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Any

    from cacheness.custom_metadata import RecordColumn, RecordCondition, RecordModel, RecordQuery
    from cacheness.entry import Entry

    Execute = Callable[..., Any]
    """`sqlite3.Connection.execute` within a transaction."""

# Every statement is made of names that were checked when the model was registered.
# ruff: noqa: S608

__all__ = ["change_record", "query_records", "write_record"]

_PREFIX = "custom_"
_KEYED = "namespace = ? AND cache_key = ?"
_ORDERED = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def write_record(execute: Execute, entry: Entry) -> None:
    """Keep the record of an entry that was just put, if it has one; in its transaction."""
    typed = entry.custom_metadata
    if not isinstance(typed, TypedMetadata):
        return
    model = typed.model
    _make_table(execute, model)
    names = ", ".join(f'"{column.name}"' for column in model.columns)
    marks = ", ".join("?" * len(model.columns))
    execute(
        f'INSERT OR REPLACE INTO "{_PREFIX}{model.name}" '
        f"(namespace, cache_key, generation, {names}) VALUES (?, ?, ?, {marks})",
        (
            entry.namespace,
            entry.cache_key,
            entry.generation,
            *map(_stored, typed.values_of_record),
        ),
    )


def change_record(execute: Execute, old: Entry, changes: Mapping[str, Any]) -> None:
    """Have the record follow a change of its entry in place; before that, in its transaction."""
    if "generation" not in changes and "custom_metadata" not in changes:
        return
    for (name,) in execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ?", (f"{_PREFIX}*",)
    ).fetchall():
        table = name.replace('"', '""')  # a stranger may have named it
        if "custom_metadata" in changes:
            execute(f'DELETE FROM "{table}" WHERE {_KEYED}', (old.namespace, old.cache_key))
        else:
            execute(
                f'UPDATE "{table}" SET generation = ? WHERE {_KEYED}',
                (changes["generation"], old.namespace, old.cache_key),
            )


def query_records(
    rows: Callable[[str, tuple[Any, ...]], list[Any]], namespace: str, query: RecordQuery
) -> Iterator[tuple[str, Any]]:
    """The cache keys and records that the query selects, oldest entry first."""
    columns = {row[1] for row in rows(_columns_statement(query.model), ())}
    if columns:
        statement, values = _query_statement(query, namespace, columns)
        for cache_key, *of_record in rows(statement, tuple(values)):
            yield cache_key, _record_of(query.model, tuple(of_record))


def _columns_statement(model: RecordModel) -> str:
    """The statement whose rows are the model's columns in this file: name and type second."""
    return f'PRAGMA table_info("{_PREFIX}{model.name}")'


def _query_statement(
    query: RecordQuery, namespace: str, columns: Collection[str]
) -> tuple[str, list[Any]]:
    """The statement whose rows are a cache key and a record's values, oldest entry first.

    Args:
        query: What to select.
        namespace: Of which entries.
        columns: What there is in this file; a field that is new in the model is NULL.
    """
    table = f'"{query.model.name}"'

    def name(column: RecordColumn) -> str:
        return f'{table}."{column.name}"' if column.name in columns else "NULL"

    texts, values = ["entries.namespace = ?"], [namespace]
    if query.cache_key is not None:
        texts.append("entries.cache_key = ?")
        values.append(query.cache_key)
    for text, bound in (
        *(_compared(name(condition.column), condition) for condition in query.conditions),
        *map(_compiled, query.where),
    ):
        texts.append(f"({text})")
        values += bound
    selected = ", ".join(map(name, query.model.columns))
    return (
        f"SELECT entries.cache_key, {selected} FROM entries "
        f'JOIN "{_PREFIX}{query.model.name}" AS {table} ON '
        f"{table}.namespace = entries.namespace AND {table}.cache_key = entries.cache_key "
        f"AND {table}.generation = entries.generation WHERE {' AND '.join(texts)} "
        "ORDER BY entries.created_at, entries.cache_key"
    ), values


def _record_of(model: RecordModel, values: tuple[Any, ...]) -> Any:
    """The instance that a row is of."""
    return model.instance(
        tuple(
            _loaded(column.kind, value) for column, value in zip(model.columns, values, strict=True)
        )
    )


# --- the table ----------------------------------------------------------------------------


def _make_table(execute: Execute, model: RecordModel) -> None:
    """Make the table where there is none, and add columns that are new in the model."""
    table = f"{_PREFIX}{model.name}"
    there = {row[1]: row[2] for row in execute(_columns_statement(model)).fetchall()}
    if not there:
        columns = "".join(
            f', "{column.name}" {KINDS[column.kind]}{"" if column.optional else " NOT NULL"}'
            for column in model.columns
        )
        for statement in (record_table(table, columns), *record_triggers(table)):
            execute(statement)
        return
    for column in model.columns:
        kind = KINDS[column.kind]
        if column.name not in there and column.optional:
            execute(f'ALTER TABLE "{table}" ADD COLUMN "{column.name}" {kind}')
        elif there.get(column.name) != kind:
            raise ConfigError(
                f"{model.name}.{column.name} is {kind}"
                f"{'' if column.name in there else ' and not optional'}, but the table that is "
                f"there has {there.get(column.name, 'no such column')}: give the class another "
                "__tablename__, or the field another name"
            )


# --- values -------------------------------------------------------------------------------


def _stored(value: Any) -> Any:
    """A datetime as text that has its order: as SQLAlchemy writes it, and in UTC with a zone."""
    if not isinstance(value, datetime):
        return value
    text = value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return text if value.tzinfo is None else f"{text}+00:00"


def _loaded(kind: type, value: Any) -> Any:
    if value is None:
        return None
    if kind is bool:
        return bool(value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    return value


def _compared(name: str, condition: RecordCondition) -> tuple[str, list[Any]]:
    operator, value = condition.operator, condition.value
    if operator == "eq":
        return f"{name} IS ?", [_stored(value)]
    if operator == "ne":
        return f"{name} IS NOT ?", [_stored(value)]
    if operator == "in":
        tests = " OR ".join(f"{name} IS ?" for _ in value)
        return f"({tests or '0'})", [_stored(one) for one in value]
    if operator == "contains":
        return f"instr({name}, ?) > 0", [value]
    if operator == "startswith":
        return f"substr({name}, 1, ?) = ?", [len(value or ""), value]
    return f"{name} {_ORDERED[operator]} ?", [_stored(value)]


def _compiled(expression: Any) -> tuple[str, list[Any]]:
    """A condition of SQLAlchemy as text, and the values of its marks.

    Raises:
        TypeError: It is none.
    """
    from sqlalchemy import and_
    from sqlalchemy.dialects import sqlite
    from sqlalchemy.exc import ArgumentError

    try:
        done = and_(expression).compile(
            dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True}
        )
    except ArgumentError:
        raise TypeError(f"{expression!r} is no condition of SQLAlchemy") from None
    values = [done.params[name] for name in done.positiontup or ()]
    return str(done), [_stored(_in_utc(value)) for value in values]


def _in_utc(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return value
