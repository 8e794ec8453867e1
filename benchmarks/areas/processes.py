# SPDX-License-Identifier: MIT
"""Four processes that read and write one cache."""

from __future__ import annotations

import multiprocessing
import random
import statistics
from threading import BrokenBarrierError
from time import perf_counter
from typing import TYPE_CHECKING, Any

import diskcache

from areas.small import VALUE
from cacheness import UnifiedCache
from measuring import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Barrier

PROCESSES = 4
OPERATIONS = 5000
ROUNDS = 5
KEYS = 1000
PATIENCE = 300.0


def rows(folder: str) -> Iterator[Row]:
    """Compare operations a second, of which nine in ten are gets and one is a put."""
    context = multiprocessing.get_context("spawn")
    teams: dict[str, Barrier] = {}
    workers = []
    for name in ("ours", "theirs"):
        teams[name] = barrier = context.Barrier(PROCESSES + 1)
        for seed in range(PROCESSES):
            arguments = (name, f"{folder}/{name}", seed, barrier)
            workers.append(context.Process(target=work, args=arguments, daemon=True))
    for worker in workers:
        worker.start()
    times: dict[str, list[float]] = {name: [] for name in teams}
    for _ in range(ROUNDS):
        for name, barrier in teams.items():
            barrier.wait(PATIENCE)
            start = perf_counter()
            barrier.wait(PATIENCE)
            times[name].append(perf_counter() - start)
    for worker in workers:
        worker.join()
    done = PROCESSES * OPERATIONS
    ours, theirs = (done / statistics.median(times[name]) for name in ("ours", "theirs"))
    what, peer = "4 processes, 90 % get 10 % put", "diskcache.FanoutCache, 8 shards"
    yield Row(what, ours, peer, theirs, 1.1, 1.4, at_least=True, unit="1/s")


def work(name: str, folder: str, seed: int, barrier: Barrier) -> None:
    """One process: open, fill a share of the keys, then work whenever the barrier opens."""
    opened, get, put = _ours(folder) if name == "ours" else _theirs(folder)
    for i in range(seed, KEYS, PROCESSES):
        put(f"{i:032x}", VALUE)
    chosen = random.Random(seed)
    try:
        for _ in range(ROUNDS):
            keys = [f"{chosen.randrange(KEYS):032x}" for _ in range(OPERATIONS)]
            barrier.wait(PATIENCE)
            for i, key in enumerate(keys):
                if i % 10:
                    get(key)
                else:
                    put(key, VALUE)
            barrier.wait(PATIENCE)
    except BrokenBarrierError:
        return  # the parent, or another process, told what went wrong
    finally:
        opened.close()


def _ours(folder: str) -> tuple[Any, Callable[..., object], Callable[..., object]]:
    cache = UnifiedCache(folder)
    return cache, cache.get, lambda key, value: cache.put(value, key)


def _theirs(folder: str) -> tuple[Any, Callable[..., object], Callable[..., object]]:
    cache = diskcache.FanoutCache(folder, shards=8)
    # By default its set gives up after 10 ms and returns False; ours returns when the
    # value is stored, so theirs is asked to as well.
    return cache, cache.get, lambda key, value: cache.set(key, value, retry=True)
