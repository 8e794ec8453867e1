# SPDX-License-Identifier: MIT
"""A new process: what a script pays for its first hit."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import diskcache

from areas.small import VALUE
from cacheness import UnifiedCache
from measuring import Row, interleaved, once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = """
from cacheness import UnifiedCache
assert UnifiedCache({folder!r}).get(experiment="a", lr=0.1, step=3)
"""
THEIRS = """
from diskcache import Cache
assert Cache({folder!r}).get(("a", 0.1, 3))
"""


def rows(folder: str) -> Iterator[Row]:
    """Compare the time from starting Python to its end after one small hit."""
    ours, theirs = f"{folder}/ours", f"{folder}/theirs"
    with UnifiedCache(ours) as cache, diskcache.Cache(theirs) as peer:
        cache.put(VALUE, experiment="a", lr=0.1, step=3)
        peer.set(("a", 0.1, 3), VALUE)
    sides = {
        "ours": _process(OURS.format(folder=ours)),
        "diskcache": _process(THEIRS.format(folder=theirs)),
        "bare Python": _process("pass"),
    }
    taken = interleaved(sides, rounds=21, number=1)
    what = "new process to first small hit"
    yield Row(what, taken["ours"], "diskcache", taken["diskcache"], 1.0, 0.75)
    yield Row(what, taken["ours"], "bare Python", taken["bare Python"])


def _process(program: str) -> Callable[[int], object]:
    return once(lambda: subprocess.run([sys.executable, "-c", program], check=True))
