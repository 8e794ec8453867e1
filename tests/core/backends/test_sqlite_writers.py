"""Writers of one SQLite file wait for each other, and nobody else waits."""

import multiprocessing
import os
import sqlite3
import threading
from contextlib import closing

import pytest

from cacheness.backends import sqlite_turns, statements
from cacheness.backends.base import BackendContext
from cacheness.backends.sqlite import SQLiteBackend
from cacheness.config import CacheConfig
from cacheness.errors import BackendUnavailableError
from cacheness.filters import Filter
from cacheness.testing.metadata_entries import make_entry
from cacheness.testing.store import forked


def open_backend(path, **options):
    return SQLiteBackend(BackendContext(str(path), "", CacheConfig(cache_dir=str(path))), **options)


@pytest.fixture
def backend(tmp_path):
    backend = open_backend(tmp_path, busy_timeout=5)
    backend.put_entry(make_entry("there"))
    yield backend
    backend.close()


@pytest.fixture
def writer(backend, tmp_path):
    """Somebody who is in the middle of a transaction that writes."""
    writer = sqlite3.connect(
        tmp_path / "metadata.sqlite3", isolation_level=None, check_same_thread=False
    )
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO notes VALUES ('', 'k', 'n', '1')")
    yield writer
    writer.close()


def test_readers_do_not_wait_for_a_writer(backend, writer):
    assert backend.find("there") is not None
    assert backend.get_entry("there") is not None
    assert backend.count() == 1
    assert list(backend.query_meta()) == ["there"]
    assert len(backend.victims("lru", 1, 1)) == 1
    assert backend.change_token() is not None
    assert writer.in_transaction


CHANGES = {
    "put": lambda backend: backend.put_entry(make_entry()),
    "add": lambda backend: backend.put_entry(make_entry(), if_absent=True),
    "put many": lambda backend: backend.put_entries([make_entry()]),
    "delete": lambda backend: backend.delete_entry("there"),
    "delete where": lambda backend: backend.delete_where(Filter()),
    "update": lambda backend: backend.update_fields("there", {"hits": 2}),
    "hits": lambda backend: backend.record_hits({"there": (1, 1.0)}),
    "evict": lambda backend: backend.evict("lru", max_size=None, max_entries=0),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_writer_waits_until_it_is_its_turn(backend, writer, change):
    threading.Timer(0.1, writer.rollback).start()

    CHANGES[change](backend)

    assert backend.read_notes("k") == {}, "it went on after the other had ended"


@pytest.mark.parametrize("change", CHANGES)
def test_a_writer_that_waits_too_long_says_what_to_do(writer, tmp_path, change):
    impatient = open_backend(tmp_path, busy_timeout=0.05)

    with pytest.raises(BackendUnavailableError, match=r"locked .* for 0.05 s; .*lock_timeout"):
        CHANGES[change](impatient)

    writer.rollback()
    CHANGES[change](impatient)
    impatient.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_who_waits_for_a_turn_keeps_nobody_from_forking(backend, writer, monkeypatch):
    backend._connections.timeout = 30  # five forks take seconds on a busy machine
    monkeypatch.setattr(statements, "_LONGEST_WAIT", 60.0)
    errors = []

    def put():
        try:
            backend.put_entry(make_entry("late"))
        except BackendUnavailableError as error:
            errors.append(error)

    waiting = threading.Thread(target=put)
    waiting.start()
    children = [forked(lambda: backend.count()) for _ in range(5)]
    writer.rollback()
    waiting.join()

    assert children == [1] * 5
    assert errors == [], "the forks waited until the time of the one that waits was up"
    assert backend.get_entry("late") is not None


def work(path, number, barrier, failures):
    backend = open_backend(path)
    barrier.wait()
    try:
        for turn in range(150):
            backend.put_entry(make_entry(f"k{turn % 40}", stored_bytes=number))
            backend.put_entry(make_entry(f"{number}-{turn}"))
            backend.record_hits({"common": (1, 1.0)})
            if turn % 10 == 0:
                backend.put_entries(make_entry(f"{number}-{turn}-{i}") for i in range(20))
                backend.delete_entries(f"{number}-{turn}-{i}" for i in range(20))
    except BaseException as error:
        failures.put(repr(error))
        raise
    finally:
        backend.close()


def run_together(target, path, number, *arguments):
    context = multiprocessing.get_context("spawn")
    failures, barrier = context.Queue(), context.Barrier(number)
    workers = [
        context.Process(target=target, args=(path, n, barrier, failures, *arguments))
        for n in range(number)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures.empty(), failures.get()
    assert [worker.exitcode for worker in workers] == [0] * number


@pytest.mark.slow
def test_no_user_ever_sees_that_the_database_is_locked(backend, tmp_path):
    backend.put_entry(make_entry("common"))

    run_together(work, tmp_path, 4)

    assert backend.count() == 2 + 40 + 4 * 150
    assert backend.get_entry("common").hits == 4 * 150


def evict(path, number, barrier, failures, told):
    backend = open_backend(path)
    barrier.wait()
    told.put([entry.cache_key for entry in evicted(backend)])
    backend.close()


def evicted(backend):
    return backend.evict("fifo", max_size=None, max_entries=300, slack=0.1)


@pytest.mark.slow
def test_of_processes_that_evict_at_once_one_does(backend, tmp_path):
    backend.put_entries(make_entry(f"k{n:03}", created_at=n, pinned=n < 10) for n in range(500))
    backend.delete_entry("there")
    told = multiprocessing.get_context("spawn").Queue()

    run_together(evict, tmp_path, 3, told)

    removed = [told.get() for _ in range(3)]
    gone = [f"k{n:03}" for n in range(10, 240)]
    assert sorted(removed, key=len) == [[], [], gone], "230 are over the bound and its slack"
    assert backend.count() == 270


@pytest.mark.slow
def test_the_log_is_written_back_while_one_goes_on_writing(backend, tmp_path):
    reader = sqlite3.connect(tmp_path / "metadata.sqlite3")
    for turn in range(4000):
        backend.put_entry(make_entry(f"k{turn % 50}", inline=os.urandom(5000)))
        reader.execute("SELECT count(*) FROM notes").fetchall()
    reader.close()

    assert os.path.getsize(tmp_path / "metadata.sqlite3-wal") < 16 << 20


def test_a_directory_without_links_gets_its_file_all_the_same(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    backend = open_backend(tmp_path)
    backend.put_entry(make_entry())
    backend.close()

    with closing(sqlite3.connect(tmp_path / "metadata.sqlite3")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []


def test_a_new_file_is_whole_before_anybody_sees_it(tmp_path):
    backend = open_backend(tmp_path)

    assert [name for name in os.listdir(tmp_path) if name.endswith(".tmp")] == []
    assert os.stat(tmp_path / "metadata.sqlite3").st_mode & 0o777 == 0o600
    backend.close()


def test_whoever_waits_for_long_goes_on_waiting():
    """After 1,750 tries of 10 ms the growing pause was a number too large to be one."""
    from cacheness.backends.sqlite_turns import Turns
    from cacheness.backends.statements import statements_of_this_thread

    turns = Turns(60.0)
    turns._tries = 100_000
    with statements_of_this_thread():
        assert turns.wait(statements_of_this_thread())


def test_no_two_wait_in_step_and_none_for_long_at_once(monkeypatch):
    pauses = []
    monkeypatch.setattr(sqlite_turns, "sleep", pauses.append)

    for turns in (sqlite_turns.Turns(60.0), sqlite_turns.Turns(60.0)):
        for _ in range(30):
            assert turns.wait(statements.Statements())

    first, second = pauses[:29], pauses[29:]
    assert len(pauses) == 58
    assert first != second
    assert max(first) > 10 * first[0], "whoever has waited long looks less often"
    assert 0 < min(pauses) < max(pauses) < 0.02
