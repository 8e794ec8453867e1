# SPDX-License-Identifier: MIT
"""When the server fails nothing acknowledged is lost, nothing is half, and it all heals."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from cacheness import UnifiedCache, cached
from cacheness.errors import BackendUnavailableError
from cacheness_postgres.backend import PostgresBackend

from .conftest import Server, an_entry, context_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cacheness_postgres.blobs import PostgresBlobBackend

NAME = "ab/" + "0123456789abcdef" * 2


@pytest.fixture
def role(
    admin: psycopg.Connection[Any], url: str, backend: PostgresBackend, schema: str
) -> Iterator[Callable[..., str]]:
    """Makes a role with settings of its own that may use the schema; gives its URL."""
    made: list[str] = []

    def make(**settings: str) -> str:
        name = f"r_{uuid4().hex[:10]}"
        made.append(name)
        admin.execute(f"CREATE ROLE {name} LOGIN")
        admin.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
        admin.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {name}")
        admin.execute(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {name}")
        for setting, value in settings.items():
            admin.execute(f"ALTER ROLE {name} SET {setting} = '{value}'")
        return url.replace("://postgres@", f"://{name}@")

    yield make
    for name in made:
        admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def cut_all(admin: psycopg.Connection[Any]) -> None:
    """Cut every connection of a cache, as a failing switch would."""
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE application_name = 'cacheness'"
    )


# --- the server goes away -----------------------------------------------------------------


def test_a_restarted_server_goes_unnoticed_and_has_lost_nothing(
    own_server: Server, tmp_path: Path
) -> None:
    backend = PostgresBackend(context_for(tmp_path), url=own_server.url)
    entries = [an_entry(f"k{n}", n + 1) for n in range(20)]
    for entry in entries:
        backend.put_entry(entry)

    own_server.stop()
    with pytest.raises(BackendUnavailableError, match="can't be reached"):
        backend.find("k0")
    with pytest.raises(BackendUnavailableError, match="can't be reached"):
        backend.put_entry(an_entry("k0", 99))
    own_server.start()
    time.sleep(0.1)

    assert [backend.get_entry(e.cache_key) for e in entries] == entries
    backend.close()


def test_a_cached_function_computes_through_an_outage_and_the_cache_heals(
    own_server: Server, tmp_path: Path
) -> None:
    cache = UnifiedCache(
        str(tmp_path / "c"), metadata_backend="postgres", metadata_options={"url": own_server.url}
    )
    calls = []

    @cached(cache=cache)
    def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    assert double(1) == 2
    own_server.stop()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [double(1), double(2)] == [2, 4]
    own_server.start()
    time.sleep(0.1)

    assert double(1) == 2
    assert calls == [1, 1, 2], "the first entry is still there"
    double(3)
    assert double(3) == 6
    assert calls == [1, 1, 2, 3], "and new ones are stored"
    cache.close()


def test_a_cache_can_be_made_during_an_outage(own_server: Server, tmp_path: Path) -> None:
    own_server.stop()
    backend = PostgresBackend(context_for(tmp_path), url=own_server.url)
    with pytest.raises(BackendUnavailableError):
        backend.count()

    own_server.start()
    time.sleep(0.1)

    assert backend.put_entry(an_entry()) is None
    assert backend.count() == 1
    backend.close()


def test_dropped_tables_are_made_again(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    backend.put_entry(an_entry())
    admin.execute("SET client_min_messages = error")
    admin.execute(f"DROP SCHEMA {schema} CASCADE")

    assert backend.find("key") is None
    backend.put_entry(an_entry())
    assert backend.count() == 1


# --- connections break --------------------------------------------------------------------


def test_connections_cut_in_the_middle_of_puts_leave_whole_entries(
    backend: PostgresBackend, admin: psycopg.Connection[Any]
) -> None:
    acknowledged: dict[str, int] = {}
    refused: list[BaseException] = []
    stop = threading.Event()

    def put(thread: int) -> None:
        number = 0
        while not stop.is_set():
            key, generation = f"k{thread}-{number % 5}", number + 1
            text = str(generation)
            entry = an_entry(key, generation, description=text, inline=text.encode() * 3000)
            try:
                backend.put_entry(entry)
                acknowledged[key] = generation
            except BackendUnavailableError as error:
                refused.append(error)
            number += 1

    threads = [threading.Thread(target=put, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(15):
        time.sleep(0.05)
        cut_all(admin)
    stop.set()
    for thread in threads:
        thread.join()
    time.sleep(0.2)  # after a failed try a connection is not tried again at once

    assert len(acknowledged) == 15
    for key, generation in acknowledged.items():
        entry = backend.get_entry(key)
        assert entry is not None
        assert entry.generation >= generation, "an acknowledged put is there, or a later one"
        assert entry.description == str(entry.generation)
        assert entry.inline == entry.description.encode() * 3000


def test_a_connection_cut_in_the_middle_of_a_blob_leaves_nothing_of_it(
    blobs: PostgresBlobBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    def source() -> Iterator[bytes]:
        for number in range(40):
            yield b"x" * 1_000_000
            if number == 20:
                cut_all(admin)

    with pytest.raises(BackendUnavailableError):
        blobs.write(NAME, source())

    assert not blobs.exists(NAME)
    assert admin.execute(f"SELECT count(*) FROM {schema}.blob_chunks").fetchone() == (0,)
    assert blobs.write(NAME, [b"y" * 2_000_000]) == 2_000_000


def test_a_bulk_put_that_is_cut_in_the_middle_changes_nothing(
    backend: PostgresBackend, admin: psycopg.Connection[Any], url: str, schema: str
) -> None:
    old = [an_entry(f"a{n}", n + 1) for n in range(10)]
    backend.put_entries(old)
    errors: list[Exception] = []

    def put() -> None:
        try:
            backend.put_entries(
                [an_entry("b", 500), *(an_entry(f"a{n}", n + 100) for n in range(10))]
            )
        except BackendUnavailableError as error:
            errors.append(error)

    putting = threading.Thread(target=put)
    with psycopg.connect(url) as other:
        # Whoever copies the key in has to wait for this, having replaced what stands.
        other.execute(f"CREATE TEMP TABLE one AS SELECT * FROM {schema}.entries LIMIT 1")
        other.execute("UPDATE one SET cache_key = 'b'")
        other.execute(f"INSERT INTO {schema}.entries SELECT * FROM one")
        putting.start()
        deadline = time.monotonic() + 30
        cut: set[int] = set()
        while putting.is_alive():
            assert time.monotonic() < deadline
            waiting = admin.execute(
                "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE wait_event_type = 'Lock' AND starts_with(query, 'COPY')"
            ).fetchall()
            cut |= {pid for pid, _ in waiting}
            time.sleep(0.01)
        other.rollback()

    assert len(cut) == 2, "it tries once more"
    assert len(errors) == 1
    time.sleep(0.2)  # after a failed try a connection is not tried again at once
    assert backend.get_entries([entry.cache_key for entry in old]) == {
        entry.cache_key: entry for entry in old
    }
    assert backend.count() == 10


# --- the server refuses -------------------------------------------------------------------


def test_a_read_only_server_is_read_and_written_again_after(
    role: Callable[..., str],
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
    backend: PostgresBackend,
) -> None:
    backend.put_entry(an_entry())
    url = role(default_transaction_read_only="on")
    standby = open_backend(url=url)

    assert standby.find("key") is not None
    with pytest.raises(BackendUnavailableError, match="takes no writes"):
        standby.put_entry(an_entry(generation=2))
    with pytest.raises(BackendUnavailableError, match="takes no writes"):
        standby.put_entries([an_entry(generation=2)])
    name = url.split("://")[1].split("@")[0]
    admin.execute(f"ALTER ROLE {name} SET default_transaction_read_only = off")

    # The refusal dropped the connections, so that the next one may lead to a new primary.
    old = standby.put_entry(an_entry(generation=2))
    assert old is not None
    assert old.generation == 1


def test_a_statement_timeout_is_an_outage_not_a_crash(
    role: Callable[..., str],
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
    schema: str,
) -> None:
    hasty = open_backend(url=role(statement_timeout="100ms"))
    with admin.transaction():
        admin.execute(f"LOCK TABLE {schema}.entries IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(BackendUnavailableError, match="statement_timeout"):
            hasty.find("key")

    assert hasty.find("key") is None


def test_a_statement_timeout_does_not_end_the_wait_for_a_lock(
    role: Callable[..., str], open_backend: Callable[..., PostgresBackend], backend: PostgresBackend
) -> None:
    hasty = open_backend(
        url=role(statement_timeout="50ms", idle_in_transaction_session_timeout="50ms")
    )
    taken = threading.Event()

    def take() -> None:
        with hasty.lock("key"):
            taken.set()

    with backend.lock("key"):
        waiting = threading.Thread(target=take)
        waiting.start()
        assert not taken.wait(0.2)
    waiting.join()
    assert taken.is_set()

    with hasty.lock("held"):
        time.sleep(0.2)
        assert not backend.lock("held").acquire(0), "nor its holding"


def test_a_row_that_is_locked_too_long_is_an_outage(
    open_backend: Callable[..., PostgresBackend], admin: psycopg.Connection[Any], schema: str
) -> None:
    hasty = open_backend(config={"lock_timeout": 0.1})
    hasty.put_entry(an_entry())
    with admin.transaction():
        admin.execute(f"SELECT FROM {schema}.entries FOR UPDATE")
        assert hasty.find("key") is not None, "reads wait for nobody"
        with pytest.raises(BackendUnavailableError, match="lock_timeout"):
            hasty.put_entry(an_entry(generation=2))

    assert hasty.put_entry(an_entry(generation=2)) is not None


def test_a_pool_that_is_in_use_says_so(open_backend: Callable[..., PostgresBackend]) -> None:
    small = open_backend(pool_size=1, config={"lock_timeout": 0.1})
    session = small._database.take()
    with pytest.raises(BackendUnavailableError, match=r"pool_size"):
        small.find("key")

    waiting: list[Any] = []
    thread = threading.Thread(target=lambda: waiting.append(small.find("key")))
    thread.start()
    small._database.give(session)
    thread.join()

    assert waiting == [None]


def test_a_server_without_a_connection_left_says_what_to_do(
    role: Callable[..., str],
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
) -> None:
    url = role()
    name = url.split("://")[1].split("@")[0]
    admin.execute(f"ALTER ROLE {name} CONNECTION LIMIT 1")
    first = open_backend(url=url, pool_size=2)
    assert first.find("key") is None
    crowded = open_backend(url=url)

    with pytest.raises(BackendUnavailableError, match="lower pool_size or raise max_connections"):
        crowded.find("key")
    first.close()
    time.sleep(0.2)  # after a failed try a connection is not tried again at once

    assert crowded.find("key") is None


def test_more_threads_than_connections_wait_their_turn(
    open_backend: Callable[..., PostgresBackend],
) -> None:
    small = open_backend(pool_size=2)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(30):
                small.put_entry(an_entry(f"{number}-{turn}", 1))
                assert small.find(f"{number}-{turn}") is not None
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not errors
    assert small.count() == 240


def test_a_full_disk_is_an_outage_and_loses_nothing(
    own_server: Server, tmp_path: Path, server_directory: Path
) -> None:
    small = server_directory / f"small-{uuid4().hex[:8]}"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(small)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("only root may make a small disk")
    try:
        _fill_disk(own_server, tmp_path, small)
    finally:
        with psycopg.connect(own_server.url, autocommit=True) as admin:
            admin.execute("DROP DATABASE small")
            admin.execute("DROP TABLESPACE small")
        subprocess.run(["umount", str(small)], check=True)
        shutil.rmtree(small)


def _fill_disk(server: Server, tmp_path: Path, small: Path) -> None:
    with psycopg.connect(server.url, autocommit=True) as admin:
        (small / "space").mkdir()
        (small / "space").chmod(0o777)
        shutil.chown(small / "space", Path(f"/proc/{admin.info.backend_pid}").owner())
        admin.execute(f"CREATE TABLESPACE small LOCATION '{small}/space'")
        admin.execute("CREATE DATABASE small")
        admin.execute("ALTER DATABASE small SET default_tablespace = small")
    url = server.url.replace("/postgres?", "/small?")
    backend = PostgresBackend(context_for(tmp_path), url=url)
    acknowledged: list[int] = []

    def put_on() -> None:
        for number in range(1000):
            backend.put_entry(an_entry(f"k{number}", number + 1, inline=b"x" * 30_000))
            acknowledged.append(number)

    with pytest.raises(BackendUnavailableError, match="disk is full"):
        put_on()

    assert len(acknowledged) > 10
    assert backend.count() == len(acknowledged)
    last = backend.get_entry(f"k{acknowledged[-1]}")
    assert last is not None
    assert last.inline == b"x" * 30_000
    backend.close()
