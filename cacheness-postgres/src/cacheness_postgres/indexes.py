# SPDX-License-Identifier: MIT
"""Indexes that only some caches need: for a policy of eviction, for ranges of a parameter.

Each costs every put some microseconds, so they are made when a cache asks for them.
"""

from __future__ import annotations

import hashlib
from functools import reduce
from typing import TYPE_CHECKING, Any

from sqlalchemy import Index, Table, Text, cast, func, literal_column
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.schema import CreateIndex
from sqlalchemy.sql.elements import Grouping

from cacheness.errors import ConfigError
from cacheness_postgres.tables import (
    DIALECT,
    INDEXED_CHARACTERS,
    eviction_order,
    number_at,
    tables,
    text_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement

    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Session

__all__ = ["make_index", "policy_index", "range_indexes"]


def policy_index(schema: str, policy: str) -> tuple[str, str]:
    """The name and the statement of the index that eviction by ``policy`` reads off."""
    entries = _copy(schema)
    column = entries.c
    name = f"entries_for_{policy}"
    order = eviction_order(entries, policy)
    return name, _statement(
        Index(name, column.namespace, *order, postgresql_where=~column.pinned, _table=entries)
    )


def range_indexes(schema: str, label: str) -> Iterator[tuple[str, str]]:
    """Names and statements of the indexes for ranges of a parameter or ``meta__NAME``.

    One is for numbers, one for text; a value of the other kind is NULL in it.
    """
    entries = _copy(schema)
    column, names = entries.c.params, [label]
    if label.startswith("meta__"):
        column, names = entries.c.custom_metadata, label.removeprefix("meta__").split("__")
    value, text = descend(column, [_literal(name) for name in names])
    length: ColumnElement[int] = literal_column(str(INDEXED_CHARACTERS))
    digest = hashlib.blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    for kind, expression in (
        ("numbers", Grouping(number_at(value, text))),
        ("text", func.left(text_at(value, text), length)),
    ):
        name = f"entries_{kind}_{digest}"
        yield name, _statement(Index(name, entries.c.namespace, expression, _table=entries))


def descend(
    column: ColumnElement[Any], names: Sequence[ColumnElement[str]]
) -> tuple[ColumnElement[Any], ColumnElement[str]]:
    """The value at a path, as JSONB (NULL where there is none) and as text."""
    if not names:
        return column, cast(column, Text)
    *outer, last = names
    parent = reduce(lambda value, name: value.op("->", return_type=JSONB())(name), outer, column)
    return parent.op("->", return_type=JSONB())(last), parent.op("->>", return_type=Text())(last)


def make_index(database: Database, schema: str, name: str, statement: str) -> None:
    """Make the index where there is none of that name; writers wait meanwhile.

    Raises:
        ConfigError: The role does not own the tables.
    """

    def make(session: Session) -> None:
        session.cursor.execute(statement)

    if database.fetch("SELECT to_regclass(%b)::text", (f"{schema}.{name}",))[0][0] is not None:
        return
    try:
        database.transact(make)
    except ConfigError as error:
        raise ConfigError(
            f"only the owner of the tables can make the index {name}: let them run {statement}"
        ) from error


def _copy(schema: str) -> Table:
    """A table of its own, since SQLAlchemy hangs each index on its table for good."""
    from sqlalchemy import MetaData

    return tables(schema).entries.to_metadata(MetaData())


def _statement(index: Index) -> str:
    return str(CreateIndex(index, if_not_exists=True).compile(dialect=DIALECT))


def _literal(text: str) -> ColumnElement[str]:
    # An index holds no bound values. Doubling is all that a standard string needs; the
    # percent sign is psycopg's.
    return literal_column("'" + text.replace("'", "''") + "'")
