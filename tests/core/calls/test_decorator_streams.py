# SPDX-License-Identifier: MIT
"""Cached generators: items are stored while they are taken, and replayed one by one."""

import asyncio
import os
import sys
import tracemalloc

import numpy as np
import pytest

from cacheness import (
    CachenessWarning,
    ConfigError,
    UnifiedCache,
    cached,
)


def blobs(cache):
    return [name for name, _, _ in cache.engine.blobs().iter_blobs()]


def leftovers(cache):
    return list(cache.engine.blobs().iter_leftovers(older_than=-60))


def noise(first):
    """An array that nothing compresses, and that begins with a number."""
    array = np.random.default_rng(first).random(200_000)
    array[0] = first
    return array


MIXED = [
    1,
    "text",
    2.5,
    None,
    True,
    float("inf"),
    1 << 80,
    b"bytes",
    (1, "tuple"),
    {"a": [1, 2]},
    {3, 4},
    np.arange(5),
    {"frame": np.ones((2, 3)), "more": [np.zeros(1)]},
    "after",
]


def same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert type(a) is type(b)
        if isinstance(a, np.ndarray):
            assert np.array_equal(a, b)
        elif isinstance(a, dict) and "frame" in a:
            assert np.array_equal(a["frame"], b["frame"])
        else:
            assert a == b


def test_items_of_every_kind_come_back_as_they_were(cache, calls):
    @cached(cache=cache)
    def f(n):
        calls.append(n)
        yield from MIXED * n

    for n in (1, 3):
        same(list(f(n)), MIXED * n)
        same(list(f(n)), MIXED * n)
    assert calls == [1, 3]
    assert f.cache_info() == (2, 2, 0)


def test_an_empty_one_and_one_with_a_value_at_its_end(cache, calls):
    @cached(cache=cache)
    def f(n):
        calls.append(n)
        yield from range(n)
        return {"sum": sum(range(n))}

    def outer(n):
        returned = yield from f(n)
        yield returned

    for n in (0, 3):
        assert list(outer(n)) == list(outer(n)) == [*range(n), {"sum": sum(range(n))}]
    assert calls == [0, 3]


@pytest.mark.slow
def test_many_items_and_large_ones_lie_in_a_tar_of_members(cache, calls):
    import tarfile

    @cached(cache=cache)
    def f(n):
        calls.append(n)
        for i in range(n):
            yield i
        for i in range(4):
            yield np.random.default_rng(i).random(200_000)
        return "end"

    first, second = list(f(50_000)), list(f(50_000))
    assert first[:50_000] == second[:50_000] == list(range(50_000))
    assert all(np.array_equal(a, b) for a, b in zip(first[50_000:], second[50_000:], strict=True))
    assert calls == [50_000]
    [name] = blobs(cache)
    with tarfile.open(cache.engine.blobs().path_of(name)) as tar:
        names = tar.getnames()
    assert names[-1] == "manifest.json"
    assert len(names) >= 5
    assert leftovers(cache) == []


def test_a_small_one_lies_in_its_entry(cache):
    @cached(cache=cache)
    def f():
        yield from range(10)

    list(f())
    entry = cache.get_entry(f.cache_key())
    assert entry.handler == "stream"
    assert entry.summary == "stream of 10"
    assert entry.inline is not None
    assert entry.signature is None
    assert blobs(cache) == []


def test_items_that_need_pickle_are_signed(cache):
    @cached(cache=cache)
    def f():
        yield {1, 2}

    list(f())
    assert cache.get_entry(f.cache_key()).signature is not None
    assert list(f()) == [{1, 2}]
    assert f.cache_info() == (1, 1, 0)


def test_an_item_is_stored_as_it_was_when_it_was_given(cache):
    @cached(cache=cache)
    def f():
        row = []
        for i in range(3):
            row.append(i)
            yield row

    given = []
    for row in f():
        given.append(list(row))
        row.append("the consumer's")
        row.pop()
    assert list(f()) == given == [[0], [0, 1], [0, 1, 2]]


def test_what_is_abandoned_or_raises_is_not_stored(cache, calls):
    @cached(cache=cache)
    def f(fails):
        calls.append(fails)
        for i in range(5):
            yield noise(i)
        if fails:
            raise ZeroDivisionError

    half = f(False)
    next(half), next(half)
    half.close()
    del half
    with pytest.raises(ZeroDivisionError):
        list(f(True))
    assert len(cache) == 0
    assert blobs(cache) == []
    assert leftovers(cache) == []
    assert len(list(f(False))) == 5
    assert len(list(f(False))) == 5
    assert calls == [False, True, False]


def test_the_function_is_closed_when_its_consumer_leaves(cache, calls):
    @cached(cache=cache)
    def f():
        try:
            yield 1
            yield 2
        finally:
            calls.append("closed")

    for item in f():
        assert item == 1
        break
    assert calls == ["closed"]


def test_nothing_can_be_sent(cache):
    @cached(cache=cache)
    def f():
        yield 1
        yield 2

    cold = f()
    next(cold)
    with pytest.raises(TypeError, match="can't depend on what it is sent"):
        cold.send("x")
    list(f())
    warm = f()
    next(warm)
    with pytest.raises(TypeError, match="can't depend on what it is sent"):
        warm.send("x")
    with pytest.raises(KeyError):
        f().throw(KeyError())


def test_two_consumers_of_a_cold_one_do_not_wait_for_each_other(cache, calls):
    @cached(cache=cache)
    def f():
        calls.append(1)
        yield from range(5)

    one, two = f(), f()
    assert [next(one), next(two), next(one)] == [0, 0, 1]
    assert list(two) == [1, 2, 3, 4]
    assert list(f()) == [0, 1, 2, 3, 4]
    assert list(one) == [2, 3, 4]
    assert len(calls) == 2


@pytest.mark.slow
def test_memory_stays_flat_both_ways(cache):
    """Of 40 MB in 40 items a few are in memory at a time."""

    @cached(cache=cache)
    def f():
        for i in range(40):
            yield os.urandom(1 << 20) + bytes([i])

    for _ in range(2):
        tracemalloc.start()
        last = [item[-1] for item in f()]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert last == list(range(40))
        assert peak < 12 << 20
    assert f.cache_info() == (1, 1, 0)


def test_a_stream_that_is_replaced_meanwhile_is_read_to_its_end(cache):
    @cached(cache=cache)
    def f():
        for i in range(4):
            yield noise(i)

    list(f())
    old = f()
    assert next(old)[0] == 0
    assert len(list(f.cache_refresh())) == 4
    f.cache_clear()
    assert blobs(cache) == []
    assert [item[0] for item in old] == [1, 2, 3]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_the_file_is_open_only_while_it_is_read(cache):
    @cached(cache=cache)
    def f():
        for i in range(4):
            yield noise(i)

    def is_open():
        return [
            path
            for fd in os.listdir("/proc/self/fd")
            if os.path.lexists(f"/proc/self/fd/{fd}")
            and (path := os.readlink(f"/proc/self/fd/{fd}")).endswith(".tar")
        ]

    list(f())
    assert is_open() == []
    reading = f()
    next(reading)
    assert len(is_open()) == 1
    reading.close()
    assert is_open() == []
    list(f())
    assert is_open() == []


def damage(cache, where):
    """Write over a part of the only blob."""
    [name] = blobs(cache)
    path = cache.engine.blobs().path_of(name)
    with open(path, "r+b") as file:
        file.seek(where(os.path.getsize(path)))
        file.write(b"damage")


def test_damage_in_the_middle_costs_a_computation_and_no_item(cache, calls):
    @cached(cache=cache)
    def f():
        calls.append(1)
        for i in range(6):
            yield noise(i)

    list(f())
    damage(cache, lambda size: size // 2)
    with pytest.warns(CachenessWarning, match="damaged at byte"):
        assert [item[0] for item in f()] == [0, 1, 2, 3, 4, 5]
    assert len(calls) == 2
    assert [item[0] for item in f()] == [0, 1, 2, 3, 4, 5]
    assert len(calls) == 2


def test_a_damaged_index_is_a_miss(cache, calls):
    @cached(cache=cache)
    def f():
        calls.append(1)
        for i in range(6):
            yield noise(i)

    list(f())
    damage(cache, lambda size: size - 1300)
    with pytest.warns(CachenessWarning):
        assert [item[0] for item in f()] == [0, 1, 2, 3, 4, 5]
    assert len(calls) == 2


def test_what_cant_be_stored_is_given_all_the_same(cache, calls):
    @cached(cache=cache)
    def f():
        calls.append(1)
        yield 1
        yield sys._getframe()
        yield 3

    with pytest.warns(CachenessWarning, match="is not kept"):
        items = list(f())
    assert [items[0], items[2]] == [1, 3]
    assert len(cache) == 0
    assert f.cache_info().errors == 1


@pytest.mark.slow
def test_a_get_gives_an_iterator(cache):
    @cached(cache=cache)
    def f(n):
        yield from range(n)

    for n in (10, 400_000):
        list(f(n))
        with cache.get(f.cache_key(n)) as stored:
            assert next(stored) == 0
            assert sum(1 for _ in stored) == n - 1


def test_read_only_and_disabled_caches_store_nothing(cache, calls, tmp_path):
    import cacheness

    @cached(cache=cache)
    def f():
        calls.append(1)
        yield 1

    with cacheness.disabled():
        assert list(f()) == list(f()) == [1]
    assert len(cache) == 0
    with UnifiedCache(cache.config.replace(read_only=True)) as reading:
        g = cached(f.__wrapped__, cache=reading)
        assert list(g()) == [1]
    assert len(calls) == 3


@pytest.mark.parametrize(
    "option",
    [
        {"cache_if": bool},
        {"ttl_seconds": lambda result: 1},
        {"cache_exceptions": ValueError},
        {"stale_seconds": 5, "ttl_seconds": 1},
        {"refresh_errors": "stale"},
        {"mmap": True},
    ],
)
def test_options_that_need_one_result_are_refused(cache, option):
    def f():
        yield

    async def g():
        yield

    for function in (f, g):
        with pytest.raises(ConfigError, match="can't be used with the generator"):
            cached(function, cache=cache, **option)


# --- async generators ---------------------------------------------------------------------


async def taken(items):
    return [item async for item in items]


def test_async_generators_are_stored_and_replayed(cache, calls):
    @cached(cache=cache)
    async def f(n):
        calls.append(n)
        for item in MIXED * n:
            await asyncio.sleep(0)
            yield item

    for n in (0, 1, 3):
        same(asyncio.run(taken(f(n))), MIXED * n)
        same(asyncio.run(taken(f(n))), MIXED * n)
    assert calls == [0, 1, 3]


@pytest.mark.slow
def test_async_generators_with_large_items(cache, calls):
    @cached(cache=cache)
    async def f():
        calls.append(1)
        for i in range(20_000):
            yield i
        for i in range(4):
            yield noise(i)

    first, second = asyncio.run(taken(f())), asyncio.run(taken(f()))
    assert first[:20_000] == second[:20_000]
    assert [a[0] for a in second[20_000:]] == [0, 1, 2, 3]
    assert calls == [1]
    assert leftovers(cache) == []


def test_an_abandoned_or_cancelled_async_generator_stores_nothing(cache, calls):
    @cached(cache=cache)
    async def f():
        try:
            yield noise(1)
            yield noise(2)
            calls.append("waiting")
            await asyncio.sleep(3600)
        finally:
            calls.append("closed")

    async def leave():
        items = f()
        await anext(items)
        await items.aclose()

    async def cancel():
        task = asyncio.create_task(taken(f()))
        while len(calls) < 2:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    asyncio.run(cancel())
    assert calls == ["closed", "waiting", "closed"]
    assert len(cache) == 0
    assert leftovers(cache) == []


def test_nothing_can_be_sent_to_an_async_generator(cache):
    @cached(cache=cache)
    async def f():
        yield 1
        yield 2

    async def main():
        items = f()
        await anext(items)
        with pytest.raises(TypeError, match="can't depend on what it is sent"):
            await items.asend("x")

    asyncio.run(main())
