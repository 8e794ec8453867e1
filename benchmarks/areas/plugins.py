# SPDX-License-Identifier: MIT
"""Discovery of plugins among many installed distributions."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

import cacheness
from measuring import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLED = 100

# Bare interpreters whose path holds the standard library and the 100 distributions, so that
# what else is installed here makes no difference.
HEAD = """
import sys
from time import perf_counter
sys.path += [{site!r}, {core!r}]
start = perf_counter()
"""
OURS = """
import cacheness.plugins.discovery as discovery
assert len(discovery.find_entry_points([{site!r}])) == 1
"""
THEIRS = """
import importlib.metadata
assert len(importlib.metadata.entry_points(group="cacheness")) == 1
"""
TAIL = "print(perf_counter() - start)"


def rows(folder: str) -> Iterator[Row]:
    """Compare finding one plugin among 100 distributions with `importlib.metadata`."""
    core = os.path.dirname(os.path.dirname(os.path.abspath(cacheness.__file__)))
    _install(folder)
    taken: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for _ in range(15):
        for program, times in taken.items():
            text = (HEAD + program + TAIL).format(site=folder, core=core)
            times.append(_run(text))
    ours, theirs = statistics.median(taken[OURS]), statistics.median(taken[THEIRS])
    what, peer = f"plugin discovery, {INSTALLED} distributions", "importlib.metadata"
    yield Row(what, ours, peer, theirs, 0.15, 0.05)


def _install(folder: str) -> None:
    """Lay out distributions as pip does, every third one with entry points, one with ours."""
    for i in range(INSTALLED):
        info = f"{folder}/distribution_{i}-1.{i}.dist-info"
        os.mkdir(info)
        with open(f"{info}/METADATA", "w", encoding="utf-8") as file:
            file.write(f"Metadata-Version: 2.1\nName: distribution-{i}\nVersion: 1.{i}\n")
        group = "cacheness" if i == 50 else "console_scripts"
        if i % 3 == 0 or i == 50:
            with open(f"{info}/entry_points.txt", "w", encoding="utf-8") as file:
                file.write(f"[{group}]\nname-{i} = package_{i}:main\n")


def _run(program: str) -> float:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], check=True, capture_output=True, text=True
    )
    return float(done.stdout)
