# SPDX-License-Identifier: MIT
"""Looks after 200 and 100,000 entries, beside the one SQL statement that would do.

    uv run python benchmarks/management_ops_benchmark.py          both sizes, under two minutes
    uv run python benchmarks/management_ops_benchmark.py --json   for programs

Touching, deleting, asking by a field, each for one entry and for a hundred, listing, and storing
and reading thousands at once. Both sides are SQLite files with a write-ahead log.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from areas import management
from measuring import report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measuring import Row


def rows(folder: str) -> Iterator[Row]:
    """The operations at both sizes, and in bulk."""
    for count in (management.FEW, management.MANY):
        yield from management.rows_at(folder, count)
    yield from management.rows_in_bulk(folder)
    yield from management.rows_of_few(folder)


if __name__ == "__main__":
    sys.exit(report(__doc__ or "", rows, sys.argv[1:]))
