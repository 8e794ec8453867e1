# SPDX-License-Identifier: MIT
"""What a cache holds, and what it was good for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from time import time
from typing import TYPE_CHECKING, Any

from cacheness.statistics.tally import day_of, parse_statistic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cacheness.backends.base import MetadataBackend
    from cacheness.backends.shapes import Held

__all__ = ["CacheStats", "Usage", "gather"]

_SHOWN = 10
"""Functions, prefixes, … that are printed, the most useful first; `as_dict` has all."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is known of one function, prefix, handler or day."""

    entries: int = 0
    """Entries that stand; of a day, those that were stored on it."""
    stored_bytes: int = 0
    """The bytes of their payloads in the store."""
    hits: int = 0
    """Reads that were answered, of removed entries too."""
    misses: int = 0
    """Reads that were not: of a function, results that it had to compute."""
    seconds_saved: float = 0.0
    """The seconds that computing these hits anew would have taken, by the ``cost_seconds`` of
    their entries, less those that reading them took."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What `UnifiedCache.stats` gives; of one namespace, by all processes that used it.

    What a process has read in the last seconds may not be counted yet. The time that reads
    took is estimated from a sample.
    """

    entries: int
    """Entries that stand, expired ones that nobody looked for since included."""
    stored_bytes: int
    """The bytes of all payloads in the store."""
    logical_bytes: int
    """Their bytes before compression."""
    superseded_bytes: int
    """The bytes in the store of what older code of a function left behind."""
    expired: int
    """Entries that stand although they have expired."""
    pinned: int
    """Entries that eviction passes over."""
    hits: int
    """Reads that were answered, since the cache was made."""
    misses: int
    """Reads that were not."""
    seconds_saved: float
    """The seconds that computing the hits anew would have taken, by the ``cost_seconds`` of
    their entries where these have them, less those that reading took."""
    functions: dict[str, Usage] = field(default_factory=dict)
    """By ``module:qualname`` of cached functions."""
    prefixes: dict[str, Usage] = field(default_factory=dict)
    """By prefix."""
    handlers: dict[str, Usage] = field(default_factory=dict)
    """By the name of the handler."""
    days: dict[str, Usage] = field(default_factory=dict)
    """By UTC day, such as ``2026-01-31``."""

    @property
    def hit_rate(self) -> float:
        """Hits among all reads; 0 where there were none."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {**asdict(self), "hit_rate": self.hit_rate}

    def __str__(self) -> str:
        lines = [f"{name:<16}{value}" for name, value in self._totals()]
        for title, groups in self._groups():
            lines += ["", f"{title:<40}{_COLUMNS}"]
            lines += [f"{_cut(label):<40}{_columns(usage)}" for label, usage in groups]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(f"<tr><th>{n}</th><td>{escape(v)}</td></tr>" for n, v in self._totals())
        parts = [f"<table>{rows}</table>"]
        for title, groups in self._groups():
            head = "".join(f"<th>{name}</th>" for name in (title, *_COLUMNS.split()))
            body = "".join(
                f"<tr><td>{escape(label)}</td>"
                + "".join(f"<td>{cell}</td>" for cell in _cells(usage))
                + "</tr>"
                for label, usage in groups
            )
            parts.append(f"<table><tr>{head}</tr>{body}</table>")
        return "".join(parts)

    def _totals(self) -> list[tuple[str, str]]:
        return [
            ("entries", f"{self.entries} ({self.expired} expired, {self.pinned} pinned)"),
            ("bytes", f"{self.stored_bytes} ({self.logical_bytes} uncompressed)"),
            ("superseded", f"{self.superseded_bytes} bytes"),
            ("reads", f"{self.hits} hits, {self.misses} misses ({self.hit_rate:.1%})"),
            ("seconds saved", f"{self.seconds_saved:.3g}"),
        ]

    def _groups(self) -> list[tuple[str, list[tuple[str, Usage]]]]:
        """The tables to show: the most useful of each kind, and the newest days."""
        shown = []
        for title, usages in (
            ("function", self.functions),
            ("prefix", self.prefixes),
            ("handler", self.handlers),
        ):
            best = sorted(usages.items(), key=lambda of: (-of[1].seconds_saved, -of[1].hits, of[0]))
            shown.append((title, best[:_SHOWN]))
        shown.append(("day", sorted(self.days.items(), reverse=True)[:_SHOWN]))
        return [(title, groups) for title, groups in shown if groups]


def gather(backend: MetadataBackend) -> CacheStats:
    """Put together what a backend holds and what it counted."""
    held = _Totals()
    for together in backend.held(time()):
        held.add(together)
    sums = _sums(backend.read_statistics())
    total = _usage(sums.get("total", {}).get("", {}), (0, 0))
    return CacheStats(
        entries=held.entries,
        stored_bytes=held.stored_bytes,
        logical_bytes=held.logical_bytes,
        superseded_bytes=held.superseded_bytes(),
        expired=held.expired,
        pinned=held.pinned,
        hits=total.hits,
        misses=total.misses,
        seconds_saved=total.seconds_saved,
        functions=_usages(sums.get("function", {}), held.groups["function"]),
        prefixes=_usages(sums.get("prefix", {}), held.groups["prefix"]),
        handlers=_usages(sums.get("handler", {}), held.groups["handler"]),
        days=_usages(sums.get("day", {}), held.groups["day"]),
    )


class _Totals:
    """Sums over what the entries of a namespace are and take."""

    def __init__(self) -> None:
        self.entries = self.stored_bytes = self.logical_bytes = self.expired = self.pinned = 0
        self.groups: dict[str, dict[str, tuple[int, int]]] = {
            scope: {} for scope in ("function", "prefix", "handler", "day")
        }
        self._versions: dict[str, dict[str | None, tuple[float, int]]] = {}

    def add(self, held: Held) -> None:
        function, digest, prefix, handler, number, size, logical, pinned, expired, at = held
        self.entries += number
        self.stored_bytes += size
        self.logical_bytes += logical
        self.expired += expired
        self.pinned += pinned
        self._group("handler", handler, number, size)
        self._group("prefix", prefix, number, size)
        self._group("day", day_of(at), number, size)
        if function:
            self._group("function", function, number, size)
            versions = self._versions.setdefault(function, {})
            newest, so_far = versions.get(digest, (0.0, 0))
            versions[digest] = (max(newest, at), so_far + size)

    def superseded_bytes(self) -> int:
        """Of each function all versions but the one that stored a result last."""
        superseded = 0
        for versions in self._versions.values():
            current = max(versions.values())
            superseded += sum(size for _, size in versions.values()) - current[1]
        return superseded

    def _group(self, scope: str, label: str, number: int, size: int) -> None:
        if label and number:
            entries, so_far = self.groups[scope].get(label, (0, 0))
            self.groups[scope][label] = (entries + number, so_far + size)


def _sums(statistics: Mapping[str, float]) -> dict[str, dict[str, dict[str, float]]]:
    """Scope → label → measure → sum."""
    sums: dict[str, dict[str, dict[str, float]]] = {}
    for name, amount in statistics.items():
        scope, measure, label = parse_statistic(name)
        sums.setdefault(scope, {}).setdefault(label, {})[measure] = amount
    return sums


def _usages(
    counted: Mapping[str, Mapping[str, float]], held: Mapping[str, tuple[int, int]]
) -> dict[str, Usage]:
    labels: Iterable[str] = sorted({*counted, *held})
    return {label: _usage(counted.get(label, {}), held.get(label, (0, 0))) for label in labels}


def _usage(measures: Mapping[str, float], held: tuple[int, int]) -> Usage:
    saved = measures.get("saved", 0.0) - measures.get("reading", 0.0)
    hits, misses = round(measures.get("hits", 0)), round(measures.get("misses", 0))
    return Usage(*held, hits, misses, saved)


_COLUMNS = f"{'entries':>10}{'bytes':>14}{'hits':>10}{'misses':>10}{'saved':>12}"


def _cells(usage: Usage) -> tuple[str, ...]:
    return (
        str(usage.entries),
        str(usage.stored_bytes),
        str(usage.hits),
        str(usage.misses),
        f"{usage.seconds_saved:.3g}",
    )


def _columns(usage: Usage) -> str:
    widths = (10, 14, 10, 10, 12)
    return "".join(f"{cell:>{width}}" for cell, width in zip(_cells(usage), widths, strict=True))


def _cut(label: str) -> str:
    return label if len(label) < 40 else f"…{label[-38:]}"
