"""Whoever asks for the change token learns of every commit of another connection."""

import contextlib
import multiprocessing
import os
import sqlite3
import sys
from contextlib import suppress

import pytest

from cacheness.backends import sqlite_token
from cacheness.backends.base import BackendContext
from cacheness.backends.sqlite import SQLiteBackend
from cacheness.config import CacheConfig
from cacheness.testing.metadata_entries import make_entry
from cacheness.testing.store import forked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asks SQLite each time there")


def open_backend(path):
    return SQLiteBackend(BackendContext(str(path), "", CacheConfig(cache_dir=str(path))))


@pytest.fixture
def backend(tmp_path):
    backend = open_backend(tmp_path)
    yield backend
    backend.close()


@pytest.fixture
def asked(backend):
    """The statements that this thread's connection executes."""
    statements = []
    backend.change_token()
    backend._connections.connection().set_trace_callback(statements.append)
    return statements


def test_while_nobody_commits_sqlite_is_not_asked(backend, asked):
    tokens = {backend.change_token() for _ in range(100)}

    assert len(tokens) == 1
    assert asked == []


def test_ones_own_commit_is_none_of_anothers(backend, asked):
    before = backend.change_token()
    backend.put_entry(make_entry())
    asked.clear()

    assert backend.change_token() == before
    assert backend.change_token() == before
    assert asked == ["PRAGMA data_version"], "asked once, since the header is another one"


def test_another_connection_of_this_process_is_noticed(backend, tmp_path):
    another = open_backend(tmp_path)
    before = backend.change_token()

    another.put_entry(make_entry())

    assert backend.change_token() != before
    another.close()


CHANGE = "UPDATE notes SET value = value + 1 WHERE name = 'number'"
STEPS = (
    CHANGE,
    "PRAGMA wal_checkpoint(PASSIVE)",
    CHANGE,
    "PRAGMA wal_checkpoint(RESTART)",
    CHANGE,
    "PRAGMA wal_checkpoint(TRUNCATE)",
    CHANGE,
    "INSERT INTO notes VALUES ('n', 'k', 'filling', hex(randomblob(10000)))",
    "DELETE FROM notes WHERE name = 'filling'",
    "VACUUM",
)


def write(path, pipe):
    """Another process: one step for each thing received; what others see changed, or not."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    while (step := pipe.recv()) is not None:
        connection.execute(step).fetchall()
        pipe.send(None)
    connection.close()
    pipe.send(None)


@pytest.mark.parametrize("rounds", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_every_commit_of_another_process_is_noticed(backend, tmp_path, rounds):
    context = multiprocessing.get_context("spawn")
    mine, others = context.Pipe()
    path = tmp_path / "metadata.sqlite3"
    worker = context.Process(target=write, args=(path, others))
    worker.start()

    def do(step):
        mine.send(step)
        mine.recv()

    do("INSERT INTO notes VALUES ('n', 'k', 'number', '0')")
    token = backend.change_token()
    for _ in range(rounds):
        for step in STEPS:
            do(step)
            after = backend.change_token()
            if not step.startswith("PRAGMA"):
                assert after != token, step
            token = after
    do(None)
    worker.join()


@pytest.mark.slow
def test_what_others_do_while_one_looks_is_never_missed(backend, tmp_path):
    """Each value is read after its token: one that was read before a commit has another token."""
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=count_up, args=(tmp_path / "metadata.sqlite3", 3000))
    worker.start()
    number = "SELECT value FROM notes WHERE namespace = 'n'"
    seen = {}
    while worker.is_alive() or len(seen) < 2:
        token = backend.change_token()
        row = backend._connections.row(number, ())
        known = seen.setdefault(token, row)
        if backend.change_token() == token:
            assert row == known, "the same token before and after, and yet another value"
    worker.join()
    assert backend._connections.row(number, ()) == ("3000",)


def count_up(path, number):
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    for value in range(1, number + 1):
        connection.execute("INSERT OR REPLACE INTO notes VALUES ('n', 'k', 'x', ?)", (str(value),))
        if value % 500 == 0:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def test_a_forked_child_notices_what_its_parent_does_and_the_other_way_round(backend):
    before = backend.change_token()

    def child():
        first = backend.change_token()
        backend.put_entry(make_entry("child"))
        return first is not None, backend.change_token() == first

    assert forked(child) == (True, True)
    assert backend.change_token() != before


def index_is_locked(path):
    """Whether anybody holds the lock by which SQLite tells that the WAL index is in use."""
    import fcntl

    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
    except OSError:
        return True
    return False


def test_sqlites_locks_on_the_index_outlive_every_object_that_looked_at_it(tmp_path):
    path = f"{tmp_path}/metadata.sqlite3-shm"
    staying = open_backend(tmp_path)
    staying.change_token()
    for _ in range(3):
        passing = open_backend(tmp_path)
        passing.change_token()
        passing.close()

    assert forked(lambda: index_is_locked(path)), "a descriptor of the index was closed"

    staying.close()


def open_files(directory):
    """The files in a directory that this process has open, as often as it has."""
    paths = []
    for number in os.listdir("/dev/fd"):
        with suppress(OSError):
            paths.append(os.readlink(f"/dev/fd/{number}"))
    return sorted(name for name in paths if name.startswith(str(directory)))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names no open files")
def test_nothing_is_open_for_it_but_what_sqlite_has_open_anyway(tmp_path):
    backends = [open_backend(tmp_path) for _ in range(5)]
    for backend in backends:
        backend.find_plain("k")
    before = open_files(tmp_path)

    for backend in backends:
        backend.change_token()
        backend.find_plain("k")

    assert open_files(tmp_path) == before
    assert len([path for path in before if path.endswith("-shm")]) == 1
    for backend in backends:
        backend.close()
    assert open_files(tmp_path) == []


def test_a_descriptor_that_is_another_files_now_is_never_trusted(backend, tmp_path):
    (tmp_path / "other").write_bytes(bytes(200))
    backend.put_entry(make_entry())
    backend.find_plain("key")
    watch = backend._connections.watch()
    with open(tmp_path / "other", "rb") as file:
        backend._connections.local.held.watch.descriptor = file.fileno()
        before = backend.find_plain("key")
        with contextlib.closing(open_backend(tmp_path)) as another:
            another.delete_entry("key")
        assert (before is None, backend.find_plain("key")) == (before is None, None)
        assert backend.change_token() != backend.change_token() or watch._seen is None


def test_a_new_file_in_the_place_of_the_old_one_is_looked_at_anew(tmp_path):
    import shutil

    place = tmp_path / "cache"
    first = open_backend(place)
    first.change_token()
    first.close()
    shutil.rmtree(place)
    backend, another = open_backend(place), open_backend(place)
    before = backend.change_token()

    another.put_entry(make_entry())

    assert backend.change_token() != before
    for each in (backend, another):
        each.close()


def test_an_index_of_another_database_is_not_trusted(backend, tmp_path):
    path = f"{tmp_path}/metadata.sqlite3"
    status = os.stat(path)
    backend.change_token()
    asked = []

    def ask():
        asked.append(1)
        return len(asked)

    right = sqlite_token.ChangeWatch(path, (status.st_dev, status.st_ino), ask)
    wrong = sqlite_token.ChangeWatch(path, (status.st_dev, status.st_ino + 1), ask)

    assert right.version() == right.version()
    assert wrong.version() != wrong.version()


def test_without_a_log_sqlite_is_asked_each_time(tmp_path):
    backend = open_backend(tmp_path)
    backend.close()
    connection = sqlite3.connect(tmp_path / "metadata.sqlite3", isolation_level=None)
    assert connection.execute("PRAGMA journal_mode = DELETE").fetchall() == [("delete",)]
    backend = open_backend(tmp_path)
    before = backend.change_token()

    connection.execute("INSERT INTO notes VALUES ('', 'k', 'x', '1')")

    assert backend.change_token() != before
    connection.close()
    backend.close()
