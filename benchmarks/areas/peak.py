# SPDX-License-Identifier: MIT
"""Memory: what a put and a get of a 1 GB array take at most beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from measuring import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 1_000_000_000

# Linux keeps each process's highest resident size, and sets it back where asked to.
PUT = """
import sys
import numpy as np
from cacheness import UnifiedCache

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

folder, kind, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = UnifiedCache(folder)
cache.put(np.arange(1 << 21) if kind == "walk" else np.arange(10), "warm")
cache.get("warm")
"""
PUT_NOISE = (
    PUT
    + """
array = np.random.default_rng(0).integers(0, 1 << 64, size // 8, dtype=np.uint64)
"""
)
PUT_WALK = (
    PUT
    + """
array = np.random.default_rng(0).integers(-3, 4, size // 8)
np.cumsum(array, out=array)
"""
)
MEASURED_PUT = """
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
cache.put(array, "large")
print(status("VmHWM") - before)
"""
MEASURED_GET = """
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
array = cache.get("large")
assert array.nbytes == size
print(status("VmHWM") - before)
"""


def rows(folder: str) -> Iterator[Row]:
    """Compare the growth of a process at a put, and at a get, with the array's size."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        print("peak: skipped, since only Linux tells", file=sys.stderr)
        return
    for kind, made in (("noise", PUT_NOISE), ("walk", PUT_WALK)):
        called = "1 GB array" if kind == "noise" else "1 GB compressible array"
        put = _run(made + MEASURED_PUT, folder, kind)
        got = _run(PUT + MEASURED_GET, folder, kind)
        what = f"{called}, put: memory beside it"
        yield Row(what, put, "its size", SIZE, 0.1, unit="bytes")
        yield Row(f"{called}, get: memory in all", got, "its size", SIZE, 1.1, unit="bytes")


def _run(program: str, folder: str, kind: str) -> float:
    """Bytes, as a new process prints them."""
    arguments = [sys.executable, "-c", program, folder, kind, str(SIZE)]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)
