# SPDX-License-Identifier: MIT
"""How long a web server's loop stands still while its handlers use a cache.

``python benchmarks/loop_stall.py`` answers requests at a steady rate, most of them hits on
values of 4 KB and 2 MB, some of them cold, and prints the longest and the usual time
between two turns of the loop: with `cache.aio`, and with the cache called in the loop.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from time import perf_counter, sleep

from cacheness import UnifiedCache

Handler = Callable[[UnifiedCache, int], Awaitable[object]]

REQUESTS = 2_000
AT_ONCE = 50
KEYS = 200
COLD = 0.05
"""The part of the requests that ask for something new."""
BEAT = 0.001


def page(number: int) -> bytes:
    """What a handler computes for 20 ms: every tenth page is large."""
    sleep(0.02)
    return os.urandom(2_000_000 if number % 10 == 0 else 4_000)


async def on_aio(cache: UnifiedCache, number: int) -> object:
    return await cache.aio.get_or_compute(lambda: page(number), page=number)


async def in_loop(cache: UnifiedCache, number: int) -> object:
    await asyncio.sleep(0)
    return cache.get_or_compute(lambda: page(number), page=number)


async def heartbeat(gaps: list[float]) -> None:
    last = perf_counter()
    while True:
        await asyncio.sleep(BEAT)
        now = perf_counter()
        gaps.append(now - last - BEAT)
        last = now


async def serve(cache: UnifiedCache, handler: Handler) -> tuple[list[float], float]:
    """Answer all requests; how late each heartbeat was, and the seconds that it took."""
    rng = random.Random(0)
    wanted = [
        KEYS + number if rng.random() < COLD else rng.randrange(KEYS) for number in range(REQUESTS)
    ]
    gaps: list[float] = []
    beats = asyncio.create_task(heartbeat(gaps))
    free = asyncio.Semaphore(AT_ONCE)

    async def answer(number: int) -> None:
        async with free:
            await handler(cache, number)

    start = perf_counter()
    await asyncio.gather(*map(answer, wanted))
    took = perf_counter() - start
    beats.cancel()
    return gaps, took


def measure(handler: Handler) -> str:
    with tempfile.TemporaryDirectory() as directory, UnifiedCache(directory) as cache:
        for number in range(KEYS):
            cache.put(os.urandom(2_000_000 if number % 10 == 0 else 4_000), page=number)
        cache.get_or_compute(lambda: page(1), page=-1)
        gaps, took = asyncio.run(serve(cache, handler))
    usual = statistics.median(gaps) if gaps else took
    longest = max(gaps, default=took)
    return (
        f"{handler.__name__:8} {REQUESTS / took:6.0f} requests a second, the loop late by "
        f"{1000 * usual:6.2f} ms (median), {1000 * longest:7.2f} ms (longest)"
    )


if __name__ == "__main__":
    for handler in (on_aio, in_loop, on_aio, in_loop):
        print(measure(handler))
