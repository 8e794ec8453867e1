# SPDX-License-Identifier: MIT
"""A task that is cancelled at any of its steps keeps nothing that others wait for."""

import asyncio
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
