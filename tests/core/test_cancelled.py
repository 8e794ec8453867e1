# SPDX-License-Identifier: MIT
"""A task that is cancelled at any of its steps keeps nothing that others wait for."""

import asyncio
import inspect
import threading
from functools import partial

import pytest

from cacheness import UnifiedCache
from cacheness.flights.table import table

MOST = 100
"""More steps than any of these calls takes."""


class Stepping:
    """Goes on with a coroutine as `await` does, and has its task cancelled at the n-th wait."""

    def __init__(self, coroutine, at):
        self._coroutine = coroutine
        self._at = at
        self.waits = 0

    def __await__(self):
        inner = self._coroutine.__await__()
        step, given = inner.send, None
        while True:
            try:
                waited = step(given)
            except StopIteration as done:
                return done.value
            if self.waits == self._at:
                asyncio.current_task().cancel()
            self.waits += 1
            try:
                step, given = inner.send, (yield waited)
            except BaseException as error:  # it is the coroutine's
                step, given = inner.throw, error


async def slow(value):
    for _ in range(3):
        await asyncio.sleep(0.001)
    return [value]


CALLS = {
    "put": lambda cache, _cached, n: cache.aio.put([n], "k"),
    "get": lambda cache, _cached, n: cache.aio.get("stands"),
    "put_batch": lambda cache, _cached, n: cache.aio.put_batch([([n], "k"), ([n], "l")]),
    "get_or_compute": lambda cache, _cached, n: cache.aio.get_or_compute(partial(slow, n), f"c{n}"),
    "invalidate": lambda cache, _cached, n: cache.aio.invalidate("k"),
    "cached": lambda cache, cached, n: cached(n),
}


async def cancelled_everywhere(cache, cached, call, check):
    """Cancel the call at one wait after the other, until it ends before; how many there were."""
    for number in range(MOST):
        stepping = Stepping(CALLS[call](cache, cached, number), number)

        async def act(of=stepping):
            return await of

        (outcome,) = await asyncio.gather(asyncio.create_task(act()), return_exceptions=True)
        assert outcome is None or not isinstance(outcome, Exception), outcome
        await asyncio.wait_for(check(number), 20)
        if stepping.waits <= number:
            return number
    raise AssertionError("it never came to an end")


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_a_cancelled_call_leaves_nothing_held(tmp_path, call):
    with UnifiedCache(tmp_path, lock_timeout=5) as cache, UnifiedCache(tmp_path) as other:
        cache.put("value", "stands")
        cached = cache.cached(slow, flight_timeout=5)
        again = other.cached(slow, flight_timeout=5)

        async def check(number):
            """Whoever asks for the same next gets it, here and by another cache."""
            assert await cached(number) == [number]
            assert await again(number) == [number]
            computed = await other.aio.get_or_compute(lambda: slow(number), f"c{number}")
            assert computed == [number]
            await cache.aio.put([number], "k")
            assert await other.aio.get("k") == [number]
            assert table._flights == {}

        async def all_of_it():
            assert await cached(-1) == [-1]
            return await cancelled_everywhere(cache, cached, call, check)

        taken = asyncio.run(all_of_it())

    assert taken >= 1


@pytest.mark.parametrize("result_comes", ["first", "later"])
@pytest.mark.filterwarnings("error")
def test_the_coroutine_of_a_plain_function_is_not_left_when_its_task_is_cancelled(
    tmp_path, result_comes
):
    begun, go_on, given = threading.Event(), threading.Event(), []

    def function():
        begun.set()
        assert go_on.wait(10)
        given.append(slow(1))
        return given[0]

    async def cancelled():
        with UnifiedCache(tmp_path) as cache:
            task = asyncio.create_task(cache.aio.get_or_compute(function, "k"))
            while not begun.is_set():
                await asyncio.sleep(0.001)
            if result_comes == "first":
                go_on.set()
                while not given:  # the loop does not take it before the task is cancelled
                    pass
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go_on.set()
            while not given or inspect.getcoroutinestate(given[0]) != inspect.CORO_CLOSED:
                await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(cancelled(), 10))
