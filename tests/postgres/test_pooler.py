# SPDX-License-Identifier: MIT
"""Behind a pooler in transaction mode everything works, since nothing is left in a session."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import column

from cacheness import UnifiedCache
from cacheness.custom_metadata import parse_query, typed_metadata
from cacheness.errors import BackendUnavailableError
from cacheness.filters import Filter
from cacheness.testing.metadata_records import SuiteRecord
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.blobs import PostgresBlobBackend

from .conftest import an_entry, context_for
from .pooler import Pooler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "ab/" + "0123456789abcdef" * 2


def socket_directory(url: str) -> str:
    host = parse_qs(urlsplit(url).query).get("host", [""])[0]
    if not host.startswith("/"):
        pytest.skip("the server does not listen on a socket")
    return host


@pytest.fixture
def pooler(url: str, server_directory: Path) -> Iterator[Pooler]:
    """A pooler of ours."""
    directory = server_directory / f"pool-{uuid4().hex[:8]}"
    directory.mkdir()
    pooler = Pooler(f"{socket_directory(url)}/.s.PGSQL.5432", directory)
    yield pooler
    pooler.close()


@pytest.fixture
def own_pooler(pooler: Pooler) -> str:
    """Its URL."""
    return f"postgresql://postgres@/postgres?host={quote(str(pooler.directory), safe='')}"


@pytest.fixture
def pgbouncer(url: str, server_directory: Path) -> Iterator[str]:
    """The URL of a PgBouncer in transaction mode, where one is installed."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("no PgBouncer here")
    directory = server_directory / f"bouncer-{uuid4().hex[:8]}"
    directory.mkdir()
    directory.chmod(0o777)
    (directory / "users").write_text('"postgres" ""\n')
    (directory / "ini").write_text(
        f"""[databases]
        postgres = host={socket_directory(url)} dbname=postgres user=postgres
        [pgbouncer]
        listen_addr =
        listen_port = 5432
        unix_socket_dir = {directory}
        auth_type = trust
        auth_file = {directory}/users
        pool_mode = transaction
        default_pool_size = 4
        user = {Path(socket_directory(url), ".s.PGSQL.5432").owner()}
        logfile = {directory}/log
        """.replace("\n        ", "\n")
    )
    process = subprocess.Popen([program, str(directory / "ini")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not (directory / ".s.PGSQL.5432").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield f"postgresql://postgres@/postgres?host={quote(str(directory), safe='')}"
    process.terminate()
    process.wait()


@pytest.fixture(params=["own_pooler", "pgbouncer"])
def pooled(request: pytest.FixtureRequest) -> str:
    """The URL of a pooler."""
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def through(
    pooled: str, open_backend: Callable[..., PostgresBackend]
) -> Callable[..., PostgresBackend]:
    """Opens backends through a pooler."""
    return lambda *names, **options: open_backend(*names, url=pooled, **options)


def test_everything_works_through_a_pooler(
    through: Callable[..., PostgresBackend], backend: PostgresBackend
) -> None:
    pooled = through()
    for turn in range(20):
        pooled.put_entry(an_entry(generation=turn + 1, params={"x": turn}))
        entry = pooled.get_entry("key")
        assert entry is not None
        assert entry.generation == turn + 1
    pooled.put_entries(an_entry(f"k{n}", n + 100) for n in range(200))

    assert list(pooled.query_meta(x=19)) == ["key"]
    assert pooled.update_fields("key", {"description": "new"})
    pooled.record_hits({"key": (3, 5.0)})
    assert pooled.count() == backend.count() == 201
    assert pooled.rename_entries([("k0", 100, {"cache_key": "new", "generation": 400})]) == ["new"]
    assert len(pooled.evict("lru", max_size=None, max_entries=150, slack=0.0)) == 51
    assert len(pooled.delete_where(Filter.parse({"entry__generation__gte": 100}))) >= 149


def test_records_are_kept_through_a_pooler(through: Callable[..., PostgresBackend]) -> None:
    pooled = through()
    for turn in range(20):
        record = typed_metadata(SuiteRecord("a", turn))
        pooled.put_entry(replace(an_entry(generation=turn + 1), custom_metadata=record))
    pooled.put_entries(
        replace(an_entry(f"k{n}", n + 100), custom_metadata=typed_metadata(SuiteRecord("b", n)))
        for n in range(20)
    )

    query = parse_query(SuiteRecord, (column("whole") > 18,), {})
    assert sorted(key for key, _ in pooled.query_records(query)) == ["k19", "key"]


def test_threads_through_a_pooler_do_not_mix(through: Callable[..., PostgresBackend]) -> None:
    pooled = through()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(25):
                key = f"{number}-{turn}"
                pooled.put_entry(an_entry(key, 1, inline=key.encode()))
                found = pooled.find(key)
                assert found is not None
                assert found[8] == key.encode()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors


def test_locks_hold_through_a_pooler(
    through: Callable[..., PostgresBackend], backend: PostgresBackend
) -> None:
    pooled = through()
    with pooled.lock("key"):
        assert pooled.find("key") is None
        assert not backend.lock("key").acquire(0.05)
        assert not pooled.lock("key").acquire(0)
    with backend.lock("key"):
        assert not pooled.lock("key").acquire(0.05)


def test_changes_are_seen_through_a_pooler(
    through: Callable[..., PostgresBackend], backend: PostgresBackend
) -> None:
    pooled = through()
    backend.put_entry(an_entry())
    before = pooled.change_token()
    assert pooled.change_token() == before

    backend.put_entry(an_entry(generation=2))

    assert pooled.change_token() != before


def test_blobs_stream_through_a_pooler(pooled: str, schema: str, tmp_path: Path) -> None:
    blobs = PostgresBlobBackend(context_for(tmp_path), url=pooled, schema=schema)

    assert blobs.write(NAME, [b"x" * 3_000_000, b"y"]) == 3_000_001
    assert bytes(blobs.read(NAME))[-2:] == b"xy"
    blobs.close()


STATE = """SELECT
    (SELECT array_agg(name || '=' || setting ORDER BY name) FROM pg_settings
        WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding')),
    (SELECT count(*) FROM pg_prepared_statements),
    (SELECT count(*) FROM pg_listening_channels()),
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
    (SELECT count(*) FROM pg_class WHERE relpersistence = 't')"""


def test_nothing_is_left_in_the_sessions_behind_a_pooler(
    through: Callable[..., PostgresBackend], pooled: str
) -> None:
    backend = through()
    for turn in range(20):
        backend.put_entry(an_entry(generation=turn + 1))
        assert backend.find("key") is not None
    backend.put_entries(an_entry(f"k{n}", n + 100) for n in range(200))
    backend.put_entries(an_entry(f"k{n}", n + 500) for n in range(200))
    backend.change_token()
    with backend.lock("key"):
        pass

    # As many transactions at a time as the pooler has sessions, so that each is seen.
    connections = [psycopg.connect(pooled, prepare_threshold=None) for _ in range(4)]
    states = [connection.execute(STATE).fetchone() for connection in connections]
    for connection in connections:
        connection.close()

    assert states == [(None, 0, 0, 0, 0)] * 4


def test_a_pooler_that_hides_is_found_out(
    url: str, schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that is not where we prepared it tells that somebody is in between."""
    backend = PostgresBackend(context_for(tmp_path), url=url, schema=schema)
    backend.put_entry(an_entry())
    for _ in range(3):
        assert backend.find("key") is not None
    session = backend._database.take()
    # Past psycopg, which would take note of it.
    session.connection.pgconn.exec_(b"DEALLOCATE ALL")
    backend._database.give(session)

    assert backend.find("key") is not None
    assert not backend._database.prepares
    backend.close()


def test_an_unreachable_pooler_is_an_outage(server_directory: Path, tmp_path: Path) -> None:
    nowhere = f"postgresql://postgres@/postgres?host={quote(str(server_directory / 'no'), safe='')}"
    backend = PostgresBackend(context_for(tmp_path), url=nowhere)
    with pytest.raises(BackendUnavailableError):
        backend.find("key")
    backend.close()


def test_a_batch_whose_commit_was_never_heard_of_keeps_its_payloads(
    pooler: Pooler, own_pooler: str, schema: str, tmp_path: Path
) -> None:
    options = {"url": own_pooler, "schema": schema}
    with UnifiedCache(
        tmp_path, metadata_backend="postgres", metadata_options=options, blob_backend="file"
    ) as cache:
        old, *large = (bytes([number]) * 100_000 for number in range(4))
        cache.put(old, "k0")

        pooler.lost = b"COMMIT"
        cache.put_batch((value, f"k{number}") for number, value in enumerate(large))

        assert pooler.lost == b""
        assert cache.get_batch(["k0", "k1", "k2"]) == large
