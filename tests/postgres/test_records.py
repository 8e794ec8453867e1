# SPDX-License-Identifier: MIT
"""Typed custom metadata is kept in tables of its own, and lives with its entry."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from sqlalchemy import DateTime, column, func

from cacheness.custom_metadata import custom_metadata_model, parse_query, typed_metadata
from cacheness.errors import ConfigError
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.schema import schema_sql

from .conftest import an_entry, context_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg

    from cacheness.entry import Entry


@custom_metadata_model
@dataclass
class PgRun:
    owner: str
    lr: float = 0.1
    count: int = 0
    ended: datetime | None = None


def recorded(record: object, cache_key: str = "key", generation: int = 1, **fields: Any) -> Entry:
    return replace(
        an_entry(cache_key, generation, **fields), custom_metadata=typed_metadata(record)
    )


def query(backend: PostgresBackend, *where: Any, cls: type = PgRun, **filters: Any) -> list[Any]:
    return list(backend.query_records(parse_query(cls, where, filters)))


def rows_of(admin: psycopg.Connection[Any], schema: str, table: str = "custom_pg_run") -> int:
    found = admin.execute(f"SELECT count(*) FROM {schema}.{table}").fetchone()
    assert found is not None
    return int(found[0])


def test_a_record_of_a_replaced_entry_is_no_row_any_more(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    backend.put_entries([recorded(PgRun("a"), f"k{n}", n + 1) for n in range(4)])
    assert rows_of(admin, schema) == 4

    backend.put_entry(an_entry("k0", 10))
    backend.put_entries([an_entry("k1", 11)])
    backend.delete_entry("k2")
    admin.execute(f"UPDATE {schema}.entries SET generation = 99 WHERE cache_key = 'k3'")

    assert rows_of(admin, schema) == 0, "also one that was replaced by somebody with psql"


def test_a_record_goes_along_when_its_entry_is_renamed(backend: PostgresBackend) -> None:
    backend.put_entry(recorded(PgRun("a")))

    assert backend.rename_entries([("key", 1, {"cache_key": "new", "generation": 2})]) == ["new"]

    assert query(backend) == [("new", PgRun("a"))]


def test_a_change_of_an_entry_that_was_replaced_changes_no_record(
    backend: PostgresBackend,
) -> None:
    backend.put_entry(recorded(PgRun("old")))
    backend.put_entry(recorded(PgRun("new"), generation=2))

    other = {"custom_metadata": typed_metadata(PgRun("late"))}
    assert not backend.update_fields("key", other, if_generation=1)

    assert query(backend) == [("key", PgRun("new"))]


def test_times_keep_their_order_and_whether_they_had_a_zone(backend: PostgresBackend) -> None:
    noon = datetime(2024, 5, 1, 12, 0, 0, 1)
    times = [noon, noon.replace(tzinfo=UTC), noon + timedelta(microseconds=1), None]
    backend.put_entries(
        recorded(PgRun("a", ended=at), f"k{n}", n + 1, created_at=1000.0 + n)
        for n, at in enumerate(times)
    )

    assert [record.ended for _, record in query(backend)] == times
    east = noon.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=9)))
    for filters, keys in (
        ({"ended": noon}, ["k0"]),
        ({"ended": east}, ["k1"]),
        ({"ended__ne": east}, ["k0", "k2", "k3"]),
        ({"ended__lt": east}, ["k0"]),
        ({"ended__gte": east}, ["k1", "k2"]),
        ({"ended__in": [None, noon]}, ["k0", "k3"]),
        ({"ended": None}, ["k3"]),
    ):
        assert [key for key, _ in query(backend, **filters)] == keys, filters


def test_a_condition_of_sqlalchemy_selects_records(backend: PostgresBackend) -> None:
    backend.put_entries(
        recorded(PgRun(owner, n / 10, n * 2**33, datetime(2024, 1, n, tzinfo=UTC)), owner, n)
        for n, owner in enumerate(("a%", "b", "C"), 1)
    )

    for where, keys in (
        (column("count") > 2**33, ["C", "b"]),
        ((column("lr") < 0.25) & column("owner").like("%\\%", escape="\\"), ["a%"]),
        (column("owner").in_(["b", "C"]), ["C", "b"]),
        (func.lower(column("owner")) == "c", ["C"]),
        (
            column("ended", DateTime(timezone=True))
            < datetime(2024, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))),
            ["a%"],
        ),
    ):
        assert sorted(key for key, _ in query(backend, where)) == keys, str(where)
    both = query(backend, column("lr") > 0.15, column("lr") < 0.25, count__gt=0)
    assert [key for key, _ in both] == ["b"]
    with pytest.raises(ConfigError, match="nope"):
        query(backend, column("nope") == 1)
    with pytest.raises(ConfigError, match="can't be evaluated"):
        query(backend, column("owner") > 5)
    with pytest.raises(TypeError, match="no condition"):
        query(backend, object())
    assert len(query(backend)) == 3, "the connection is still of use"


def a_model(cls: type) -> type:
    """A model of a name of its own, as a program of another version would register it."""
    cls.__tablename__ = "pg_evolving"  # type: ignore[attr-defined]
    cls.__qualname__ = "PgEvolving"
    return custom_metadata_model(dataclass(cls))


def test_a_new_field_gets_a_column_and_an_unfit_table_is_refused(
    backend: PostgresBackend,
) -> None:
    class First:
        owner: str

    class Second:
        owner: str
        ended: datetime | None = None

    class Third:
        owner: int

    class Fourth:
        owner: str
        needed: int = 0

    a_model(First)
    backend.put_entry(recorded(First("a"), "k0"))  # type: ignore[call-arg]
    a_model(Second)
    assert query(backend, cls=Second) == [("k0", Second("a"))]  # type: ignore[call-arg]
    assert query(backend, cls=Second, ended=None) == query(backend, cls=Second)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    backend.put_entry(recorded(Second("b", at), "k1"))  # type: ignore[call-arg]

    assert query(backend, cls=Second, ended__ne=None) == [
        ("k1", Second("b", at))  # type: ignore[call-arg]
    ]
    for wrong, value in ((Third, 1), (Fourth, "c")):
        a_model(wrong)
        with pytest.raises(ConfigError, match="give the class another __tablename__"):
            backend.put_entry(recorded(wrong(value), "k2"))
        assert backend.get_entry("k2") is None


def test_many_who_keep_the_first_record_make_one_table(
    open_backend: Callable[..., PostgresBackend],
) -> None:
    backends = [open_backend(pool_size=n + 1) for n in range(5)]
    errors: list[BaseException] = []
    start = threading.Barrier(len(backends))

    def put(number: int) -> None:
        try:
            start.wait(30)
            for turn in range(5):
                entry = recorded(PgRun(f"{number}"), f"k{number % 2}", 1 + number + 10 * turn)
                backends[number].put_entry(entry)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=put, args=(n,)) for n in range(len(backends))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert sorted(key for key, _ in query(backends[0])) == ["k0", "k1"]
    for key, record in query(backends[0]):
        entry = backends[0].get_entry(key)
        assert entry is not None
        assert entry.custom_metadata["owner"] == record.owner, "the record is that of the entry"


@pytest.fixture
def user(admin: psycopg.Connection[Any], url: str) -> Iterator[tuple[str, str]]:
    """A role that has been granted nothing: its name, and a URL for it."""
    name = f"r_{uuid4().hex[:10]}"
    admin.execute(f"CREATE ROLE {name} LOGIN")
    yield name, url.replace("://postgres@", f"://{name}@")
    admin.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


def test_a_role_that_does_not_own_the_tables_is_told_how_to_make_one_of_records(
    user: tuple[str, str], admin: psycopg.Connection[Any], schema: str, tmp_path: Path
) -> None:
    name, url = user
    admin.execute(schema_sql(schema, grant_to=name))
    backend = PostgresBackend(context_for(tmp_path), url=url, schema=schema)
    try:
        with pytest.raises(ConfigError, match="only the owner of the tables") as raised:
            backend.put_entry(recorded(PgRun("a")))
        assert backend.get_entry("key") is None

        told = str(raised.value).partition("let them run ")[2].partition("; and grant")[0]
        admin.execute(told)
        backend.put_entry(an_entry())
        admin.execute(f"INSERT INTO {schema}.custom_pg_run VALUES ('', 'key', 1, 'x', 0.5, 1)")
        backend.put_entry(an_entry(generation=2))
        assert rows_of(admin, schema) == 0, "also without any right on the records"
        admin.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.custom_pg_run TO {name}")
        backend.put_entry(recorded(PgRun("a"), generation=3))
        assert query(backend) == [("key", PgRun("a"))]
    finally:
        backend.close()
