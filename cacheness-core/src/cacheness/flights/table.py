# SPDX-License-Identifier: MIT
"""Who in this process computes which entry, and who waits for whom."""

from __future__ import annotations

from collections import deque
from contextvars import ContextVar
from threading import RLock, get_ident

from cacheness.forks import renew_in_child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from typing import Protocol

    from cacheness.flights.board import Board
    from cacheness.flights.ground import Ground

    class Signal(Protocol):
        """Wakes the one thread or task that waits for it."""

        def wake(self) -> bool:  # pyright: ignore[reportReturnType]  # a protocol has no bodies
            """Wake it, from any thread; False where it can't be woken any more."""


__all__ = ["Flight", "FlightTable", "Wait", "held", "table"]

_PASSED_ON = 3
"""How many leaders of a flight may fail in a row before those who wait go their own ways:
where the function can only fail, nobody should queue for the failures of all others."""


class Flight:
    """One key that is being computed, or that somebody of this process is to compute next."""

    __slots__ = ("failures", "ground", "held", "key", "leader", "name", "over", "thread", "waits")

    def __init__(self, key: Hashable, name: str, ground: Ground) -> None:
        self.key = key
        self.name = name
        """What the flight is called in other processes."""
        self.ground = ground
        """What excludes other processes from it."""
        self.leader: Signal | None = None
        """Who leads it: none but that one ends it, or passes it on."""
        self.thread = get_ident()
        """Where its leader runs, which can't go on while that thread is blocked."""
        self.held = False
        """Whether its leader has excluded the other processes."""
        self.over = False
        self.failures = 0
        self.waits: deque[Wait] = deque()


class Wait:
    """One thread or task that waits for a flight."""

    __slots__ = ("blocks", "boards", "flight", "leads", "mine", "signal", "thread", "waits")

    def __init__(
        self, flight: Flight, mine: frozenset[Flight], signal: Signal | None, *, blocks: bool
    ) -> None:
        self.flight = flight
        self.mine = mine
        """The flights that can't go on before this wait ends."""
        self.signal = signal
        self.thread = get_ident()
        self.blocks = blocks
        """Whether it stops everything else that runs in its thread."""
        self.waits = True
        """Whether it has not been woken yet."""
        self.leads = False
        """Whether it was woken to lead the flight."""
        self.boards: tuple[Board, ...] = ()


held: ContextVar[tuple[Flight, ...]] = ContextVar("cacheness_flights", default=())
"""The flights that this context leads. A task inherits it, as does ``asyncio.to_thread``:
what it waits for, whoever started it is likely to wait for, too."""


class FlightTable:
    """The flights and waits of this process; every method is atomic.

    The lock is reentrant since an abandoned generator that leads a flight may be collected,
    and so land it, at any moment.
    """

    def __init__(self) -> None:
        self._guard = RLock()
        self._flights: dict[Hashable, Flight] = {}
        self._waits: dict[Wait, None] = {}
        renew_in_child(self)

    def ask(self, flight: Flight, signal: Signal, *, blocks: bool) -> Flight | Wait | None:
        """Lead the flight, or wait for who leads one of its key.

        Args:
            flight: The flight to lead, if nobody leads one of its key.
            signal: What to wake the caller by.
            blocks: Whether waiting stops everything else that runs in this thread.

        Returns:
            The flight, now the caller's to lead; or a wait; or None where waiting would
            close a circle.
        """
        flight.leader = signal
        while True:
            with self._guard:
                found = self._flights.setdefault(flight.key, flight)
                if found is flight:
                    return flight
                mine = self._mine(blocks=blocks)
                if self._reaches(found, mine):
                    return None
                wait = Wait(found, mine, signal, blocks=blocks)
                self._waits[wait] = None
                found.waits.append(wait)
                if not found.over:
                    return wait
                self._forget(wait)

    def try_lead(self, flight: Flight, signal: Signal) -> bool:
        """Lead the flight if nobody leads one of its key."""
        flight.leader = signal
        with self._guard:
            return self._flights.setdefault(flight.key, flight) is flight

    def wait_outside(self, flight: Flight, *, blocks: bool) -> Wait:
        """Note that the flight's leader waits for another process that computes the key."""
        with self._guard:
            wait = Wait(flight, self._mine(blocks=blocks) - {flight}, None, blocks=blocks)
            self._waits[wait] = None
            return wait

    def leave(self, wait: Wait) -> bool:
        """End a wait; whether the flight is the caller's to lead now."""
        with self._guard:
            self._forget(wait)
            return wait.leads

    def pass_on(self, flight: Flight, leader: Signal) -> None:
        """Let the next one lead, since this one could not compute."""
        with self._guard:
            if not self._leads(leader, flight):
                return
            if flight.over:
                self._end(flight)
            else:
                self._promote(flight)

    def land(self, flight: Flight, leader: Signal, *, failed: bool) -> None:
        """End a flight: who waits goes on at once, or after a failure leads in turn."""
        with self._guard:
            if not self._leads(leader, flight):
                return
            flight.failures += failed
            if failed and flight.failures < _PASSED_ON and not flight.over:
                self._promote(flight)
            else:
                self._end(flight)

    def abandon(self, flight: Flight, signal: Signal) -> None:
        """Undo what `ask` did, in whole or in part: nobody will lead or wait by that signal."""
        with self._guard:
            for wait in [wait for wait in self._waits if wait.signal is signal]:
                self._forget(wait)
                self.pass_on(wait.flight, signal)
            self.pass_on(flight, signal)

    def edges(self, board: Board | None = None) -> list[tuple[str, str]]:
        """Which flight waits for which, by name; with a board, what belongs on it."""
        with self._guard:
            waits = tuple(self._waits)
        return [
            (one.name, wait.flight.name)
            for wait in waits
            if board is None or board in wait.boards
            for one in wait.mine
            if one.held
        ]

    def after_fork(self) -> None:
        """Forget the parent's flights; also those that this context inherited."""
        for flight in self._flights.values():
            flight.over = True
        self._guard = RLock()
        self._flights = {}
        self._waits = {}

    def _leads(self, signal: Signal, flight: Flight) -> bool:
        if flight.leader is not signal:
            return False
        # One that is over is still to be ended where an interrupt came in between.
        if flight.over and flight.waits:
            return True
        return self._flights.get(flight.key) is flight

    def _mine(self, *, blocks: bool) -> frozenset[Flight]:
        inherited = {flight for flight in held.get() if not flight.over}
        if blocks:
            thread = get_ident()
            inherited.update(f for f in tuple(self._flights.values()) if f.thread == thread)
        return frozenset(inherited)

    def _reaches(self, flight: Flight, goals: Iterable[Flight]) -> bool:
        """Whether the flight waits, over any number of others, for one of the goals."""
        goals = frozenset(goals)
        todo, seen = [flight], set[Flight]()
        while goals and todo:
            flight = todo.pop()
            if flight in goals:
                return True
            if flight not in seen:
                seen.add(flight)
                todo.extend(wait.flight for wait in tuple(self._waits) if flight in wait.mine)
        return False

    def _promote(self, flight: Flight) -> None:
        """Let the first lead who can go on; a task can't whose loop's thread is blocked."""
        flight.held = False
        blocking = {wait.thread for wait in tuple(self._waits) if wait.blocks}
        for wait in tuple(flight.waits):
            if wait.blocks or wait.thread not in blocking:
                wait.leads = True
                woken = self._wake(wait)
                # Only now, so that it can be done again where an interrupt came before.
                if woken:
                    flight.leader, flight.thread = wait.signal, wait.thread
                flight.waits.remove(wait)
                if woken:
                    return
        self._end(flight)

    def _end(self, flight: Flight) -> None:
        flight.held = False
        flight.over = True
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        while flight.waits:
            self._wake(flight.waits[0])
            flight.waits.popleft()

    def _wake(self, wait: Wait) -> bool:
        wait.waits = False
        return wait.signal is not None and wait.signal.wake()

    def _forget(self, wait: Wait) -> None:
        self._waits.pop(wait, None)
        if wait.waits and wait in wait.flight.waits:
            wait.flight.waits.remove(wait)
        wait.waits = False


table = FlightTable()
