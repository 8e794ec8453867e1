# SPDX-License-Identifier: MIT
"""Does everything to one cache from many threads of many processes for as long as is wanted.

Run as ``python tests/stress.py --seconds 600``; the tests run 30 seconds of it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where workers find this file

from cacheness import CorruptionWarning, UnifiedCache

KEYS = [f"key-{number}" for number in range(200)]
SIZES = (1, 100, 5_000, 50_000)
MOST_THREADS = 100
"""Each has an entry of its own."""


def value_of(key: str, random: Random) -> str:
    """Says whose it is, and is as long as it says."""
    size = random.choice(SIZES)
    return f"{key}:{size}:{'x' * size}"


def check(key: str, value: str | None) -> None:
    if value is not None:
        owner, size, rest = value.split(":")
        assert owner == key, f"a value of {owner} under {key}"
        assert rest == "x" * int(size), f"a torn value under {key}"


def act(cache: UnifiedCache, random: Random) -> None:
    key = random.choice(KEYS)
    kind = random.randrange(100)
    if kind < 50:
        check(key, cache.get(key))
    elif kind < 70:
        cache.put(value_of(key, random), key, ttl_seconds=random.choice([None, 0.05, 60]))
    elif kind < 76:
        check(key, cache.get_or_compute(lambda: value_of(key, random), key))
    elif kind < 80:
        cache.add(value_of(key, random), key)
    elif kind < 84:
        cache.update_data(value_of(key, random), key)
    elif kind < 88:
        cache.invalidate(key)
    elif kind < 91:
        check(key, cache.pop(key))
    elif kind < 94:
        some = random.sample(KEYS, 5)
        for name, value in zip(some, cache.get_batch(some), strict=True):
            check(name, value)
    elif kind < 96:
        cache.put_batch([(value_of(name, random), name) for name in random.sample(KEYS, 5)])
    elif kind < 97:
        cache.cleanup_expired()
    elif kind < 98:
        cache.touch(key)
    elif kind < 99:
        cache.delete_batch(random.sample(KEYS, 3))
    else:
        assert len(cache) <= len(KEYS) + MOST_THREADS


class Owned:
    """An entry that one thread alone changes, and no bound drives out: it is never lost."""

    def __init__(self, cache: UnifiedCache, name: str) -> None:
        self._cache = cache
        self._name = name
        self._stored: str | None = None

    def act(self, random: Random) -> None:
        found = self._cache.get(self._name)
        assert found == self._stored, f"{self._name} is not what was stored last"
        if random.random() < 0.2:
            self._cache.invalidate(self._name)
            self._stored = None
        else:
            self._stored = value_of(self._name, random)
            self._cache.put(self._stored, self._name, pin=True)


def one_process(
    directory: str, backend: str, seconds: float, threads: int, seed: int, told: Any
) -> None:
    warnings.simplefilter("error", CorruptionWarning)
    failures: list[str] = []
    counts = [0] * threads
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        random = Random(seed * 1000 + number)
        own = Owned(cache, f"own-{seed}-{number}")
        try:
            while time.monotonic() < end and not failures:
                act(cache, random)
                if random.random() < 0.1:
                    own.act(random)
                counts[number] += 1
        except BaseException as error:
            failures.append(repr(error))

    with UnifiedCache(directory, metadata_backend=backend, max_entries=150) as cache:
        started = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    told.put((sum(counts), failures))


def stress(directory: str, backend: str, seconds: float, processes: int, threads: int) -> int:
    """How much was done; raises where something was not as it should be."""
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    workers = [
        context.Process(target=one_process, args=(directory, backend, seconds, threads, seed, told))
        for seed in range(processes)
    ]
    for worker in workers:
        worker.start()
    results = [told.get(timeout=seconds + 120) for _ in workers]
    for worker in workers:
        worker.join()
    failures = [failure for _, some in results for failure in some]
    assert not failures, failures
    assert [worker.exitcode for worker in workers] == [0] * processes
    with UnifiedCache(directory, metadata_backend=backend) as cache:
        for key in KEYS:
            check(key, cache.get(key))
        report = cache.verify_integrity()
        assert report.ok, report.problems
    return sum(count for count, _ in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--backends", nargs="+", default=["sqlite", "json"])
    given = parser.parse_args()
    for backend in given.backends:
        seconds = given.seconds / len(given.backends)
        with tempfile.TemporaryDirectory() as directory:
            done = stress(directory, backend, seconds, given.processes, given.threads)
        print(f"{backend}: {done:,} operations, nothing lost and nothing torn", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
