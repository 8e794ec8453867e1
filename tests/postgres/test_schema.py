# SPDX-License-Identifier: MIT
"""The tables are made once, are brought forward, and say what grant is missing."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from cacheness.errors import BackendUnavailableError, ConfigError
from cacheness_postgres import schema as schema_module
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.schema import SCHEMA_VERSION, schema_sql

from .conftest import an_entry, context_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

DUMPS = Path(__file__).parent / "data"


@pytest.fixture
def stranger(admin: psycopg.Connection[Any], url: str) -> Iterator[tuple[str, str]]:
    """A role that has been granted nothing: its name, and a URL for it."""
    name = f"r_{uuid4().hex[:10]}"
    admin.execute(f"CREATE ROLE {name} LOGIN")
    yield name, url.replace("://postgres@", f"://{name}@")
    admin.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def shape(admin: psycopg.Connection[Any], schema: str) -> list[Any]:
    """All that makes up a schema, but its name."""
    columns = admin.execute(
        "SELECT table_name, column_name, data_type, is_nullable, collation_name, column_default "
        "FROM information_schema.columns WHERE table_schema = %s ORDER BY 1, ordinal_position",
        (schema,),
    ).fetchall()
    indexes = admin.execute(
        "SELECT replace(indexdef, %s, '') FROM pg_indexes WHERE schemaname = %s ORDER BY 1",
        (f"{schema}.", schema),
    ).fetchall()
    storage = admin.execute(
        "SELECT relname, relpersistence, attname, attstorage FROM pg_attribute "
        "JOIN pg_class ON pg_class.oid = attrelid "
        "JOIN pg_namespace ON relnamespace = pg_namespace.oid "
        "WHERE nspname = %s AND attnum > 0 ORDER BY 1, 3",
        (schema,),
    ).fetchall()
    return [columns, indexes, storage]


def test_many_who_come_first_make_one_schema(
    url: str, schema: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    context = context_for(tmp_path)
    opened: list[PostgresBackend] = []
    errors: list[BaseException] = []

    def come(number: int) -> None:
        try:
            # Different pool sizes are different pools, so each makes the tables itself.
            opened.append(PostgresBackend(context, url=url, schema=schema, pool_size=number + 1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=come, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for backend in opened:
        backend.close()

    assert not errors
    found = admin.execute(f"SELECT value FROM {schema}.settings ORDER BY name").fetchall()
    assert len(found) == 2


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_a_dump_of_every_version_is_brought_forward(
    version: int,
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
    schema: str,
    url: str,
    tmp_path: Path,
) -> None:
    dump = (DUMPS / f"schema_v{version}.sql").read_text()
    admin.execute(
        re.sub(r"\bcacheness\.", f"{schema}.", dump.replace("SCHEMA cacheness", f"SCHEMA {schema}"))
    )

    backend = open_backend()

    kept = backend.get_entry("kept")
    assert kept is not None
    assert kept == an_entry(
        "kept",
        7,
        params={"lr": 0.1, "name": "a"},
        tags=("t",),
        custom_metadata={"run": {"id": 3}},
        metadata={"shape": [2]},
        prefix="p",
    )
    odd = backend.get_entry("odd")
    assert odd is not None
    assert odd.prefix == "\0\ud800"
    assert backend.read_notes("statistics") == {"hits": 3}
    assert backend.put_entry(an_entry("kept", 8)) is not None
    fresh = f"{schema}_fresh"
    admin.execute(schema_sql(fresh))
    try:
        assert shape(admin, schema) == shape(admin, fresh)
    finally:
        admin.execute("SET client_min_messages = error")
        admin.execute(f"DROP SCHEMA {fresh} CASCADE")


@pytest.fixture
def older(admin: psycopg.Connection[Any], schema: str) -> str:
    """The schema, with the tables of version 1."""
    dump = (DUMPS / "schema_v1.sql").read_text()
    admin.execute(
        re.sub(r"\bcacheness\.", f"{schema}.", dump.replace("SCHEMA cacheness", f"SCHEMA {schema}"))
    )
    return schema


def test_older_tables_are_read_as_they_are_by_who_writes_nothing(
    older: str, url: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    backend = PostgresBackend(context_for(tmp_path, read_only=True), url=url, schema=older)

    assert list(backend.query_meta(lr=0.1, name="a", tags="t", meta__run__id=3)) == ["kept"]
    assert backend.find("kept") is not None
    assert len(backend.held(0.0)) == 2
    backend.close()
    found = admin.execute(f"SELECT value FROM {older}.settings WHERE name = 'version'").fetchone()
    assert found == ("1",)


def test_a_role_that_does_not_own_older_tables_is_told_what_their_owner_can_run(
    stranger: tuple[str, str], older: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    name, url = stranger
    admin.execute(f"GRANT USAGE ON SCHEMA {older} TO {name}")
    admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {older} TO {name}")
    admin.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {older} TO {name}")
    command = ["-m", "cacheness_postgres.schema", older, "--from", "1"]

    with pytest.raises(ConfigError, match=rf"of version 1.*python {' '.join(command)}"):
        PostgresBackend(context_for(tmp_path), url=url, schema=older)

    script = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    admin.execute(script.stdout)
    backend = PostgresBackend(context_for(tmp_path), url=url, schema=older)
    assert backend.put_entry(an_entry()) is None
    backend.close()


def test_migrations_run_once_in_order_and_all_or_nothing(
    url: str,
    schema: str,
    tmp_path: Path,
    admin: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    PostgresBackend(context_for(tmp_path), url=url, schema=schema).close()
    last = SCHEMA_VERSION + 2
    steps = {
        last - 1: ("ALTER TABLE {schema}.notes ADD COLUMN second int",),
        last: ("ALTER TABLE {schema}.notes ADD COLUMN third int", "SELECT 1 / 0"),
    }
    monkeypatch.setattr(schema_module, "MIGRATIONS", steps)
    monkeypatch.setattr(schema_module, "SCHEMA_VERSION", last)
    broken = PostgresBackend(context_for(tmp_path), url=url, schema=schema)
    with pytest.raises(BackendUnavailableError, match="division by zero"):
        broken.count()
    broken.close()
    version = f"SELECT value FROM {schema}.settings WHERE name = 'version'"
    assert admin.execute(version).fetchone() == (str(SCHEMA_VERSION),)

    steps[last] = ("ALTER TABLE {schema}.notes ADD COLUMN third int",)
    for _ in range(2):
        backend = PostgresBackend(context_for(tmp_path), url=url, schema=schema)
        backend.write_notes("kind", {"a": 1})
        backend.close()

    assert admin.execute(version).fetchone() == (str(last),)
    assert admin.execute(f"SELECT second, third FROM {schema}.notes").fetchone() == (None, None)


def test_a_newer_schema_is_refused(
    backend: PostgresBackend,
    admin: psycopg.Connection[Any],
    schema: str,
    url: str,
    tmp_path: Path,
) -> None:
    admin.execute(f"UPDATE {schema}.settings SET value = '99' WHERE name = 'version'")

    with pytest.raises(ConfigError, match=r"version 99.*pip install -U cacheness-postgres"):
        PostgresBackend(context_for(tmp_path), url=url, schema=schema, pool_size=2)


def test_a_newer_schema_is_refused_though_it_was_made_while_one_waited_for_its_turn(
    older: str, url: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    key = schema_module.advisory_key("schema", older)
    come = threading.Event()
    errors: list[BaseException] = []

    def open_it() -> None:
        come.set()
        try:
            PostgresBackend(context_for(tmp_path), url=url, schema=older).close()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=open_it)
    with admin.transaction():
        admin.execute(f"SELECT pg_advisory_xact_lock({key})")
        thread.start()
        come.wait()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not admin.execute(waiting).fetchone()[0]:  # type: ignore[index]  # a count
            thread.join(0.01)
        admin.execute(f"UPDATE {older}.settings SET value = '99' WHERE name = 'version'")
    thread.join()

    assert [type(error) for error in errors] == [ConfigError]
    assert "version 99" in str(errors[0])


def test_a_role_that_may_not_make_a_schema_is_told_the_grant(
    stranger: tuple[str, str], schema: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    name, url = stranger

    with pytest.raises(ConfigError, match=rf'GRANT CREATE ON DATABASE "postgres" TO "{name}"'):
        PostgresBackend(context_for(tmp_path), url=url, schema=schema)

    admin.execute(f"CREATE SCHEMA {schema}")
    with pytest.raises(ConfigError, match=rf'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO "{name}"'):
        PostgresBackend(context_for(tmp_path), url=url, schema=schema)
    admin.execute(f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {name}")
    backend = PostgresBackend(context_for(tmp_path), url=url, schema=schema)
    assert backend.put_entry(an_entry()) is None
    backend.close()


def test_a_schema_made_beforehand_needs_no_right_to_create(
    stranger: tuple[str, str], schema: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    name, url = stranger
    command = [sys.executable, "-m", "cacheness_postgres.schema", schema, "--grant-to", name]
    script = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    admin.execute(script)

    backend = PostgresBackend(context_for(tmp_path, max_entries=10), url=url, schema=schema)

    assert backend.put_entry(an_entry()) is None
    backend.put_entries([an_entry("a", 2), an_entry("b", 3)])
    backend.write_notes("kind", {"a": 1})
    assert backend.change_token() is not None
    assert len(backend.victims("lru", 0, 2)) == 2
    with backend.lock("key"):
        pass
    backend.close()
    with pytest.raises(ConfigError, match="owner of the tables .* CREATE INDEX"):
        PostgresBackend(context_for(tmp_path), url=url, schema=schema, range_indexes=["lr"])


def test_a_role_that_may_only_read_reads(
    stranger: tuple[str, str],
    schema: str,
    tmp_path: Path,
    admin: psycopg.Connection[Any],
    backend: PostgresBackend,
) -> None:
    name, url = stranger
    backend.put_entry(an_entry())
    admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
    admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {name}")

    reader = PostgresBackend(context_for(tmp_path, read_only=True), url=url, schema=schema)

    assert reader.get_entry("key") is not None
    with pytest.raises(ConfigError, match="GRANT SELECT, INSERT, UPDATE, DELETE"):
        reader.put_entry(an_entry(generation=2))
    with pytest.raises(ConfigError, match="ON ALL SEQUENCES"):
        reader.change_token()
    admin.execute(f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {name}")
    token = reader.change_token()
    backend.put_entry(an_entry(generation=2))
    assert reader.change_token() != token, "so that a memory tier sees what others change"
    reader.close()


def test_a_read_only_cache_makes_nothing(
    url: str, schema: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    reader = PostgresBackend(context_for(tmp_path, read_only=True), url=url, schema=schema)

    with pytest.raises(BackendUnavailableError, match="read-only"):
        reader.count()

    exists = "SELECT count(*) FROM pg_namespace WHERE nspname = %s"
    assert admin.execute(exists, (schema,)).fetchone() == (0,)
    reader.close()


@pytest.mark.parametrize(
    "name", ["", "Upper", "a b", "a;b", "1a", "x" * 64, "pg_mine", 'a"b', None, 5]
)
def test_a_schema_name_that_needs_quoting_is_refused(
    url: str, tmp_path: Path, name: object
) -> None:
    with pytest.raises(ConfigError, match="schema="):
        PostgresBackend(context_for(tmp_path), url=url, schema=name)  # type: ignore[arg-type]
