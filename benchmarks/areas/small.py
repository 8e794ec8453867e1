# SPDX-License-Identifier: MIT
"""Small values: what a cache costs where there is next to nothing to store."""

from __future__ import annotations

import itertools
import pickle
import sqlite3
from typing import TYPE_CHECKING, Any

import diskcache
import joblib
from cachier import cachier

from cacheness import UnifiedCache
from measuring import Row, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VALUE = {"score": 0.93, "epochs": 12, "name": "baseline", "classes": ["cat", "dog", "eel"]}
KEYS = 100
MANY = 5000
"""More entries than a cache keeps the rows of."""


def score(experiment: str, lr: float, step: int) -> dict[str, Any]:
    """The function that is cached; it is called once for each step."""
    return {**VALUE, "experiment": experiment, "lr": lr, "step": step}


def rows(folder: str) -> Iterator[Row]:
    """Compare single small puts, gets and hits."""
    with (
        UnifiedCache(f"{folder}/ours") as cache,
        diskcache.Cache(f"{folder}/diskcache") as peer,
    ):
        yield _get_by_params(cache, peer)
        yield _get_by_key(cache, f"{folder}/limit.sqlite3")
        yield _put(cache, peer)
        yield from _decorated(cache, peer, folder)
        yield _get_of_many(cache, peer)


def _get_by_params(cache: UnifiedCache, peer: diskcache.Cache) -> Row:
    for step in range(KEYS):
        cache.put(VALUE, experiment="a", lr=0.1, step=step)
        peer.set(("a", 0.1, step), VALUE)

    def ours(number: int) -> None:
        for i in range(number):
            cache.get(experiment="a", lr=0.1, step=i % KEYS)

    def theirs(number: int) -> None:
        for i in range(number):
            peer.get(("a", 0.1, i % KEYS))

    taken = interleaved({"ours": ours, "theirs": theirs}, rounds=75, number=200)
    return Row("small get, by params", taken["ours"], "diskcache get", taken["theirs"], 0.30, 0.20)


def _get_of_many(cache: UnifiedCache, peer: diskcache.Cache) -> Row:
    """Each read is a new one: what was read before is not given again from memory."""
    cache.put_batch((VALUE, {"experiment": "many", "lr": 0.1, "step": i}) for i in range(MANY))
    with peer.transact():
        for i in range(MANY):
            peer.set(("many", 0.1, i), VALUE)
    ours_next, theirs_next = itertools.cycle(range(MANY)), itertools.cycle(range(MANY))

    def ours(number: int) -> None:
        for i in itertools.islice(ours_next, number):
            cache.get(experiment="many", lr=0.1, step=i)

    def theirs(number: int) -> None:
        for i in itertools.islice(theirs_next, number):
            peer.get(("many", 0.1, i))

    taken = interleaved({"ours": ours, "theirs": theirs}, rounds=75, number=200)
    what = f"small get, by params, of {MANY:,} in turn"
    return Row(what, taken["ours"], "diskcache get", taken["theirs"])


def _get_by_key(cache: UnifiedCache, path: str) -> Row:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE kept (key TEXT PRIMARY KEY, value BLOB)")
    keys = [f"{i:032x}" for i in range(KEYS)]
    for key in keys:
        cache.put(VALUE, key)
        connection.execute("INSERT INTO kept VALUES (?, ?)", (key, pickle.dumps(VALUE)))

    def ours(number: int) -> None:
        for i in range(number):
            cache.get(keys[i % KEYS])

    def theirs(number: int) -> None:
        select = "SELECT value FROM kept WHERE key = ?"
        for i in range(number):
            pickle.loads(connection.execute(select, (keys[i % KEYS],)).fetchone()[0])

    taken = interleaved({"ours": ours, "theirs": theirs}, rounds=75, number=200)
    connection.close()
    limit = "limit: sqlite3 + pickle.loads"
    return Row("small get, by key", taken["ours"], limit, taken["theirs"], 1.8, 1.4)


def _put(cache: UnifiedCache, peer: diskcache.Cache) -> Row:
    fresh = itertools.count(KEYS)

    def ours(number: int) -> None:
        for step in itertools.islice(fresh, number):
            cache.put(VALUE, experiment="a", lr=0.1, step=step)

    def theirs(number: int) -> None:
        for step in itertools.islice(fresh, number):
            peer.set(("a", 0.1, step), VALUE)

    # Both survive a killed process, neither a power loss: WAL with synchronous = NORMAL.
    taken = interleaved({"ours": ours, "theirs": theirs}, rounds=51, number=100)
    return Row("small put", taken["ours"], "diskcache set", taken["theirs"], 0.30, 0.22)


def _decorated(cache: UnifiedCache, peer: diskcache.Cache, folder: str) -> Iterator[Row]:
    cached = cache.cached(score)
    sides = {
        "ours": _calls(cached),
        "diskcache.memoize": _calls(peer.memoize()(score)),
        "joblib.Memory": _calls(joblib.Memory(f"{folder}/joblib", verbose=0).cache(score)),
    }
    taken = interleaved(sides, rounds=51, number=100)
    for name, target, stretch in (("diskcache.memoize", 0.35, 0.20), ("joblib.Memory", 0.08, 0.05)):
        yield Row("decorated hit, small", taken["ours"], name, taken[name], target, stretch)
    # It reads all results of the function at each hit, so it gets fewer turns.
    sides = {
        "ours": _calls(cached),
        "cachier": _calls(cachier(cache_dir=f"{folder}/cachier")(score)),
    }
    taken = interleaved(sides, rounds=11, number=20)
    yield Row("decorated hit, small", taken["ours"], "cachier", taken["cachier"])


def _calls(function: Callable[..., object]) -> Callable[[int], None]:
    for step in range(KEYS):
        function("a", 0.1, step)

    def loop(number: int) -> None:
        for i in range(number):
            function("a", 0.1, i % KEYS)

    return loop
