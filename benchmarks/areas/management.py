# SPDX-License-Identifier: MIT
"""Looking after many entries: touching, removing, asking for and storing them in bulk."""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from areas.small import VALUE
from cacheness import UnifiedCache
from measuring import Row, interleaved, once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FEW, MANY = 200, 100_000
GROUP = 100
"""Entries of one prefix: what a filter selects."""
BATCH = 10_000

# The project's usual machine took this with the cache that these targets were set for.
TOUCH_FEW, DELETE_FEW, LIST_FEW = 0.79e-3, 44e-3, 20e-3


def rows(folder: str) -> Iterator[Row]:
    """Compare operations among 100,000 entries, and bulk forms, with the one SQL statement."""
    yield from rows_at(folder, MANY)
    yield from rows_in_bulk(folder)
    yield from rows_of_few(folder)


def rows_at(folder: str, count: int) -> Iterator[Row]:
    """Compare operations among ``count`` entries with the statement that would do."""
    with UnifiedCache(f"{folder}/at-{count}") as cache:
        _fill(cache, count)
        limit = _limit(f"{folder}/limit-{count}.sqlite3", count)
        fewer = min(count // GROUP, 60)
        yield from _single(cache, limit, count, number=min(50, count // 40))
        yield from _selected(cache, limit, count)
        yield from _removed(cache, limit, count, fewer)
        limit.close()


def _single(
    cache: UnifiedCache, limit: sqlite3.Connection, count: int, number: int
) -> Iterator[Row]:
    keys = itertools.cycle([_key(i) for i in range(0, count, max(1, count // 997))])
    touch, now = "UPDATE kept SET at = ?, renewed = ? WHERE key = ?", itertools.count()

    def ours(number: int) -> None:
        for key in itertools.islice(keys, number):
            cache.touch(key)

    def theirs(number: int) -> None:
        for key in itertools.islice(keys, number):
            at = next(now)
            limit.execute(touch, (at, at, key))

    taken = interleaved({"ours": ours, "theirs": theirs}, rounds=41, number=number)
    what, peer = f"touch among {count:,} entries", "limit: UPDATE by key"
    yield Row(what, taken["ours"], peer, taken["theirs"], 1.5, 1.2)

    # No key is asked for twice.
    number = min(number, count // 4 // 22)
    first, last = itertools.count(), itertools.count()

    def remove(number: int) -> None:
        for i in itertools.islice(first, number):
            cache.invalidate(_key(i))

    def remove_theirs(number: int) -> None:
        for i in itertools.islice(last, number):
            delete = "DELETE FROM kept WHERE key = ? RETURNING blob"
            limit.execute(delete, (_key(i),)).fetchall()

    sides = {"ours": remove, "theirs": remove_theirs}
    taken = interleaved(sides, rounds=21, number=max(1, number))
    what, peer = f"delete among {count:,} entries", "limit: DELETE by key"
    yield Row(what, taken["ours"], peer, taken["theirs"], 1.5, 1.2)


def _selected(cache: UnifiedCache, limit: sqlite3.Connection, count: int) -> Iterator[Row]:
    groups = itertools.cycle([_prefix(i) for i in range(count // 2, count, GROUP)])
    query = "SELECT key FROM kept WHERE prefix = ? ORDER BY created"
    touch, now = "UPDATE kept SET at = ?, renewed = ? WHERE prefix = ?", itertools.count()

    def asked(number: int) -> None:
        for prefix in itertools.islice(groups, number):
            cache.query_meta(prefix=prefix)

    def asked_theirs(number: int) -> None:
        for prefix in itertools.islice(groups, number):
            _ = [key for (key,) in limit.execute(query, (prefix,))]

    def touched(number: int) -> None:
        for prefix in itertools.islice(groups, number):
            cache.touch_batch(prefix=prefix)

    def touched_theirs(number: int) -> None:
        for prefix in itertools.islice(groups, number):
            at = next(now)
            limit.execute(touch, (at, at, prefix))

    for what, peer, ours, theirs in (
        ("query_meta", "SELECT", asked, asked_theirs),
        ("touch_batch", "UPDATE", touched, touched_theirs),
    ):
        taken = interleaved({"ours": ours, "theirs": theirs}, rounds=21, number=5)
        told = f"{what} of {GROUP} among {count:,}"
        yield Row(told, taken["ours"], f"limit: {peer} by prefix", taken["theirs"], 1.5, 1.2)


def _removed(
    cache: UnifiedCache, limit: sqlite3.Connection, count: int, most: int
) -> Iterator[Row]:
    prefixes = [_prefix(i) for i in range(count - GROUP, -1, -GROUP)]
    ours, theirs = iter(prefixes), iter(prefixes)
    delete = "DELETE FROM kept WHERE prefix = ? RETURNING blob"

    def remove() -> None:
        cache.delete_matching(prefix=next(ours))

    def remove_theirs() -> None:
        limit.execute(delete, (next(theirs),)).fetchall()

    sides = {"ours": once(remove), "theirs": once(remove_theirs)}
    taken = interleaved(sides, rounds=min(31, most - 1), number=1)
    what = f"delete_matching of {GROUP} among {count:,}"
    yield Row(what, taken["ours"], "limit: DELETE by prefix", taken["theirs"], 1.5, 1.2)


def rows_in_bulk(folder: str) -> Iterator[Row]:
    """Compare storing and reading many small values at once with the bare statements."""
    with UnifiedCache(f"{folder}/bulk") as cache:
        limit = _limit(f"{folder}/limit-bulk.sqlite3", 0)
        turn = itertools.count()
        insert = "INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?, ?, ?, ?)"

        def ours() -> None:
            start = next(turn) * BATCH
            cache.put_batch((VALUE, _key(i)) for i in range(start, start + BATCH))

        def theirs() -> None:
            start = next(turn) * BATCH
            limit.execute("BEGIN IMMEDIATE")
            limit.executemany(insert, (_row(i) for i in range(start, start + BATCH)))
            limit.execute("COMMIT")

        sides = {"ours": once(ours), "theirs": once(theirs)}
        taken = interleaved(sides, rounds=7, number=1)
        what, peer = f"put_batch of {BATCH:,} small values", "limit: executemany"
        yield Row(what, taken["ours"], peer, taken["theirs"], 3, 2)

        keys = [_key(i) for i in range(1000)]
        cache.put_batch((VALUE, key) for key in keys)
        limit.executemany(insert, (_row(i) for i in range(1000)))
        select = f"SELECT key, value FROM kept WHERE key IN ({', '.join('?' * 1000)})"

        def read() -> None:
            found = dict(limit.execute(select, keys))
            _ = [orjson.loads(found[key]) for key in keys]

        sides = {"ours": once(lambda: cache.get_batch(keys)), "theirs": once(read)}
        taken = interleaved(sides, rounds=21, number=1)
        peer = "limit: SELECT … IN + orjson.loads"
        yield Row("get_batch of 1,000 small values", taken["ours"], peer, taken["theirs"])
        limit.close()


def rows_of_few(folder: str) -> Iterator[Row]:
    """Compare three operations on 200 entries with what they took when targets were set."""
    with UnifiedCache(f"{folder}/few") as cache:
        pairs = [(VALUE, {"a": i}) for i in range(FEW)]

        def refilled() -> None:
            cache.put_batch(pairs, prefix="few")

        def deleted() -> None:
            cache.delete_where(lambda entry: entry["prefix"] == "few")

        refilled()
        listed = once(lambda: list(cache.entries()))
        touched = once(lambda: cache.touch_batch(prefix="few"))
        taken = interleaved({"list": listed, "touch": touched}, rounds=31, number=1)
        sides = {"fill": once(refilled), "delete": once(deleted)}
        taken |= _in_order(sides, rounds=11)
    for what, name, theirs, target in (
        ("touch_batch", "touch", TOUCH_FEW, 1.0),
        ("delete_where", "delete", DELETE_FEW, 0.25),
        ("entries", "list", LIST_FEW, 0.25),
    ):
        yield Row(
            f"{what} of all {FEW} entries", taken[name], "limit: a fixed time", theirs, target
        )


def _in_order(sides: dict[str, Callable[[int], object]], rounds: int) -> dict[str, float]:
    """Time sides of which each undoes what the one before did."""
    from statistics import median
    from time import perf_counter

    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            start = perf_counter()
            side(1)
            times[name].append(perf_counter() - start)
    return {name: median(taken) for name, taken in times.items()}


def _key(i: int) -> str:
    return f"{i * 2654435761 % (1 << 32):08x}{i:024x}"


def _prefix(i: int) -> str:
    return f"group-{i // GROUP}"


def _fill(cache: UnifiedCache, count: int) -> None:
    """Record entries in bulk, all of them copies of one that was put."""
    cache.put(VALUE, _key(0), prefix=_prefix(0))
    first = cache.get_entry(_key(0))
    if first is None:
        raise RuntimeError("the cache has lost the entry that it was just given")
    cache.engine.backend.put_entries(
        replace(first, cache_key=_key(i), generation=i, prefix=_prefix(i), created_at=float(i))
        for i in range(count)
    )
    if len(cache) != count:
        raise RuntimeError(f"{len(cache)} entries were recorded, not {count}")


def _limit(path: str, count: int) -> sqlite3.Connection:
    """A database that holds as much as a cache has to, and no more."""
    limit = sqlite3.connect(path, isolation_level=None)
    limit.execute("PRAGMA journal_mode = WAL")
    limit.execute("PRAGMA synchronous = NORMAL")
    limit.execute(
        "CREATE TABLE kept (key TEXT PRIMARY KEY, at REAL, renewed REAL, created REAL, "
        "prefix TEXT, blob TEXT, value BLOB)"
    )
    limit.execute("CREATE INDEX kept_by_prefix ON kept (prefix)")
    limit.execute("BEGIN")
    limit.executemany("INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row, range(count)))
    limit.execute("COMMIT")
    return limit


def _row(i: int) -> tuple[object, ...]:
    return (_key(i), 0.0, 0.0, float(i), _prefix(i), None, orjson.dumps(VALUE))
