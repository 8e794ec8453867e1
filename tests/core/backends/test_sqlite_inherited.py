# SPDX-License-Identifier: MIT
"""A forked child shares no connection, and no account of locks, with its parent."""

import os
import signal
import sqlite3
import threading
from contextlib import closing

import pytest

from cacheness import BackendUnavailableError, UnifiedCache
from cacheness.testing.store import forked

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
PATIENCE = 20


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path / "cache", lock_timeout=5) as cache:
        yield cache


def connections_of(cache):
    return cache.engine.backend._connections


def put_in_child(cache, name="of the child"):
    """What a forked child says of a put and a get of its own."""

    def work():
        signal.alarm(PATIENCE)
        try:
            cache.put([1], name)
        except BackendUnavailableError as error:
            return str(error)
        return cache.get(name)

    return forked(work)


@pytest.mark.parametrize("anew", [False, True], ids=["inherited", "anew"])
def test_what_a_child_writes_stays_where_its_parent_closes_in_between(tmp_path, anew):
    cache = UnifiedCache(tmp_path)
    cache.put([0], "of the parent")
    to_child, to_parent = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE)
        mine = UnifiedCache(tmp_path) if anew else cache
        mine.put([1], "before")
        os.write(to_parent[1], b".")
        os.read(to_child[0], 1)
        mine.put([2], "after")
        os._exit(mine.get("after") != [2])

    os.read(to_parent[0], 1)
    cache.close()
    os.write(to_child[1], b".")
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in (*to_child, *to_parent):
        os.close(descriptor)

    with UnifiedCache(tmp_path) as cache:
        assert [cache.get(name) for name in ("of the parent", "before", "after")] == [[0], [1], [2]]
        assert cache.verify_integrity().ok


def open_files(cache):
    links = (os.path.join("/dev/fd", name) for name in os.listdir("/dev/fd"))
    return [n for n in map(os.path.realpath, links) if n.startswith(str(cache.config.cache_dir))]


def test_a_child_keeps_no_file_open_that_its_parent_opened(cache):
    cache.put([0], "a")

    assert open_files(cache)
    assert forked(lambda: open_files(cache)) == []


@pytest.mark.slow
def test_a_child_keeps_none_of_the_threads_that_let_the_fork_go_first(cache):
    over = threading.Event()

    def use(number):
        while not over.is_set():
            cache.put([number], f"thread {number}")
            cache.get(f"thread {number}")

    threads = [threading.Thread(target=use, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert [forked(lambda: open_files(cache)) for _ in range(30)] == [[]] * 30
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_a_child_that_is_forked_within_a_transaction_leaves_it_to_its_parent(cache):
    with connections_of(cache).transaction() as execute:
        execute("INSERT INTO notes(namespace, kind, name, value) VALUES ('', 'k', 'n', '1')")
        child = os.fork()
        if child == 0:
            signal.alarm(PATIENCE)
            ended = False
            try:
                cache.put([1], "of the child")  # waits for the parent's transaction
                ended = cache.get("of the child") == [1]
            finally:
                os._exit(not ended)

    assert os.waitpid(child, 0)[1] == 0
    assert cache.engine.backend.read_notes("k") == {"n": 1}
    assert cache.get("of the child") == [1]
    assert cache.verify_integrity().ok


@pytest.mark.slow
def test_a_child_does_without_a_transaction_that_is_partly_in_the_log(cache):
    statement = "INSERT INTO notes(namespace, kind, name, value) VALUES ('', 'k', ?, ?)"
    with connections_of(cache).transaction() as execute:
        execute("PRAGMA cache_size = 10")
        for number in range(100):
            execute(statement, (str(number), f'"{number:05000}"'))

        assert "forked in the middle" in put_in_child(cache)

    assert len(cache.engine.backend.read_notes("k")) == 100
    with closing(sqlite3.connect(f"{cache.config.cache_dir}/metadata.sqlite3")) as beside:
        assert beside.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_child_that_is_forked_in_a_function_that_sql_calls_says_so(cache):
    cache.put([0], "a")
    told = []
    connections = connections_of(cache)
    connections.function("told", 0, lambda: told.append(put_in_child(cache)))

    connections.rows("SELECT told()")

    assert "functions that SQL calls" in told[0]
    assert cache.get("a") == [0]


def test_a_child_that_goes_on_with_its_parents_transaction_is_told(cache):
    def work():
        with connections.transaction() as execute:
            child = os.fork()
            if child == 0:
                signal.alarm(PATIENCE)
            execute("INSERT INTO notes(namespace, kind, name, value) VALUES ('', 'k', 'n', '1')")
        return child

    connections = connections_of(cache)
    try:
        child = work()
    except BackendUnavailableError as error:
        os._exit(0 if "before this process was forked" in str(error) else 1)

    assert os.waitpid(child, 0)[1] == 0
    assert cache.engine.backend.read_notes("k") == {"n": 1}


def test_a_child_closes_the_connections_of_other_threads(cache, tmp_path):
    begun, over = threading.Event(), threading.Event()

    def read():
        cache.get("a")
        begun.set()
        over.wait(PATIENCE)

    thread = threading.Thread(target=read)
    thread.start()
    begun.wait(PATIENCE)
    try:
        assert put_in_child(cache) == [1]
    finally:
        over.set()
        thread.join()
    assert cache.get("of the child") == [1]


def test_a_child_commits_nothing_that_its_parent_is_about_to(cache):
    def head():
        with open(f"{cache.config.cache_dir}/metadata.sqlite3-shm", "rb") as file:
            return file.read(96)

    def outcome(cursor):
        before = head()
        assert forked(head) == before
        return cursor.fetchall()

    cache.put([0], "a")
    statement = "UPDATE entries SET prefix = 'changed' RETURNING prefix"

    connections = connections_of(cache)
    assert connections._run(connections.mine(), statement, (), outcome) == [("changed",)]
    assert connections_of(cache).rows("SELECT prefix FROM entries") == [("changed",)]


def test_another_who_has_the_file_open_is_in_nobodys_way(cache):
    cache.put([0], "a")
    beside = sqlite3.connect(f"{cache.config.cache_dir}/metadata.sqlite3")
    try:
        beside.execute("SELECT * FROM entries").fetchone()
        assert put_in_child(cache) == [1]
    finally:
        beside.close()
    assert cache.get("of the child") == [1]


def test_a_child_lets_go_of_what_an_interrupt_came_through(cache):
    def outcome(cursor):
        kept.append(cursor)  # as a traceback does
        raise KeyboardInterrupt

    kept = []
    cache.put([0], "a")
    connections = connections_of(cache)
    with pytest.raises(KeyboardInterrupt):
        connections._run(connections.mine(), "SELECT 1 UNION SELECT 2", (), outcome)

    assert forked(lambda: open_files(cache)) == []
    assert kept[0].fetchone() == (1,)


def test_no_account_is_kept_of_connections_that_are_closed(cache):
    cache.put([0], "a")
    connections = connections_of(cache)
    known = len(connections._connections)
    for _ in range(5):
        connection = connections.open()
        assert len(connections._connections) == known + 1
        connection.close()
        connections.forget(connection)
    assert len(connections._connections) == known


def test_no_account_is_kept_of_connections_that_could_not_be_set_up(cache):
    cache.put([0], "a")
    with open(f"{cache.config.cache_dir}/metadata.sqlite3", "r+b") as file:
        file.write(b"no database")
    connections = connections_of(cache)
    for _ in range(5):
        with pytest.raises(BackendUnavailableError):
            connections.open()
    assert len(connections._opener.begun) <= 1
