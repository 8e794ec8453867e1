# SPDX-License-Identifier: MIT
"""Sums up entries that are visited one by one, for statistics."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    from cacheness.backends.shapes import Held

    Group: TypeAlias = tuple[str | None, str | None, str, str, int]
    Amounts: TypeAlias = tuple[int, int, int, int, int, float]

__all__ = ["sum_up"]

_DAY = 86_400
_NEVER = -(1 << 62)
"""The day of a time that is in no calendar."""


def sum_up(summaries: Iterable[Mapping[str, Any]], now: float) -> list[Held]:
    """What the entries are and take, as `MetadataBackend.held` gives it."""
    sums: dict[Group, Amounts] = {}
    for entry in summaries:
        at, over = entry["created_at"], entry["expires_at"]
        group = (
            entry["function"],
            entry["code_digest"],
            entry["prefix"],
            entry["handler"],
            _day(at),
        )
        number, stored, logical, pinned, expired, newest = sums.get(group, (0, 0, 0, 0, 0, at))
        sums[group] = (
            number + 1,
            stored + entry["stored_bytes"],
            logical + entry["logical_bytes"],
            pinned + bool(entry["pinned"]),
            expired + (over is not None and over <= now),
            max(newest, at),
        )
    return [(*group[:4], *amounts) for group, amounts in sums.items()]


def _day(at: float) -> int:
    try:
        return int(at // _DAY)
    except (OverflowError, ValueError):
        return _NEVER
