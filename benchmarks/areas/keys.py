# SPDX-License-Identifier: MIT
"""Large arguments: what naming an entry by them costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import joblib

from areas.arrays import incompressible
from cacheness import UnifiedCache
from measuring import Row, interleaved, once

if TYPE_CHECKING:
    from collections.abc import Iterator


def total(array: Any) -> float:
    """The function whose calls are named; it is never called."""
    return float(array.sum())


def rows(folder: str) -> Iterator[Row]:
    """Compare the key of a call with a 100 MB array with `joblib.hash`."""
    array = incompressible()
    with UnifiedCache(folder) as cache:
        cached = cache.cached(total)
        # A writeable array, so that nothing can be remembered of it from the last round.
        sides = {
            "ours": once(lambda: cached.cache_key(array)),
            "theirs": once(lambda: joblib.hash(array)),
        }
        taken = interleaved(sides, rounds=9, number=1)
    yield Row(
        "100 MB array as an argument", taken["ours"], "joblib.hash", taken["theirs"], 0.20, 0.16
    )
