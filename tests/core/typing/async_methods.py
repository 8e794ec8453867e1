# SPDX-License-Identifier: MIT
"""What type checkers are to see of `cache.aio`; read by them alone, never run."""

from typing import assert_type

from cacheness import Entry, UnifiedCache
from cacheness.aio import AsyncCache


async def awaited() -> int:
    return 1


def called() -> str:
    return ""


async def uses(cache: UnifiedCache) -> None:
    assert_type(await cache.aio.put([1], "k", tags=("t",), ttl_seconds="1h"), str)
    assert_type(await cache.aio.exists(model="a", lr=0.1), bool)
    assert_type(await cache.aio.get_entry("k"), Entry | None)
    assert_type(await cache.aio.get_or_compute(awaited, model="a"), int)
    assert_type(await cache.aio.get_or_compute(called, "k", flight_timeout=3), str)
    assert_type(cache.get_or_compute(called, "k"), str)
    async for key in cache.aio:
        assert_type(key, str)
    async with cache.aio as entered:
        assert_type(entered, AsyncCache)

    await cache.aio.put([1], "k", prefix=3)  # error
    await cache.aio.exists(7)  # error
    await cache.aio.get_or_compute(called, "k", prefix=3)  # error
    await cache.aio.get_or_compute(7, "k")  # error
    await cache.aio.nothing()  # error
