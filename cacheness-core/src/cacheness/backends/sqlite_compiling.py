# SPDX-License-Identifier: MIT
"""Has SQLite compile nothing but right after a look at the schema, in one transaction with it.

SQLite compiles a statement anew when somebody else has changed the schema, while it executes
it, and before it knows what it is about to read: a few views in the place of a table keep it
busy for hours with that alone. So each connection has a gate, the length that SQLite lets a
statement have, which it compares before it looks at anything: at zero it compiles nothing,
and loads no schema. What was compiled before is executed as ever, as long as the schema is
the one that it was compiled for. What is refused is executed again in a transaction that sees
one state of the file, whose schema is looked at first, and then the gate is open.

Neither an authorizer nor a limit on what is computed would do: SQLite asks the one after it
has put views into each other, and not at all for the statistics that ``ANALYZE`` made, which
it reads as it loads a schema.
"""

from __future__ import annotations

import sqlite3
from functools import partial

from cacheness.backends.sqlite_schema import check_schema, check_version
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeAlias

    Begin: TypeAlias = Literal["BEGIN", "BEGIN IMMEDIATE"]

__all__ = ["ANY", "LENGTH", "NONE", "in_one_transaction", "plain", "tell", "vouch"]

LENGTH = sqlite3.SQLITE_LIMIT_SQL_LENGTH
"""The limit that is the gate of a connection: ``connection.setlimit(LENGTH, NONE)``."""
NONE = 0
ANY = 2**31 - 1

_IS_SAME = "SELECT 1 FROM sqlite_master LIMIT 0"
"""Compiled right after a look, so that it needs no compiling only if the schema in memory is
the one that was looked at, and the file's."""
# The index that somebody made of this table could show another one than is used.
_LOOK = "SELECT type, name, sql FROM sqlite_master NOT INDEXED"


def in_one_transaction(
    connection: sqlite3.Connection,
    path: str,
    begin: Begin,
    operation: Callable[[sqlite3.Connection], Any],
) -> Any:
    """What an operation on the connection gives, which may have statements compiled.

    Args:
        connection: One that has a gate.
        path: Its file.
        begin: How the transaction begins, where there is none yet.
        operation: It is given the connection, and leaves no cursor that it has to read from.

    Raises:
        BackendUnavailableError: There is something in the schema that nothing here makes.
    """
    connection = plain(connection)
    gate = connection.setlimit(LENGTH, -1)
    within = connection.in_transaction
    try:
        connection.setlimit(LENGTH, ANY)
        if not within:
            connection.execute(begin)
        vouch(connection, path)
        given = operation(connection)
        if not within:
            connection.execute("COMMIT")
    finally:
        # As in a `Transaction`: no function of Python's, in which an interrupt could come.
        try:
            try:
                connection.setlimit(LENGTH, ANY)
                if not within and connection.in_transaction:
                    connection.execute("ROLLBACK")
            finally:
                connection.setlimit(LENGTH, gate)
        except sqlite3.ProgrammingError:
            pass  # closed, in a child that was forked in between
    return given


def vouch(connection: sqlite3.Connection, path: str) -> None:
    """Open the gate, within a transaction, if the schema is one that is made here.

    It costs 1 µs where the schema did not change.

    Raises:
        BackendUnavailableError: It is not. The gate may be open.
    """
    connection.setlimit(LENGTH, NONE)
    try:
        connection.execute(_IS_SAME).fetchone()
    except sqlite3.DataError:
        connection.setlimit(LENGTH, ANY)
        _look(connection, path)
        connection.execute(_IS_SAME).fetchone()
    connection.setlimit(LENGTH, ANY)


def tell(connection: sqlite3.Connection, path: str, pragma: str) -> list[Any]:
    """Have a PRAGMA executed that can't be part of a transaction, and reads no table.

    For some of them SQLite loads the schema, unless that was done before.
    """
    connection = plain(connection)
    try:
        return connection.execute(pragma).fetchall()
    except sqlite3.DataError:
        in_one_transaction(connection, path, "BEGIN", lambda _: None)
    gate = connection.setlimit(LENGTH, -1)
    try:
        connection.setlimit(LENGTH, ANY)
        return connection.execute(pragma).fetchall()
    finally:
        connection.setlimit(LENGTH, gate)


def plain(connection: Any) -> sqlite3.Connection:
    """The connection itself, where one stands for it; that is another one for another file."""
    itself: sqlite3.Connection = (
        connection if type(connection) is sqlite3.Connection else connection.current()
    )
    return itself


def _look(connection: sqlite3.Connection, path: str) -> None:
    """Look at the schema of the state that the transaction sees, and have it loaded anew.

    SQLite loads the schema before it reads the table that has it, which is to be read first.
    So it is stopped at once, and told to do with what it has. Where a system does not let us
    tell it that, the schema is loaded then and there, statistics included.
    """
    execute = connection.execute
    execute("PRAGMA schema_version").fetchone()  # needs no schema, and has the state stay
    execute("PRAGMA writable_schema = RESET")
    execute("PRAGMA writable_schema = ON")
    try:
        connection.set_progress_handler(partial(int, 1), 1)
        execute(_LOOK).fetchone()
    except sqlite3.OperationalError:
        pass  # interrupted
    finally:
        connection.set_progress_handler(None, 0)
    try:
        check_schema(path, execute(_LOOK))
    except BackendUnavailableError:
        check_version(path, *execute("PRAGMA user_version").fetchone())
        raise
    execute("PRAGMA writable_schema = RESET")
