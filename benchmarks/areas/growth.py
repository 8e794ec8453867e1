# SPDX-License-Identifier: MIT
"""Many entries: whether what one costs among a thousand is what it costs among a million."""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import blake2b
from itertools import count, cycle, islice
from typing import TYPE_CHECKING

from areas.small import VALUE
from cacheness import UnifiedCache
from measuring import Row, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cacheness import Entry

MANY, FEW = 1_000_000, 1_000


def rows(folder: str) -> Iterator[Row]:
    """Compare single operations in a large and a small cache.

    The first row reads the same number of different keys in both, scattered over all, so that
    only the number of entries differs. The second reads any key, which no memory holds near.
    What is removed, in the last rows, is what was put before.
    """
    with UnifiedCache(f"{folder}/many") as large, UnifiedCache(f"{folder}/few") as small:
        _fill(large, MANY)
        _fill(small, FEW)
        sides = {
            "many": _gets(large, range(0, MANY, MANY // FEW)),
            "any": _gets(large, range(MANY)),
            "few": _gets(small, range(FEW)),
        }
        taken = interleaved(sides, rounds=51, number=500)
        changes = list(_changes(large, small))
    peer = f"get among {FEW:,}"
    yield Row(f"get among {MANY:,} entries", taken["many"], peer, taken["few"], 1.4, 1.2)
    yield Row(f"get of any of {MANY:,} entries", taken["any"], peer, taken["few"])
    yield from changes


def _changes(large: UnifiedCache, small: UnifiedCache) -> Iterator[Row]:
    for what, side, rounds, number in (
        ("put", _puts, 41, 20),
        ("invalidate", _removals, 31, 10),
        ("evict 20", _evictions, 11, 1),
    ):
        sides = {"many": side(large), "few": side(small)}
        taken = interleaved(sides, rounds=rounds, number=number)
        peer = f"{what} among {FEW:,}"
        yield Row(f"{what} among {MANY:,} entries", taken["many"], peer, taken["few"])


def _puts(cache: UnifiedCache) -> Callable[[int], None]:
    fresh = count(MANY)

    def loop(number: int) -> None:
        for i in islice(fresh, number):
            cache.put(VALUE, _key(i))

    return loop


def _removals(cache: UnifiedCache) -> Callable[[int], None]:
    put = count(MANY)

    def loop(number: int) -> None:
        for i in islice(put, number):
            cache.invalidate(_key(i))

    return loop


def _evictions(cache: UnifiedCache) -> Callable[[int], None]:
    backend = cache.engine.backend

    def loop(number: int) -> None:
        for _ in range(number):
            bound = backend.count() - 20
            gone = backend.evict("lru", max_size=None, max_entries=bound, slack=0)
            if len(gone) != 20:
                raise RuntimeError(f"{len(gone)} entries were evicted, not 20")

    return loop


def _key(i: int) -> str:
    """As long, and as scattered, as the key of parameters."""
    return blake2b(i.to_bytes(4, "big"), digest_size=16).hexdigest()


def _fill(cache: UnifiedCache, size: int) -> None:
    """Record entries in bulk, all of them copies of one that was put."""
    cache.put(VALUE, _key(0))
    first = cache.get_entry(_key(0))
    if first is None:
        raise RuntimeError("the cache has lost the entry that it was just given")
    backend = cache.engine.backend
    backend.put_entries(_copy(first, i) for i in range(1, size))
    if backend.count() != size:
        raise RuntimeError(f"{backend.count()} entries were recorded, not {size}")


def _copy(entry: Entry, i: int) -> Entry:
    return replace(entry, cache_key=_key(i), generation=i)


def _gets(cache: UnifiedCache, numbers: range) -> Callable[[int], None]:
    keys = cycle([_key(i) for i in random.Random(0).choices(numbers, k=len(numbers) // 10 + FEW)])

    def loop(number: int) -> None:
        for key in islice(keys, number):
            cache.get(key)

    return loop
