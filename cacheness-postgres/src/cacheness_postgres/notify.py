# SPDX-License-Identifier: MIT
# ruff: noqa: S608  # what is put into SQL is a checked schema name; all values are bound
"""Hears of other machines' changes through ``LISTEN``."""

from __future__ import annotations

import os
import threading
from uuid import uuid4

import psycopg

from cacheness.errors import CacheClosedError
from cacheness_postgres import failures
from cacheness_postgres.schema import advisory_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness_postgres.connections import Database
    from cacheness_postgres.session import Session

__all__ = ["Watcher", "channel_of"]

_abandoned: list[object] = []


def channel_of(schema: str, namespace: str) -> str:
    """The channel on which changes of a namespace are told."""
    return f"cacheness_{advisory_key('channel', schema, namespace) & (1 << 63) - 1:016x}"


class Watcher:
    """Tells whether others changed the entries of one namespace, on a connection of its own.

    Whoever replaces, changes or removes an entry notifies in the same transaction. Asking
    for the `token` is a round trip to the server, which hands over what was told until
    then: nothing that was committed before is missed, and a line that is dead shows at
    once. When listening begins anew, what was told meanwhile is lost, so the token is
    another one. Where one can't listen — behind a pooler, on a standby — the token is the
    server's list of transactions, which differs after any change of anybody to anything.

    New entries are counted by a sequence instead: a notification makes a server's commits
    wait for each other, and to miss a new entry for a moment is no harm.
    """

    def __init__(self, database: Database, schema: str, namespace: str) -> None:
        self.channel = channel_of(schema, namespace)
        """Where changes are told."""
        self.sender = uuid4().hex
        """Who we are: what we change ourselves is no news."""
        self._database = database
        self._added = f"SELECT last_value, is_called FROM {schema}.added"
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._asking = threading.Lock()
        self._session: Session | None = None
        self._can_listen = True
        self._epoch = 0
        self._changes = 0

    def token(self) -> object:
        """Something that differs after a change by somebody else.

        Raises:
            BackendUnavailableError: The server can't be reached.
        """
        if self._process != os.getpid():
            _abandoned.append(self._session)
            self._begin()
        with self._asking:
            if self._closed:
                raise CacheClosedError("the cache is closed")
            if self._session is not None:
                try:
                    return self._ask(self._session)
                except psycopg.Error:
                    self._hang_up()
            if self._can_listen:
                self._listen()
            if self._session is None:
                return self._database.fetch("SELECT pg_current_snapshot()::text")[0][0]
            try:
                return self._ask(self._session)
            except psycopg.Error as error:
                self._hang_up()
                raise failures.unusable(error, self._database.address) from error

    def close(self) -> None:
        """Stop listening."""
        if self._process == os.getpid():
            with self._asking:
                self._closed = True
                self._hang_up()

    def _ask(self, session: Session) -> tuple[object, ...]:
        row = session.cursor.execute(self._added, prepare=True).fetchone()
        for told in session.connection.notifies(timeout=0):
            self._changes += told.payload != self.sender
        return self._epoch, self._changes, row

    def _listen(self) -> None:
        session = self._database.extra()
        if session.behind_pooler:
            session.close()
            self._can_listen = False
            return
        try:
            session.connection.execute(f"LISTEN {self.channel}")
        except psycopg.Error:
            session.close()  # a standby, which has nobody to listen to
            return
        self._epoch += 1
        self._session = session

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()
