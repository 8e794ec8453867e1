# SPDX-License-Identifier: MIT
"""A SQLite file with more in its schema than was made here is not used."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass

import pytest

from cacheness import BackendUnavailableError, ConfigError, UnifiedCache, custom_metadata_model
from cacheness.backends.sqlite_indexes import INDEXES
from cacheness.backends.sqlite_later import record_table

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
COLUMNS = "1 AS id, 'n' AS namespace, 'k' AS cache_key"
HOSTILE = {
    "view": ("ALTER TABLE entries RENAME TO old", f"CREATE VIEW entries AS SELECT {COLUMNS}"),
    "endless view": (f"CREATE VIEW more AS {ENDLESS}",),
    "another table": ('CREATE TABLE "custom_x"" WHERE 1" (a)',),
    "virtual table": ("CREATE VIRTUAL TABLE more USING fts5(a)",),
    "generated column": ("ALTER TABLE entries ADD COLUMN more AS (zeroblob(1000000000))",),
    "generated column of a record": (
        record_table("custom_more", ', "a" TEXT AS (zeroblob(1000000000))'),
    ),
    "index of an expression": ("CREATE INDEX more ON entries (hex(zeroblob(100)))",),
    "trigger": (f"CREATE TRIGGER more AFTER UPDATE ON entries BEGIN {ENDLESS}; END",),
    "trigger of a record": (
        'CREATE TRIGGER "custom_more_gone" AFTER DELETE ON entries BEGIN SELECT 1; END',
    ),
    "one of ours twice": (
        "PRAGMA writable_schema = ON",
        "INSERT INTO sqlite_master SELECT * FROM sqlite_master WHERE name = 'notes'",
    ),
    "other statement of that name": (
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = 'CREATE VIEW more AS {ENDLESS}' WHERE name = 'notes'",
    ),
}


def change(directory, *statements):
    path = directory / "metadata.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def directory(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put({"a": 1}, "k")
    return tmp_path


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_was_not_made_here_is_said_at_once(directory, name, read_only):
    change(directory, *HOSTILE[name])

    with pytest.raises(BackendUnavailableError, match="did not make: drop it|more than once"):
        UnifiedCache(directory, read_only=read_only)


def test_a_file_that_claims_to_be_empty_is_looked_at_too(directory):
    change(directory, *HOSTILE["view"], "PRAGMA user_version = 0")

    with pytest.raises(BackendUnavailableError):
        UnifiedCache(directory)


def test_what_a_newer_cacheness_made_is_to_be_kept(directory):
    with UnifiedCache(directory) as cache:
        cache.get("k")
        change(directory, "CREATE TABLE newer (a)", "PRAGMA user_version = 2")

        with pytest.raises(BackendUnavailableError, match="upgrade cacheness-core"):
            cache.get("k")
    with pytest.raises(ConfigError, match="upgrade cacheness-core"):
        UnifiedCache(directory)


def test_all_that_is_made_here_is_known_again(directory):
    @custom_metadata_model
    @dataclass
    class Trial:
        name: str
        note: str | None = None

    with UnifiedCache(directory) as cache:
        cache.put(1, "trial", custom_metadata=Trial(name="a"))
    change(
        directory,
        'ALTER TABLE "custom_trial" ADD COLUMN "more" DATETIME',
        *(f"CREATE INDEX {index}" for index in INDEXES.values()),
        "ANALYZE",
        "VACUUM",
    )

    with UnifiedCache(directory) as cache:
        assert cache.get("k") == {"a": 1}
