# SPDX-License-Identifier: MIT
"""A schema that is changed while a cache has the file open is looked at before it is compiled for.

Whatever is planted fails in its own way where SQLite computes it, or puts it together.
"""

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import dataclass

import pytest

from cacheness import (
    BackendUnavailableError,
    CachenessWarning,
    UnifiedCache,
    cached,
    custom_metadata_model,
)
from cacheness.backends.sql import entries
from cacheness.backends.sqlite_indexes import INDEXES
from cacheness.backends.sqlite_log import LEAST, look_after_log
from cacheness.backends.sqlite_schema import COLUMNS

TRAP = "abs(-9223372036854775807 - 1)"
"""An error as soon as anybody computes it: integer overflow."""
REFUSED = "did not make: drop it"

_COLUMNS = ", ".join(f"{TRAP} AS {name}" for name in ("id", *COLUMNS))
_RECURSIVE = f"WITH RECURSIVE n(i) AS (SELECT {TRAP} UNION ALL SELECT i + 1 FROM n) "
_SET, _SQL, _ENTRIES = "UPDATE sqlite_master SET", "sql = replace(sql,", "WHERE name = 'entries'"
_AS_OLD = (
    f"{_SET} name = 'old', tbl_name = 'old', {_SQL} 'TABLE entries', 'TABLE old') {_ENTRIES}",
    "DELETE FROM sqlite_master WHERE type IN ('index', 'trigger') AND tbl_name = 'entries'",
    "PRAGMA writable_schema = RESET",
    "PRAGMA writable_schema = ON",
)


def of_entries(old, new):
    """Have the table's own statement say something else."""
    there = f"{old} {COLUMNS[old]}".replace("'", "''")
    return (f"{_SET} {_SQL} '{there}', '{there} {new}') {_ENTRIES}",)


def instead(kind):
    return f"CREATE TRIGGER t_{kind} INSTEAD OF {kind} ON entries BEGIN SELECT {TRAP}; END"


HOSTILE = {
    "a view in the place of the table": (
        *_AS_OLD,
        f"CREATE VIEW entries AS SELECT {_COLUMNS} FROM old",
        *map(instead, ("INSERT", "UPDATE", "DELETE")),
    ),
    "a view that counts for ever": (
        *_AS_OLD,
        f"CREATE VIEW entries AS {_RECURSIVE} SELECT {_COLUMNS} FROM n",
        *map(instead, ("INSERT", "UPDATE", "DELETE")),
    ),
    "views of views, which are to be put into each other": (
        *_AS_OLD,
        f"CREATE VIEW v0 AS SELECT {_COLUMNS}",
        *(f"CREATE VIEW v{n + 1} AS SELECT a.* FROM v{n} a, v{n} b" for n in range(8)),
        "CREATE VIEW entries AS SELECT * FROM v8",
        *map(instead, ("INSERT", "UPDATE", "DELETE")),
    ),
    "a virtual table in the place of the table": (
        *_AS_OLD,
        f"CREATE VIRTUAL TABLE entries USING fts5({', '.join(COLUMNS)})",
    ),
    "a generated column": of_entries("inline", f"AS ({TRAP})"),
    "a check": of_entries("hits", f"CHECK ({TRAP})"),
    "a computed default": (f"{_SET} {_SQL} 'DEFAULT ''none''', 'DEFAULT ({TRAP})') {_ENTRIES}",),
    "a trigger of ours that does something else": (
        "DROP TRIGGER entry_gone",
        f"CREATE TRIGGER entry_gone AFTER DELETE ON entries BEGIN SELECT {TRAP}; END",
    ),
    "triggers": tuple(
        f"CREATE TRIGGER t_{kind} AFTER {kind} ON entries BEGIN SELECT {TRAP}; END"
        for kind in ("INSERT", "UPDATE", "DELETE")
    ),
    "an index of an expression": (
        "CREATE INDEX more ON entries (abs(hits))",
        f"UPDATE sqlite_master SET sql = replace(sql, 'abs(hits)', '{TRAP}') WHERE name = 'more'",
    ),
    "a view besides": (f"CREATE VIEW more AS {_RECURSIVE} SELECT i FROM n",),
    "statistics that are computed": (
        "ANALYZE",
        f"{_SET} {_SQL} ',stat)', ',stat AS ({TRAP}))') WHERE name = 'sqlite_stat1'",
    ),
    "an index that shows another schema": (
        "CREATE TABLE hiding (type, name, sql)",
        "CREATE INDEX shown ON hiding (type, name, sql)",
        f"{_SET} tbl_name = 'sqlite_master' WHERE name = 'shown'",
        f"{_SET} {_SQL} 'hiding', tbl_name) WHERE name = 'shown'",
        "CREATE VIEW more AS SELECT 1",
    ),
}


class File:
    """The database, as anybody may write it."""

    def __init__(self, directory):
        self.path = directory / "metadata.sqlite3"
        self.before = self.change()

    def change(self, *statements, tells=True):
        """Change the schema; what it was before is returned."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            before = connection.execute("SELECT * FROM sqlite_master ORDER BY rowid").fetchall()
            (version,) = connection.execute("PRAGMA schema_version").fetchone()
            connection.execute("PRAGMA writable_schema = ON")
            for statement in statements:
                connection.execute(statement)
            if tells and statements:
                # Another one than before, and than any that these statements gave by themselves.
                connection.execute(f"PRAGMA schema_version = {version + 1000}")
        return before

    def restore(self):
        rows = ", ".join(
            "(" + ", ".join("NULL" if v is None else "'" + str(v).replace("'", "''") + "'"
                            for v in row) + ")"
            for row in self.before
        )  # fmt: skip
        self.change("DELETE FROM sqlite_master", f"INSERT INTO sqlite_master VALUES {rows}")


OPERATIONS = {
    "get": lambda cache: cache.get("k"),
    "get another": lambda cache: cache.get("nope"),
    "put": lambda cache: cache.put({"a": 2}, "k"),
    "put more": lambda cache: cache.put({"a": 2}, "more", tags=("t",), ttl_seconds=60),
    "add": lambda cache: cache.add({"a": 2}, "added"),
    "exists": lambda cache: cache.exists("k"),
    "get_entry": lambda cache: cache.get_entry("k"),
    "update_entry": lambda cache: cache.update_entry("k", description="d"),
    "touch": lambda cache: cache.touch("k"),
    "touch_batch": lambda cache: cache.touch_batch(prefix="p"),
    "query_meta": lambda cache: cache.query_meta(meta__a=1),
    "put_batch": lambda cache: cache.put_batch([(1, "x"), (2, "y")]),
    "get_batch": lambda cache: cache.get_batch(["k", "x"]),
    "delete_batch": lambda cache: cache.delete_batch(["x", "y"]),
    "entries": lambda cache: list(cache.entries()),
    "delete_matching": lambda cache: cache.delete_matching(prefix="p"),
    "cleanup_expired": lambda cache: cache.cleanup_expired(),
    "stats": lambda cache: cache.stats(),
    "len": len,
    "invalidate": lambda cache: cache.invalidate("more"),
}


@pytest.fixture
def directory(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put({"a": 1}, "k")
    return tmp_path


@pytest.fixture
def file(directory):
    return File(directory)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "new"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_is_done_with_what_was_not_made_here(directory, file, kind, compiled):
    with UnifiedCache(directory) as cache:
        for operation in OPERATIONS.values() if compiled else ():
            operation(cache)

        file.change(*HOSTILE[kind])

        for operation in OPERATIONS.values():
            with pytest.raises(BackendUnavailableError, match=REFUSED):
                operation(cache)
        file.restore()
        for operation in OPERATIONS.values():
            operation(cache)
        cache.put({"a": 3}, "k")
        assert cache.get("k") == {"a": 3}


SOME = (
    "a view in the place of the table",
    "views of views, which are to be put into each other",
    "triggers",
)


@pytest.mark.parametrize(
    "options", [{"read_only": True}, {"metadata_options": {"journal": "rollback"}}]
)
@pytest.mark.parametrize("kind", SOME)
def test_nor_is_it_where_nothing_is_written_or_there_is_no_log(directory, file, kind, options):
    with UnifiedCache(directory, **options) as cache:
        cache.get("k")

        file.change(*HOSTILE[kind])

        for name in ("get", "get_entry", "query_meta", "entries", "get_batch"):
            with pytest.raises(BackendUnavailableError, match=REFUSED):
                OPERATIONS[name](cache)
        file.restore()
        assert cache.get("k") == {"a": 1}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_thread_that_comes_later_does_not_open_it(directory, file, kind):
    errors = []

    def read():
        try:
            cache.get("k")
        except BackendUnavailableError as error:
            errors.append(str(error))

    with UnifiedCache(directory) as cache:
        file.change(*HOSTILE[kind])
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        file.restore()

    assert [REFUSED in error for error in errors] == [True]


@pytest.mark.parametrize("kind", SOME)
def test_a_cached_function_computes(directory, file, kind):
    calls = []
    with UnifiedCache(directory) as cache:

        @cached(cache=cache)
        def double(number):
            calls.append(number)
            return 2 * number

        assert double(1) == double(1) == 2
        file.change(*HOSTILE[kind])

        with pytest.warns(CachenessWarning, match=REFUSED):
            assert double(1) == 2
        file.restore()
        assert double(1) == 2
    assert calls == [1, 1]


@pytest.mark.parametrize("kind", SOME)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "new"])
def test_records_and_conditions_of_sqlalchemy_are_as_safe(directory, kind, compiled):
    @custom_metadata_model
    @dataclass
    class Planted:
        number: int

    operations = (
        lambda: cache.put(1, "run", custom_metadata=Planted(number=1)),
        lambda: list(cache.query_custom(Planted, number=1)),
        lambda: cache.query_meta(where=entries.c.hits >= 0),
    )
    with UnifiedCache(directory) as cache:
        operations[0]()
        file = File(directory)
        for operation in operations if compiled else ():
            operation()

        file.change(*HOSTILE[kind])

        for operation in operations:
            with pytest.raises(BackendUnavailableError, match=REFUSED):
                operation()
        file.restore()
        for operation in operations:
            assert operation()


def test_pages_that_are_read_one_after_the_other_end(directory, file):
    with UnifiedCache(directory) as cache:
        cache.put_batch((n, f"n{n}") for n in range(600))
        found = cache.entries()
        next(found)

        file.change(*HOSTILE["a view that counts for ever"])

        with pytest.raises(BackendUnavailableError, match=REFUSED):
            list(found)


def test_a_change_that_the_file_does_not_tell_of_is_never_loaded(directory, file):
    with UnifiedCache(directory) as cache:
        cache.get("k")
        file.change(*HOSTILE["a generated column"], tells=False)

        assert cache.get("k") == {"a": 1}
        assert cache.query_meta(meta__a=1) == []
        cache.put({"a": 2}, "k", tags=("t",))
        assert cache.get("k") == {"a": 2}

        file.change("SELECT 1")
        with pytest.raises(BackendUnavailableError, match=REFUSED):
            cache.get("k")


def test_what_was_refused_is_forgotten(directory, file):
    """Whoever changes it, has it read, and changes it back to the number that was read."""
    with UnifiedCache(directory) as cache:
        cache.get("k")
        file.change(*HOSTILE["a generated column"])
        with pytest.raises(BackendUnavailableError, match=REFUSED):
            cache.get("k")
        sound = f"UPDATE sqlite_master SET sql = replace(sql, ' AS ({TRAP})', '')"
        file.change(sound, tells=False)

        assert cache.get("k") == {"a": 1}
        assert cache.query_meta(meta__a=1) == []


WITH_LITTLE_MEMORY = """
import resource, sqlite3, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from cacheness import BackendUnavailableError, UnifiedCache
with UnifiedCache(sys.argv[1]) as cache:
    assert cache.get("k") == {"a": 1}
    with cache.engine.backend._connections.transaction() as execute:
        for n in range(200):  # so that nothing is kept compiled of what was
            execute(f"SELECT {n}")
    file = sqlite3.connect(f"{sys.argv[1]}/metadata.sqlite3", isolation_level=None)
    file.execute("ANALYZE")
    file.execute("PRAGMA writable_schema = ON")
    file.execute("UPDATE sqlite_master SET sql = replace(sql, ',stat)', "
                 "',stat AS (hex(zeroblob(400000000))))') WHERE name = 'sqlite_stat1'")
    file.execute("PRAGMA schema_version = 1000")
    file.close()
    for read in (lambda: cache.get("k"), lambda: UnifiedCache(sys.argv[1])):
        try:
            read()
        except BackendUnavailableError as error:
            assert "did not make" in str(error), error
        else:
            raise AssertionError
"""


@pytest.mark.slow
def test_statistics_are_not_read_before_their_table_was_looked_at(directory):
    """SQLite itself does that as it loads a schema, whatever it has to compute for it."""
    command = [sys.executable, "-c", WITH_LITTLE_MEMORY, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr


def test_a_log_that_is_to_be_written_back_waits(directory, file):
    with UnifiedCache(directory) as cache:
        connections = cache.engine.backend._connections
        cache.get("k")
        file.change(*HOSTILE["triggers"])

        with pytest.raises(BackendUnavailableError, match=REFUSED):
            connections.tell("PRAGMA wal_checkpoint(PASSIVE)")
        assert look_after_log(connections) == LEAST
        file.restore()
        connections.tell("PRAGMA wal_checkpoint(PASSIVE)")


@pytest.mark.parametrize("within", [True, False])
def test_the_gate_is_closed_but_in_a_transaction(directory, within):
    with UnifiedCache(directory) as cache:
        connections = cache.engine.backend._connections
        execute = connections.connection().execute
        for times in range(2):
            with pytest.raises(sqlite3.DataError):
                execute(f"SELECT {times}")
            with suppress(KeyError), connections.transaction() as inside:
                assert inside(f"SELECT {times}").fetchall() == [(times,)]
                raise KeyError
            connections.rows(f"SELECT {times} + 1")
            with pytest.raises(BackendUnavailableError):
                connections.rows(f"SELECT nothing{times}")
        with pytest.raises(sqlite3.DataError):
            execute("SELECT 2")


def test_what_others_make_in_it_is_noticed_by_nobody(directory):
    @custom_metadata_model
    @dataclass
    class Unnoticed:
        number: int

    with UnifiedCache(directory) as cache, UnifiedCache(directory) as other:
        later = (
            lambda: other.put(1, "step", custom_metadata=Unnoticed(number=1)),
            *(lambda index=index: execute(f"CREATE INDEX {index}") for index in INDEXES.values()),
            lambda: execute("ANALYZE"),
            lambda: execute("VACUUM"),
        )
        with closing(sqlite3.connect(directory / "metadata.sqlite3")) as connection:
            execute = connection.execute
            for number, make in enumerate(later):
                cache.put({"a": number}, "k")
                make()
                assert cache.get("k") == {"a": number}
                cache.put({"a": -number}, "k")
                assert cache.get("k") == {"a": -number}
                assert cache.touch("k")
                assert cache.query_meta(entry__hits=0)
        assert cache.put(2, "step", custom_metadata=Unnoticed(number=2))
        assert [record.number for _, record in other.query_custom(Unnoticed)] == [2]
