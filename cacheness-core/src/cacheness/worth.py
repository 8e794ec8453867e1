# SPDX-License-Identifier: MIT
"""What keeping an entry is worth, by which one policy evicts."""

from __future__ import annotations

from math import log2

__all__ = ["COST_HALF_LIFE", "ENTRY_WEIGHT", "UNKNOWN_COST", "cost_rank"]

COST_HALF_LIFE = 86_400.0
"""Seconds without a read in which an entry's worth halves."""
UNKNOWN_COST = 1.0
"""The seconds that an entry counts for whose computation nobody timed."""
ENTRY_WEIGHT = 512
"""The bytes that an entry takes beside its payload."""


def cost_rank(
    cost_seconds: float | None, stored_bytes: int, hits: int, accessed_at: float
) -> float:
    """What keeping an entry is worth: seconds per byte, times reads, aged.

    This is greedy-dual-size-frequency with the clock for its inflation: the worth
    ``(1 + hits) * cost_seconds / stored_bytes`` halves with each `COST_HALF_LIFE` since the
    last read. Its logarithm, in half lives, differs between two entries by the same amount
    at any time, so the rank of an entry changes only when the entry does, and can be
    indexed.

    Returns:
        Epoch seconds, shifted by a half life for each doubling of the worth.
    """
    cost = UNKNOWN_COST if cost_seconds is None else max(cost_seconds, 1e-6)
    try:
        worth = (1 + hits) * cost / (stored_bytes + ENTRY_WEIGHT)
        return accessed_at + COST_HALF_LIFE * log2(worth)
    except (ValueError, ZeroDivisionError):
        return accessed_at  # a count that is negative is nobody's but a stranger's
