# SPDX-License-Identifier: MIT
"""Compares cacheness with its peers, and with the least work that could do the job.

    uv run python benchmarks/compare.py                 all areas, two to three minutes
    uv run python benchmarks/compare.py small arrays    some of them
    uv run python benchmarks/compare.py --json          for programs
    uv run python benchmarks/compare.py --readme        and writes its tables into README.md
                                                        and docs/PERFORMANCE.md

Peers run with their defaults; where one needs more to do the same work, a comment beside it
says so. All sides of a row take turns in one run, and the row shows their medians: only the
ratio counts, since the machine's mood falls on both.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import tempfile
import traceback
import warnings
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING

from measuring import Row, figure, listed, markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AREAS = (
    "small",
    "memory",
    "arrays",
    "keys",
    "frames",
    "nested",
    "cold",
    "plugins",
    "processes",
    "management",
    "postgres",
    "growth",
    "peak",
)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEGIN = "<!-- written by benchmarks/compare.py --readme -->"
END = "<!-- end of what it writes -->"
PEERS = ("diskcache", "joblib", "cachier", "numpy", "blosc2", "pandas", "pyarrow", "psycopg")


def main(arguments: Sequence[str]) -> int:
    """Run the areas that the command line names and print what they give."""
    options = _parser().parse_args(arguments)
    missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"not installed: {', '.join(missing)}; "
            "try: uv run --group benchmarks python benchmarks/compare.py",
            file=sys.stderr,
        )
        return 2
    start = perf_counter()
    failed: list[str] = []
    rows = list(_measure(options.areas or AREAS, failed))
    seconds = perf_counter() - start
    print(_as_json(rows, seconds, failed) if options.json else _as_text(rows, seconds))
    if options.readme:
        _write("README.md", _against_peers(rows))
        _write("docs/PERFORMANCE.md", _as_text(rows, seconds))
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Compare cacheness with its peers.")
    known = ", ".join(AREAS)
    parser.add_argument("areas", nargs="*", type=_area, metavar="AREA", help=f"of {known}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--readme", action="store_true", help="write the tables of README.md and docs, too"
    )
    return parser


def _area(name: str) -> str:
    if name not in AREAS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(AREAS)}")
    return name


def _measure(areas: Iterable[str], failed: list[str]) -> Iterable[Row]:
    """The rows of the areas; one that fails is told of, and costs only its own rows."""
    for name in areas:
        area = importlib.import_module(f"areas.{name}")
        start = perf_counter()
        try:
            with tempfile.TemporaryDirectory(prefix="cacheness-benchmark-") as folder:
                yield from area.rows(folder)
        except Exception:  # noqa: BLE001  # whatever it is, it is told
            failed.append(name)
            traceback.print_exc()
        print(f"{name}: {perf_counter() - start:.0f} s", file=sys.stderr)


def _as_text(rows: Sequence[Row], seconds: float) -> str:
    counted = [row.verdict for row in rows if row.verdict]
    told = ", ".join(f"{value} {name}" for name, value in _machine().items())
    return (
        f"{markdown(rows)}\n\n{len(counted) - counted.count('missed')} of {len(counted)} targets "
        f"met, {counted.count('stretch')} at the stretch, in {seconds:.0f} s.\n{told}"
    )


def _as_json(rows: Sequence[Row], seconds: float, failed: Sequence[str]) -> str:
    told = {
        "machine": _machine(),
        "seconds": seconds,
        "failed": failed,
        "rows": listed(rows),
    }
    return json.dumps(told, indent=2)


def _against_peers(rows: Sequence[Row]) -> str:
    """The rows that compare with a peer."""
    lines = ["| | cacheness | peer | | ours / theirs |", "| --- | ---: | --- | ---: | ---: |"]
    for row in rows:
        itself = row.against.startswith(("limit", "bare", "its size")) or " among " in row.against
        if not itself:
            ours, theirs = figure(row.ours, row.unit), figure(row.theirs, row.unit)
            lines.append(f"| {row.what} | {ours} | {row.against} | {theirs} | {row.ratio:.2f} |")
    return "\n".join(lines)


def _write(name: str, text: str) -> None:
    """Put a text between a document's two marks."""
    path = os.path.join(ROOT, name)
    with open(path, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def _machine() -> dict[str, str]:
    return {
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "Python": platform.python_version(),
        "cacheness-core": version("cacheness-core"),
        **{name: version(name) for name in PEERS},
    }


if __name__ == "__main__":
    # A cache that warns would be measured printing.
    warnings.simplefilter("error")
    sys.exit(main(sys.argv[1:]))
