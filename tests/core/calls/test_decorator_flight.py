# SPDX-License-Identifier: MIT
"""Who calls the same at the same time shares one computation."""

import multiprocessing
import os
import threading
import time

import pytest

from cacheness import CachenessWarning, UnifiedCache, cached


def together(count, function):
    results = []
    barrier = threading.Barrier(count)

    def run():
        barrier.wait()
        results.append(function())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.slow
def test_threads_share_one_computation(cache, calls):
    @cached(cache=cache)
    def f(a):
        calls.append(a)
        time.sleep(0.2)
        return [a]

    assert together(12, lambda: f(1)) == [[1]] * 12
    assert calls == [1]
    assert f.cache_info() == (11, 1, 0)


def test_a_cold_call_counts_as_one_miss_of_the_cache(cache):
    f = cached(lambda a: a, cache=cache, cache_exceptions=KeyError)

    f(1), f(1)

    stats = cache.stats()
    assert (stats.hits, stats.misses) == (1, 1)


def test_without_single_flight_each_computes(cache, calls):
    inside = threading.Barrier(3)

    @cached(cache=cache, single_flight=False, code="off")
    def f(a):
        calls.append(a)
        inside.wait(60)
        return [a]

    assert together(3, lambda: f(1)) == [[1]] * 3
    assert calls == [1, 1, 1]


@pytest.mark.slow
def test_a_wait_that_takes_too_long_computes(cache, calls):
    gate = threading.Event()

    @cached(cache=cache, flight_timeout=0.1)
    def f(a):
        calls.append(a)
        if len(calls) == 1:
            gate.wait(20)
        return len(calls)

    first = threading.Thread(target=f, args=(1,))
    first.start()
    while not calls:
        time.sleep(0.001)
    assert f(1) == 2
    gate.set()
    first.join()


@pytest.mark.slow
def test_who_waits_for_one_that_raises_computes(cache, calls):
    @cached(cache=cache)
    def f(a):
        calls.append(a)
        time.sleep(0.1)
        if len(calls) == 1:
            raise ValueError("the first")
        return a

    def call():
        try:
            return f(1)
        except ValueError as error:
            return str(error)

    assert sorted(map(str, together(4, call))) == ["1", "1", "1", "the first"]
    assert len(calls) == 2


@pytest.mark.slow
def test_an_exception_that_is_kept_is_shared(cache, calls):
    @cached(cache=cache, cache_exceptions=ValueError)
    def f(a):
        calls.append(a)
        time.sleep(0.1)
        raise ValueError("kept")

    def call():
        try:
            return f(1)
        except ValueError as error:
            return str(error)

    assert together(4, call) == ["kept"] * 4
    assert len(calls) == 1


@pytest.mark.slow
def test_a_call_that_is_not_kept_is_not_waited_for_one_by_one(cache, calls):
    """With ``cache_if`` saying no each computes, and nobody waits for ever."""

    @cached(cache=cache, cache_if=lambda result: False)
    def f(a):
        calls.append(a)
        time.sleep(0.05)
        return a

    assert together(4, lambda: f(1)) == [1] * 4
    assert len(calls) == 4


def test_a_circle_of_threads_computes(cache):
    inside = threading.Barrier(2)

    @cached(cache=cache)
    def one(depth):
        if depth:
            inside.wait(20)
            return two(0) + 1
        return 1

    @cached(cache=cache)
    def two(depth):
        if depth:
            inside.wait(20)
            return one(0) + 1
        return 1

    results = []
    threads = [threading.Thread(target=lambda f=f: results.append(f(1))) for f in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [2, 2]


def count_in_process(directory, log, barrier):
    cache = UnifiedCache(directory)

    @cached(cache=cache)
    def f(a):
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        return a

    barrier.wait(60)
    assert f(1) == 1
    cache.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_one_computation(tmp_path, method):
    context = multiprocessing.get_context(method)
    barrier = context.Barrier(4)
    log = tmp_path / "log"
    UnifiedCache(tmp_path / "cache").close()
    workers = [
        context.Process(target=count_in_process, args=(tmp_path / "cache", log, barrier))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(90)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(log.read_text().split()) == 1


def test_a_read_only_cache_does_not_wait(tmp_path, calls):
    UnifiedCache(tmp_path).close()
    with UnifiedCache(tmp_path, read_only=True) as cache:
        inside = threading.Barrier(3)

        @cached(cache=cache, code="off")
        def f(a):
            calls.append(a)
            if len(calls) < 4:
                inside.wait(60)
            return a

        together(3, lambda: f(1))
        assert len(calls) == 3
    with pytest.warns(CachenessWarning):
        f(1)
