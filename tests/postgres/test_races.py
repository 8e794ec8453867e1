# SPDX-License-Identifier: MIT
"""Whatever happens at the same time, what was displaced is told exactly once."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import an_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from cacheness.entry import Entry
    from cacheness_postgres.backend import PostgresBackend


@pytest.fixture(params=["as the server can", "as version 15"])
def racer(request: pytest.FixtureRequest, backend: PostgresBackend) -> PostgresBackend:
    """A backend that puts by either of the two statements."""
    if request.param == "as version 15":
        backend._database.version = 150_000
    return backend


def in_threads(work: Callable[[int], object], count: int) -> None:
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_puts_and_deletions_of_one_key_account_for_every_generation(
    racer: PostgresBackend,
) -> None:
    generations = itertools.count(1)
    put: list[int] = []
    gone: list[int] = []

    def work(number: int) -> None:
        for turn in range(60):
            if (turn + number) % 7 == 0:
                old = racer.delete_entry("key")
            elif (turn + number) % 11 == 0:
                entry = an_entry(generation=next(generations))
                if racer.put_entry(entry, if_absent=True) is None:
                    put.append(entry.generation)
                old = None
            else:
                entry = an_entry(generation=next(generations))
                old = racer.put_entry(entry)
                put.append(entry.generation)
            if old is not None:
                gone.append(old.generation)

    in_threads(work, 6)

    left = racer.delete_entry("key")
    if left is not None:
        gone.append(left.generation)
    assert Counter(gone) == Counter(put)


def test_bulk_and_single_puts_of_the_same_keys_account_for_every_generation(
    racer: PostgresBackend,
) -> None:
    generations = itertools.count(1)
    put: list[int] = []
    gone: list[int] = []

    def account(entries: list[Entry], displaced: list[Entry]) -> None:
        put.extend(entry.generation for entry in entries)
        gone.extend(entry.generation for entry in displaced)

    def work(number: int) -> None:
        for turn in range(12):
            if number % 2:
                some = [an_entry(f"k{n}", next(generations)) for n in range(8)]
                account(some, racer.put_entries(some if turn % 2 else reversed(some)))
            else:
                for n in range(8):
                    entry = an_entry(f"k{n}", next(generations))
                    old = racer.put_entry(entry)
                    account([entry], [] if old is None else [old])
            if turn % 5 == 0:
                account([], racer.delete_entries([f"k{n}" for n in range(turn % 8)]))

    in_threads(work, 4)

    account([], racer.delete_entries([f"k{n}" for n in range(8)]))
    assert Counter(gone) == Counter(put)


def test_hits_and_updates_in_any_order_wait_for_nobody_in_a_circle(
    racer: PostgresBackend,
) -> None:
    keys = [f"k{n}" for n in range(30)]
    racer.put_entries(an_entry(key, number + 1) for number, key in enumerate(keys))

    def work(number: int) -> None:
        order = keys if number % 2 else keys[::-1]
        for turn in range(10):
            racer.record_hits({key: (1, float(turn)) for key in order})
            racer.put_entries(an_entry(key, 1000 * number + turn + 100) for key in order[:10])

    in_threads(work, 4)

    hits = [summary["hits"] for summary in racer.iter_entry_summaries()]
    assert sorted(hits)[-10:] == [40] * 10


def test_a_serializable_server_only_makes_it_try_again(
    racer: PostgresBackend, admin: psycopg.Connection[Any]
) -> None:
    session = racer._database.take()
    session.connection.execute("SET default_transaction_isolation = 'serializable'")
    racer._database.give(session)
    generations = itertools.count(1)
    gone: list[int] = []

    def work(number: int) -> None:
        for _ in range(15):
            old = racer.put_entry(an_entry(generation=next(generations)))
            if old is not None:
                gone.append(old.generation)

    in_threads(work, 2)

    assert len(gone) == len(set(gone)) == 29
