# SPDX-License-Identifier: MIT
"""Adds what reads did to the statistics of a store."""

from __future__ import annotations

from collections import defaultdict
from time import gmtime, strftime

from cacheness.hits import SAMPLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, TypeAlias

    from cacheness.backends.base import Labels, MetadataBackend

    Scope: TypeAlias = Literal["total", "function", "prefix", "handler", "day"]
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
        reads: list[tuple[str, float]],
        misses: list[tuple[str, float]],
        computed: list[tuple[str, str]],
        timed: list[tuple[str, float]],
    ) -> None:
        """Add what a `HitBuffer` collected."""
        sums = _Sums(self._label)
        sums.add_misses(misses, computed)
        if reads:
            sums.add_reads(self._backend, reads, timed)
        self._backend.add_statistics(sums.amounts)

    def _label(self, scope: Scope, label: str) -> str:
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
    """The UTC day of a time, such as ``2026-01-31``."""
    number = int(at // 86_400)
    day = _days.get(number)
    if day is None:
        day = _days[number] = strftime("%Y-%m-%d", gmtime(at))
    return day


class _Sums:
    """What is to be added, by name."""

    def __init__(self, label: Callable[[Scope, str], str]) -> None:
        self._label = label
        self.amounts: defaultdict[str, float] = defaultdict(float)

    def add_misses(self, misses: list[tuple[str, float]], computed: list[tuple[str, str]]) -> None:
        for prefix, at in misses:
            self._add("total", "misses", "", 1)
            self._add("day", "misses", day_of(at), 1)
            if prefix:
                self._add("prefix", "misses", prefix, 1)
        for function, prefix in computed:
            self._add("function", "misses", function, 1)
            if prefix:
                self._add("prefix", "misses", prefix, 1)

    def add_reads(
        self,
        backend: MetadataBackend,
        reads: list[tuple[str, float]],
        timed: list[tuple[str, float]],
    ) -> None:
        labels = backend.labels(list({cache_key for cache_key, _ in reads}))
        counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        for cache_key, at in reads:
            counts[cache_key, day_of(at)] += 1
        for (cache_key, day), count in counts.items():
            of = labels.get(cache_key)
            self._credit(of, "hits", count, day)
            if of is not None and of[3]:
                self._credit(of, "saved", count * of[3], day)
        for number, (cache_key, seconds) in enumerate(timed):
            # The first read of a process is the one that imports, and stands for itself.
            weight = 1 if number == 0 else SAMPLED
            self._credit(labels.get(cache_key), "reading", seconds * weight, day_of(reads[0][1]))

    def _credit(self, of: Labels | None, measure: Measure, amount: float, day: str) -> None:
        """Add to all sums that a read counts in; an entry that is gone has no labels."""
        self._add("total", measure, "", amount)
        self._add("day", measure, day, amount)
        if of is None:
            return
        function, prefix, handler, _ = of
        self._add("handler", measure, handler, amount)
        if function:
            self._add("function", measure, function, amount)
        if prefix:
            self._add("prefix", measure, prefix, amount)

    def _add(self, scope: Scope, measure: Measure, label: str, amount: float) -> None:
        if scope in MOST:
            label = self._label(scope, label)
        self.amounts[f"{scope}:{measure}:{label}"] += amount
