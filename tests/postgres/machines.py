# SPDX-License-Identifier: MIT
"""Processes that share nothing but a connection URL."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PREAMBLE = """
import sys, time
true_time = time.time
time.time = lambda: true_time() + {clock_ahead}
import socket
socket.gethostname = lambda: {name!r}
import numpy as np
from cacheness import CacheConfig, UnifiedCache, cached
from cacheness.backends.base import BackendContext
from cacheness_postgres import PostgresBackend, PostgresBlobBackend
options = {{"url": {url!r}, "schema": {schema!r}}}
def open_cache(**more):
    more |= {{"metadata_backend": "postgres", "metadata_options": options}}
    return UnifiedCache({directory!r}, **more)
def open_backend(kind):
    context = BackendContext({directory!r}, "", CacheConfig({directory!r}))
    return kind(context, **options)
def say(*words):
    print(*words, flush=True)
def wait():
    sys.stdin.readline()
"""


class Machine:
    """A process with a home, a host name and a cache directory of its own, which runs a script."""

    def __init__(
        self, home: Path, url: str, schema: str, script: str, *, clock_ahead: float = 0.0
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        known = {"PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV"}
        environment = {name: value for name, value in os.environ.items() if name in known}
        environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        preamble = PREAMBLE.format(
            url=url,
            schema=schema,
            directory=str(home / "cache"),
            name=home.name,
            clock_ahead=clock_ahead,
        )
        self.home = home
        self.process = subprocess.Popen(
            [sys.executable, "-c", preamble + textwrap.dedent(script)],
            env=environment,
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def heard(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def go_on(self) -> None:
        """Let it return from its next ``wait()``."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> list[str]:
        """Wait for its end and give the lines that were left."""
        output, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0
        return output.splitlines()

    def kill(self) -> None:
        """End it as a power switch would."""
        self.process.kill()
        self.process.communicate()
