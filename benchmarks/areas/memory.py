# SPDX-License-Identifier: MIT
"""The in-process tier: hits that reach no disk."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from areas.small import KEYS, score
from cacheness import UnifiedCache
from measuring import Row, interleaved

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(folder: str) -> Iterator[Row]:
    """Compare a decorated hit from memory with `functools.lru_cache`."""
    remembered = lru_cache(maxsize=None)(score)
    with UnifiedCache(folder, memory_bytes="64 MiB") as cache:
        cached = cache.cached(score)
        for step in range(KEYS):
            cached("a", 0.1, step)

        def ours(number: int) -> None:
            for i in range(number):
                cached("a", 0.1, i % KEYS)

        def theirs(number: int) -> None:
            # The copy is what keeps one caller's changes from the next, as ours does.
            for i in range(number):
                dict(remembered("a", 0.1, i % KEYS))

        taken = interleaved({"ours": ours, "theirs": theirs}, rounds=75, number=500)
    peer = "functools.lru_cache + dict copy"
    yield Row("decorated hit, memory tier", taken["ours"], peer, taken["theirs"], 30, 12)
