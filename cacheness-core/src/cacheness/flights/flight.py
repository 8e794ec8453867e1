# SPDX-License-Identifier: MIT
"""Single flight: of all who miss an entry at the same time, one computes it.

Within a process those who miss queue in a table (`table`); of each process one
excludes the others by a lock that dies with it (`ground`). Whoever would wait while
others wait for it reads, or publishes (`board`), who waits for whom.
"""

from __future__ import annotations

from _thread import get_ident
from contextlib import suppress
from time import monotonic

from cacheness.errors import CachenessError
from cacheness.flights.ground import open_ground
from cacheness.flights.table import Flight, Wait, held, table
from cacheness.flights.ways import TaskWay, ThreadWay, at_once
from cacheness.switch import is_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.base import MetadataBackend
    from cacheness.config import CacheConfig
    from cacheness.flights.ways import Lock, Way

__all__ = ["AsyncHold", "Flights", "Hold"]

_PATIENCE = 10.0
"""Seconds after which a wait for another process looks at the lock file's path again."""


class Flights:
    """The flights of one cache: who may compute an entry, and who waits.

    A leader should look again in the cache before it computes, since somebody may have
    stored the entry between its miss and its start, and store before it leaves.

    * A leader that leaves normally lets all who wait in its process go at once; they look
      again, and compute side by side if nothing was kept. Other processes lead in turn.
    * A leader that leaves with an exception, a cancelled task included, passes the flight
      on to the next who waits; after three such failures in a row everyone goes at once.
    * A leader that is killed passes it on, too: the operating system, or the server of the
      store, releases its lock.
    * Who would wait for itself, over any number of threads, tasks and processes, does not
      wait. A wait through a future is not seen: only a timeout ends such a circle.
    * In a cache that is read-only, or whose directory can't be written, nobody waits.

    On a network file system it is as good as the locks of that file system.
    """

    def __init__(self, backend: MetadataBackend, config: CacheConfig) -> None:
        self._namespace = config.namespace
        self._read_only = config.read_only
        self.ground = open_ground(backend, config)

    def hold(self, key: str, timeout: float | None = None) -> Hold:
        """Give a context manager that enters when the caller may compute the entry.

        It gives True where the caller leads and others wait for it, and False where it
        computes alone: a wait would close a circle, took longer than ``timeout`` seconds,
        or is over since the leader left; or the store can't lock.
        """
        return Hold(self, key, timeout)

    def hold_async(self, key: str, timeout: float | None = None) -> AsyncHold:
        """`hold` for a task: waiting lets the loop go on, and cancelling it releases."""
        return AsyncHold(self, key, timeout)

    def try_hold(self, key: str) -> Hold | None:
        """`hold` where nobody computes the entry; None where somebody does.

        What it gives is to be entered, in any thread or task, or to be given up by
        `Hold.release`.
        """
        hold = Hold(self, key, 0.0)
        return hold if hold.take() else None

    def close(self) -> None:
        """Release what is open; flights that are under way stay so."""
        self.ground.close()

    def flight(self, key: str) -> Flight | None:
        """A new flight of that key; None where nobody should wait."""
        if self._read_only or is_off():
            return None
        ground = self.ground
        return Flight((ground.site, self._namespace, key), ground.name(key), ground)


class _Journey:
    """One caller's way into a flight and out of it."""

    __slots__ = ("_deadline", "_flight", "_flights", "_key", "_lock", "_timeout", "_way")
    _way: Way

    def __init__(self, flights: Flights, key: str, timeout: float | None) -> None:
        self._flights = flights
        self._key = key
        self._timeout = timeout
        self._deadline: float | None = None
        self._flight: Flight | None = None
        self._lock: Lock | None = None

    def _left(self) -> float | None:
        return None if self._deadline is None else self._deadline - monotonic()

    async def _start(self, way: Way) -> bool:
        asked = self._flights.flight(self._key)
        if asked is None:
            return False
        if self._timeout is not None:
            self._deadline = monotonic() + self._timeout
        try:
            turn = table.ask(asked, way, blocks=way.blocks)
            if isinstance(turn, Wait):
                leads = await self._queue(turn, way)
                flight = turn.flight
            else:
                leads = turn is not None
                flight = asked
            if not leads or not await self._exclude_others(flight, way):
                return False
            self._lead()
        except BaseException:  # an interrupt may have come between any two steps
            self._give_up(asked, way)
            raise
        return True

    def _give_up(self, asked: Flight, way: Way) -> None:
        """Leave nothing of a start that did not come to its end: the next one leads."""
        flight, lock = self._flight, self._lock
        held.set(tuple([one for one in held.get() if one is not flight]))
        try:
            if lock is not None:
                lock.release()
        finally:
            self._flight = self._lock = None
            for one in (asked, flight):
                if one is not None:
                    table.abandon(one, way)

    async def _queue(self, wait: Wait, way: Way) -> bool:
        """Wait for a leader in this process; whether to lead now."""
        try:
            if not await self._closes_circle(wait, way):
                await way.woken(self._left())
        finally:
            # After an exception `_start` passes on what this one was to lead.
            leads = table.leave(wait)
            self._retract(wait, way)
        return leads

    async def _exclude_others(self, flight: Flight, way: Way) -> bool:
        """Take the lock that other processes respect; else pass the flight on."""
        self._flight = flight
        try:
            self._lock = lock = self._flights.ground.lock(self._key)
            taken = lock is None or await self._take(lock, flight, way)
        except CachenessError:
            self._finish(None, failed=False)  # nobody can lock
            return False
        if not taken:
            self._flight = self._lock = None
            table.pass_on(flight, way)
            return False
        flight.held = True
        return True

    async def _take(self, lock: Lock, flight: Flight, way: Way) -> bool:
        if await way.acquired(lock, 0.0):
            return True
        left = self._left()
        if left is not None and left <= 0:
            return False
        wait = table.wait_outside(flight, blocks=way.blocks)
        try:
            if await self._closes_circle(wait, way):
                return False
            while left is None or left > 0:
                if await way.acquired(lock, _PATIENCE if left is None else min(left, _PATIENCE)):
                    return True
                left = self._left()
            return False
        finally:
            table.leave(wait)
            self._retract(wait, way)

    async def _closes_circle(self, wait: Wait, way: Way) -> bool:
        """Whether those whom other processes wait for would wait for them."""
        if not wait.mine:
            return False
        grounds = {flight.ground for flight in (wait.flight, *wait.mine)}
        with suppress(CachenessError):  # a cache that was closed meanwhile
            boards = [ground.board() for ground in grounds]
            wait.boards = tuple(board for board in boards if board is not None)
        if not wait.boards:
            return False
        from cacheness.flights.board import closes_circle

        return await way.done(lambda: closes_circle(wait))

    def _retract(self, wait: Wait, way: Way) -> None:
        for board in wait.boards:
            way.finish(board.post)

    def _lead(self) -> None:
        """Let this context, and what it starts, be known as the leader's."""
        flight = self._flight
        if flight is not None:
            flight.thread = get_ident()
            held.set((*[one for one in held.get() if not one.over], flight))

    def _finish(self, way: Way | None, *, failed: bool) -> None:
        """Release the lock first: who goes on in this process may ask for it at once.

        Where an interrupt kept it from its end, it may be called again.
        """
        flight, lock = self._flight, self._lock
        if flight is None:
            return
        held.set(tuple([one for one in held.get() if one is not flight]))
        try:
            if lock is not None:
                if way is None:
                    lock.release()
                else:
                    way.finish(lock.release)
                self._lock = None
        finally:
            table.land(flight, self._way, failed=failed)
        self._flight = None


class Hold(_Journey):
    """A flight for a thread, made by `Flights.hold`; to be entered once."""

    __slots__ = ()

    def take(self) -> bool:
        """Lead at once if nobody else does; to be entered or released then."""
        asked = self._flights.flight(self._key)
        if asked is None:
            return True
        self._way = way = ThreadWay()
        if not table.try_lead(asked, way):
            return False
        self._deadline = monotonic()
        try:
            return at_once(self._exclude_others(asked, way))
        except BaseException:
            self._give_up(asked, way)
            raise

    def release(self) -> None:
        """Give up what `Flights.try_hold` took, without entering it."""
        self._finish(None, failed=True)

    def __enter__(self) -> bool:
        if self._flight is not None:
            self._lead()
            return True
        self._way = way = ThreadWay()
        return at_once(self._start(way))

    def __exit__(self, kind: object, *_: object) -> None:
        self.leave(failed=kind is not None)

    def leave(self, *, failed: bool) -> None:
        """What leaving the context does.

        An interrupt may come before the first line of any method, of `__exit__` and of this
        one too; who must not be kept from leaving calls it, and once more if it raised.
        """
        try:
            self._finish(None, failed=failed)
        except BaseException:
            self._finish(None, failed=failed)
            raise


class AsyncHold(_Journey):
    """A flight for a task, made by `Flights.hold_async`; to be entered once."""

    __slots__ = ()

    async def __aenter__(self) -> bool:
        self._way = TaskWay(remote=self._flights.ground.remote)
        return await self._start(self._way)

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._finish(self._way, failed=kind is not None)
