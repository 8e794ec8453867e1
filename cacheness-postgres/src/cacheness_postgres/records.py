# SPDX-License-Identifier: MIT
# ruff: noqa: S608  # names were checked when the model was registered; all values are bound
"""Records of custom metadata in PostgreSQL, a table for each model.

A record bears the generation of its entry, and is of use only with that. It goes with its
entry by a foreign key; where the entry is put anew, a trigger removes it, whoever does that:
a process that knows nothing of the model, or somebody with ``psql``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from cacheness.custom_metadata import TypedMetadata
from cacheness.errors import ConfigError
from cacheness_postgres.schema import advisory_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from typing import Any

    from cacheness.custom_metadata import RecordColumn, RecordCondition, RecordModel, RecordQuery
    from cacheness.entry import Entry
    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Cursor, Session

__all__ = ["change_record", "follow", "make_tables", "query_records", "write_records"]

_KINDS: dict[type, str] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    bytes: "bytea",
    datetime: "timestamp without time zone",
}
_PREFIX = "custom_"
_ZONE = " zone"
"""With this after its name, the column that tells a datetime in UTC from one without a zone;
no field's name has a space."""
_ORDERED = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_COLUMNS = (
    "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a "
    "JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %b AND c.relname = %b AND a.attnum > 0 AND NOT a.attisdropped"
)
_TABLES = (
    "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %b AND c.relkind = 'r' AND starts_with(c.relname::text, %b)"
)


def make_tables(database: Database, schema: str, metadata: Iterable[object]) -> None:
    """See that there is a table for each model of which a record is among this metadata.

    Raises:
        ConfigError: One has other columns, or the role may not make it.
    """
    models = {of.model.name: of.model for of in metadata if isinstance(of, TypedMetadata)}
    for model in models.values():
        there: dict[str, str] = dict(database.fetch(_COLUMNS, (schema, f"{_PREFIX}{model.name}")))
        if any(name not in there for name, _, _ in _columns(model)):
            _make_table(database, schema, model)
        else:
            _check_kinds(model, there)


def write_records(cursor: Cursor, schema: str, entries: Iterable[Entry]) -> None:
    """Keep the records of entries that were just put, as far as they have one."""
    rows: dict[RecordModel, list[tuple[Any, ...]]] = {}
    for entry in entries:
        typed = entry.custom_metadata
        if isinstance(typed, TypedMetadata):
            values = _stored(typed.model, typed.values_of_record)
            where = entry.namespace, entry.cache_key, entry.generation
            rows.setdefault(typed.model, []).append((*where, *values))
    for model, some in rows.items():
        cursor.executemany(_upsert(schema, model), some)


def change_record(cursor: Cursor, schema: str, old: Entry, changes: Mapping[str, Any]) -> None:
    """Have the record follow a change of its entry in place; before that, in its transaction."""
    if "custom_metadata" not in changes:
        follow(cursor, schema, old, changes)
        return
    for table in _tables(cursor, schema):
        delete = f'DELETE FROM {schema}."{table}" WHERE namespace = %b AND cache_key = %b'
        cursor.execute(delete, (old.namespace, old.cache_key), prepare=False)


def follow(cursor: Cursor, schema: str, old: Entry, changes: Mapping[str, Any]) -> None:
    """Have the record stay with an entry whose generation is about to change."""
    if "generation" not in changes:
        return
    for table in _tables(cursor, schema):
        update = (
            f'UPDATE {schema}."{table}" SET generation = %b WHERE namespace = %b '
            "AND cache_key = %b AND generation = %b"
        )
        values = changes["generation"], old.namespace, old.cache_key, old.generation
        cursor.execute(update, values, prepare=False)


def query_records(
    database: Database, schema: str, namespace: str, query: RecordQuery
) -> Iterator[tuple[str, Any]]:
    """The cache keys and records that the query selects, oldest entry first."""
    there = {row[0] for row in database.fetch(_COLUMNS, (schema, f"{_PREFIX}{query.model.name}"))}
    if not there:
        return
    statement, values = _query_statement(query, schema, namespace, there)
    if query.where:
        from cacheness_postgres.where import asking

        with asking(query.where):
            rows = database.transact(lambda session: _in_utc(session, statement, values))
    else:
        rows = database.fetch(statement, values, prepare=False)
    for cache_key, *of_record in rows:
        yield cache_key, query.model.instance(_loaded(query.model, of_record))


def _in_utc(session: Session, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    """A condition may compare times with a zone with ours, which are in UTC."""
    session.cursor.execute("SET LOCAL TimeZone TO 'UTC'")
    return session.cursor.execute(statement, values, prepare=False).fetchall()


def _query_statement(
    query: RecordQuery, schema: str, namespace: str, there: Collection[str]
) -> tuple[str, dict[str, Any]]:
    """The statement whose rows are a cache key and a record's values, and its values.

    A field that is new in the model, and has no column yet, is NULL.
    """
    table = f'"{query.model.name}"'
    texts = ["e.namespace = %(namespace)b"]
    values: dict[str, Any] = {"namespace": namespace}
    if query.cache_key is not None:
        texts.append("e.cache_key = %(cache_key)b")
        values["cache_key"] = query.cache_key
    for number, condition in enumerate(query.conditions):
        texts.append(f"({_compared(table, condition, there, f'c{number}_', values)})")
    if query.where:
        from cacheness_postgres.where import as_text

        for number, expression in enumerate(query.where):
            text, bound = as_text(expression, f"w{number}_")
            texts.append(f"({text})")
            values |= {name: _naive(value)[0] for name, value in bound.items()}
    selected = ", ".join(
        f'{table}."{name}"' if name in there else "NULL" for name, _, _ in _columns(query.model)
    )
    return (
        f"SELECT e.cache_key, {selected} FROM {schema}.entries AS e "
        f'JOIN {schema}."{_PREFIX}{query.model.name}" AS {table} '
        "USING (namespace, cache_key, generation) "
        f"WHERE {' AND '.join(texts)} ORDER BY e.created_at, e.cache_key"
    ), values


# --- the table ----------------------------------------------------------------------------


def _columns(model: RecordModel) -> Iterator[tuple[str, str, bool]]:
    """Name and type of each column, and whether it may be NULL."""
    for column in model.columns:
        yield column.name, _KINDS[column.kind], column.optional
        if column.kind is datetime:
            yield f"{column.name}{_ZONE}", "boolean", column.optional


def _tables(cursor: Cursor, schema: str) -> list[str]:
    return [row[0] for row in cursor.execute(_TABLES, (schema, _PREFIX)).fetchall()]


def _make_table(database: Database, schema: str, model: RecordModel) -> None:
    """Make the table where there is none, and add columns that are new in the model."""
    table = f"{_PREFIX}{model.name}"
    lock = f"SELECT pg_advisory_xact_lock({advisory_key('records', schema)})"
    made: list[str] = []

    def make(session: Session) -> None:
        cursor = session.cursor
        cursor.execute(lock, prepare=False)
        there: dict[str, str] = dict(
            cursor.execute(_COLUMNS, (schema, table), prepare=False).fetchall()
        )
        _check_kinds(model, there)
        made[:] = (
            _additions(schema, table, model, there) if there else _creation(schema, table, model)
        )
        for statement in made:
            cursor.execute(statement, prepare=False)

    try:
        database.transact(make)
    except ConfigError as error:
        if not made:
            raise
        raise ConfigError(
            f"only the owner of the tables can make the table of {model.name}: let them run "
            f"{'; '.join(made)}; and grant the role SELECT, INSERT, UPDATE, DELETE on it"
        ) from error


def _check_kinds(model: RecordModel, there: Mapping[str, str]) -> None:
    """See that the model's columns fit into the table, where there is one."""
    for name, kind, optional in _columns(model):
        if there and there.get(name, kind if optional else None) != kind:
            raise ConfigError(
                f"{model.name}.{name.removesuffix(_ZONE)} is {kind}"
                f"{'' if name in there else ' and not optional'}, but the table that is "
                f"there has {there.get(name, 'no such column')}: give the class another "
                "__tablename__, or the field another name"
            )


def _additions(schema: str, table: str, model: RecordModel, there: Mapping[str, str]) -> list[str]:
    return [
        f'ALTER TABLE {schema}."{table}" ADD COLUMN "{name}" {_definition(kind)}'
        for name, kind, _ in _columns(model)
        if name not in there
    ]


def _creation(schema: str, table: str, model: RecordModel) -> list[str]:
    columns = "".join(
        f', "{name}" {_definition(kind)}{"" if optional else " NOT NULL"}'
        for name, kind, optional in _columns(model)
    )
    function = f'{schema}."{table}_put"'
    make = (
        f'CREATE TABLE {schema}."{table}" (namespace text COLLATE "C" NOT NULL, '
        f'cache_key text COLLATE "C" NOT NULL, generation bigint NOT NULL{columns}, '
        "PRIMARY KEY (namespace, cache_key), FOREIGN KEY (namespace, cache_key) REFERENCES "
        f"{schema}.entries (namespace, cache_key) ON UPDATE CASCADE ON DELETE CASCADE)"
    )
    # As its owner, so that a role with no rights on the records can put entries.
    removal = (
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
        f'SET search_path = pg_catalog, pg_temp AS $$ BEGIN DELETE FROM {schema}."{table}" '
        "WHERE namespace = NEW.namespace AND cache_key = NEW.cache_key "
        "AND generation <> NEW.generation; RETURN NULL; END $$"
    )
    trigger = (
        f'CREATE TRIGGER "{table}_put" AFTER UPDATE OF generation ON {schema}.entries '
        "FOR EACH ROW WHEN (OLD.generation IS DISTINCT FROM NEW.generation) "
        f"EXECUTE FUNCTION {function}()"
    )
    return [make, removal, trigger]


def _definition(kind: str) -> str:
    # "C" compares code points, as Python does.
    return f'{kind} COLLATE "C"' if kind == "text" else kind


def _upsert(schema: str, model: RecordModel) -> str:
    named = [(f'"{name}"', kind) for name, kind, _ in _columns(model)]
    names = ", ".join(name for name, _ in named)
    marks = ", ".join(f"%b::{kind}" for _, kind in named)
    changes = ", ".join(f"{name} = excluded.{name}" for name, _ in named)
    return (
        f'INSERT INTO {schema}."{_PREFIX}{model.name}" '
        f"(namespace, cache_key, generation, {names}) VALUES (%b, %b, %b, {marks}) "
        "ON CONFLICT (namespace, cache_key) DO UPDATE "
        f"SET generation = excluded.generation, {changes}"
    )


# --- values -------------------------------------------------------------------------------


def _stored(model: RecordModel, values: tuple[Any, ...]) -> Iterator[Any]:
    for column, value in zip(model.columns, values, strict=True):
        if column.kind is datetime:
            yield from _naive(value)
        else:
            yield value


def _naive(value: Any) -> tuple[Any, bool | None]:
    """A datetime as that of UTC without a zone, and whether it had one; others as they are."""
    if not isinstance(value, datetime):
        return value, None
    if value.tzinfo is None:
        return value, False
    return value.astimezone(UTC).replace(tzinfo=None), True


def _loaded(model: RecordModel, row: list[Any]) -> tuple[Any, ...]:
    values = iter(row)
    found = []
    for column in model.columns:
        value = next(values)
        if column.kind is datetime and next(values):
            value = value.replace(tzinfo=UTC)
        found.append(value)
    return tuple(found)


def _compared(
    table: str,
    condition: RecordCondition,
    there: Collection[str],
    prefix: str,
    values: dict[str, Any],
) -> str:
    """The condition as text; what it binds is added to ``values``, by names of that prefix."""
    column, operator = condition.column, condition.operator

    def operand(number: int, value: Any) -> str:
        return _bound(column, f"{prefix}{number}", value, values)

    kind = _KINDS[column.kind]
    name = f'{table}."{column.name}"' if column.name in there else f"NULL::{kind}"
    if operator == "contains":
        return f"strpos({name}, {operand(0, condition.value)}) > 0"
    if operator == "startswith":
        return f"starts_with({name}, {operand(0, condition.value)})"
    if column.kind is datetime:
        zone = f'{table}."{column.name}{_ZONE}"' if column.name in there else "NULL::boolean"
        name = f"ROW({name}, {zone})"
    if operator == "in":
        tests = (
            f"{name} IS NOT DISTINCT FROM {operand(number, value)}"
            for number, value in enumerate(condition.value)
        )
        return " OR ".join(tests) or "false"
    if operator in ("eq", "ne"):
        negated = "NOT " if operator == "eq" else ""
        return f"{name} IS {negated}DISTINCT FROM {operand(0, condition.value)}"
    return f"{name} {_ORDERED[operator]} {operand(0, condition.value)}"


def _bound(column: RecordColumn, name: str, value: Any, values: dict[str, Any]) -> str:
    """The place of a value; a datetime's is a row, in whose order it comes before one in UTC."""
    values[name], zone = _naive(value)
    mark = f"%({name})b::{_KINDS[column.kind]}"
    if column.kind is not datetime:
        return mark
    values[f"{name}z"] = zone
    return f"ROW({mark}, %({name}z)b::boolean)"
