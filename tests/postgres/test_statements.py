# SPDX-License-Identifier: MIT
"""What has to be asked of the server is asked by one statement, and answered the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from psycopg.pq import Format

from cacheness import UnifiedCache
from cacheness.backends.shapes import stored_payload

from .conftest import an_entry
from .test_upkeep import counting_statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg

    from cacheness_postgres.backend import PostgresBackend


@pytest.fixture(params=[0, 1 << 20], ids=["without memory", "with memory"])
def cache(
    request: pytest.FixtureRequest, url: str, schema: str, tmp_path: Path
) -> Iterator[UnifiedCache]:
    with UnifiedCache(
        tmp_path / "c",
        metadata_backend="postgres",
        metadata_options={"url": url, "schema": schema},
        memory_bytes=request.param,
    ) as cache:
        yield cache


@pytest.fixture
def statements_of(
    cache: UnifiedCache, admin: psycopg.Connection[Any]
) -> Callable[[Callable[[], object]], int]:
    def count(work: Callable[[], object]) -> int:
        return len(counting_statements(admin, _backend_of(cache), work))

    return count


def _backend_of(cache: UnifiedCache) -> PostgresBackend:
    backend: Any = cache.engine.backend
    return getattr(backend, "backend", backend)


def test_a_call_of_the_cache_is_one_statement(
    cache: UnifiedCache, statements_of: Callable[[Callable[[], object]], int]
) -> None:
    cache.put({"a": 1}, "small")
    cache.put(np.arange(4), "array")
    keys = cache.put_batch([(n, f"k{n:04}") for n in range(1500)])

    found: dict[str, Any] = {}
    asked = {
        "put": lambda: cache.put({"a": 2}, "small"),
        "get": lambda: found.update(small=cache.get("small")),
        "get of an array": lambda: found.update(array=cache.get("array")),
        "miss": lambda: found.update(none=cache.get("none")),
        "touch": lambda: found.update(touched=cache.touch("small")),
        "touch of nothing": lambda: found.update(untouched=cache.touch("none")),
        "get_batch": lambda: found.update(many=cache.get_batch(keys)),
        "delete_batch": lambda: found.update(removed=cache.delete_batch(keys)),
    }
    counts = {name: statements_of(work) for name, work in asked.items()}

    assert counts == dict.fromkeys(asked, 1)
    assert found["small"] == {"a": 2}
    assert found["array"].tolist() == [0, 1, 2, 3]
    assert (found["none"], found["touched"], found["untouched"]) == (None, True, False)
    assert found["many"] == list(range(1500))
    assert found["removed"] == 1500


def test_what_is_asked_often_is_prepared_in_the_server_and_answered_in_binary(
    backend: PostgresBackend,
) -> None:
    for generation in range(1, 3):
        backend.put_entry(an_entry("key", generation))
        assert backend.find("key") is not None

    session = backend._database.take()
    rows = session.cursor.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    backend._database.give(session)

    begun = {row[0].split()[0] for row in rows}
    # Only from version 18 on does an upsert give by itself what it replaced.
    assert begun == {"SELECT", "INSERT" if session.version >= 180_000 else "WITH"}
    assert session.cursor.format == Format.BINARY


@pytest.mark.parametrize("distance", [0.0, 3600.0])
def test_what_is_found_of_many_is_what_is_found_of_each(
    backend: PostgresBackend, distance: float
) -> None:
    backend._database.clock.distance = distance
    entries = [
        an_entry("plain", 1, expires_at=2e9, ttl_seconds=5.0),
        an_entry("inexact", 2, prefix="a\0", metadata={"a": "\ud800"}),
        an_entry("blob", 3, inline=None, blob="ab/" + "0" * 32, blob_store="s"),
    ]
    backend.put_entries(entries)

    found = backend.find_many([*(entry.cache_key for entry in entries), "none"])

    expected = {entry.cache_key: _loaded(stored_payload(entry)) for entry in entries}
    assert {key: _loaded(of) for key, of in found.items()} == expected
    assert {key: _loaded(backend.find(key)) for key in expected} == expected


def _loaded(stored: Any) -> tuple[Any, ...]:
    """A payload whose metadata, which may be text or None, is the dict that it stands for."""
    from json import loads

    values = list(stored)
    values[7] = loads(values[7]) if isinstance(values[7], str) else values[7] or {}
    return tuple(values)


@pytest.mark.parametrize("prefix", ["a\0", "a\ufffd", "\ud800", "?", "ordinary"])
def test_touching_by_a_prefix_touches_that_prefix_alone(
    backend: PostgresBackend, prefix: str
) -> None:
    prefixes = ["a\0", "a\ufffd", "\ud800", "?", "ordinary"]
    backend.put_entries(an_entry(f"k{n}", n + 1, prefix=of) for n, of in enumerate(prefixes))

    touched = [backend.touch_entry(f"k{n}", prefix, now=5e9) for n in range(len(prefixes))]

    # None leaves it to the way by reading and updating, which compares the prefix itself.
    expected = [of == prefix for of in prefixes]
    assert touched == (expected if prefix == "ordinary" else [None] * len(prefixes))


def test_touching_one_renews_what_it_would_renew_of_many(backend: PostgresBackend) -> None:
    fields = {"ttl_seconds": 10.0, "expires_at": 2000.0, "stale_until": 2500.0}
    backend.put_entries([an_entry("one", 1, **fields), an_entry("gone", 2, expires_at=900.0)])

    assert backend.touch_entry("one", None, now=1000.0) is True
    assert backend.touch_entry("gone", None, now=1000.0) is False

    renewed = backend.get_entry("one")
    assert renewed is not None
    assert (renewed.accessed_at, renewed.renewed_at) == (1000.0, 1000.0)
    assert (renewed.expires_at, renewed.stale_until) == (1010.0, 1510.0)
