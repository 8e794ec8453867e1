# SPDX-License-Identifier: MIT
"""Adds what reads did to the statistics of a store."""

from __future__ import annotations

from time import gmtime, strftime

from cacheness.statistics.hits import SAMPLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal, TypeAlias

    from cacheness.backends.base import MetadataBackend
    from cacheness.backends.shapes import Labels

    Measure: TypeAlias = Literal["hits", "misses", "saved", "reading"]

__all__ = ["MOST", "OTHER", "Tally", "day_of", "parse_statistic"]

MOST = {"function": 10_000, "prefix": 1_000, "handler": 1_000}
"""The labels that are told apart; what comes later counts together as `OTHER`."""
OTHER = "(other)"
_LONGEST_LABEL = 200


class Tally:
    """Adds to the sums of one store, and sees that there are not too many of them.

    A sum is named ``scope:measure:label``, such as ``prefix:hits:etl``. Measures are
    ``hits``, ``misses``, ``saved`` (seconds that hits would have cost to compute) and
    ``reading`` (seconds that hits took, from a sample). What a process learns of the others'
    labels it learns once, so that there may be a few more than `MOST`.
    """

    def __init__(self, backend: MetadataBackend) -> None:
        self._backend = backend
        self._known: dict[str, set[str]] | None = None

    def add(
        self,
        hits: Mapping[str, tuple[int, float]],
        misses: list[tuple[str, float]],
        computed: list[tuple[str, str]],
        timed: list[tuple[str, float]],
    ) -> None:
        """Add what a `HitBuffer` collected in some seconds.

        Args:
            hits: Cache key → (reads, time of the last one, whose day all count to).
            misses: The prefix that was asked for, and the time.
            computed: The function whose result was stored, and its prefix.
            timed: Cache key and seconds of one read in `SAMPLED`.
        """
        sums = _Sums(self._label)
        sums.add_misses(misses, computed)
        if hits:
            sums.add_hits(hits, timed, self._backend.labels(list(hits)))
        self._backend.add_statistics(sums.amounts)

    def _label(self, scope: str, label: str) -> str:
        """The label, or `OTHER` where there are too many."""
        if self._known is None:
            self._known = {scope: {OTHER} for scope in MOST}
            for name in self._backend.read_statistics():
                scope_of, _, known = parse_statistic(name)
                if scope_of in self._known:
                    self._known[scope_of].add(known)
        label = str(label)[:_LONGEST_LABEL].encode(errors="replace").decode()
        known_labels = self._known[scope]
        if label not in known_labels:
            if len(known_labels) > MOST[scope]:
                return OTHER
            known_labels.add(label)
        return label


def parse_statistic(name: str) -> tuple[str, str, str]:
    """Scope, measure and label of a sum."""
    scope, _, rest = name.partition(":")
    measure, _, label = rest.partition(":")
    return scope, measure, label


_days: dict[int, str] = {}


def day_of(at: float) -> str:
    """The UTC day of a time, such as ``2026-01-31``; empty where it is in no calendar."""
    try:
        number = int(at // 86_400)
        day = _days.get(number)
        if day is None:
            day = _days[number] = strftime("%Y-%m-%d", gmtime(at))
    except (ValueError, OverflowError, OSError):
        return ""
    return day


class _Sums:
    """What is to be added, by name."""

    def __init__(self, label: Callable[[str, str], str]) -> None:
        self._label = label
        self.amounts: dict[str, float] = {}

    def add_misses(self, misses: list[tuple[str, float]], computed: list[tuple[str, str]]) -> None:
        if misses:
            self._add("total", "misses", "", len(misses))
            self._add("day", "misses", day_of(misses[-1][1]), len(misses))
        for prefix, _ in misses:
            if prefix:
                self._add("prefix", "misses", prefix, 1)
        for function, prefix in computed:
            self._add("function", "misses", function, 1)
            if prefix:
                self._add("prefix", "misses", prefix, 1)

    def add_hits(
        self,
        hits: Mapping[str, tuple[int, float]],
        timed: list[tuple[str, float]],
        labels: Mapping[str, Labels],
    ) -> None:
        groups: dict[tuple[str | None, str, str, str], list[float]] = {}
        for cache_key, (count, at) in hits.items():
            function, prefix, handler, cost = labels.get(cache_key, _GONE)
            group = function, prefix, handler, day_of(at)
            so_far = groups.get(group)
            if so_far is None:
                so_far = groups[group] = [0.0, 0.0]
            so_far[0] += count
            if cost:
                so_far[1] += count * cost
        for (function, prefix, handler, day), (read, saved) in groups.items():
            self._credit(function, prefix, handler, day, "hits", read)
            self._credit(function, prefix, handler, day, "saved", saved)
        for number, (cache_key, seconds) in enumerate(timed):
            function, prefix, handler, _ = labels.get(cache_key, _GONE)
            day = day_of(hits[cache_key][1]) if cache_key in hits else ""
            # The first read of a process is the one that imports, and stands for itself.
            weight = 1 if number == 0 else SAMPLED
            self._credit(function, prefix, handler, day, "reading", seconds * weight)

    def _credit(
        self,
        function: str | None,
        prefix: str,
        handler: str,
        day: str,
        measure: Measure,
        amount: float,
    ) -> None:
        """Add to all sums that a read counts in."""
        if not amount:
            return
        self._add("total", measure, "", amount)
        for scope, label in (
            ("day", day),
            ("handler", handler),
            ("function", function),
            ("prefix", prefix),
        ):
            if label:
                self._add(scope, measure, label, amount)

    def _add(self, scope: str, measure: Measure, label: str, amount: float) -> None:
        if scope in MOST:
            label = self._label(scope, label)
        name = f"{scope}:{measure}:{label}"
        self.amounts[name] = self.amounts.get(name, 0.0) + amount


_GONE = (None, "", "", None)
"""The labels of an entry that was removed since it was read."""
