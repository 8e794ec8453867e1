# SPDX-License-Identifier: MIT
"""Collects what a report shows."""

from __future__ import annotations

import heapq
from dataclasses import asdict
from importlib.metadata import version
from math import isfinite
from time import time
from typing import TYPE_CHECKING, Any

from cacheness.cli.installed import installed
from cacheness.cli.text import pairs
from cacheness.cli.views import state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cacheness.core import UnifiedCache
    from cacheness.entry import Entry
    from cacheness.integrity.report import IntegrityReport
    from cacheness.progress import Progress
    from cacheness.statistics.stats import CacheStats, Usage

__all__ = ["gather"]

_MOST = 2000
"""Entries of each kind (biggest, oldest, biggest that were never hit) in the page."""
_PROBLEMS = 50
_KINDS = {
    "missing": "payload missing",
    "corrupt": "payload damaged",
    "bad_signature": "wrong signature",
    "unsigned": "signature lacking",
    "orphaned": "orphaned files",
    "store": "store damaged",
    "unverifiable": "signed by another key",
    "unreadable": "handler not installed",
    "out_of_reach": "payload out of reach",
    "quarantined": "in quarantine",
}


def gather(cache: UnifiedCache, *, verify: bool, progress: Progress) -> dict[str, Any]:
    """All that the page shows, as JSON has it: text, finite numbers, nothing else.

    Args:
        cache: What the report is about.
        verify: Whether to look at every payload.
        progress: As `UnifiedCache.verify_integrity` takes it.
    """
    stats = cache.stats()
    found = installed(load=False)
    kept = _Kept()
    for entry in cache.entries():
        kept.add(entry)
    integrity = cache.verify_integrity(progress=progress) if verify else None
    return {
        "version": version("cacheness-core"),
        "at": time(),
        "place": cache.config.cache_dir,
        "backend": cache.config.metadata_backend,
        "namespace": cache.config.namespace,
        "totals": {
            **_totals(stats),
            "never_hit": kept.unread,
            "never_hit_bytes": kept.unread_bytes,
        },
        "groups": {
            "Function": _groups(stats.functions),
            "Handler": _groups(stats.handlers),
            "Prefix": _groups(stats.prefixes),
        },
        "days": _groups(stats.days),
        "entries": [_row(entry) for entry in kept.entries()],
        "integrity": None if integrity is None else _integrity(integrity),
        "plugins": [
            {
                "kind": one.kind,
                "name": one.name,
                "distribution": one.distribution or "this process",
                "priority": one.priority,
                "types": ", ".join(one.types),
                "entries": stats.handlers[one.name].entries
                if one.kind == "handler" and one.name in stats.handlers
                else None,
            }
            for one in found.provided
        ],
        "plugin_failures": list(found.failures),
    }


class _Kept:
    """Keeps the entries that the tables are about, in memory that does not grow with all."""

    def __init__(self) -> None:
        self._heaps: dict[str, list[tuple[float, str, Entry]]] = {}
        self.unread = self.unread_bytes = 0

    def add(self, entry: Entry) -> None:
        self._offer("biggest", entry.stored_bytes, entry)
        self._offer("oldest", -entry.created_at, entry)
        if not entry.hits:
            self.unread += 1
            self.unread_bytes += entry.stored_bytes
            self._offer("never hit", entry.stored_bytes, entry)

    def _offer(self, kind: str, rank: float, entry: Entry) -> None:
        heap = self._heaps.setdefault(kind, [])
        put: Callable[..., object] = heapq.heappush if len(heap) < _MOST else heapq.heappushpop
        put(heap, (rank, entry.cache_key, entry))

    def entries(self) -> list[Entry]:
        chosen = {key: entry for heap in self._heaps.values() for _, key, entry in heap}
        return list(chosen.values())


def _totals(stats: CacheStats) -> dict[str, Any]:
    return {
        "entries": stats.entries,
        "stored_bytes": stats.stored_bytes,
        "logical_bytes": stats.logical_bytes,
        "superseded_bytes": stats.superseded_bytes,
        "expired": stats.expired,
        "pinned": stats.pinned,
        "hits": stats.hits,
        "misses": stats.misses,
        "seconds_saved": _finite(stats.seconds_saved) or 0.0,
    }


def _groups(usages: Mapping[str, Usage]) -> list[dict[str, Any]]:
    return [
        {**asdict(of), "name": name, "seconds_saved": _finite(of.seconds_saved) or 0.0}
        for name, of in sorted(usages.items())
    ]


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "key": entry.cache_key,
        "params": pairs(entry.params, 400),
        "value": " ".join(filter(None, (entry.summary or entry.object_type,))),
        "of": entry.function or "",
        "prefix": entry.prefix,
        "handler": entry.handler,
        "tags": ", ".join(entry.tags),
        "description": entry.description[:400],
        "stored_bytes": entry.stored_bytes,
        "hits": entry.hits,
        "cost_seconds": _finite(entry.cost_seconds),
        "created_at": _finite(entry.created_at) or 0.0,
        "accessed_at": _finite(entry.accessed_at) or 0.0,
        "state": state(entry),
    }


def _integrity(report: IntegrityReport) -> dict[str, Any]:
    counts = report.counts
    ok_kinds = ("unverifiable", "unreadable", "out_of_reach", "quarantined")
    faults = sum(count for kind, count in counts.items() if kind not in ok_kinds)
    return {
        "ok": report.ok,
        "entries": report.entries,
        "faults": faults,
        "counts": [(text, counts.get(kind, 0)) for kind, text in _KINDS.items()],
        "problems": [(one.name, one.detail) for one in report.problems()[:_PROBLEMS]],
    }


def _finite(number: float | None) -> float | None:
    """JSON in a browser has no NaN and no infinity."""
    return number if number is not None and isfinite(number) else None
