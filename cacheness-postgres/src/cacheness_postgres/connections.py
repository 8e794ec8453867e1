# SPDX-License-Identifier: MIT
"""The connections of this process to one server, shared by all backends that name it.

A pool of its own rather than `psycopg_pool`'s: that one connects in background threads, so
that a caller learns of a server that is down only when its wait is over, logs each attempt,
and does not survive a fork. This one connects in the thread that asks, and fails at once.
"""

from __future__ import annotations

import atexit
import os
import time
from collections import deque
from threading import Condition, Lock
from typing import TypeVar
from weakref import WeakSet

import psycopg

from cacheness import forks
from cacheness.disk.unrecorded import check_own
from cacheness.errors import BackendUnavailableError, CacheClosedError
from cacheness_postgres import failures
from cacheness_postgres.clock import ServerClock
from cacheness_postgres.session import HELLO, connect, leave_to_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from cacheness_postgres.address import Address
    from cacheness_postgres.session import Session

__all__ = ["Database", "share", "unshare"]

T = TypeVar("T")

_TRIES = 6
_LOOK_AFTER = 1.0
"""Seconds of idleness after which a connection is looked at before it is used."""
_ASK_AFTER = 60.0
"""Seconds of idleness after which it has to answer before it is used."""
_LONGEST_PAUSE = 15.0

_databases: WeakSet[Database] = WeakSet()
_shared: dict[Any, tuple[Database, int]] = {}
_shared_lock = Lock()
_abandoned: list[object] = []
"""A forked child keeps its parent's connections here, unclosed: closing one would say
good-bye to the server in the parent's name."""


class Database:
    """A pool of connections to one server. Safe for threads and forks.

    Connections are made when they are needed, and kept. Whoever finds one broken drops all
    idle ones and tries once more on a new one, so that a server that was restarted in the
    meantime is not noticed.
    """

    def __init__(
        self, address: Address, *, size: int, timeout: float, prepare: Callable[[Session], None]
    ) -> None:
        """Keep connections; none is made yet.

        Args:
            address: The server.
            size: How many to have at most.
            timeout: Seconds to wait for a free one, and for a lock in the server.
            prepare: Called with the first session before any other use, and again when the
                tables are found missing.
        """
        self.address = address
        self.clock = ServerClock()
        self.prepares = True
        """Whether statements may be prepared; not behind a pooler that loses them."""
        self.version = 0
        """The server's, such as 180001, once it was reached."""
        self._size = size
        self._timeout = timeout
        self._prepare = prepare
        self._start()
        _databases.add(self)

    def _start(self) -> None:
        self._idle: deque[Session] = deque()
        self._free = Condition()
        self._opened = 0
        self._waiting = 0
        self._closed = False
        self._keeps = True
        self._ready = False
        self._preparing = Lock()
        self._paused_until = 0.0
        self._reason = ""

    # --- statements -------------------------------------------------------------------

    def fetch(
        self,
        statement: str,
        values: Sequence[Any] | dict[str, Any] = (),
        *,
        prepare: bool = True,
        blob: str | None = None,
    ) -> list[tuple[Any, ...]]:
        """[hot] The rows of one statement, which is a transaction of its own.

        It may be run twice where the connection breaks, so it has to be one that may.

        Args:
            statement: Text of SQL.
            values: What it is to be given.
            prepare: Whether the server is to remember it.
            blob: What is recorded by it, which is the parent's to do in a forked child.

        Raises:
            ForkedError: A child goes on with what its parent is in the middle of.
            BackendUnavailableError: The server can't be reached or refuses for now.
            ConfigError: A grant is missing.
            CacheClosedError: The pool was closed.
        """
        for tries_left in range(_TRIES, -1, -1):
            session = self.take()
            try:
                if blob is not None:
                    check_own(blob)
                cursor = session.cursor
                cursor.execute(statement, values, prepare=prepare and self.prepares)
                rows = cursor.fetchall()
            except BaseException as error:  # noqa: BLE001  # raised again by `_recover`
                self._recover(session, error, tries_left)
            else:
                self.give(session)
                return rows
        raise AssertionError("unreachable")

    def transact(self, work: Callable[[Session], T]) -> T:
        """Do ``work`` in one transaction, from the start again where the server undid it.

        Raises:
            BackendUnavailableError, ConfigError, CacheClosedError: As `fetch`.
        """
        for tries_left in range(_TRIES, -1, -1):
            session = self.take()
            try:
                with session.connection.transaction():
                    result = work(session)
            except BaseException as error:  # noqa: BLE001  # raised again by `_recover`
                self._recover(session, error, tries_left)
            else:
                self.give(session)
                return result
        raise AssertionError("unreachable")

    def _recover(self, session: Session, error: BaseException, tries_left: int) -> None:
        """Settle a session that met an error; return to try again, raise to give up."""
        if _is_left_to_parent(session) and isinstance(error, Exception):
            raise forks.ForkedError from error
        broken = session.connection.closed
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        if isinstance(error, Exception) and not broken and state not in failures.STALE_PLAN:
            self.give(session)
        else:
            self.discard(session)
        if not isinstance(error, psycopg.Error):
            raise error
        if broken or state in failures.READ_ONLY:
            # After a failover the next connection may well lead to the new primary.
            self.drop_idle()
        if state in failures.NOT_PREPARED:
            self.prepares = False
            self.drop_idle()
        if state in failures.NO_SCHEMA:
            self._ready = False
        may_help = (
            broken
            or state in failures.NO_SCHEMA
            or state in failures.STALE_PLAN
            or state in failures.NOT_PREPARED
        )
        if may_help and tries_left == _TRIES:
            return
        if state in failures.IN_CONFLICT and tries_left:
            time.sleep(os.urandom(1)[0] / 256 * 0.02 * (_TRIES + 1 - tries_left))
            return
        raise failures.unusable(error, self.address) from error

    # --- sessions ---------------------------------------------------------------------

    def take(self) -> Session:
        """A session for this thread alone; `give` it back or `discard` it."""
        try:
            session = self._idle.pop()
        except IndexError:
            return self._wait_or_connect()
        idle = time.monotonic() - session.used_at
        if (idle > _LOOK_AFTER and not session.is_silent()) or (
            idle > _ASK_AFTER and not self._answers(session)
        ):
            self.discard(session)
            return self.take()
        if not self._ready or self.clock.is_doubtful():
            try:
                self._make_ready(session)
            except BaseException:
                self.discard(session)
                raise
        return session

    def take_live(self) -> Session:
        """`take`, and make sure of it by a round trip: for what can't be begun again."""
        self.fetch("SELECT 1")
        return self.take()

    def give(self, session: Session) -> None:
        """Take a session back."""
        if _is_left_to_parent(session):
            return
        session.used_at = time.monotonic()
        self._idle.append(session)
        if self._waiting or not self._keeps:
            with self._free:
                self._free.notify()
            if not self._keeps:
                self.drop_idle()

    def discard(self, session: Session) -> None:
        """Close a session that is not to be used again."""
        if _is_left_to_parent(session):
            return
        session.close()
        with self._free:
            self._opened -= 1
            self._free.notify()

    def drop_idle(self) -> None:
        """Close all sessions that nobody uses."""
        while True:
            try:
                session = self._idle.pop()
            except IndexError:
                return
            self.discard(session)

    def extra(self) -> Session:
        """A session beside the pool, the caller's own to close."""
        if self._closed:
            raise CacheClosedError("the cache is closed")
        session = self._connect()
        try:
            if not self._ready:
                self._make_ready(session)
        except BaseException:
            session.close()
            raise
        return session

    def close(self) -> None:
        """Close the idle sessions now, the others when they come back."""
        self._closed = True
        self.keep_none()
        with self._free:
            self._free.notify_all()

    def keep_none(self) -> None:
        """Close the idle sessions, and from now on each as it comes back."""
        self._keeps = False
        self.drop_idle()

    def _wait_or_connect(self) -> Session:
        deadline = time.monotonic() + self._timeout
        with self._free:
            self._waiting += 1
            try:
                while not self._closed:
                    if self._idle:
                        return self._idle.pop()
                    if self._opened < self._size:
                        self._opened += 1
                        break
                    if not self._free.wait(deadline - time.monotonic()):
                        raise BackendUnavailableError(
                            f"{self.address}: all {self._size} connections of this process were in "
                            f"use for {self._timeout:g} s; raise metadata_options['pool_size']"
                        )
                else:
                    raise CacheClosedError("the cache is closed")
            finally:
                self._waiting -= 1
        return self._connect_one_more()

    def _connect_one_more(self) -> Session:
        session: Session | None = None
        try:
            session = self._connect()
            if not self._ready:
                self._make_ready(session)
        except BaseException:
            if session is not None:
                session.close()
            with self._free:
                self._opened -= 1
                self._free.notify()
            raise
        return session

    def _connect(self) -> Session:
        """Connect; after a failure not again for as long as that took.

        A server that does not even refuse would otherwise cost every call of a cached
        function its ten seconds.
        """
        started = time.monotonic()
        if started < self._paused_until:
            raise BackendUnavailableError(self._reason)
        try:
            session = connect(self.address, self.clock, self._timeout)
        except BackendUnavailableError as error:
            now = time.monotonic()
            self._reason = str(error)
            self._paused_until = now + min(max(0.05, now - started), _LONGEST_PAUSE)
            raise
        self.version = session.version
        if session.behind_pooler:
            self.prepares = False
        if not self.prepares:
            session.connection.prepare_threshold = None  # nor is it to begin by itself
        return session

    def _make_ready(self, session: Session) -> None:
        """See to the tables, and to the clock."""
        try:
            if not self._ready:
                with self._preparing:
                    if not self._ready:
                        self._prepare(session)
                        self._ready = True
            if self.clock.is_doubtful() and not self._answers(session):
                raise BackendUnavailableError(f"{self.address} does not answer")
        except psycopg.Error as error:
            raise failures.unusable(error, self.address) from error

    def _answers(self, session: Session) -> bool:
        """Whether the server answers on this session; takes its time on the way."""
        try:
            before = time.time()
            row = session.cursor.execute(HELLO).fetchone()
        except psycopg.Error:
            return False
        if row is not None:
            self.clock.learn(row[1], before, time.time())
        return True

    def abandon(self) -> None:
        """In a forked child: leave the parent's sessions alone and begin anew."""
        closed, keeps = self._closed, self._keeps
        _abandoned.append(self._idle)
        self._start()
        self._closed, self._keeps = closed, keeps


def share(key: object, make: Callable[[], Database]) -> Database:
    """The database of that key, made where this process has none; `unshare` it after use."""
    with _shared_lock:
        database, users = _shared.get(key) or (make(), 0)
        _shared[key] = database, users + 1
    return database


def unshare(key: object) -> None:
    """Say that one user of the shared database is done; the last one closes it."""
    with _shared_lock:
        database, users = _shared.pop(key)
        if users > 1:
            _shared[key] = database, users - 1
            return
    database.close()


def _is_left_to_parent(session: Session) -> bool:
    """Whether a session was taken before this process was forked; it is then no more used."""
    if session.is_parents:
        _abandoned.append(session)
    return session.is_parents


def _after_fork() -> None:
    global _shared_lock  # it may have been held by a thread that is no more
    _shared_lock = Lock()
    leave_to_parent()
    for database in list(_databases):
        database.abandon()


def _at_exit() -> None:
    """Say good-bye to the server; a cache may still flush after this, on a new connection."""
    for database in list(_databases):
        database.keep_none()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
