# SPDX-License-Identifier: MIT
"""What the PostgreSQL backends cost beside psycopg, and beside the other backends.

Run it with ``python benchmarks/postgres.py``; it starts a server of its own, or takes
``CACHENESS_TEST_POSTGRES_URL``. All that is compared runs in turns, round by round, and
medians over the rounds are divided, so that a machine that is busy at times is busy for all.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from uuid import uuid4

import numpy as np
import psycopg

from areas.postgres import session_of, upsert
from cacheness import UnifiedCache
from cacheness.backends.base import BackendContext
from cacheness.config import CacheConfig
from cacheness.entry import Entry
from cacheness.filters import Filter
from cacheness_postgres.backend import PostgresBackend
from cacheness_postgres.rows import to_row
from cacheness_postgres.statements import statements
from loopback import server, settings

Work = Callable[[int], object]


def in_turns(contenders: dict[str, Work], *, rounds: int, count: int) -> dict[str, float]:
    """Median microseconds of each, over rounds in which each runs ``count`` times."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for work in contenders.values():
        for number in range(count):
            work(number)
    for turn in range(rounds):
        order = list(contenders.items())
        for name, work in order if turn % 2 else reversed(order):
            start = time.perf_counter()
            for number in range(count):
                work(turn * count + number)
            times[name].append((time.perf_counter() - start) / count * 1e6)
    return {name: statistics.median(some) for name, some in times.items()}


def report(title: str, found: dict[str, float], against: str, unit: str = "µs") -> None:
    print(f"\n{title}")
    for name, value in found.items():
        print(f"  {name:<46} {value:10.1f} {unit}   {value / found[against]:6.2f} x")


def singles(url: str, schema: str, directory: str) -> None:
    options: dict[str, str] = {"url": url, "schema": schema}
    cache = UnifiedCache(f"{directory}/c", metadata_backend="postgres", metadata_options=options)
    config = CacheConfig(f"{directory}/b")
    backend = PostgresBackend(BackendContext(config.cache_dir, "", config), **options)
    session = session_of(backend)
    raw, cursor = session.connection, session.cursor
    value = {"score": 0.93, "name": "a"}
    keys = [
        cache.put(value, experiment="a", lr=number / 1000, seed=number) for number in range(500)
    ]
    params = [{"experiment": "a", "lr": n / 1000, "seed": n} for n in range(500)]
    select = statements(schema).find
    entries = [backend.get_entry(key) for key in keys]

    def raw_get(number: int) -> object:
        values = ("", keys[number % 500])
        return raw.execute(select, values, prepare=True, binary=True).fetchone()

    def cursor_get(number: int) -> object:
        return cursor.execute(select, ("", keys[number % 500]), prepare=True).fetchone()

    report(
        "small get",
        in_turns(
            {
                "psycopg: connection.execute, prepared, binary": raw_get,
                "psycopg: the same on one cursor": cursor_get,
                "PostgresBackend.find": lambda n: backend.find(keys[n % 500]),
                "UnifiedCache.get by cache_key": lambda n: cache.get(keys[n % 500]),
                "UnifiedCache.get by params": lambda n: cache.get(**params[n % 500]),
            },
            rounds=60,
            count=50,
        ),
        "psycopg: connection.execute, prepared, binary",
    )

    statement = upsert(schema)
    rows = [to_row(entry, 0.0) for entry in entries if entry is not None]
    fresh = iter(range(10**9))

    def raw_put(number: int) -> object:
        return raw.execute(statement, rows[number % 500], prepare=True, binary=True)

    def raw_put_new(number: int) -> object:
        row = rows[number % 500]
        values = (row[0], f"raw-{next(fresh)}", *row[2:])
        return raw.execute(statement, values, prepare=True, binary=True)

    def put_entry(number: int) -> object:
        entry = entries[number % 500]
        assert entry is not None
        return backend.put_entry(entry)

    report(
        "small put over an entry",
        in_turns(
            {
                "psycopg: upsert of the row, prepared, binary": raw_put,
                "PostgresBackend.put_entry": put_entry,
                "UnifiedCache.put by cache_key": lambda n: cache.put(value, keys[n % 500]),
                "UnifiedCache.put by params": lambda n: cache.put(value, **params[n % 500]),
            },
            rounds=40,
            count=25,
        ),
        "psycopg: upsert of the row, prepared, binary",
    )
    report(
        "small put of a new entry",
        in_turns(
            {
                "psycopg: upsert of the row, prepared, binary": raw_put_new,
                "UnifiedCache.put by params": lambda _: cache.put(value, new=next(fresh)),
            },
            rounds=40,
            count=25,
        ),
        "psycopg: upsert of the row, prepared, binary",
    )
    cache.close()
    backend.close()


def bulk(url: str, schema: str, directory: str) -> None:
    config = CacheConfig(f"{directory}/b")
    context = BackendContext(config.cache_dir, "", config)
    backend = PostgresBackend(context, url=url, schema=schema)
    backend.delete_where(Filter())

    def some(count: int) -> list[Entry]:
        now = time.time()
        return [
            Entry(
                "",
                uuid4().hex,
                number + 1,
                params={"experiment": "a", "seed": number},
                handler="json",
                inline=b'{"score":0.93}',
                stored_bytes=14,
                logical_bytes=14,
                checksum="xxh3-128:" + "0" * 32,
                object_type="builtins.dict",
                created_at=now,
                renewed_at=now,
                accessed_at=now,
                distribution="cacheness-core",
            )
            for number in range(count)
        ]

    one_by_one, at_once, again = [], [], []
    for _ in range(7):
        few, many = some(300), some(10_000)
        start = time.perf_counter()
        for entry in few:
            backend.put_entry(entry)
        one_by_one.append((time.perf_counter() - start) / len(few) * 1e6)
        start = time.perf_counter()
        backend.put_entries(many)
        at_once.append((time.perf_counter() - start) / len(many) * 1e6)
        start = time.perf_counter()
        backend.put_entries(many)
        again.append((time.perf_counter() - start) / len(many) * 1e6)
        backend.delete_where(Filter())
    found = {
        "one at a time": statistics.median(one_by_one),
        "10,000 new ones at once": statistics.median(at_once),
        "10,000 over as many": statistics.median(again),
    }
    report("an entry, put", found, "one at a time")
    print(f"  {found['one at a time'] / found['10,000 new ones at once']:.1f} times faster at once")
    backend.close()


def against_the_others(url: str, schema: str, directory: str) -> None:
    postgres = {"url": url, "schema": schema}
    caches = {
        name: UnifiedCache(
            f"{directory}/{name}",
            metadata_backend=name,
            metadata_options=postgres if name == "postgres" else {},
        )
        for name in ("memory", "sqlite", "json", "postgres")
    }
    large = np.random.default_rng(0).integers(0, 256, 10 << 20, dtype=np.uint8)
    for title, count, work in (
        ("small put", 25, lambda cache: lambda n: cache.put({"a": n}, x=n % 100)),
        ("small get", 50, lambda cache: lambda n: cache.get(x=n % 100)),
        ("10 MiB array, put", 1, lambda cache: lambda _: cache.put(large, "large")),
        ("10 MiB array, get", 1, lambda cache: lambda _: cache.get("large")),
    ):
        contenders = {name: work(cache) for name, cache in caches.items()}
        found = in_turns(contenders, rounds=30 if count > 1 else 9, count=count)
        report(title, found, "sqlite")
    for cache in caches.values():
        cache.close()


def main() -> None:
    with server() as url, tempfile.TemporaryDirectory() as directory:
        schema = f"bench_{uuid4().hex[:8]}"
        with psycopg.connect(url, autocommit=True) as admin:
            told = ", ".join(f"{name} {value}" for name, value in settings(url).items())
            print(f"{told}, psycopg {psycopg.__version__}, host {admin.info.host}")
            try:
                singles(url, schema, directory)
                bulk(url, schema, directory)
                against_the_others(url, schema, directory)
            finally:
                admin.execute("SET client_min_messages = error")
                admin.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")


if __name__ == "__main__":
    main()
