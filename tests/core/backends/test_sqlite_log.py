# SPDX-License-Identifier: MIT
"""SQLite's log is written back when much waits in it, and not more often."""

import os
import sys
import threading

import pytest

from cacheness import UnifiedCache
from cacheness.backends import sqlite_log
from cacheness.backends.sqlite_opening import mapped_bytes
from cacheness.backends.sqlite_token import log_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at the file's size there")

PAGE = 4096


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path, compressor="none") as cache:
        cache.get("nothing")
        yield cache


@pytest.fixture
def checkpoints(cache):
    """The statements by which this thread's connection has written the log back."""
    executed = []
    connection = cache.engine.backend._connections.connection()
    connection.set_trace_callback(lambda text: executed.append(text) if "wal_" in text else None)
    return executed


def write(cache, pages, name="k"):
    """Have about so many pages written to the log."""
    for number in range(pages // 7):
        cache.put(os.urandom(5 * PAGE), f"{name}-{number}")


def test_the_index_tells_what_sqlite_tells(cache):
    connections = cache.engine.backend._connections
    write(cache, 100)
    length, waiting = log_of(connections.watch().descriptor)

    ((_, pages, written),) = connections.tell("PRAGMA wal_checkpoint")

    assert length == waiting == pages == written > 100
    assert log_of(connections.watch().descriptor) == (length, 0)


@pytest.mark.slow
def test_a_long_log_is_written_back(cache, checkpoints, tmp_path):
    write(cache, 3000)

    assert checkpoints
    assert os.path.getsize(tmp_path / "metadata.sqlite3-wal") < 16 << 20


@pytest.mark.slow
def test_a_log_that_was_long_is_no_reason_to_write_back_a_short_one(cache, checkpoints):
    write(cache, 3000)
    connections = cache.engine.backend._connections
    connections.tell("PRAGMA wal_checkpoint")
    checkpoints.clear()

    write(cache, 1400, "another")

    assert 1200 < log_of(connections.watch().descriptor)[1] < 2000
    assert checkpoints == []


def test_a_short_life_leaves_the_log_alone(tmp_path):
    executed = []
    with UnifiedCache(tmp_path) as cache, UnifiedCache(tmp_path) as other:
        other.get("k")  # so that closing is not the last one's
        connection = cache.engine.backend._connections.connection()
        connection.set_trace_callback(executed.append)
        cache.put("value", "k")
        cache.close()

    assert [text for text in executed if "wal_" in text] == []


def mapped(cache):
    return cache.engine.backend._row("PRAGMA mmap_size", ()) or (0,)


@pytest.mark.skipif(sys.maxsize < 2**32, reason="there is little to map to")
def test_a_file_is_read_in_place_once_it_is_large(cache, tmp_path):
    cache.put("small", "k")
    before = mapped(cache)

    write(cache, 8000)

    assert os.path.getsize(tmp_path / "metadata.sqlite3") > 16 << 20
    with UnifiedCache(tmp_path) as other:
        other.get("k")
        assert [before, mapped(cache), mapped(other)] == [(0,), (0x7FFF0000,), (0x7FFF0000,)]


def test_who_closes_from_another_thread_opens_nothing_for_it(tmp_path):
    with UnifiedCache(tmp_path, compressor="none") as cache:
        write(cache, 8000)
    with UnifiedCache(tmp_path, compressor="none") as cache:
        cache.put("x", "k")
        connections = cache.engine.backend._connections
        opened = list(connections._connections)
        seen = []
        connections._opener.open = lambda displaced: seen.append(displaced)
        closing = threading.Thread(target=cache.close)
        closing.start()
        closing.join()
    assert opened
    assert seen == []


def test_a_put_that_is_stored_is_no_error_where_another_thread_closes_right_after(tmp_path):
    with UnifiedCache(tmp_path, compressor="none") as cache:
        write(cache, 8000)
        connections = cache.engine.backend._connections
        connections.mine().is_mapped = False
        connections._pages_left = 0

        def closed_first(path, journal):
            closing = threading.Thread(target=cache.close)
            closing.start()
            closing.join()
            return mapped_bytes(path, journal)

        sqlite_log.mapped_bytes = closed_first
        try:
            cache.put("x", "k")
        finally:
            sqlite_log.mapped_bytes = mapped_bytes
    with UnifiedCache(tmp_path) as cache:
        assert cache.get("k") == "x"


def test_what_another_machine_may_write_to_is_never_mapped(tmp_path):
    path = str(tmp_path / "file")
    assert mapped_bytes(path, "wal") == 0  # there is none yet
    with open(path, "wb") as file:
        file.truncate(17 << 20)

    assert mapped_bytes(path, "rollback") == 0
    assert (mapped_bytes(path, "wal") > 0) == (sys.maxsize > 2**32)
