# SPDX-License-Identifier: MIT
"""A cache that is used for long takes no more memory, descriptors or log than one used for short.

Run as ``python tests/growth.py --entries 1000000 --gets 10000000``; the tests run a part.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cacheness import UnifiedCache

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 5_000


@dataclass(frozen=True)
class Taken:
    """What the process has at one moment."""

    traced: int
    """Bytes that Python holds."""
    resident: int
    descriptors: int
    log: int
    """Bytes of SQLite's write-ahead log."""


def taken(directory: str) -> Taken:
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    log = os.path.join(directory, "metadata.sqlite3-wal")
    return Taken(
        tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0,
        resident,
        len(os.listdir("/proc/self/fd")),
        os.path.getsize(log) if os.path.exists(log) else 0,
    )


def grow(directory: str, entries: int, gets: int, backend: str = "sqlite") -> Iterator[Taken]:
    """Put so many entries and get so many times; what is taken at ten moments of the gets."""
    largest_log = 0
    with UnifiedCache(directory, metadata_backend=backend) as cache:
        for start in range(0, entries, BATCH):
            stop = min(start + BATCH, entries)
            cache.put_batch([([n], f"key-{n}") for n in range(start, stop)])
            largest_log = max(largest_log, taken(directory).log)
        step = 7919
        number = 0
        for turn in range(gets):
            number = (number + step) % entries
            if cache.get(f"key-{number}") != [number]:
                raise AssertionError(f"key-{number}")
            if turn % 500 == 0:
                cache.put([number], f"key-{number}")
            if turn % max(1, gets // 10) == 0:
                yield taken(directory)
        yield taken(directory)
        if largest_log > 64 << 20:
            raise AssertionError(f"a log of {largest_log} bytes")
        if len(cache) != entries:
            raise AssertionError(f"{len(cache)} entries")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--gets", type=int, default=10_000_000)
    parser.add_argument("--backend", default="sqlite")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        for moment in grow(directory, given.entries, given.gets, given.backend):
            print(moment, flush=True)  # noqa: T201  # a script


if __name__ == "__main__":
    main()
