# SPDX-License-Identifier: MIT
"""Results past their time: served while one computes them anew, or when that fails."""

import threading
import time

import pytest

from cacheness import CachenessWarning, cached


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def expire(cache, key):
    """As if the time to live had just run out."""
    entry = cache.engine.backend.get_entry(key)
    past = time.time() - 1
    assert cache.engine.backend.update_fields(key, {"expires_at": past})
    return entry


def good_once(calls):
    """A function that gives a result the first time, and raises from then on."""

    def f(a):
        calls.append(a)
        if len(calls) > 1:
            raise OSError("the service is down")
        return "old"

    return f


def test_a_stale_result_is_served_at_once_and_refreshed_once(cache, calls):
    gate = threading.Event()

    @cached(cache=cache, ttl_seconds=60, stale_seconds=3600)
    def f(a):
        calls.append(threading.current_thread().name)
        if len(calls) > 1:
            gate.wait(20)
        return len(calls)

    assert f(1) == 1
    entry = expire(cache, f.cache_key(1))
    assert entry.stale_until == pytest.approx(entry.expires_at + 3600, abs=1)
    assert [f(1) for _ in range(10)] == [1] * 10
    gate.set()
    wait_until(lambda: f(1) == 2)
    assert calls == [threading.main_thread().name, "cacheness-refresh"]


def test_a_plain_get_takes_it_for_a_miss_and_leaves_it(cache):
    @cached(cache=cache, ttl_seconds=60, stale_seconds=3600)
    def f(a):
        return a

    f(1)
    key = f.cache_key(1)
    expire(cache, key)
    assert cache.get(key, default="miss") == "miss"
    assert not f.is_cached(1)
    assert cache.engine.backend.get_entry(key) is not None


def test_after_its_window_it_is_a_miss_and_removed(cache, calls):
    @cached(cache=cache, ttl_seconds=60, stale_seconds=3600)
    def f(a):
        calls.append(a)
        return len(calls)

    f(1)
    key = f.cache_key(1)
    past = time.time() - 1
    cache.engine.backend.update_fields(key, {"expires_at": past - 1, "stale_until": past})
    assert cache.get(key) is None
    assert cache.engine.backend.get_entry(key) is None
    assert f(1) == 2


@pytest.mark.slow
def test_many_threads_start_one_refresh(cache, calls):
    @cached(cache=cache, ttl_seconds=60, stale_seconds=3600)
    def f(a):
        calls.append(a)
        time.sleep(0.05)
        return len(calls)

    f(1)
    expire(cache, f.cache_key(1))
    results = []
    threads = [threading.Thread(target=lambda: results.append(f(1))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: f.is_cached(1))
    assert len(calls) == 2
    assert set(results) <= {1, 2}
    assert 1 in results


def test_a_refresh_that_fails_is_told_and_the_stale_result_stays(cache, calls):
    f = cached(good_once(calls), cache=cache, ttl_seconds=60, stale_seconds=3600)

    f(1)
    expire(cache, f.cache_key(1))
    told = []
    original = threading.excepthook
    threading.excepthook = lambda args: told.append(args.exc_value)
    try:
        assert f(1) == "old"
        wait_until(lambda: len(calls) == 2 and told)
    finally:
        threading.excepthook = original
    # Warnings are errors in these tests, so it ended the thread.
    assert isinstance(told[0], CachenessWarning)
    assert "could not be refreshed" in str(told[0])
    assert f(1) == "old"


def test_refresh_errors_stale_gives_the_expired_result_where_computing_raises(cache, calls):
    f = cached(good_once(calls), cache=cache, ttl_seconds=60, refresh_errors="stale")

    assert f(1) == "old"
    expire(cache, f.cache_key(1))
    with pytest.warns(CachenessWarning, match="the service is down"):
        assert f(1) == "old"
    assert len(calls) == 2
    with pytest.raises(OSError, match="down"):
        f(2)


def test_refresh_errors_raise_is_the_default(cache, calls):
    f = cached(good_once(calls), cache=cache, ttl_seconds=60)

    f(1)
    expire(cache, f.cache_key(1))
    with pytest.raises(OSError, match="down"):
        f(1)


def test_an_explicit_refresh_of_a_current_result_raises(cache, calls):
    f = cached(good_once(calls), cache=cache, ttl_seconds=60, refresh_errors="stale")

    f(1)
    with pytest.raises(OSError, match="down"):
        f.cache_refresh(1)
    assert f(1) == "old"
