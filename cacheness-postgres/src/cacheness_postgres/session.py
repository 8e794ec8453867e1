# SPDX-License-Identifier: MIT
"""One connection to a server, and what was learned when it was made."""

from __future__ import annotations

import select
import time
from weakref import WeakSet

import psycopg

from cacheness import forks
from cacheness.errors import ConfigError
from cacheness_postgres import failures

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from cacheness_postgres.address import Address
    from cacheness_postgres.clock import ServerClock

    Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
    Cursor: TypeAlias = psycopg.Cursor[tuple[Any, ...]]

__all__ = ["HELLO", "Session", "connect", "leave_to_parent"]

_OLDEST_SERVER = 150_000

HELLO = (
    "SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::float8, "
    "current_setting('server_version_num')::int8, current_setting('server_encoding')"
)
"""Who answers, what time it has, of what version and encoding it is."""


_sessions: WeakSet[Session] = WeakSet()


class Session:
    """A connection with what is known of it."""

    __slots__ = (
        "__weakref__",
        "_fork",
        "behind_pooler",
        "connection",
        "cursor",
        "used_at",
        "version",
    )

    def __init__(self, connection: Connection, version: int, behind_pooler: bool) -> None:
        self._fork = forks.number
        self.connection = connection
        self.version = version
        """The server's, such as 180001."""
        self.cursor: Cursor = connection.cursor(binary=True)
        """Used for all single statements: making one for each costs 14 µs of 53."""
        self.behind_pooler = behind_pooler
        """Whether something between us and the server hands out its connections anew for
        each transaction, so that nothing may be left in them."""
        self.used_at = time.monotonic()
        _sessions.add(self)

    @property
    def is_parents(self) -> bool:
        """Whether this process was forked from the one that it belongs to."""
        return forks.number != self._fork

    def is_silent(self) -> bool:
        """Whether nothing has arrived while it was idle: news on an idle line are its end."""
        try:
            return not _is_readable(self.connection.fileno())
        except (OSError, ValueError, psycopg.Error):
            return False

    def close(self) -> None:
        self.cursor.close()
        self.connection.close()


def leave_to_parent() -> None:
    """In a forked child: have its parent's connections lead nowhere.

    The child may go on with what a signal handler interrupted, and would read the answers that
    its parent waits for.
    """
    for session in list(_sessions):
        if not session.connection.closed:
            forks.lead_nowhere(session.connection.fileno())
    _sessions.clear()


def connect(address: Address, clock: ServerClock, lock_timeout: float = 0) -> Session:
    """Connect, and learn what is at the other end.

    Args:
        address: The server.
        clock: Is taught the server's time.
        lock_timeout: Seconds that a statement waits for a lock; 0 is the server's own setting.

    Raises:
        BackendUnavailableError: It can't be reached.
        ConfigError: It is no server that can hold a cache.
    """
    met = _connect(address, clock, lock_timeout)
    if isinstance(met, Session):
        return met
    raise met


def _connect(address: Address, clock: ServerClock, lock_timeout: float) -> Session | Exception:
    """Give the error instead of raising it: a traceback through here knows the password."""
    connection: Connection | None = None
    try:
        connection = psycopg.connect(autocommit=True, client_encoding="utf8", **address.parameters)
        return _greet(connection, address, clock, lock_timeout)
    except (psycopg.Error, OSError, ValueError, ConfigError) as error:
        if connection is not None:
            connection.close()
        return error if isinstance(error, ConfigError) else failures.unreachable(error, address)


def _greet(
    connection: Connection, address: Address, clock: ServerClock, lock_timeout: float
) -> Session:
    _adapt(connection)
    before = time.time()
    found = connection.execute(HELLO, binary=True).fetchone()
    after = time.time()
    pid, server_time, version, encoding = found or (0, 0.0, 0, "")
    if version < _OLDEST_SERVER or encoding != "UTF8":
        raise ConfigError(
            f"{address} can't hold a cache: it is PostgreSQL {version // 10_000} with the encoding "
            f"{encoding}, and PostgreSQL 15 or newer with UTF8 is needed"
        )
    clock.learn(server_time, before, after)
    # A pooler greets us with a process id that it made up.
    behind_pooler = pid != connection.info.backend_pid
    if behind_pooler:
        connection.prepare_threshold = None
    elif lock_timeout:
        connection.execute(f"SET lock_timeout = {max(1, int(lock_timeout * 1000))}")
    return Session(connection, version, behind_pooler)


def _adapt(connection: Connection) -> None:
    """Send every int as int8.

    By default its size picks the type, and every mix of types is a prepared statement.
    """
    from psycopg.types.numeric import Int8BinaryDumper

    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.prepared_max = 200


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()  # `select` takes no descriptors beyond 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
