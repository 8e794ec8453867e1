# SPDX-License-Identifier: MIT
"""Locks exclude all machines, and the server releases those of the dead."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.errors import BackendUnavailableError, CacheClosedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from cacheness_postgres.backend import PostgresBackend


def test_a_lock_can_be_tried_and_given_up(
    backend: PostgresBackend, open_backend: Callable[..., PostgresBackend]
) -> None:
    other = open_backend()
    first, second = backend.lock("key"), other.lock("key")

    assert first.acquire()
    assert not second.acquire(0)
    assert not second.acquire(0.05)
    first.release()
    assert second.acquire(0)
    second.release()
    second.release()


def test_namespaces_and_keys_do_not_lock_each_other(
    backend: PostgresBackend, open_backend: Callable[..., PostgresBackend]
) -> None:
    other = open_backend("other")
    with backend.lock("a"), backend.lock("b"), other.lock("a"):
        pass


def test_a_wait_past_lock_timeout_says_what_it_waited_for(
    backend: PostgresBackend, open_backend: Callable[..., PostgresBackend]
) -> None:
    hasty = open_backend(config={"lock_timeout": 0.05})
    with (
        backend.lock("key"),
        pytest.raises(BackendUnavailableError, match=r"waited 0\.05 s for .*'key'"),
    ):
        hasty.lock("key").__enter__()


def test_locks_take_no_connection_of_the_pool(
    open_backend: Callable[..., PostgresBackend],
) -> None:
    small = open_backend(pool_size=1, config={"lock_timeout": 1})
    with small.lock("a"), small.lock("b"):
        assert small.find("a") is None


def test_a_lock_whose_connection_is_cut_is_free_for_others(
    backend: PostgresBackend,
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
) -> None:
    other = open_backend()
    lock = backend.lock("key")
    lock.acquire()
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    )

    with other.lock("key"):
        lock.release()


def test_a_holder_keeps_no_row_from_being_vacuumed(
    backend: PostgresBackend, admin: psycopg.Connection[Any]
) -> None:
    with backend.lock("key"):
        row = admin.execute(
            "SELECT count(*), count(backend_xmin), count(backend_xid) FROM pg_stat_activity "
            "WHERE application_name = 'cacheness' AND state = 'idle in transaction'"
        ).fetchone()

    assert row == (1, 0, 0)


def test_a_forked_child_holds_none_of_its_parents_locks(backend: PostgresBackend) -> None:
    lock = backend.lock("key")
    lock.acquire()
    child = os.fork()
    if child == 0:
        try:
            lock.release()
            os._exit(0 if not backend.lock("key").acquire(0) else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert status == 0
    lock.release()
    with backend.lock("key"):
        pass


def test_many_threads_wait_for_one_key(backend: PostgresBackend) -> None:
    inside = threading.Semaphore(1)
    done: list[int] = []

    def work(number: int) -> None:
        with backend.lock("key"):
            assert inside.acquire(blocking=False)
            done.append(number)
            inside.release()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == list(range(8))


def test_a_closed_backend_locks_nothing(open_backend: Callable[..., PostgresBackend]) -> None:
    backend = open_backend()
    backend.close()

    with pytest.raises(CacheClosedError):
        backend.lock("key")
    with pytest.raises(CacheClosedError):
        backend.find("key")
    with pytest.raises(CacheClosedError):
        backend.change_token()
