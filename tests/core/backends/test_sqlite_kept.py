# SPDX-License-Identifier: MIT
"""A small row that was read is given again for as long as SQLite would give the same."""

import multiprocessing
import os
import sqlite3
import sys
import threading
from contextlib import suppress

import pytest

from cacheness import UnifiedCache
from cacheness.backends import sqlite_kept
from cacheness.backends.sqlite_token import has_settled
from cacheness.errors import CacheClosedError
from cacheness.testing.store import forked

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="asks SQLite each time there")

WARM = 40
"""Reads after which rows are kept."""


def warm(cache, key="k"):
    for _ in range(WARM):
        cache.get(key)


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put({"n": 0}, "k")
        warm(cache)
        yield cache


@pytest.fixture
def statements(cache):
    """What this thread's connection executes."""
    executed = []
    cache.engine.backend._connections.connection().set_trace_callback(executed.append)
    return executed


def test_while_nobody_commits_a_row_is_read_once(cache, statements):
    assert [cache.get("k") for _ in range(100)] == [{"n": 0}] * 100
    assert statements == []


def test_each_hit_gives_a_value_of_its_own(cache):
    cache.get("k")["n"] = 7

    assert cache.get("k") == {"n": 0}


def test_every_hit_counts(cache):
    cache.get("k")

    assert cache.stats().hits == WARM + 1


def test_what_this_cache_puts_is_read_at_once(cache):
    for n in range(1, 200):
        cache.put({"n": n}, "k")
        assert cache.get("k") == {"n": n}
        assert cache.get("k") == {"n": n}


@pytest.mark.parametrize("change", ["put", "invalidate", "clear", "touch_off", "sql"])
def test_what_others_do_is_seen_at_the_next_read(cache, tmp_path, change):
    with UnifiedCache(tmp_path) as other:
        if change == "put":
            other.put("new", "k")
            expected = "new"
        elif change == "invalidate":
            other.invalidate("k")
            expected = None
        elif change == "clear":
            other.clear()
            expected = None
        elif change == "touch_off":
            other.put({"n": 0}, "k", ttl_seconds=1e-9)
            expected = None
        else:
            with sqlite3.connect(tmp_path / "metadata.sqlite3") as connection:
                connection.execute("DELETE FROM entries")
            connection.close()
            expected = None

    assert cache.get("k") == expected


def test_an_entry_expires_though_its_row_is_kept(cache, monkeypatch):
    cache.put("soon", "k", ttl_seconds=60)
    warm(cache)
    now = cache.get_entry("k").renewed_at

    monkeypatch.setattr("cacheness.reader.time", lambda: now + 61)

    assert cache.get("k") is None


def count_up(directory, readers, turns):
    with UnifiedCache(directory) as cache:
        for n in range(1, turns):
            cache.put({"n": n}, "k")
            for reader in readers:
                reader.send(n)
            for reader in readers:
                reader.recv()


@pytest.mark.slow
def test_no_process_reads_what_was_replaced_before_it_began(cache, tmp_path):
    here, there = multiprocessing.Pipe()
    writer = multiprocessing.get_context("spawn").Process(
        target=count_up, args=(str(tmp_path), [there], 1500)
    )
    writer.start()
    for n in range(1, 1500):
        assert here.recv() == n
        assert [cache.get("k"), cache.get("k"), cache.get("k")] == [{"n": n}] * 3
        here.send(None)
    writer.join()


def test_no_thread_reads_what_was_replaced_before_it_began(cache):
    written = 0
    wrong = []

    def read():
        for _ in range(3000):
            least = written
            read = cache.get("k")["n"]
            if read < least:
                wrong.append((least, read))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    while any(reader.is_alive() for reader in readers):
        cache.put({"n": written + 1}, "k")
        written += 1
    for reader in readers:
        reader.join()

    assert wrong == []


def test_what_was_never_committed_is_not_kept(cache):
    cache.put({"n": 1}, "another")
    warm(cache)
    connections = cache.engine.backend._connections
    with suppress(RuntimeError), connections.transaction() as execute:
        execute(
            "UPDATE entries SET (inline, checksum) = "
            "(SELECT inline, checksum FROM entries WHERE cache_key = 'k')"
        )
        assert cache.engine.backend.find_plain("another")[3] == b'{"n":0}'
        raise RuntimeError

    assert cache.get("another") == {"n": 1}


def test_a_large_row_is_not_kept(cache, statements):
    cache.put("x" * 5000, "large")
    warm(cache, "large")
    statements.clear()

    warm(cache, "large")

    assert len(statements) == WARM


def test_of_many_rows_only_some_are_kept(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put_batch([(f"value {n}", f"key {n}") for n in range(3000)])
        for _ in range(3):
            for n in range(3000):
                assert cache.get(f"key {n}") == f"value {n}"
        kept = cache.engine.backend._kept._state[1]

    assert 0 < len(kept) <= 512


def test_where_commits_come_often_the_header_is_rarely_looked_at(cache, tmp_path, monkeypatch):
    looks = []
    look = sqlite_kept.header_of
    monkeypatch.setattr(sqlite_kept, "header_of", lambda of: looks.append(of) or look(of))
    with UnifiedCache(tmp_path) as other:
        for n in range(1000):
            other.put(n, "other")
            assert cache.get("k") == {"n": 0}

    assert len(looks) < 30


def test_a_header_that_is_being_written_is_no_ground(cache):
    header = cache.engine.backend._kept._state[0]

    assert has_settled(header)
    assert not has_settled(header[:48] + b"x" + header[49:])


def test_a_closed_cache_gives_nothing(tmp_path):
    cache = UnifiedCache(tmp_path)
    cache.put("value", "k")
    warm(cache)

    cache.close()

    with pytest.raises(CacheClosedError):
        cache.get("k")


def test_a_close_in_the_middle_of_a_read_is_no_error(cache):
    kept = cache.engine.backend._kept
    row = kept.find("k")
    threads_own = kept._connections.local
    cache.close()

    kept._keep(b"another header", "k", row)
    kept._connections.local = threads_own
    kept._keep(b"another header", "k", row)

    assert kept._state[0] != b"another header"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_sees_what_changes_and_what_does_not(cache):
    def child():
        assert cache.get("k") == {"n": 0}
        warm(cache)
        cache.put({"n": 1}, "k")
        assert cache.get("k") == {"n": 1}

    forked(child)

    assert cache.get("k") == {"n": 1}


def test_without_a_log_sqlite_is_asked_each_time(tmp_path):
    with UnifiedCache(tmp_path, metadata_options={"journal": "rollback"}) as cache:
        cache.put("value", "k")
        warm(cache)
        executed = []
        cache.engine.backend._connections.connection().set_trace_callback(executed.append)

        assert cache.get("k") == "value"

        assert len(executed) == 1
