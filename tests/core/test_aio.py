# SPDX-License-Identifier: MIT
"""`cache.aio` gives the cache's methods as coroutines, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cacheness import CacheClosedError, Handler, UnifiedCache, register_handler, unregister_handler
from cacheness.aio import AsyncCache
from cacheness.aio_pool import Pool
from cacheness.testing.store import forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60
"""Seconds until something is taken to hang."""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[UnifiedCache]:
    with UnifiedCache(tmp_path / "cache") as cache:
        yield cache


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


class Gate:
    """A value whose put waits in its thread until it may go on."""

    begun = threading.Event()
    may_go = threading.Event()
    threads: list[str] = []  # noqa: RUF012


@pytest.fixture
def gate() -> Iterator[type[Gate]]:
    class GateHandler(Handler):
        data_only = True

        def can_handle(self, obj: object) -> bool:
            return isinstance(obj, Gate)

        def put(self, obj: Any, file_path: str) -> dict[str, Any]:
            Gate.threads.append(threading.current_thread().name)
            Gate.begun.set()
            assert Gate.may_go.wait(PATIENCE)
            with open(file_path, "wb") as file:
                file.write(b"gate")
            return {}

        def get(self, file_path: str) -> Any:
            with open(file_path, "rb") as file:
                return file.read()

    register_handler(priority=1000)(GateHandler)
    Gate.begun.clear()
    Gate.may_go.clear()
    Gate.threads.clear()
    yield Gate
    Gate.may_go.set()
    unregister_handler("gate")


# --- the methods ----------------------------------------------------------------------------


def test_no_public_method_of_a_cache_is_missing() -> None:
    not_calls = {"aio", "cached", "details"}
    methods = {
        name
        for name, of in inspect.getmembers(UnifiedCache)
        if callable(of) and not name.startswith("_")
    }

    missing = methods - not_calls - set(vars(AsyncCache))

    assert missing == set()


def test_each_method_has_the_signature_and_the_docstring_of_its_namesake() -> None:
    for name in ("put", "get", "exists", "invalidate", "clear"):
        mine, namesake = getattr(AsyncCache, name), getattr(UnifiedCache, name)
        assert inspect.iscoroutinefunction(mine), name
        assert inspect.signature(mine) == inspect.signature(namesake)
        assert mine.__doc__ == namesake.__doc__


def test_what_one_stores_the_other_reads(cache: UnifiedCache) -> None:
    async def main() -> None:
        key = await cache.aio.put({"score": 0.9}, model="a", prefix="p")
        assert await cache.aio.get(model="a") == {"score": 0.9}
        assert await cache.aio.get("none", default=3) == 3
        assert await cache.aio.add(1, "k")
        assert not await cache.aio.add(2, "k")
        assert await cache.aio.exists("k")
        assert await cache.aio.open("k") == 1
        value, entry = await cache.aio.get_with_metadata(model="a")
        assert (value, entry.prefix) == ({"score": 0.9}, "p")
        assert (await cache.aio.get_entry(key)).cache_key == key
        assert await cache.aio.invalidate("k")
        assert await cache.aio.clear("p") == 1

    run(main())

    assert len(cache) == 0


def test_self_may_be_a_parameter(cache: UnifiedCache) -> None:
    async def main() -> None:
        key = await cache.aio.put("value", self=1)

        assert await cache.aio.get(self=1) == "value"
        assert await cache.aio.get_or_compute(lambda: "other", self=1) == "value"
        assert await cache.aio.query_meta(self=1) == [key]
        assert [entry.cache_key async for entry in cache.aio.entries(self=1)] == [key]

    run(main())


def test_many_entries_at_once_and_streamed(cache: UnifiedCache) -> None:
    async def main() -> None:
        names = [{"number": number} for number in range(600)]
        keys = await cache.aio.put_batch(((n["number"], n) for n in names), prefix="p")
        assert await cache.aio.get_batch(names) == list(range(600))
        found = [entry.cache_key async for entry in cache.aio.entries(number__lt=300)]
        assert sorted(found) == sorted(keys[:300])
        assert await cache.aio.delete_matching(number__gte=300) == 300
        assert await cache.aio.delete_where(lambda summary: True) == 300

    run(main())


def test_errors_come_through(cache: UnifiedCache) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="one"):
            await cache.aio.get()

    run(main())


def test_iterating_gives_every_cache_key(cache: UnifiedCache) -> None:
    for number in range(700):
        cache.put(number, f"k{number}")

    async def main() -> list[str]:
        return [key async for key in cache.aio]

    assert sorted(run(main())) == sorted(cache)


# --- the pool -------------------------------------------------------------------------------


def test_every_call_runs_in_a_thread_of_the_pool_and_the_loop_goes_on(
    cache: UnifiedCache, gate: type[Gate]
) -> None:
    async def main() -> int:
        beats = 0
        puts = [asyncio.ensure_future(cache.aio.put(gate(), f"k{n}")) for n in range(3)]
        # The loop turns a thousand times while three puts wait in their threads.
        for _ in range(1000):
            beats += not any(put.done() for put in puts)
            await asyncio.sleep(0)
        gate.may_go.set()
        await asyncio.gather(*puts)
        return beats

    assert run(main()) == 1000
    assert len(gate.threads) == 3
    assert all(name.startswith("cacheness-aio-") for name in gate.threads)


def test_there_are_never_more_threads_than_the_pool_says() -> None:
    pool = Pool(3)
    lock, running, most = threading.Lock(), set(), []

    def call() -> None:
        with lock:
            running.add(threading.get_ident())
            most.append(len(running))
        threading.Event().wait(0.001)
        with lock:
            running.discard(threading.get_ident())

    async def main() -> None:
        await asyncio.gather(*(pool.run(call) for _ in range(100)))

    run(main())
    pool.stop()

    assert len(most) == 100
    assert max(most) <= 3


def test_no_thread_is_started_before_the_first_call(cache: UnifiedCache) -> None:
    before = threading.active_count()

    assert cache.aio.pool.size <= 32
    assert threading.active_count() == before


def test_the_task_s_context_is_the_call_s() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    pool = Pool(1)

    async def main() -> str:
        variable.set("the task's")
        return await pool.run(variable.get)

    assert run(main()) == "the task's"
    pool.stop()


def test_a_cancelled_put_returns_at_once_and_the_put_finishes(
    cache: UnifiedCache, gate: type[Gate]
) -> None:
    async def main() -> None:
        put = asyncio.ensure_future(cache.aio.put(gate(), "k"))
        while not gate.begun.is_set():
            await asyncio.sleep(0.001)
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        assert not await cache.aio.exists("k")
        gate.may_go.set()
        await cache.aio.pool.idle()

    run(main())

    assert cache.get("k") == b"gate"


def test_a_call_that_is_cancelled_before_it_began_is_dropped() -> None:
    pool = Pool(1)
    may_go, calls = threading.Event(), []

    async def main() -> None:
        first = asyncio.ensure_future(pool.run(may_go.wait, PATIENCE))
        second = asyncio.ensure_future(pool.run(calls.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        may_go.set()
        await first
        await pool.run(calls.append, 2)

    run(main())
    pool.stop()

    assert calls == [2]


def test_a_forked_child_starts_threads_of_its_own(cache: UnifiedCache) -> None:
    run(cache.aio.put("parent's", "k"))

    assert forked(lambda: run(cache.aio.get("k"))) == "parent's"


# --- its life -------------------------------------------------------------------------------


def test_leaving_it_lets_the_calls_finish_and_closes_the_cache(
    cache: UnifiedCache, gate: type[Gate]
) -> None:
    async def main() -> None:
        async with cache.aio as aio:
            put = asyncio.ensure_future(aio.put(gate(), "k"))
            while not gate.begun.is_set():
                await asyncio.sleep(0.001)
            asyncio.get_running_loop().call_soon(gate.may_go.set)
        assert await put == "k"
        with pytest.raises(CacheClosedError):
            await aio.get("k")
        await aio.close()

    run(main())

    assert cache.engine.closed
    with UnifiedCache(cache.config.cache_dir) as again:
        assert again.get("k") == b"gate"


def test_closing_the_cache_ends_the_threads(cache: UnifiedCache) -> None:
    def named() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name.startswith("cacheness-aio-")]

    before = named()
    run(cache.aio.put(1, "k"))
    (mine,) = [thread for thread in named() if thread not in before]
    cache.close()
    mine.join(PATIENCE)

    assert not mine.is_alive()


HANGS = """
import asyncio, sys, threading
from cacheness import UnifiedCache, aio_pool
aio_pool._AT_EXIT = 0.1

async def main():
    cache = UnifiedCache(sys.argv[1])
    asyncio.create_task(cache.aio.get_or_compute(threading.Event().wait, "k"))
    await cache.aio.put(1, "other")
    await asyncio.sleep(0.1)

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_call_that_hangs_does_not_keep_the_interpreter(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANGS, str(tmp_path)]

    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0


FINISHES = """
import asyncio, sys, time
from cacheness import Handler, UnifiedCache, register_handler

class Slow: ...

@register_handler(priority=1000)
class SlowHandler(Handler):
    data_only = True
    def can_handle(self, obj): return isinstance(obj, Slow)
    def put(self, obj, file_path):
        open(sys.argv[2], "w").close()
        time.sleep(0.5)
        open(file_path, "wb").close()
        return {}
    def get(self, file_path): return None

async def main():
    import os
    cache = UnifiedCache(sys.argv[1])
    task = asyncio.create_task(cache.aio.put(Slow(), "k"))
    while not os.path.exists(sys.argv[2]):
        await asyncio.sleep(0.01)

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_put_that_is_under_way_when_the_interpreter_exits_finishes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FINISHES, str(tmp_path / "cache"), str(tmp_path / "begun")]

    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0
    assert UnifiedCache(tmp_path / "cache").exists("k")


# --- get_or_compute -------------------------------------------------------------------------


async def awaited() -> str:
    await asyncio.sleep(0)
    return threading.current_thread().name


@pytest.mark.parametrize(
    ("function", "runs_in"),
    [
        (awaited, "MainThread"),
        (lambda: awaited(), "MainThread"),
        (lambda: threading.current_thread().name, "cacheness-aio-"),
    ],
    ids=["coroutine function", "gives a coroutine", "function"],
)
def test_computes_a_coroutine_in_the_task_and_a_function_in_the_pool(
    cache: UnifiedCache, function: Callable[[], Any], runs_in: str
) -> None:
    async def main() -> list[str]:
        return await asyncio.gather(
            *(cache.aio.get_or_compute(function, model="a") for _ in range(20))
        )

    results = run(main())

    assert len(set(results)) == 1
    assert results[0].startswith(runs_in)
    assert cache.get(model="a") == results[0]


@pytest.mark.slow
def test_those_who_wait_for_another_s_computation_take_no_thread(cache: UnifiedCache) -> None:
    size = cache.aio.pool.size

    async def main() -> list[Any]:
        done = asyncio.Event()

        async def compute() -> str:
            await done.wait()
            return "computed"

        calls = [
            asyncio.ensure_future(cache.aio.get_or_compute(compute, "k")) for _ in range(5 * size)
        ]
        await asyncio.sleep(0.1)
        # With every thread of the pool taken this would not come back.
        await cache.aio.put("other", "other")
        done.set()
        return await asyncio.gather(*calls)

    assert run(main()) == ["computed"] * (5 * size)


def test_where_the_computing_task_is_cancelled_the_next_computes(cache: UnifiedCache) -> None:
    calls = []

    async def compute() -> str:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return "second"

    async def main() -> str:
        first = asyncio.create_task(cache.aio.get_or_compute(compute, "k"))
        while not calls:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(cache.aio.get_or_compute(compute, "k"))
        await asyncio.sleep(0.05)
        first.cancel()
        return await second

    assert run(main()) == "second"
    assert len(calls) == 2


def test_mistakes_are_raised_before_anything_is_computed(cache: UnifiedCache) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="without arguments"):
            await cache.aio.get_or_compute(7, "k")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="mmap"):
            await cache.aio.get_or_compute(os.getpid, a=1, mmap=True)

    run(main())
