# SPDX-License-Identifier: MIT
"""What looks after the store: eviction, orphans and the tables' own state."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pytest

from cacheness import UnifiedCache
from cacheness.integrity.integrity import verify_integrity
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.schema import advisory_key, schema_sql

from .conftest import an_entry, context_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import psycopg

LARGE = np.arange(50_000)


def counting_statements(
    admin: psycopg.Connection[Any], backend: PostgresBackend, work: Callable[[], object]
) -> list[str]:
    """The statements that a backend sends, by the names that psycopg's own cursor is given."""
    sent: list[str] = []
    session = backend._database.take()
    plain = session.cursor

    class Listening:
        def __getattr__(self, name: str) -> Any:
            return getattr(plain, name)

        def execute(self, statement: Any, *arguments: Any, **options: Any) -> Any:
            sent.append(str(statement))
            return plain.execute(statement, *arguments, **options)

    session.cursor = Listening()  # type: ignore[assignment]
    backend._database.give(session)
    try:
        work()
    finally:
        session.cursor = plain
    return sent


def test_many_entries_go_in_one_statement(
    backend: PostgresBackend, admin: psycopg.Connection[Any]
) -> None:
    entries = [an_entry(f"k{n:04}", n + 1, expires_at=1000.0) for n in range(3000)]
    backend.put_entries(entries)
    some = {f"k{n:04}": n + 1 for n in range(2500)}

    by_generation = counting_statements(admin, backend, lambda: backend.delete_generations(some))
    expired = counting_statements(admin, backend, lambda: backend.delete_expired(2000.0))

    assert (len(by_generation), len(expired)) == (1, 1)
    assert backend.count() == 0


def test_eviction_takes_as_many_statements_for_many_as_for_few(
    backend: PostgresBackend, admin: psycopg.Connection[Any]
) -> None:
    def evicting(count: int) -> int:
        backend.put_entries(an_entry(f"k{n:04}", n + 1) for n in range(count))
        return len(
            counting_statements(
                admin, backend, lambda: backend.evict("lru", max_size=None, max_entries=0)
            )
        )

    few, many = evicting(10), evicting(3000)

    assert backend.count() == 0
    assert few == many


def test_what_somebody_is_replacing_is_passed_over_by_eviction(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    backend.put_entries(an_entry(f"k{n}", n + 1, accessed_at=1000.0 + n) for n in range(4))
    with admin.transaction():
        admin.execute(f"SELECT 1 FROM {schema}.entries WHERE cache_key = 'k0' FOR UPDATE")

        evicted = backend.evict("lru", max_size=None, max_entries=2, slack=0.0)

    assert [entry.cache_key for entry in evicted] == ["k1", "k2"]


def test_whoever_waited_for_its_turn_to_evict_counts_anew(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    backend.put_entries(an_entry(f"k{n:03}", n + 1) for n in range(100))
    evicted: list[Any] = []

    def evict() -> None:
        evicted.append(backend.evict("lru", max_size=None, max_entries=50, slack=0.0))

    waiting = threading.Thread(target=evict)
    with admin.transaction():
        # Another machine is in the middle of the same.
        admin.execute(f"SELECT pg_advisory_xact_lock({advisory_key('evict', schema, '')})")
        waiting.start()
        blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        deadline = time.monotonic() + 30
        while admin.execute(blocked).fetchone() != (1,):
            assert waiting.is_alive(), "it did not wait"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        admin.execute(f"DELETE FROM {schema}.entries WHERE cache_key < 'k060'")
    waiting.join()

    assert evicted == [[]]
    assert backend.count() == 40


# --- the tables -----------------------------------------------------------------------------


def test_an_index_that_is_missing_or_invalid_is_told_and_made(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    assert backend.check_store(repair=False) == []
    admin.execute(f"DROP INDEX {schema}.entries_by_params")
    admin.execute(
        "UPDATE pg_index SET indisvalid = false "
        f"WHERE indexrelid = '{schema}.entries_by_prefix'::regclass"
    )

    missing, invalid = backend.check_store(repair=False)

    assert f"{schema}.entries_by_params is missing" in missing
    assert f"{schema}.entries_by_prefix is invalid" in invalid
    assert backend.check_store(repair=True) == []
    assert backend.check_store(repair=False) == []


def test_a_role_that_does_not_own_the_tables_tells_what_it_can_not_mend(
    admin: psycopg.Connection[Any], url: str, schema: str, tmp_path: Path
) -> None:
    name = f"r_{uuid4().hex[:10]}"
    admin.execute(f"CREATE ROLE {name} LOGIN")
    try:
        admin.execute(schema_sql(schema, grant_to=name))
        backend = PostgresBackend(
            context_for(tmp_path), url=url.replace("://postgres@", f"://{name}@"), schema=schema
        )
        assert backend.check_store(repair=True) == []
        admin.execute(f"DROP INDEX {schema}.entries_by_params")

        assert len(backend.check_store(repair=True)) == 1
        backend.close()
    finally:
        admin.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


# --- orphans --------------------------------------------------------------------------------


def shared_cache(url: str, schema: str, directory: Path, **options: Any) -> UnifiedCache:
    return UnifiedCache(
        directory,
        metadata_backend="postgres",
        metadata_options={"url": url, "schema": schema},
        **options,
    )


@pytest.mark.parametrize("local", ["sqlite", "json"])
def test_a_local_cache_in_the_same_directory_keeps_its_blobs(
    url: str, schema: str, tmp_path: Path, local: str
) -> None:
    with (
        shared_cache(url, schema, tmp_path / "c", blob_backend="file") as shared,
        UnifiedCache(tmp_path / "c", metadata_backend=local) as alone,
    ):
        shared.put(LARGE, "shared")
        alone.put(LARGE + 1, "alone")

        for cache in (shared, alone):
            report = verify_integrity(cache.engine, repair=True, grace=-1)
            assert report.ok
            assert (report.repaired, len(report.out_of_reach)) == (0, 1)
        np.testing.assert_array_equal(shared["shared"], LARGE)
        np.testing.assert_array_equal(alone["alone"], LARGE + 1)


def test_machines_of_one_database_find_the_orphans_of_their_shared_files(
    url: str, schema: str, tmp_path: Path
) -> None:
    files = {"blob_backend": "file", "blob_options": {"path": str(tmp_path / "share")}}
    with (
        shared_cache(url, schema, tmp_path / "one", **files) as one,
        shared_cache(url, schema, tmp_path / "two", **files) as two,
    ):
        one.put(LARGE, "one")
        two.put(LARGE + 1, "two")
        name = "ab/" + "ab" * 16 + ".npy"
        one.engine.blobs().write(name, [b"nobody's"])

        report = verify_integrity(two.engine, repair=True, grace=-1)

        assert [problem.name for problem in report.orphaned] == [name]
        assert not one.engine.blobs().exists(name)
        np.testing.assert_array_equal(one["one"], LARGE)
        np.testing.assert_array_equal(one["two"], LARGE + 1)


def test_two_schemas_that_share_their_files_leave_each_others_alone(
    url: str, schema: str, tmp_path: Path, admin: psycopg.Connection[Any]
) -> None:
    files = {"blob_backend": "file", "blob_options": {"path": str(tmp_path / "share")}}
    other = f"{schema}_other"
    try:
        with (
            shared_cache(url, schema, tmp_path / "c", **files) as one,
            shared_cache(url, other, tmp_path / "c", **files) as two,
        ):
            one.put(LARGE, "k")

            assert verify_integrity(two.engine, repair=True, grace=-1).repaired == 0
            np.testing.assert_array_equal(one["k"], LARGE)
    finally:
        admin.execute("SET client_min_messages = error")
        admin.execute(f"DROP SCHEMA IF EXISTS {other} CASCADE")


def test_local_caches_with_their_payloads_in_one_database_leave_each_others_alone(
    url: str, schema: str, tmp_path: Path
) -> None:
    blobs = {"blob_backend": "postgres", "blob_options": {"url": url, "schema": schema}}
    with (
        UnifiedCache(tmp_path / "one", signing="off", **blobs) as one,
        UnifiedCache(tmp_path / "two", signing="off", **blobs) as two,
    ):
        one.put(LARGE, "k")

        assert verify_integrity(two.engine, repair=True, grace=-1).repaired == 0
        np.testing.assert_array_equal(one["k"], LARGE)
