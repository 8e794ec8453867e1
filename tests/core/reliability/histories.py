"""Works on a few keys from many threads and processes at once, and records what happened."""

from __future__ import annotations

import multiprocessing
import threading
import time
import warnings
from random import Random
from typing import Any

from tests.core.reliability.linear import NOTHING, Operation

from cacheness import CorruptionWarning, UnifiedCache

KEYS = ("a", "b", "c")
ACTIONS = (
    *["put"] * 4,
    *["get"] * 6,
    "add",
    "update",
    "update",
    "pop",
    "touch",
    "invalidate",
    "evict",
)


def value_of(number: int) -> str:
    """Every other one is a blob."""
    return f"{number}:{'x' * (200 if number % 2 else 1)}"


def number_of(value: str | None) -> int:
    if value is None:
        return NOTHING
    number = int(value.partition(":")[0])
    assert value == value_of(number), "a torn value"
    return number


def act(cache: UnifiedCache, name: str, key: str, number: int) -> Any:
    """What the operation gave."""
    if name == "put":
        return cache.put(value_of(number), key)
    if name == "get":
        return number_of(cache.get(key))
    if name == "add":
        return cache.add(value_of(number), key)
    if name == "update":
        return cache.update_data(value_of(number), key)
    if name == "pop":
        return number_of(cache.pop(key))
    if name == "touch":
        return cache.touch(key)
    return cache.invalidate(key)


def evict(cache: UnifiedCache) -> list[str]:
    """Evict as a put over the bound does; gives whom."""
    evicted = cache.engine.backend.evict("lru", max_size=None, max_entries=1, slack=0.0)
    for entry in evicted:
        cache.engine.discard(entry)
    return [entry.cache_key for entry in evicted]


def one_thread(cache: UnifiedCache, worker: int, turns: int, found: list[Any]) -> None:
    random = Random(worker)
    for turn in range(turns):
        name, key = random.choice(ACTIONS), random.choice(KEYS)
        number = worker * 100_000 + turn
        start = time.monotonic_ns()
        if name == "evict":
            gone = evict(cache)
            end = time.monotonic_ns()
            found += [(one, Operation("evict", 0, True, start, end)) for one in gone]
        else:
            result = act(cache, name, key, number)
            end = time.monotonic_ns()
            found.append((key, Operation(name, number, result, start, end)))


def many_threads(
    cache: UnifiedCache, first_worker: int, threads: int, turns: int
) -> list[tuple[str, Operation]]:
    found: list[Any] = []
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            one_thread(cache, worker, turns, found)
        except BaseException as error:
            failures.append(error)

    with warnings.catch_warnings():
        warnings.simplefilter("error", CorruptionWarning)
        started = [
            threading.Thread(target=work, args=(first_worker + number,))
            for number in range(threads)
        ]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
    if failures:
        raise failures[0]
    return found


def one_process(
    options: dict[str, Any], first_worker: int, threads: int, turns: int, barrier: Any, told: Any
) -> None:
    try:
        with UnifiedCache(**options) as cache:
            barrier.wait(60)
            told.put(many_threads(cache, first_worker, threads, turns))
    except BaseException as error:
        told.put(repr(error))


def record(
    options: dict[str, Any], method: str, *, processes: int = 3, threads: int = 3, turns: int = 120
) -> dict[str, list[Operation]]:
    """The histories of the keys, of processes that are started by one of Python's ways."""
    context: Any = multiprocessing.get_context(method)
    told, barrier = context.Queue(), context.Barrier(processes)
    started = [
        context.Process(
            target=one_process,
            args=(options, number * threads + 1, threads, turns, barrier, told),
        )
        for number in range(processes)
    ]
    for process in started:
        process.start()
    found = [told.get(timeout=120) for _ in started]
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * processes
    return by_key(found)


def by_key(found: list[Any]) -> dict[str, list[Operation]]:
    histories: dict[str, list[Operation]] = {key: [] for key in KEYS}
    for some in found:
        assert not isinstance(some, str), some
        for key, operation in some:
            histories[key].append(operation)
    return histories
