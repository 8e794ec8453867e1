# SPDX-License-Identifier: MIT
"""Machines that share nothing but a connection URL share a cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from cacheness import MemoryCacheWrapper

from .conftest import an_entry
from .machines import Machine

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from cacheness_postgres.backend import PostgresBackend

Start = Callable[..., Machine]


@pytest.fixture
def start(tmp_path: Path, url: str, schema: str) -> Iterator[Start]:
    """Starts a machine of that name on a script."""
    machines: list[Machine] = []

    def start_one(name: str, script: str, **options: float) -> Machine:
        machines.append(Machine(tmp_path / name, url, schema, script, **options))
        return machines[-1]

    yield start_one
    for machine in machines:
        if machine.process.poll() is None:
            machine.kill()


def test_values_arrays_and_frames_are_shared_without_further_ado(start: Start) -> None:
    start(
        "anna",
        """
        import pandas as pd
        with open_cache() as cache:
            cache.put({"score": 0.5}, model="m")
            cache.put(np.arange(1_000_000), model="large")
            cache.put(pd.DataFrame({"a": np.arange(100_000), "b": "é"}), model="frame")
        """,
    ).finish()

    read = start(
        "ben",
        """
        with open_cache() as cache:
            frame = cache.get(model="frame")
            say(cache.get(model="m"), cache.get(model="large").sum())
            say(type(frame).__name__, frame["a"].sum(), set(frame["b"]))
        """,
    ).finish()

    assert read == ["{'score': 0.5} 499999500000", "DataFrame 4999950000 {'é'}"]


def test_what_needs_a_signature_asks_for_a_shared_key(start: Start) -> None:
    script = """
        from cacheness import ConfigError
        with open_cache(**KEY) as cache:
            try:
                cache.put({1, 2}, x=1)
                say(cache.get(x=1))
            except ConfigError as error:
                say("signing_key" in str(error))
        """
    key = 'KEY = {"signing_key": "sixteen bytes at least"}\n'

    assert start("anna", "KEY = {}\n" + _plain(script)).finish() == ["True"]
    assert start("anna", key + _plain(script)).finish() == ["{1, 2}"]
    read = key + "with open_cache(**KEY) as cache:\n    say(cache.get(x=1))\n"
    assert start("ben", read).finish() == ["{1, 2}"]


def test_what_one_machine_computed_the_others_read(start: Start) -> None:
    script = """
        with open_cache() as cache:
            @cached(cache=cache, code="off", key_prefix="f")
            def slow(x):
                say("computed")
                return x * 2
            say(slow(21))
        """

    assert start("anna", script).finish() == ["computed", "42"]
    assert start("ben", script).finish() == ["42"]
    assert start("carl", script).finish() == ["42"]


def test_a_memory_tier_sees_a_replaced_entry_within_100_ms(
    start: Start, backend: PostgresBackend
) -> None:
    reader = start(
        "anna",
        """
        cache = open_cache(memory_bytes=1 << 20)
        cache.put(1, x=1)
        say(cache.get(x=1))
        while cache.get(x=1) == 1:
            time.sleep(0.001)
        say(time.time())
        cache.close()
        """,
    )
    assert reader.heard() == "1"
    writer = start(
        "ben",
        """
        cache = open_cache()
        cache.get(x=1)
        time.sleep(0.3)
        cache.put(2, x=1)
        say(time.time())
        cache.close()
        """,
    )

    written = float(writer.heard())
    seen = float(reader.heard())

    # Both are processes of this machine, so their clocks agree.
    assert seen - written < 0.1


def test_what_was_told_while_nobody_could_listen_is_seen_all_the_same(
    backend: PostgresBackend,
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
) -> None:
    memory = MemoryCacheWrapper(open_backend(pool_size=1), max_bytes=1 << 20, staleness=0.0)
    backend.put_entry(an_entry("key", 1))
    for _ in range(2):
        assert memory.find("key") is not None  # the second is from memory
    watcher = cast("PostgresBackend", memory.backend)._watcher
    assert watcher._session is not None
    listener = watcher._session.connection.info.backend_pid

    admin.execute("SELECT pg_terminate_backend(%s, 5000)", [listener])
    backend.put_entry(an_entry("key", 2))

    found = memory.find("key")
    assert found is not None
    assert found[0] == 2


def test_hits_of_all_machines_are_added_up(start: Start, backend: PostgresBackend) -> None:
    start("anna", "with open_cache() as cache: cache.put(1, 'key')\n").finish()
    script = "with open_cache() as cache:\n    for _ in range(50): cache.get('key')\n"

    for machine in [start(name, script) for name in ("anna", "ben")]:
        machine.finish()

    entry = backend.get_entry("key")
    assert entry is not None
    assert entry.hits == 100


def test_hits_are_written_at_exit_without_a_close(start: Start, backend: PostgresBackend) -> None:
    start("anna", "cache = open_cache()\ncache.put(1, 'key')\ncache.get('key')\n").finish()

    entry = backend.get_entry("key")
    assert entry is not None
    assert entry.hits == 1


def test_machines_whose_clocks_disagree_agree_on_what_has_expired(
    start: Start, backend: PostgresBackend
) -> None:
    put = "with open_cache() as cache: cache.put(1, 'key', ttl_seconds=1000)"
    get = "with open_cache() as cache: say(cache.get('key'))"
    start("ahead", put, clock_ahead=5000.0).finish()

    entry = backend.get_entry("key")
    assert entry is not None
    assert entry.expires_at is not None
    assert abs(entry.expires_at - time.time() - 1000) < 30
    assert start("ahead", get, clock_ahead=5000.0).finish() == ["1"]
    assert start("behind", get, clock_ahead=-5000.0).finish() == ["1"]
    backend.update_fields("key", {"expires_at": time.time() - 1})
    assert start("behind", get, clock_ahead=-5000.0).finish() == ["None"]


def test_a_late_reader_never_removes_a_newer_entry(
    backend: PostgresBackend, open_backend: Callable[..., PostgresBackend]
) -> None:
    other = open_backend()
    backend.put_entry(an_entry(generation=1, expires_at=1.0))
    other.put_entry(an_entry(generation=2))

    assert backend.delete_entry("key", if_generation=1) is None
    assert backend.expire_entry("key", if_generation=1, now=2.0) is None
    assert backend.find("key") is not None


def test_a_machine_that_dies_in_the_middle_leaves_no_lock_and_nothing_half(
    start: Start, backend: PostgresBackend
) -> None:
    machine = start(
        "anna",
        """
        lock = open_backend(PostgresBackend).lock("key")
        lock.acquire()
        say("locked")
        def source():
            yield b"x" * 3_000_000
            say("writing")
            time.sleep(60)
        open_backend(PostgresBlobBackend).write("ab/" + "0" * 32, source())
        """,
    )
    assert machine.heard() == "locked"
    assert machine.heard() == "writing"

    machine.kill()

    with backend.lock("key"):
        pass
    # The server notices the dead client when it next writes to or reads from it.
    deadline = time.monotonic() + 30
    count = "SELECT (SELECT count(*) FROM {0}.blobs), (SELECT count(*) FROM {0}.blob_chunks)"
    while time.monotonic() < deadline:
        row = backend._database.fetch(count.format(backend._schema))[0]
        if row == (0, 0):
            break
    assert row == (0, 0)


def _plain(script: str) -> str:
    import textwrap

    return textwrap.dedent(script)
