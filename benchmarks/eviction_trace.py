# SPDX-License-Identifier: MIT
"""How many seconds of computing each policy saves, on a generated trace of calls.

Run it with ``python benchmarks/eviction_trace.py``. Keys are drawn by Zipf's law, and some
are only in use for a part of the trace, as a project moves on. What a value costs to compute
and how large it is spreads over four decades each, independently. The clock is the trace's
own, so that the same seed gives the same figures anywhere.
"""

from __future__ import annotations

import argparse
import math
import random
from bisect import bisect
from itertools import accumulate
from typing import NamedTuple

from cacheness.backends.base import BackendContext
from cacheness.backends.memory import MemoryBackend
from cacheness.config import CacheConfig
from cacheness.entry import Entry
from cacheness.upkeep.eviction import Evictor

POLICIES = ("lru", "lfu", "fifo", "cost")
START = 1_700_000_000.0


class Value(NamedTuple):
    """One result that calls ask for."""

    key: str
    cost_seconds: float
    stored_bytes: int


class Outcome(NamedTuple):
    """What a policy made of a trace."""

    saved: float
    computed: float
    hits: int


def make_trace(seed: int, calls: int, values: int, seconds: float) -> list[tuple[float, Value]]:
    """Times and values of the calls."""
    chance = random.Random(seed)
    pool = [
        Value(f"k{number}", 10 ** chance.uniform(-2, 2), int(10 ** chance.uniform(3, 7)))
        for number in range(values)
    ]
    weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(values)))
    trace = []
    for call in range(calls):
        rank = bisect(weights, chance.random() * weights[-1])
        # The popular values of one time are not those of the next.
        drift = 0 if rank % 2 else values * call // (4 * calls)
        trace.append((START + seconds * call / calls, pool[(rank + drift) % values]))
    return trace


def run(trace: list[tuple[float, Value]], policy: str, max_size: int) -> Outcome:
    """Answer the calls of a trace from a store of that size."""
    config = CacheConfig(metadata_backend="memory", max_size=max_size, policy=policy)
    backend = MemoryBackend(BackendContext("", "", config))
    evictor = Evictor(backend, config, lambda: None)
    saved = computed = 0.0
    hits = 0
    for generation, (at, value) in enumerate(trace, start=1):
        if backend.find(value.key) is not None:
            backend.record_hits({value.key: (1, at)})
            saved += value.cost_seconds
            hits += 1
            continue
        computed += value.cost_seconds
        entry = Entry(
            "",
            value.key,
            generation,
            stored_bytes=value.stored_bytes,
            cost_seconds=value.cost_seconds,
            created_at=at,
            renewed_at=at,
            accessed_at=at,
        )
        backend.put_entry(entry)
        evictor.added(entry)
    backend.close()
    return Outcome(saved, computed, hits)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--calls", type=int, default=60_000)
    parser.add_argument("--values", type=int, default=6_000)
    parser.add_argument("--days", type=float, default=14)
    given = parser.parse_args()
    trace = make_trace(given.seed, given.calls, given.values, given.days * 86_400)
    whole = sum({value.key: value.stored_bytes for _, value in trace}.values())
    total = math.fsum(value.cost_seconds for _, value in trace)
    print(
        f"{given.calls} calls of {given.values} values, {whole / 1e9:.1f} GB, in {given.days} days;"
    )
    print(f"computing every call takes {total:.0f} s. Saved, and hit rate, by max_size:\n")
    print(f"{'max_size':>10}" + "".join(f"{policy:>22}" for policy in POLICIES))
    for part in (0.01, 0.05, 0.2):
        outcomes = [run(trace, policy, int(whole * part)) for policy in POLICIES]
        cells = [f"{o.saved:.0f} s {o.hits / given.calls:6.1%}" for o in outcomes]
        print(f"{part:>10.0%}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
