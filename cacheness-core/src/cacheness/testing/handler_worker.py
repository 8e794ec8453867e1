# SPDX-License-Identifier: MIT
"""Tries a handler in another process, which a crash or a hang may end."""

from __future__ import annotations

import base64
import os
import pickle
import random
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import params_key
from cacheness.plugins.registry import register_handler, registry_for
from cacheness.plugins.tables import load_target
from cacheness.testing.handler_keeping import contexts
from cacheness.testing.processes import answering, in_fresh_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cacheness.handlers.base import Handler
    from cacheness.plugins.registry import LoadedHandler

__all__ = [
    "MOST_GROWTH",
    "key_of",
    "keys_elsewhere",
    "main",
    "read_damaged_elsewhere",
    "read_payload",
]

MOST_GROWTH = 1 << 19
"""KiB by which the memory of a process may grow while it reads small damaged files."""

Payloads = list[tuple[bytes, dict[str, Any]]]
_CODE = "from cacheness.testing.handler_worker import main; main()"


def read_damaged_elsewhere(
    handler: str | type[Handler], payloads: Payloads, folder: str
) -> tuple[int, int]:
    """Read the payloads, damaged in many ways, in another process.

    Returns:
        How many files were read, and by how many KiB the process's memory grew.

    Raises:
        AssertionError: The process crashed.
    """
    if not payloads:
        return 0, 0
    read, growth = _ask(handler, (), _read_all, payloads, folder).split()
    return int(read), int(growth)


def keys_elsewhere(
    handler: str | type[Handler], types: tuple[str, ...], pickles: list[bytes]
) -> list[str]:
    """The keys that pickled objects have in another process.

    Raises:
        AssertionError: The process crashed.
    """
    return _ask(handler, types, _keys_of, pickles).split() if pickles else []


def key_of(obj: Any) -> str | None:
    """The key of a parameter; None where the type has no stable fingerprint, and says so."""
    try:
        return params_key({"of": obj})
    except UnhashableParameterError:
        return None


def main() -> None:
    """Do what each line of the standard input says; print what it came to."""
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print what they like
    for line in sys.stdin:
        target, types, task, given = pickle.loads(base64.b64decode(line))
        if ":" in target:
            target = register_handler(load_target(target), priority=1000, types=types).name
        print(task(registry_for().handler(target), *given), file=answers, flush=True)


def _ask(
    handler: str | type[Handler],
    types: tuple[str, ...],
    task: Callable[..., str],
    *given: object,
) -> str:
    if isinstance(handler, str):
        # What is found by its entry point shares a process: some libraries take seconds to import.
        return answering(_CODE).ask(_question(handler, types, task, given))
    target = f"{handler.__module__}:{handler.__qualname__}"
    return in_fresh_process(_CODE, stdin=_question(target, types, task, given))


def _question(*parts: object) -> str:
    return base64.b64encode(pickle.dumps(parts)).decode()


def _keys_of(_loaded: LoadedHandler, pickles: list[bytes]) -> str:
    return " ".join(str(key_of(pickle.loads(pickled))) for pickled in pickles)


def _read_all(loaded: LoadedHandler, payloads: Payloads, folder: str) -> str:
    for payload, metadata in payloads:  # what it imports and sets up counts for nothing
        read_payload(loaded, folder, payload, metadata)
    _forget_peak()
    before = _peak_memory()
    read = growth = 0
    for payload, metadata in payloads:
        for changed in _damaged(payload) if loaded.data_only else [payload]:
            read_payload(loaded, folder, changed, metadata)
            read += 1
            growth = _peak_memory() - before
            if growth > MOST_GROWTH:
                return f"{read} {growth}"
    return f"{read} {growth}"


def read_payload(
    loaded: LoadedHandler, folder: str, payload: bytes, metadata: dict[str, Any]
) -> None:
    """Read the bytes as a payload; errors are welcome.

    Of a handler that is data-only they are nobody's: a signature never holds for made-up
    bytes, and a handler that is told of one need not check them.
    """
    path = os.path.join(folder, f"damaged{loaded.extension}")
    with suppress(OSError):
        os.unlink(path)  # cut short, it would end a process that has it mapped still
    with open(path, "wb") as file:
        file.write(payload)
    _, getting = contexts({}, verified=not loaded.data_only)
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


def _forget_peak() -> None:
    """Begin a new peak, where the system can; elsewhere, earlier handlers' may hide one."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


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
