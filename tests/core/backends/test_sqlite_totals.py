"""Counting without visiting: exact after every change, in every process, and after a kill."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheness.backends import sqlite_totals
from cacheness.backends.base import BackendContext
from cacheness.backends.sqlite import SQLiteBackend
from cacheness.config import CacheConfig
from cacheness.filters import Filter
from cacheness.testing.metadata_entries import make_entry


def open_backend(path, namespace=""):
    config = CacheConfig(cache_dir=str(path), namespace=namespace)
    return SQLiteBackend(BackendContext(str(path), namespace, config))


@pytest.fixture
def backend(tmp_path):
    backend = open_backend(tmp_path)
    yield backend
    backend.close()


def visited(backend, namespace=""):
    statement = "SELECT count(*), coalesce(sum(stored_bytes), 0) FROM entries WHERE namespace = ?"
    return backend._connections.row(statement, (namespace,))


def counted(backend):
    return backend.count(), backend.total_size()


KEYS = st.sampled_from("abcdef")
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers(0, 99)),
    st.tuples(st.just("put many"), st.lists(KEYS, max_size=4), st.integers(0, 99)),
    st.tuples(st.just("resize"), KEYS, st.integers(0, 99)),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("delete many"), st.lists(KEYS, max_size=4)),
    st.tuples(st.just("delete where"), st.integers(0, 99)),
    st.tuples(st.just("evict"), st.integers(0, 6)),
    st.tuples(st.just("count in")),
)


def take(backend, step):
    match step:
        case "put", key, size:
            backend.put_entry(make_entry(key, stored_bytes=size))
        case "put many", keys, size:
            backend.put_entries(make_entry(key, stored_bytes=size) for key in keys)
        case "resize", key, size:
            backend.update_fields(key, {"stored_bytes": size})
        case "delete", key:
            backend.delete_entry(key)
        case "delete many", keys:
            backend.delete_entries(keys)
        case "delete where", size:
            backend.delete_where(Filter.parse({"entry__stored_bytes__gt": size}))
        case "evict", number:
            backend.evict("lru", max_size=None, max_entries=number)
        case ("count in",):
            with backend._connections.transaction() as execute:
                sqlite_totals.count_in(execute, backend._namespace)


@pytest.mark.slow
@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=st.lists(STEPS, max_size=25))
def test_after_any_changes_the_totals_are_what_a_visit_finds(backend, steps):
    for step in steps:
        take(backend, step)
        assert counted(backend) == visited(backend)


def test_an_id_that_is_used_again_is_counted_again(backend):
    backend.put_entries(make_entry(key, stored_bytes=1) for key in "abc")
    take(backend, ("count in",))

    backend.delete_entries(["b", "c"])
    backend.put_entry(make_entry("d", stored_bytes=5))

    assert counted(backend) == (2, 6)


def test_many_young_rows_are_counted_in(backend):
    young = "SELECT max(id) - (SELECT last_id FROM counted) FROM entries"
    with backend._connections.transaction() as execute:
        for number in range(1500):
            row = sqlite_totals_row(number)
            execute(*row)
    assert backend._connections.row(young, ()) == (1500,)

    assert counted(backend) == (1500, 15_000)

    assert backend._connections.row(young, ()) == (0,), "the next who asks has nothing to add up"


def sqlite_totals_row(number):
    from cacheness.backends.sqlite_rows import put_statement, row_of

    names, values = row_of(make_entry(f"k{number}", stored_bytes=10))
    return put_statement(names), values


def test_one_who_counts_does_not_wait_for_a_writer(backend, tmp_path):
    with backend._connections.transaction() as execute:
        for number in range(1500):
            execute(*sqlite_totals_row(number))
    writer = sqlite3.connect(tmp_path / "metadata.sqlite3", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")

    assert backend.count() == 1500

    writer.rollback()
    writer.close()


def test_namespaces_are_counted_apart(tmp_path):
    backends = {name: open_backend(tmp_path, name) for name in ("", "a", "b")}
    for number, (name, backend) in enumerate(backends.items()):
        for key in range(number + 1):
            backend.put_entry(make_entry(f"k{key}", namespace=name, stored_bytes=7))
        take(backend, ("count in",))
        backend.put_entry(make_entry("young", namespace=name, stored_bytes=1))

    assert [counted(b) for b in backends.values()] == [(2, 8), (3, 15), (4, 22)]
    backends["a"].delete_where(Filter())
    assert backends["b"].namespaces() == ["", "b"]
    for backend in backends.values():
        backend.close()


def test_somebody_elses_delete_is_counted_too(backend, tmp_path):
    backend.put_entries(make_entry(f"k{number}", stored_bytes=2) for number in range(1000))

    with sqlite3.connect(tmp_path / "metadata.sqlite3") as connection:
        connection.execute("DELETE FROM entries WHERE cache_key < 'k5'")
    connection.close()

    assert counted(backend) == visited(backend)


KILLED = """
import sys
from cacheness import UnifiedCache
from cacheness.testing.metadata_entries import make_entry
backend = UnifiedCache(sys.argv[1]).engine.backend
print(flush=True)
turn = 0
while True:
    turn += 1
    backend.put_entries(
        make_entry(f"{sys.argv[2]}-{i % 300}", stored_bytes=turn) for i in range(1100)
    )
    backend.delete_entries(f"{sys.argv[2]}-{i}" for i in range(turn % 300))
    backend.count()
"""


@pytest.mark.slow
def test_the_totals_are_exact_under_two_writers_that_are_killed(backend, tmp_path):
    for turn in range(3):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", KILLED, tmp_path, f"w{n}"], stdout=subprocess.PIPE
            )
            for n in range(2)
        ]
        for worker in workers:
            worker.stdout.readline()
        for _ in range(20 * (turn + 1)):
            with backend._connections.transaction():
                assert counted(backend) == visited(backend)
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)
            worker.communicate()

        assert counted(backend) == visited(backend)
