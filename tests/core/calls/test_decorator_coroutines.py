# SPDX-License-Identifier: MIT
"""Cached coroutine functions: one computation, a free loop, nothing left by a cancelled task."""

import asyncio
import os
import threading
import time
from typing import ClassVar

import pytest

from cacheness import (
    CachenessWarning,
    Handler,
    UnhashableParameterError,
    cached,
    register_handler,
    unregister_handler,
)


def test_tasks_that_call_the_same_share_one_computation(cache, calls):
    @cached(cache=cache)
    async def f(a):
        calls.append(a)
        await asyncio.sleep(0.05)
        return [a]

    async def main():
        return await asyncio.gather(*(f(1) for _ in range(20)), f(2))

    assert asyncio.run(main()) == [[1]] * 20 + [[2]]
    assert sorted(calls) == [1, 2]
    assert asyncio.run(f(1)) == [1]
    assert len(calls) == 2
    assert f.cache_info() == (20, 2, 0)


def test_without_single_flight_each_computes(cache, calls):
    async def main():
        together = asyncio.Barrier(3)

        @cached(cache=cache, single_flight=False, code="off")
        async def f(a):
            calls.append(a)
            await together.wait()
            return a

        return await asyncio.gather(*(f(1) for _ in range(3)))

    assert asyncio.run(main()) == [1, 1, 1]
    assert len(calls) == 3


def test_a_cancelled_task_releases_the_others(cache, calls):
    @cached(cache=cache)
    async def f(a):
        calls.append(a)
        if len(calls) == 1:
            await asyncio.sleep(3600)
        return a

    async def main():
        first = asyncio.create_task(f(1))
        while not calls:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(f(1))
        await asyncio.sleep(0.02)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(main()) == 1
    assert calls == [1, 1]


class Probe:
    """Tells which threads made a key of it, stored it and read it."""

    threads: ClassVar[dict[str, list[int]]] = {"key": [], "put": [], "get": []}

    def __cacheness_key__(self):
        self.threads["key"].append(threading.get_ident())
        return "probe"


class ProbeHandler(Handler):
    data_only = True

    def can_handle(self, obj):
        return type(obj) is Probe

    def put(self, obj, file_path):
        Probe.threads["put"].append(threading.get_ident())
        with open(file_path, "wb") as file:
            file.write(os.urandom(100_000))
        return {}

    def get(self, file_path):
        Probe.threads["get"].append(threading.get_ident())
        return Probe()


def test_nothing_large_is_done_on_the_loops_thread(cache):
    register_handler(ProbeHandler)

    @cached(cache=cache)
    async def f(probe):
        assert threading.get_ident() == loop_thread
        return probe

    loop_thread = threading.get_ident()
    try:
        for _ in range(2):
            assert type(asyncio.run(f(Probe()))) is Probe
    finally:
        unregister_handler(ProbeHandler.name)
    assert f.cache_info() == (1, 1, 0)
    assert {name: len(threads) > 0 for name, threads in Probe.threads.items()} == {
        "key": True,
        "put": True,
        "get": True,
    }
    assert all(loop_thread not in threads for threads in Probe.threads.values())


@pytest.mark.slow
def test_the_loop_goes_on_while_a_thread_computes_what_a_task_waits_for(cache, calls):
    @cached(cache=cache)
    async def f(a):
        calls.append(a)
        return a

    entered, ticked = threading.Event(), threading.Event()

    def lead():
        with cache.engine.flights.hold(f.cache_key(1), None):
            entered.set()
            assert ticked.wait(60)
            cache.put("the thread's", f.cache_key(1))

    async def main():
        thread = threading.Thread(target=lead)
        thread.start()
        await asyncio.to_thread(entered.wait)
        waiting = asyncio.create_task(f(1))
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert not waiting.done()
        ticked.set()
        value = await waiting
        thread.join()
        return value

    assert asyncio.run(main()) == "the thread's"
    assert calls == []


def test_the_other_operations_of_a_coroutine_function(cache, calls):
    @cached(cache=cache)
    async def f(a):
        calls.append(a)
        return [a, len(calls)]

    async def main():
        assert await f(1) == [1, 1]
        assert f.is_cached(1)
        assert await f.cache_refresh(1) == [1, 2]
        assert await f(1) == [1, 2]
        assert f.cache_invalidate(1)
        assert await f(1) == [1, 3]

    asyncio.run(main())


def test_errors_and_exceptions_as_of_plain_functions(cache, calls):
    @cached(cache=cache, cache_exceptions=LookupError)
    async def f(a):
        calls.append(a)
        raise KeyError(a)

    @cached(cache=cache)
    async def unkept(a):
        return threading.Lock()

    for _ in range(2):
        with pytest.raises(KeyError):
            asyncio.run(f(1))
    assert calls == [1]
    with pytest.raises(UnhashableParameterError):
        asyncio.run(f(threading.Lock()))
    with pytest.warns(CachenessWarning, match="is not kept"):
        asyncio.run(unkept(1))
    cache.close()
    with (
        pytest.warns(CachenessWarning, match="computes without its cache"),
        pytest.raises(KeyError),
    ):
        asyncio.run(f(1))


def test_a_stale_result_is_served_while_a_task_refreshes_it(cache, calls):
    async def main():
        gate = asyncio.Event()

        @cached(cache=cache, ttl_seconds=60, stale_seconds=3600, code="off")
        async def f(a):
            calls.append(a)
            if len(calls) > 1:
                await gate.wait()
            return len(calls)

        assert await f(1) == 1
        past = {"expires_at": time.time() - 1}
        assert cache.engine.backend.update_fields(f.cache_key(1), past)
        assert await asyncio.gather(*(f(1) for _ in range(5))) == [1] * 5
        gate.set()
        while await f(1) != 2:
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert len(calls) == 2
