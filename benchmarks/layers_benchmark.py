# SPDX-License-Identifier: MIT
"""Shows where the time goes in a small hit and a small put, layer by layer.

    uv run python benchmarks/layers_benchmark.py          half a minute
    uv run python benchmarks/layers_benchmark.py --json   for programs

Each layer is called by itself with what the one above hands it; an indented one is part of
the one above it. The figures are the fastest of many rounds, since what is slower is the machine's
doing. The last column is the share of the whole hit or put.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import tempfile
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128_hexdigest

from areas.small import VALUE, score
from cacheness import UnifiedCache, logged
from cacheness.backends.plain_entry import PlainEntry
from cacheness.backends.sqlite_rows import plain_row
from cacheness.generations import new_generation
from cacheness.keys.encoding import scalars_key
from cacheness.keys.summary import as_recorded
from cacheness.payloads.checksum import FAST
from measuring import figure, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Layer = tuple[str, Callable[[], object]]

ROUNDS, NUMBER = 60, 300
PARAMS = {"experiment": "a", "lr": 0.1, "step": 3}
KEY = "0123456789abcdef0123456789abcdef"


def main(arguments: Sequence[str]) -> int:
    """Measure the layers of each operation, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="Show where the time of a hit and a put goes.")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(arguments)
    told = {}
    with tempfile.TemporaryDirectory(prefix="cacheness-benchmark-") as folder:
        for operation, layers in _operations(folder):
            told[operation] = _fastest(layers)
    if options.json:
        print(json.dumps(told, indent=2))
        return 0
    for operation, taken in told.items():
        whole = next(iter(taken.values()))
        lines = [(name, figure(t, "s"), f"{t / whole:.0%}") for name, t in taken.items()]
        print(table((operation, "takes", "of it"), ("---", "---:", "---:"), lines), end="\n\n")
    return 0


def _operations(folder: str) -> Iterator[tuple[str, list[Layer]]]:
    with (
        UnifiedCache(f"{folder}/disk") as cache,
        UnifiedCache(f"{folder}/memory", memory_bytes="64 MiB") as memory,
    ):
        for each in (cache, memory):
            each.put(VALUE, **PARAMS)
            each.put(VALUE, KEY)
        yield "a hit by parameters", _hit(cache)
        yield "a hit by parameters, from memory", _hit_from_memory(memory)
        yield "a decorated hit", _decorated(cache)
        yield "a decorated hit, from memory", _decorated(memory)
        yield "a put", _put(cache)


def _hit(cache: UnifiedCache) -> list[Layer]:
    engine = cache.engine
    plain = engine.backend.find_plain(KEY)
    kept = engine.backend._kept  # type: ignore[attr-defined]  # SQLite's
    if plain is None:
        raise RuntimeError("a small value is no plain entry")
    return [
        ("cache.get(experiment=…, lr=…, step=…)", lambda: cache.get(**PARAMS)),
        ("  scalars_key, remembered", lambda: scalars_key(PARAMS)),
        ("  engine.reader.read_by_key", lambda: engine.reader.read_by_key(KEY)),
        (
            "    backend.find_plain: the row of the last time",
            lambda: engine.backend.find_plain(KEY),
        ),
        (
            "    SQLite's SELECT, where it is needed",
            lambda: kept._row(kept._statement, (KEY, "")),
        ),
        (
            "    read_plain: checksum, JSON",
            lambda: engine.reader._decoder.read_plain(plain, None),
        ),
        ("    hits.add", lambda: engine.hits.add(KEY)),
        ("    is_logged", lambda: logged.is_logged()),
    ]


def _hit_from_memory(cache: UnifiedCache) -> list[Layer]:
    engine = cache.engine
    engine.reader.read_by_key(KEY)
    give = cache.engine.backend.recall(KEY)  # type: ignore[attr-defined]  # the wrapper
    return [
        ("cache.get(experiment=…, lr=…, step=…)", lambda: cache.get(**PARAMS)),
        ("  scalars_key, remembered", lambda: scalars_key(PARAMS)),
        ("  engine.reader.read_by_key", lambda: engine.reader.read_by_key(KEY)),
        ("    tier.recall", lambda: engine.backend.recall(KEY)),  # type: ignore[attr-defined]
        ("    copying the value", give),
        ("    hits.add", lambda: engine.hits.add(KEY)),
    ]


def _decorated(cache: UnifiedCache) -> list[Layer]:
    cached = cache.cached(score)
    cached("a", 0.1, 3)
    key = cached.cache_key("a", 0.1, 3)
    return [
        ('score("a", 0.1, 3)', lambda: cached("a", 0.1, 3)),
        ("  cached.cache_key: binding, code, key", lambda: cached.cache_key("a", 0.1, 3)),
        ("  engine.reader.read_by_key", lambda: cache.engine.reader.read_by_key(key)),
        ("  the function itself, for comparison", lambda: score("a", 0.1, 3)),
    ]


def _put(cache: UnifiedCache) -> list[Layer]:
    engine, numbers, random = cache.engine, itertools.count(1000), Random(0)
    loaded = engine.registry.candidates(dict)[0]
    dumps: Callable[[object], bytes] = loaded.dumps_plain  # type: ignore[assignment]  # of JSON
    payload = dumps(VALUE)
    told = {"object_type": "builtins.dict", "summary": "dict of 4", "params": PARAMS}
    details = as_recorded(told, True)

    def row(key: str) -> tuple[str, tuple[Any, ...]]:
        plain = PlainEntry(
            "",
            key,
            new_generation(),
            loaded.name,
            FAST + xxh3_128_hexdigest(payload),
            payload,
            "cacheness-core",
            0.0,
            None,
            PARAMS,
            "builtins.dict",
            "dict of 4",
            details,
        )
        return plain_row(plain)

    def statement() -> None:
        # As keys are: each belongs to another page of the index.
        connections.put(*row(f"{random.getrandbits(128):032x}"), 3, 2)

    def key() -> str | None:
        return scalars_key({**PARAMS, "step": next(numbers)})

    connections = engine.backend._connections  # type: ignore[attr-defined]  # SQLite's
    return [
        (
            "cache.put(value, experiment=…, lr=…, step=…)",
            lambda: cache.put(VALUE, experiment="a", lr=0.1, step=next(numbers)),
        ),
        ("  scalars_key, made", key),
        ("  checks that JSON keeps it, JSON", lambda: dumps(VALUE)),
        ("  what it tells of itself, JSON", lambda: as_recorded(told, True)),
        ("  the row", lambda: row(KEY)),
        ("  the row and SQLite's statement", statement),
    ]


def _fastest(layers: list[Layer]) -> dict[str, float]:
    """Seconds a call, less what calling nothing takes."""
    best: dict[str, float] = {}
    named = [*layers, ("", lambda: None)]
    gc.disable()
    for _ in range(ROUNDS):
        for name, layer in named:
            start = perf_counter()
            for _ in range(NUMBER):
                layer()
            taken = (perf_counter() - start) / NUMBER
            best[name] = min(taken, best.get(name, taken))
    gc.enable()
    nothing = best.pop("")
    return {name: taken - nothing for name, taken in best.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
