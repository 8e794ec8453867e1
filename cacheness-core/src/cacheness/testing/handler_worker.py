# SPDX-License-Identifier: MIT
"""Reads damaged payloads in a process of its own, which a crash or a hang may end."""

from __future__ import annotations

import os
import pickle
import random
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cacheness.plugins.registry import register_handler, registry_for
from cacheness.plugins.tables import load_target
from cacheness.testing.handler_keeping import contexts
from cacheness.testing.processes import in_fresh_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.handlers.base import Handler
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["MOST_GROWTH", "named_target", "read_damaged_elsewhere", "read_payload"]

MOST_GROWTH = 1 << 19
"""KiB by which the memory of a process may grow while it reads small damaged files."""

Payloads = list[tuple[bytes, dict[str, Any]]]


def read_damaged_elsewhere(
    handler: str | type[Handler], payloads: Payloads, folder: str
) -> tuple[int, int]:
    """Read the payloads, damaged in many ways, in a fresh process.

    Returns:
        How many files were read, and by how many KiB the process's memory grew.

    Raises:
        AssertionError: The process crashed.
    """
    job = os.path.join(folder, "job")
    with open(job, "wb") as file:
        pickle.dump((named_target(handler), payloads, folder), file)
    told = in_fresh_process("from cacheness.testing.handler_worker import main; main()", job)
    read, growth = told.split()
    return int(read), int(growth)


def named_target(handler: str | type[Handler]) -> str:
    """The handler as another process finds it: by its name, or by its class's import path."""
    if isinstance(handler, str):
        return handler
    return f"{handler.__module__}:{handler.__qualname__}"


def main() -> None:
    """Do the job in the file that the command line names; print what it came to."""
    with open(sys.argv[1], "rb") as file:
        target, payloads, folder = pickle.load(file)
    if ":" in target:
        target = register_handler(load_target(target), priority=1000).name
    print(*_read_all(registry_for().handler(target), payloads, folder))  # noqa: T201


def _read_all(loaded: LoadedHandler, payloads: Payloads, folder: str) -> tuple[int, int]:
    for payload, metadata in payloads:  # what it imports and sets up counts for nothing
        read_payload(loaded, folder, payload, metadata)
    before = _peak_memory()
    read = growth = 0
    for payload, metadata in payloads:
        for changed in _damaged(payload) if loaded.data_only else [payload]:
            read_payload(loaded, folder, changed, metadata)
            read += 1
            growth = _peak_memory() - before
            if growth > MOST_GROWTH:
                return read, growth
    return read, growth


def read_payload(
    loaded: LoadedHandler, folder: str, payload: bytes, metadata: dict[str, Any]
) -> None:
    """Read the bytes as a payload; errors are welcome."""
    path = os.path.join(folder, f"damaged{loaded.extension}")
    with open(path, "wb") as file:
        file.write(payload)
    _, getting = contexts()
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("ignore")
        loaded.handler.get_with(path, metadata, getting)


def _damaged(payload: bytes) -> Iterator[bytes]:
    """The payload cut, changed and replaced; the same at each run."""
    chance = random.Random(0)  # noqa: S311  # no secret
    size = len(payload)
    yield from (payload, b"", b"\0" * 64, b"\xff" * 64, payload + payload)
    for cut in sorted({chance.randrange(size + 1) for _ in range(12)}):
        yield payload[:cut]
    for _ in range(40 if size else 0):
        changed = bytearray(payload)
        for _ in range(chance.randint(1, 4)):
            # Headers matter most.
            place = chance.randrange(min(size, 128) if chance.random() < 0.7 else size)
            changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        yield bytes(changed)


def _peak_memory() -> int:
    """The process's peak in KiB; zero where the system does not tell."""
    # Where it can be, without the peak that getrusage hands down from the parent.
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
