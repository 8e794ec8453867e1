# SPDX-License-Identifier: MIT
"""Looks whether the tables still have all that queries rely on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy.schema import CreateIndex

from cacheness.errors import ConfigError
from cacheness_postgres.indexes import make_index
from cacheness_postgres.tables import DIALECT, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Session

__all__ = ["check_store"]

_INDEXES = (
    "SELECT c.relname::text, i.indisvalid FROM pg_index AS i "
    "JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "WHERE n.nspname = %b ORDER BY c.relname"
)


def check_store(database: Database, schema: str, *, repair: bool) -> list[str]:
    """What is wrong with the tables' indexes, a sentence each.

    Whether rows are what was written the server's own checksums and logs see to.

    Args:
        database: The connections.
        schema: Where the tables are.
        repair: Make what is missing, and what is invalid anew, and give what is left; a role
            that does not own the tables mends nothing.

    """
    if repair:
        with suppress(ConfigError):
            _mend(database, schema)
    return list(_faults(database, schema))


def _faults(database: Database, schema: str) -> Iterator[str]:
    there = dict(database.fetch(_INDEXES, (schema,)))
    for name in sorted({*_expected(schema), *there}):
        if name not in there:
            yield f"the index {schema}.{name} is missing, so that every entry is looked at"
        elif not there[name]:
            yield f"the index {schema}.{name} is invalid: its making was cut short"


def _mend(database: Database, schema: str) -> None:
    there = dict(database.fetch(_INDEXES, (schema,)))
    for name, statement in _expected(schema).items():
        if name not in there:
            make_index(database, schema, name, statement)
    for name, is_valid in there.items():
        if not is_valid:
            _make_anew(database, schema, name)


def _make_anew(database: Database, schema: str, name: str) -> None:
    def make(session: Session) -> None:
        session.cursor.execute(f'REINDEX INDEX {schema}."{name}"', prepare=False)

    database.transact(make)


def _expected(schema: str) -> dict[str, str]:
    """The statements that make the indexes that every cache has, by name."""
    return {
        str(index.name): str(CreateIndex(index).compile(dialect=DIALECT))
        for table in tables(schema).metadata.sorted_tables
        for index in table.indexes
    }
