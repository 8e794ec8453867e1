"""However long a cache is used, memory, descriptors and log stay as they are."""

import multiprocessing
import os
import signal
import threading
import tracemalloc

import pytest
from tests.growth import grow
from tests.stress import stress

from cacheness import UnifiedCache

MEBIBYTE = 1 << 20


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at Linux's /proc")
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_many_gets_leave_nothing_behind(tmp_path, backend):
    tracemalloc.start()
    try:
        moments = list(grow(str(tmp_path), 1_000, 10_000, backend))
    finally:
        tracemalloc.stop()

    assert moments[-1].traced - moments[2].traced < MEBIBYTE // 2
    assert moments[-1].descriptors <= moments[2].descriptors


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks at Linux's /proc")
def test_many_gets_among_many_entries_take_nothing_more(tmp_path):
    """A fiftieth of what ``tests/growth.py`` does."""
    moments = list(grow(str(tmp_path), 20_000, 200_000))

    early, late = moments[2], moments[-1]
    assert late.resident - early.resident < 24 * MEBIBYTE, "the file's pages come to it"
    assert late.descriptors <= early.descriptors
    assert max(moment.log for moment in moments) < 16 * MEBIBYTE


def write_and_die(directory, number, started):
    """Write until killed."""
    with UnifiedCache(directory) as cache:
        turn = 0
        while True:
            cache.put(os.urandom(5_000), f"{number}-{turn % 50}")
            turn += 1
            if turn == 200:
                started.set()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills by SIGKILL")
def test_the_log_stays_bounded_with_readers_always_there_and_writers_that_die(tmp_path):
    """SQLite's log can only begin anew when no reader looks at it: readers come and go here,
    but there is one at any moment, and each writer is killed in the middle of what it does."""
    context = multiprocessing.get_context("spawn")
    stop, largest = threading.Event(), 0

    with UnifiedCache(tmp_path) as cache:

        def read():
            while not stop.is_set():
                for key in cache:
                    cache.get(key)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(4):
            started = context.Event()
            writer = context.Process(target=write_and_die, args=(tmp_path, number, started))
            writer.start()
            assert started.wait(60)
            writer.kill()
            writer.join()
            for turn in range(1200):
                cache.put(os.urandom(5_000), f"own-{turn % 50}")
            largest = max(largest, os.path.getsize(tmp_path / "metadata.sqlite3-wal"))
        stop.set()
        for reader in readers:
            reader.join()
        assert largest < 24 * MEBIBYTE, "40 MiB were written"
        assert cache.verify_integrity().ok


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_half_a_minute_of_everything_at_once_loses_and_tears_nothing(tmp_path, backend):
    """``tests/stress.py`` does ten minutes; that the database is locked is never told."""
    assert stress(str(tmp_path), backend, 15, 3, 4) > 500
