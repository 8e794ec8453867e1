# SPDX-License-Identifier: MIT
"""What SQLite does for one entry is counted: it is no more where there are many."""

import pytest

from cacheness.backends import sqlite_sums
from cacheness.backends.base import BackendContext
from cacheness.backends.sqlite import SQLiteBackend
from cacheness.config import CacheConfig
from cacheness.testing.metadata_entries import make_entry

MANY = 5000
MOST = 4000
"""Steps of SQLite's machine; visiting each of the rows takes three times as many at least."""
EACH = 20

ONCE = {
    "count": lambda backend: MANY - 50 < backend.count() <= MANY,
    "total size": lambda backend: 0 < backend.total_size() <= 10 * MANY,
    "namespaces": lambda backend: backend.namespaces() == [""],
    "find": lambda backend: backend.find("k77") is not None,
    "miss": lambda backend: backend.find("none") is None,
    "put": lambda backend: backend.put_entry(make_entry("new")) is None,
    "replace": lambda backend: backend.put_entry(make_entry("k77")) is not None,
    "touch": lambda backend: backend.touch_entry("k77", None, now=5e9),
    "delete": lambda backend: backend.delete_entry("k77") is not None,
    "expire": lambda backend: backend.delete_expired(1.0) == [],
    "keep within bounds": lambda backend: (
        backend.evict("lru", max_size=100 * MANY, max_entries=MANY) == []
    ),
}


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("many"))
    backend = SQLiteBackend(BackendContext(path, "", CacheConfig(cache_dir=path)))
    backend.put_entries(make_entry(f"k{number}", stored_bytes=10) for number in range(MANY))
    backend.count()
    yield backend
    backend.close()


def steps_of(backend, operation):
    """About how many steps SQLite takes for it."""
    taken = 0

    def step():
        nonlocal taken
        taken += EACH

    connection = backend._connections.connection()
    connection.set_progress_handler(step, EACH)
    try:
        assert operation(backend)
    finally:
        connection.set_progress_handler(None, EACH)
        backend.delete_entry("new")
        backend.put_entry(make_entry("k77", stored_bytes=10))
        backend.count()
    return taken


@pytest.mark.parametrize("name", ONCE)
def test_an_operation_visits_no_entry_but_its_own(backend, name):
    assert steps_of(backend, ONCE[name]) < MOST


def test_the_count_of_steps_tells_a_visit_of_each_entry(backend):
    assert steps_of(backend, lambda backend: backend.held(0.0)) > 3 * MOST


def test_statistics_visit_no_entry_once_they_are_summed_up(backend, monkeypatch):
    monkeypatch.setattr(sqlite_sums, "_MANY", 100)
    assert backend.held(0.0)

    assert steps_of(backend, lambda backend: backend.held(0.0)) < MOST


@pytest.mark.parametrize("policy", ["lru", "lfu", "fifo", "cost"])
def test_an_eviction_visits_what_it_removes(backend, policy):
    def evict():
        bound = backend.count() - 5
        return len(backend.evict(policy, max_size=None, max_entries=bound, slack=0)) == 5

    assert evict()  # which makes the index

    assert steps_of(backend, lambda _: evict()) < MOST
