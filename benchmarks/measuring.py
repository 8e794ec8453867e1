# SPDX-License-Identifier: MIT
"""Measures sides of a comparison in turns, so that a machine's moods fall on all alike."""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import warnings
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Row", "figure", "interleaved", "listed", "markdown", "once", "report", "table"]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: a figure of ours against one of a peer, or of the least work possible."""

    what: str
    """What was done."""
    ours: float
    """Our figure, in ``unit``."""
    against: str
    """Whom it is compared with."""
    theirs: float
    """Their figure, in ``unit``."""
    target: float | None = None
    """What ours / theirs may be at most; None where the row only informs."""
    stretch: float | None = None
    """What it would be at best."""
    at_least: bool = False
    """Whether the target is a floor: more is better."""
    unit: Literal["s", "1/s", "bytes"] = "s"
    """Of the two figures."""

    @property
    def ratio(self) -> float:
        """Ours / theirs."""
        return self.ours / self.theirs

    @property
    def verdict(self) -> str:
        """``stretch``, ``met`` or ``missed``; nothing where there is no target."""
        if self.target is None:
            return ""
        if self.stretch is not None and self._reaches(self.stretch):
            return "stretch"
        return "met" if self._reaches(self.target) else "missed"

    def _reaches(self, bound: float) -> bool:
        return self.ratio >= bound if self.at_least else self.ratio <= bound


def interleaved(
    sides: Mapping[str, Callable[[int], object]], *, rounds: int, number: int
) -> dict[str, float]:
    """Time each side in each round, the first one changing; give the medians.

    Many short timings rather than a few long ones: on a machine that has other things to do,
    most of them are then not interrupted.

    Args:
        sides: By name, what does the operation as often as it is told.
        rounds: How often each side is timed, after one round that is not.
        number: Operations at each timing.

    Returns:
        Seconds an operation, by side.
    """
    names = list(sides)
    times: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        sides[name](number)
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            shift = turn % len(names)
            for name in (*names[shift:], *names[:shift]):
                start = perf_counter()
                sides[name](number)
                times[name].append((perf_counter() - start) / number)
    finally:
        gc.enable()
    return {name: statistics.median(taken) for name, taken in times.items()}


def once(operation: Callable[[], object]) -> Callable[[int], object]:
    """A side whose operation is long enough for a plain loop around it."""

    def loop(number: int) -> None:
        for _ in range(number):
            operation()

    return loop


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    head = ("what", "ours", "against", "theirs", "ratio", "target", "stretch", "")
    rule = ("---", "---:", "---", "---:", "---:", "---:", "---:", "---")
    lines = []
    for row in rows:
        sign = "≥ " if row.at_least else ""
        lines.append(
            (
                row.what,
                figure(row.ours, row.unit),
                row.against,
                figure(row.theirs, row.unit),
                f"{row.ratio:.2f}",
                "" if row.target is None else f"{sign}{row.target:g}",
                "" if row.stretch is None else f"{sign}{row.stretch:g}",
                row.verdict,
            )
        )
    return table(head, rule, lines)


def table(head: Sequence[str], rule: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns stand below each other."""
    lines = [head, rule, *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def listed(rows: Iterable[Row]) -> list[dict[str, object]]:
    """The rows as JSON objects, with their ratios and verdicts."""
    return [{**asdict(row), "ratio": row.ratio, "verdict": row.verdict} for row in rows]


def report(description: str, rows: Callable[[str], Iterable[Row]], arguments: Sequence[str]) -> int:
    """The command line of a benchmark: measure in a folder of its own, and print the rows."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    # A cache that warns would be measured printing.
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory(prefix="cacheness-benchmark-") as folder:
        measured = list(rows(folder))
    print(json.dumps(listed(measured), indent=2) if options.json else markdown(measured))
    return 0


def figure(value: float, unit: str) -> str:
    """A value with its unit, in three digits."""
    if unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    if unit == "1/s":
        return f"{value:,.0f}/s"
    for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e9:.3g} ns"
