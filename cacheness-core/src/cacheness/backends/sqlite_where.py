# SPDX-License-Identifier: MIT
"""Entries of a SQLite file by a condition that was written with SQLAlchemy."""

from __future__ import annotations

import sqlite3
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import ColumnElement, create_engine, exc, select, text
from sqlalchemy.pool import NullPool

from cacheness.backends.sql import entries
from cacheness.backends.sqlite_compiling import in_one_transaction, plain
from cacheness.backends.sqlite_filters import Selection
from cacheness.backends.sqlite_functions import interrupt_behind
from cacheness.backends.statements import statements_of_this_thread
from cacheness.errors import ConfigError

if TYPE_CHECKING:
    from cacheness.backends.sqlite_connections import Connections
    from cacheness.filters import Filter

__all__ = ["query_where"]


def query_where(
    connections: Connections, namespace: str, filter: Filter, expression: object
) -> list[str]:
    """The keys of what both select, oldest first.

    Raises:
        TypeError: The expression is no condition of SQLAlchemy's.
        ConfigError: It can't be evaluated on the table ``entries``.
    """
    if not isinstance(expression, ColumnElement):
        raise TypeError(
            f"where={expression!r} is no condition: give one on the columns of "
            "cacheness.backends.sql.entries, such as entries.c.hits > 5"
        )
    chosen = Selection(filter, connections)
    statement = (
        select(entries.c.cache_key)
        .where(entries.c.namespace == namespace, _as_text(chosen), expression)
        .order_by(entries.c.created_at, entries.c.cache_key)
    )

    opened: list[sqlite3.Connection] = []

    def open_connection() -> Any:
        connection = connections.open()
        opened.append(connection)
        chosen.register(connection)
        return _Connection(plain(connection), connections.path)

    engine = create_engine("sqlite://", creator=open_connection, poolclass=NullPool)
    inside = statements_of_this_thread()
    outside = inside.depth
    try:
        inside.enter()
        with engine.connect() as connection:
            return list(connection.execute(statement).scalars())
    except exc.SQLAlchemyError as error:
        raise _failure(connections, expression, error) from error
    finally:
        inside.depth = outside  # first: an interrupt may keep what follows from being called
        for one in opened:
            connections.forget(one)


class _Connection:
    """Has its cursors do what `Connections` does where a statement has to be compiled."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    def cursor(self) -> sqlite3.Cursor:
        cursor = self._connection.cursor(_Cursor)
        cursor.path = self._path
        return cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Cursor(sqlite3.Cursor):
    path: str

    def execute(self, statement: str, values: Any = (), /) -> Self:
        execute = super().execute
        try:
            return execute(statement, values)
        except sqlite3.DataError:
            given: Self = in_one_transaction(
                self.connection, self.path, "BEGIN", lambda _: execute(statement, values)
            )
            return given


def _as_text(chosen: Selection) -> Any:
    """The filter's SQL with named values; nothing but placeholders in it is a question mark."""
    numbers = count()
    parts = chosen.sql.split("?")
    named = parts[0] + "".join(f":filter_{next(numbers)}{part}" for part in parts[1:])
    values = {f"filter_{number}": value for number, value in enumerate(chosen.values)}
    return text(named).bindparams(**values)


def _failure(
    connections: Connections, expression: object, error: exc.SQLAlchemyError
) -> BaseException:
    cause = getattr(error, "orig", None)
    interrupt = interrupt_behind(cause)
    if interrupt is not None:
        return interrupt
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    if isinstance(cause, sqlite3.Error) and code != sqlite3.SQLITE_ERROR:
        return connections.failure(cause)
    return ConfigError(
        f"where={expression} can't be evaluated on the table of entries: {cause or error}"
    )
