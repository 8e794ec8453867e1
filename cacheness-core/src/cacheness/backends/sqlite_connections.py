# SPDX-License-Identifier: MIT
"""The connections of one SQLite file: one a thread, and what they execute."""

from __future__ import annotations

import os
import sqlite3
import sys
from _thread import RLock, _local
from functools import partial
from operator import attrgetter
from weakref import finalize

from cacheness.backends.sqlite_compiling import in_one_transaction, tell
from cacheness.backends.sqlite_held import Held, close_all
from cacheness.backends.sqlite_opening import Opener
from cacheness.backends.sqlite_schema import SCHEMA_VERSION, NewerSchemaError, check_version
from cacheness.backends.statements import pausing, statements_of_this_thread
from cacheness.errors import BackendUnavailableError, CacheClosedError, ConfigError
from cacheness.forks import renew_in_child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    from cacheness.backends.sqlite_compiling import Begin
    from cacheness.backends.sqlite_journal import Journal
    from cacheness.backends.sqlite_token import ChangeWatch
    from cacheness.backends.sqlite_transaction import Transaction
    from cacheness.backends.sqlite_turns import Turns

    Row: TypeAlias = tuple[Any, ...]
    Execute: TypeAlias = Callable[..., sqlite3.Cursor]

__all__ = ["Connections", "is_busy"]

_ROWCOUNT = attrgetter("rowcount")
_FIRST_PAGES = 100
"""Pages after which a process looks at the log that it found."""


class Connections:
    """Opens a connection for each thread that asks, and closes them all.

    Args:
        path: The file.
        timeout: Seconds to wait for a lock.
        durable: Whether a commit survives a power loss.
        read_only: Whether the file is left as it is.
        journal: ``"wal"``, or ``"rollback"`` where the machines that share the file share
            no memory.

    Writers of several processes wait for each other here rather than in SQLite, whose
    steps are 1 to 100 ms: a transaction takes 0.03 ms.
    """

    def __init__(
        self, path: str, *, timeout: float, durable: bool, read_only: bool, journal: Journal = "wal"
    ) -> None:
        self.path = path
        self.journal: Journal = journal
        self.timeout = timeout
        self.read_only = read_only
        self._durable = durable
        self._opener = Opener(
            path, timeout=timeout, durable=durable, read_only=read_only, journal=journal
        )
        self.indexed: set[str] = set()
        """The fields that are known to have an index, see `sqlite_indexes`."""
        self._pages_left = _FIRST_PAGES
        self.local: Any = _local()
        """This thread's ``held``, once it has a connection."""
        self._lock = RLock()
        self._connections: dict[int, Held] = {}
        self._ended: list[int] = []
        self._own_connections()
        self._closed = False
        renew_in_child(self)

    # --- statements -------------------------------------------------------------------

    def row(self, statement: str, values: Row) -> Any:
        """[hot] The first row of one SELECT, on a cursor of this thread.

        Cursors are taken off a stack and put back, since a signal handler or a
        finaliser may read the cache between the two calls on one; making one for each
        read costs 1.8 µs of 8.
        """
        try:
            held: Held = self.local.held
        except AttributeError:
            held = self.connect()
        inside, cursors = held.inside, held.cursors
        outside = inside.depth and self._end_deserted()
        try:
            inside.depth = outside + 1
            if pausing.thread:
                inside.wait()
            cursor = cursors.pop() if cursors else held.connection.cursor()
            try:
                row = cursor.execute(statement, values).fetchone()
            except sqlite3.Error:
                cursor.close()  # else it would keep the connection after a fork
                raise
        except sqlite3.Error as error:
            row = self._run_again(error, held, statement, values, sqlite3.Cursor.fetchone)
        else:
            cursors.append(cursor)
        finally:
            inside.depth = outside  # also where an interrupt came before it was another
        return row

    def rows(self, statement: str, values: Row = (), *, pages: int = 0) -> list[Any]:
        """All rows that one statement gives; it is a transaction of its own.

        Where it changes something, ``pages`` says how many pages of the file, roughly.
        """
        rows: list[Any] = self._run(self.mine(), statement, values, sqlite3.Cursor.fetchall)
        self.wrote(pages)
        return rows

    def change(
        self, statement: str, values: Row, pages: int = 2, *, blob: str | None = None
    ) -> int:
        """[hot] Change rows by one statement, a transaction of its own; give their number."""
        try:
            held: Held = self.local.held
        except AttributeError:
            held = self.connect()
        changed: int = self._run(held, statement, values, _ROWCOUNT, blob)
        self._pages_left -= pages  # as `wrote`
        if self._pages_left < 0:
            self._look_after_log()
        return changed

    def put(
        self, statement: str, values: Row, width: int, pages: int, blob: str | None = None
    ) -> Row | None:
        """[hot] Put a row by one statement, a transaction of its own.

        Args:
            statement: From `sqlite_rows.put_statement`.
            values: What it is to be given.
            width: The number of columns that it hands to ``displaced``.
            pages: How many pages of the file it changes, roughly.
            blob: What the row names, which may be the parent's to record: see `_run`.

        Returns:
            The columns that it handed to ``displaced`` of the row that was there.
        """
        try:
            held: Held = self.local.held
        except AttributeError:
            held = self.connect()
        displaced = held.displaced
        mark = len(displaced)
        handed: Row | None = None
        try:
            self._run(held, statement, values, _ROWCOUNT, blob)
        finally:
            if len(displaced) != mark:
                # The last, where the statement had to be tried again.
                handed = tuple(displaced[-width:])
                del displaced[mark:]
        self._pages_left -= pages  # as `wrote`
        if self._pages_left < 0:
            self._look_after_log()
        return handed

    def _run(
        self,
        held: Held,
        statement: str,
        values: Row,
        outcome: Callable[[sqlite3.Cursor], Any],
        blob: str | None = None,
    ) -> Any:
        """[hot] What becomes of one statement, on a cursor of this thread's, as in `row`.

        Raises:
            ForkedError: A child goes on with what its parent began, whose ``blob`` it is. One
                that is forked later finds the connection closed.
        """
        inside, cursors = held.inside, held.cursors
        outside = inside.depth and self._end_deserted()
        try:
            inside.depth = outside + 1
            if pausing.thread:
                inside.wait()
            if blob is not None:
                from cacheness.disk.unrecorded import check_own

                check_own(blob)
            cursor = cursors.pop() if cursors else held.connection.cursor()
            try:
                given = outcome(cursor.execute(statement, values))
            except sqlite3.Error:
                cursor.close()
                raise
        except sqlite3.Error as error:
            given = self._run_again(error, held, statement, values, outcome)
        else:
            cursors.append(cursor)
        finally:
            inside.depth = outside
        return given

    def _run_again(
        self,
        error: sqlite3.Error,
        held: Held,
        statement: str,
        values: Row,
        outcome: Callable[[sqlite3.Cursor], Any],
    ) -> Any:
        """`_run`, once nobody is in its way; apart from it, as what a lambda names costs more."""
        reads = statement.startswith(("SELECT", "PRAGMA"))
        return self.retried(
            error,
            held.connection,
            lambda one: outcome(one.execute(statement, values)),
            begin="BEGIN" if reads else "BEGIN IMMEDIATE",
        )

    def transaction(self, pages: int = 2, *, timeout: float | None = None) -> Transaction:
        """A context in which all statements succeed or none; gives what executes them.

        Args:
            pages: How many pages of the file it changes, roughly.
            timeout: Seconds to wait for a turn instead of the usual time.
        """
        from cacheness.backends.sqlite_transaction import Transaction

        return Transaction(self, pages, self.timeout if timeout is None else timeout)

    def _end_deserted(self) -> int:
        from cacheness.backends.sqlite_transaction import end_deserted

        return end_deserted(self)

    def version(self) -> object:
        """Another one after every commit that is not of this thread's connection."""
        return self.watched().version()

    def watched(self) -> ChangeWatch:
        """What watches this thread's connection."""
        try:
            watch: ChangeWatch | None = self.local.held.watch
        except AttributeError:
            watch = None
        return watch or self.watch()

    def watch(self) -> ChangeWatch:
        """Have this thread's connection watched anew."""
        from cacheness.backends.sqlite_token import ChangeWatch

        held = self.mine()
        self.rows("SELECT 1 FROM entries LIMIT 1")  # opens the index of the log
        # Without WAL there is no index of it that could tell.
        is_plain = type(held.connection) is sqlite3.Connection
        identity = held.identity if self.journal == "wal" and is_plain else None

        def ask() -> object:
            (version,) = self.row("PRAGMA data_version", ())
            return version if is_plain else (getattr(held.connection, "openings", 0), version)

        watch = ChangeWatch(self.path, identity, ask)
        held.watch = watch
        return watch

    def may_begin(self) -> bool:
        """Whether this thread may begin a transaction that writes."""
        connection = self.connection()
        if statements_of_this_thread().depth:
            self._end_deserted()
        try:
            return not self.read_only and not connection.in_transaction
        except sqlite3.Error as error:
            raise self.failure(error) from error

    def failure(self, error: sqlite3.Error) -> BaseException:
        """The error of the contract for one of SQLite's, or the interrupt behind it."""
        from cacheness.backends.sqlite_errors import failure

        return failure(
            error,
            self.path,
            timeout=self.timeout,
            read_only=self.read_only,
            closed=self._closed,
        )

    # --- waiting ----------------------------------------------------------------------

    def retried(
        self,
        error: sqlite3.Error,
        connection: sqlite3.Connection,
        operation: Callable[[sqlite3.Connection], Any],
        *,
        begin: Begin = "BEGIN",
        timeout: float | None = None,
    ) -> Any:
        """What the operation gives once nobody is in its way; the caller is inside.

        At once the first time, since most of what is in the way is a commit that took
        place between the look at the file and the lock.
        """
        turns: Turns | None = None
        attempt = partial(operation, connection)
        whole = partial(in_one_transaction, connection, self.path, begin, operation)
        while True:
            if isinstance(error, sqlite3.DataError) and attempt is not whole:
                attempt = whole  # what it executes has to be compiled
            elif is_busy(error):
                turns = turns or self._turns(timeout)
                if not turns.wait(statements_of_this_thread()):
                    break
            else:
                break
            try:
                return attempt()
            except sqlite3.Error as refused:
                error = refused
        raise self.failure(error) from error

    def _turns(self, timeout: float | None) -> Turns:
        from cacheness.backends.sqlite_turns import Turns

        return Turns(self.timeout if timeout is None else timeout)

    def tell(self, pragma: str) -> list[Any]:
        """The rows of a PRAGMA that can't be part of a transaction, and reads no table."""
        held = self.mine()
        inside, connection = held.inside, held.connection
        outside = inside.depth
        try:
            inside.enter()
            return tell(connection, self.path, pragma)
        except sqlite3.Error as error:
            told: list[Any] = self.retried(
                error, connection, lambda one: tell(one, self.path, pragma)
            )
            return told
        finally:
            inside.depth = outside

    def wrote(self, pages: int) -> None:
        """[hot] Take note of so many pages, roughly, that were written to the log."""
        self._pages_left -= pages
        if self._pages_left < 0:
            self._look_after_log()

    def _look_after_log(self) -> None:
        self._pages_left = _FIRST_PAGES
        try:
            from cacheness.backends.sqlite_log import look_after_log
        except ImportError:
            # The interpreter is at its end, when the last connection does it as it closes; or
            # this is a signal handler in the middle of that very import.
            return
        self._pages_left = look_after_log(self)

    # --- connections ------------------------------------------------------------------

    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        return self.mine().connection

    def mine(self) -> Held:
        """This thread's connection with what belongs to it.

        Whoever needs it twice keeps it: another thread may close the cache in between, and
        then there is none any more.
        """
        try:
            held: Held = self.local.held
        except AttributeError:
            held = self.connect()
        return held

    def function(self, name: str, arguments: int, function: Callable[..., Any]) -> None:
        """Have this thread's statements know a function, which gives the same for the same."""
        held = self.mine()
        if name in held.functions:
            return
        from cacheness.backends.sqlite_functions import callable_by_sql

        called = callable_by_sql(function)
        try:
            held.connection.create_function(name, arguments, called, deterministic=True)
        except sqlite3.Error as error:
            raise self.failure(error) from error
        held.functions.add(name)

    def connect(self) -> Held:
        """Open this thread's connection; give what `mine` does."""
        inside = statements_of_this_thread()
        outside = inside.depth
        try:
            inside.enter()
            with self._lock:
                if self._closed:
                    raise CacheClosedError("the cache is closed")
                local = self.local  # which a close replaces
                before = self._opener.identity()
                self._check_inherited(before)
                displaced: list[Any] = []
                connection = self._opener.open(displaced)
                held = Held(connection, inside, displaced)
                held.identity = before or self._opener.identity()
                if type(connection) is not sqlite3.Connection:
                    held.cursors = _unkept()
                self._close_those_of_ended_threads()
                self._connections[id(connection)] = held
                self._opener.begun.clear()
        except sqlite3.Error as error:
            raise self.failure(error) from error
        finally:
            inside.depth = outside
        local.held = held
        # Goes with the thread, which says that its connection is nobody's any more.
        local.thread = _Thread()
        finalize(local.thread, self._ended.append, id(connection)).atexit = False
        return held

    def open(self) -> sqlite3.Connection:
        """A connection that is the caller's, who closes it and then has it forgotten.

        Until then the caller is inside a statement, as it says at the beginning.
        """
        with self._lock:
            try:
                connection = self._opener.open([])
            except sqlite3.Error as error:
                raise self.failure(error) from error
            self._connections[id(connection)] = Held(connection, statements_of_this_thread())
            self._opener.begun.clear()
        return connection

    def forget(self, connection: sqlite3.Connection) -> None:
        """Take no more account of one that its caller has closed."""
        self._connections.pop(id(connection), None)

    def _close_those_of_ended_threads(self) -> None:
        while self._ended:
            held = self._connections.pop(self._ended.pop(), None)
            if held is not None:
                held.connection.close()

    def close(self) -> None:
        """Close all connections; closing twice is allowed."""
        with self._lock:
            if not self._closed and self._pages_left < _FIRST_PAGES:
                self._look_after_log()
            self._closed = True
            self.local = _local()
        self._finalizer()  # without the lock, for which those may wait whom it waits for

    def after_fork(self) -> None:
        """In a child: close the parent's connections; each thread opens its own."""
        self._finalizer.detach()
        local, mine = self.local, statements_of_this_thread()
        begun = (Held(one, mine) for opened in self._opener.begun for one in opened)
        inherited = [*self._connections.values(), *begun]
        self.local, self._connections, self._lock = _local(), {}, RLock()
        self._ended, self._opener.begun = [], []
        self._own_connections()
        if not inherited:
            return
        from cacheness.backends.sqlite_inherited import close_inherited

        held: Held | None = getattr(local, "held", None)
        if held is not None and held.watch is not None:
            held.watch.descriptor = None  # another file may get the number
        close_inherited(self.path, inherited)

    def _check_inherited(self, identity: tuple[int, int] | None) -> None:
        """Refuse to open the file beside a connection that is the parent's."""
        inherited = sys.modules.get("cacheness.backends.sqlite_inherited")
        if inherited is not None and identity in inherited.lost:
            raise BackendUnavailableError(
                f"{self.path} can't be used in this process, which was forked in the middle of a "
                "statement of SQLite's; fork outside the functions that SQL calls, or start a "
                "new process instead"
            )

    def _own_connections(self) -> None:
        """Have the connections closed when this object is dropped without `close`.

        Not at exit, when buffered hits are still to be written.
        """
        self._finalizer = finalize(self, close_all, self.path, self._connections)
        self._finalizer.atexit = False

    # --- the file ---------------------------------------------------------------------

    def prepare(self, *, for_group: bool) -> None:
        """Make the file where there is none.

        Raises:
            ConfigError: The file was made by a newer version.
            BackendUnavailableError: It can't be used, or has tables that are nobody's here.
        """
        try:
            self._prepare(for_group=for_group)
        except NewerSchemaError as error:
            self.close()
            raise ConfigError(str(error)) from None

    def _prepare(self, *, for_group: bool) -> None:
        is_new = not self.read_only and not os.path.exists(self.path)
        version = 0 if is_new else self._version()
        if version == 0 and not self.read_only:
            from cacheness.backends.sqlite_making import make_file

            make_file(self, SCHEMA_VERSION, mode=0o660 if for_group else 0o600)
            version = self._version()
        if self._durable and not self.read_only:
            self._settle()
        check_version(self.path, version)
        if self.journal == "wal" and not self.read_only:
            (mode,) = self.row("PRAGMA journal_mode", ())
            if mode != "wal":
                from cacheness.backends.sqlite_journal import use_wal

                use_wal(self.connection(), self.path)

    def _settle(self) -> None:
        """Wait for the file's name to be on the disk: whoever made it may not have."""
        from cacheness.disk.durable import sync_directory

        try:
            sync_directory(os.path.dirname(self.path))
        except OSError as error:
            raise BackendUnavailableError(f"{self.path} can't be used: {error}") from error

    def _version(self) -> int:
        row = self.row("PRAGMA user_version", ())
        return int(row[0]) if row else 0


def is_busy(error: sqlite3.Error) -> bool:
    """Whether somebody else is in the way, for the moment."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _unkept() -> list[sqlite3.Cursor]:
    from cacheness.backends.sqlite_unchanging import UnkeptCursors

    return UnkeptCursors()


class _Thread:
    """Lives as long as a thread that has a connection."""

    __slots__ = ("__weakref__",)
