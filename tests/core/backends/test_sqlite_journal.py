# SPDX-License-Identifier: MIT
"""On a network file system SQLite commits by a rollback journal."""

import os
import sqlite3
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import pytest

from cacheness import UnifiedCache
from cacheness.backends import sqlite_journal
from cacheness.errors import CachenessWarning, ConfigError

memory_disk = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and os.path.isdir("/dev/shm")),
    reason="needs a file system without a device",
)


def journal_of(directory):
    """The journal that the file says it has, 1 or 2, asked without opening it as a database."""
    return (Path(directory) / "metadata.sqlite3").read_bytes()[19]


def opened(directory, journal):
    return UnifiedCache(directory, metadata_options={"journal": journal})


@pytest.fixture
def share(tmp_path, monkeypatch):
    """A directory that the mount table says is on NFS."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        device = os.stat(directory).st_dev
        table = tmp_path / "mounts"
        numbers = f"{os.major(device)}:{os.minor(device)}"
        table.write_text(f"36 25 {numbers} / /dev/shm rw - nfs4 server:/export rw\n")
        monkeypatch.setattr(sqlite_journal, "_MOUNTS", os.fspath(table))
        yield directory


@memory_disk
def test_a_network_file_system_gets_a_rollback_journal_and_one_warning(share):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            with UnifiedCache(share) as cache:
                cache.put({"a": 1}, "key")
                assert cache.get("key") == {"a": 1}
                cache.engine.backend.change_token()
                assert not {"metadata.sqlite3-wal", "metadata.sqlite3-shm"} & set(os.listdir(share))
                assert cache.engine.backend._row("PRAGMA mmap_size", ()) in (None, (0,))

    (warning,) = told
    assert warning.category is CachenessWarning
    assert "nfs4" in str(warning.message)
    assert "pip install cacheness-postgres" in str(warning.message)
    assert journal_of(share) == 1


@memory_disk
def test_a_file_system_in_memory_is_no_network():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory, warnings.catch_warnings():
        warnings.simplefilter("error")
        with UnifiedCache(directory) as cache:
            cache.put(1, "key")

        assert journal_of(directory) == 2


def test_a_cache_that_was_moved_gets_the_journal_of_its_new_place(tmp_path):
    for journal, number in (("wal", 2), ("rollback", 1), ("wal", 2)):
        with opened(tmp_path, journal) as cache:
            cache.put(number, f"{journal}")
            assert cache.get(journal) == number
        assert journal_of(tmp_path) == number


def test_a_file_in_wal_mode_that_others_have_open_is_used_as_it_is(tmp_path):
    with opened(tmp_path, "wal") as first:
        first.put(1, "key")
        with opened(tmp_path, "rollback") as second:
            second.put(2, "key")
            assert first.get("key") == 2


@pytest.mark.slow
def test_a_commit_waits_for_a_reader_and_is_not_lost(tmp_path):
    with opened(tmp_path, "rollback") as cache:
        cache.put(1, "key")
        reader = sqlite3.connect(tmp_path / "metadata.sqlite3", check_same_thread=False)
        rows = reader.execute("SELECT value FROM json_each('[1, 2, 3]'), entries")
        rows.fetchone()
        letting_go = threading.Timer(0.3, rows.close)
        letting_go.start()

        cache.put(2, "key")
        cache.put_batch([(3, "other")])

        letting_go.join()
        assert (cache.get("key"), cache.get("other")) == (2, 3)


@pytest.mark.slow
def test_a_transaction_waits_longer_than_sqlite_does(tmp_path):
    with opened(tmp_path, "rollback") as cache:
        cache.put(1, "key")
        reader = sqlite3.connect(tmp_path / "metadata.sqlite3", check_same_thread=False)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM entries").fetchall()
        letting_go = threading.Timer(1.5, reader.close)
        letting_go.start()

        cache.put_batch([(2, "key")])

        letting_go.join()
        assert cache.get("key") == 2


def test_another_journal_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'off' is neither 'wal' nor 'rollback'"):
        opened(tmp_path, "off")
