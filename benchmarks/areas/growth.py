# SPDX-License-Identifier: MIT
"""Many entries: whether a get among a million costs what it costs among a thousand."""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import blake2b
from itertools import cycle, islice
from typing import TYPE_CHECKING

from areas.small import VALUE
from cacheness import UnifiedCache
from measuring import Row, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cacheness import Entry

MANY, FEW = 1_000_000, 1_000


def rows(folder: str) -> Iterator[Row]:
    """Compare gets by key in a large and a small cache.

    The first row reads the same number of different keys in both, scattered over all, so that
    only the number of entries differs. The second reads any key, which no memory holds near.
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
    peer = f"get among {FEW:,}"
    yield Row(f"get among {MANY:,} entries", taken["many"], peer, taken["few"], 1.4, 1.2)
    yield Row(f"get of any of {MANY:,} entries", taken["any"], peer, taken["few"])


def _key(i: int) -> str:
    """As long, and as scattered, as the key of parameters."""
    return blake2b(i.to_bytes(4, "big"), digest_size=16).hexdigest()


def _fill(cache: UnifiedCache, count: int) -> None:
    """Record entries in bulk, all of them copies of one that was put."""
    cache.put(VALUE, _key(0))
    first = cache.get_entry(_key(0))
    if first is None:
        raise RuntimeError("the cache has lost the entry that it was just given")
    backend = cache.engine.backend
    backend.put_entries(_copy(first, i) for i in range(1, count))
    if backend.count() != count:
        raise RuntimeError(f"{backend.count()} entries were recorded, not {count}")


def _copy(entry: Entry, i: int) -> Entry:
    return replace(entry, cache_key=_key(i), generation=i)


def _gets(cache: UnifiedCache, numbers: range) -> Callable[[int], None]:
    keys = cycle([_key(i) for i in random.Random(0).choices(numbers, k=len(numbers) // 10 + FEW)])

    def loop(number: int) -> None:
        for key in islice(keys, number):
            cache.get(key)

    return loop
