# SPDX-License-Identifier: MIT
"""The options of `cached`, one by one."""

import sqlite3
import threading
import time
from datetime import timedelta

import numpy as np
import pytest

import cacheness
from cacheness import (
    BackendUnavailableError,
    CachenessWarning,
    ConfigError,
    Handler,
    PluginNotInstalledError,
    SerializationError,
    UnhashableParameterError,
    UnifiedCache,
    cached,
    register_handler,
    unregister_handler,
)

# --- time to live ---------------------------------------------------------------------------


def test_the_time_to_live_may_depend_on_the_result(cache):
    @cached(cache=cache, ttl_seconds=lambda result: {"short": "1m", "long": None}[result])
    def f(kind):
        return kind

    f("short"), f("long")
    assert cache.get_entry(f.cache_key("short")).ttl_seconds == 60
    assert cache.get_entry(f.cache_key("long")).ttl_seconds is None


@pytest.mark.parametrize("answer", ["soon", ZeroDivisionError])
def test_a_time_to_live_that_fails_costs_the_entry_and_not_the_result(cache, answer):
    def ttl(result):
        if answer is ZeroDivisionError:
            raise answer
        return answer

    @cached(cache=cache, ttl_seconds=ttl)
    def f(a):
        return a

    with pytest.warns(CachenessWarning, match="is not kept"):
        assert f(1) == 1
    assert len(cache) == 0
    assert f.cache_info().errors == 1

    strict = cached(lambda a: a, cache=cache, ttl_seconds=ttl, on_error="raise")
    with pytest.raises((ConfigError, ZeroDivisionError)):
        strict(1)


def test_an_expired_result_is_computed_anew(cache, calls):
    @cached(cache=cache, ttl_seconds=timedelta(hours=1))
    def f(a):
        calls.append(a)
        return a

    f(1), f(1)
    assert len(calls) == 1
    assert cache.get_entry(f.cache_key(1)).ttl_seconds == 3600
    cache.engine.backend.update_fields(f.cache_key(1), {"expires_at": time.time() - 1})
    f(1), f(1)
    assert len(calls) == 2


# --- exceptions ------------------------------------------------------------------------------


class Rejected(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Awkward(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one}{two}")


@pytest.mark.parametrize(
    ("given", "ttl"),
    [
        (Rejected, None),
        ((Rejected, KeyError), None),
        ((Rejected, 60), 60.0),
        (((KeyError, Rejected), "1m"), 60.0),
        ((Exception, None), None),
    ],
)
def test_exceptions_that_are_named_are_kept_and_raised_again(cache, calls, given, ttl):
    @cached(cache=cache, cache_exceptions=given)
    def f(a):
        calls.append(a)
        raise Rejected(a)

    with pytest.raises(Rejected) as first:
        f(404)
    with pytest.raises(Rejected) as second:
        f(404)
    assert calls == [404]
    assert not hasattr(first.value, "__notes__")
    assert second.value.code == 404
    assert "kept by its cache" in second.value.__notes__[0]
    assert f.cache_info() == (1, 1, 0)
    assert f.is_cached(404)
    [entry] = cache.engine.backend.list_entries()
    assert entry.ttl_seconds == ttl
    assert entry.signature is not None
    assert entry.function.endswith(".f")
    assert f.cache_invalidate(404)
    assert not f.is_cached(404)
    with pytest.raises(Rejected):
        f(404)
    assert len(calls) == 2
    assert f.cache_clear() == 1


def test_a_type_alone_takes_the_functions_time_to_live(cache):
    @cached(cache=cache, ttl_seconds=30, cache_exceptions=KeyError)
    def f():
        raise KeyError

    with pytest.raises(KeyError):
        f()
    [entry] = cache.engine.backend.list_entries()
    assert entry.ttl_seconds == 30


def test_other_exceptions_are_not_kept(cache, calls):
    @cached(cache=cache, cache_exceptions=LookupError)
    def f(kind):
        calls.append(kind)
        raise kind

    for kind in (ValueError, ValueError, IndexError, IndexError):
        with pytest.raises(kind):
            f(kind)
    assert calls == [ValueError, ValueError, IndexError]


def test_a_function_may_return_exceptions(cache):
    @cached(cache=cache, cache_exceptions=ValueError)
    def f(raises):
        if raises:
            raise ValueError("raised")
        return ValueError("returned")

    for _ in range(2):
        assert str(f(False)) == "returned"
        with pytest.raises(ValueError, match="raised"):
            f(True)


def test_without_the_option_a_kept_exception_counts_for_nothing(cache, calls):
    def f(a):
        calls.append(a)
        raise KeyError(a)

    for function in (cached(f, cache=cache, cache_exceptions=KeyError), cached(f, cache=cache)):
        with pytest.raises(KeyError):
            function(1)
    assert len(calls) == 2


def test_an_exception_that_does_not_come_back_is_raised_and_told(cache, calls):
    @cached(cache=cache, cache_exceptions=Awkward)
    def f():
        calls.append(1)
        raise Awkward(1, 2)

    told = pytest.warns(CachenessWarning, match="does not come back from pickle")
    with told, pytest.raises(Awkward):
        f()
    with pytest.raises(Awkward):
        f()
    assert len(calls) == 2


# --- mutation --------------------------------------------------------------------------------


def test_a_call_that_changes_its_arguments_is_told(cache):
    @cached(cache=cache, check_mutation=True)
    def f(rows, options, n):
        rows.append(n)
        return n

    with pytest.warns(CachenessWarning, match="changed its argument 'rows'"):
        f([], {}, 1)

    @cached(cache=cache, check_mutation=True, key=lambda rows, array: 1)
    def g(rows, array):
        rows.append(1)
        array[0] = 1

    with pytest.warns(CachenessWarning, match="changed its arguments 'rows', 'array'"):
        g([], np.zeros(3))


def test_a_call_that_changes_nothing_is_not_told(cache):
    @cached(cache=cache, check_mutation=True, ignore=("log",))
    def f(rows, log):
        log.append("ignored, so it may change")
        return sorted(rows)

    assert f([2, 1], []) == [1, 2]


# --- failures ----------------------------------------------------------------------------------


def test_what_the_programmer_got_wrong_is_raised_before_the_call(cache, calls):
    @cached(cache=cache)
    def f(a):
        calls.append(a)

    with pytest.raises(UnhashableParameterError, match="'a'"):
        f(threading.Lock())
    assert calls == []


def test_the_caches_own_failures_are_told_once_and_counted(cache, calls):
    @cached(cache=cache)
    def f(a):
        calls.append(a)
        return a

    f(1)
    cache.close()
    with pytest.warns(CachenessWarning, match=r"computes without its cache \(said once\)") as told:
        assert (f(1), f(1)) == (1, 1)
    assert len(told) == 1
    assert told[0].filename == __file__
    assert f.cache_info() == (0, 3, 2)
    assert len(calls) == 3


def test_a_value_that_no_handler_keeps(cache):
    @cached(cache=cache, on_error="raise")
    def f():
        return threading.Lock()

    with pytest.raises(SerializationError):
        f()


def test_the_caches_configuration_says_what_a_failure_does_by_default(tmp_path):
    with UnifiedCache(tmp_path, on_error="raise") as cache:
        with pytest.raises(SerializationError):
            cached(threading.Lock, cache=cache)()
        with pytest.warns(CachenessWarning):
            cached(threading.Lock, cache=cache, on_error="compute")()


def test_an_entry_whose_handler_is_not_here_is_computed_around_and_kept(cache, calls):
    class Special:
        pass

    class SpecialHandler(Handler):
        data_only = True

        def can_handle(self, obj):
            return type(obj) is Special

        def put(self, obj, file_path):
            with open(file_path, "wb") as file:
                file.write(b"special")
            return {}

        def get(self, file_path):
            return Special()

    @cached(cache=cache, code="off")
    def f():
        calls.append(1)
        return Special()

    strict = cached(f.__wrapped__, cache=cache, code="off", on_error="raise")
    register_handler(SpecialHandler)
    f()
    generation = cache.get_entry(f.cache_key()).generation
    unregister_handler(SpecialHandler.name)
    assert type(f()) is Special
    with pytest.raises(PluginNotInstalledError):
        strict()
    register_handler(SpecialHandler)
    assert cache.get_entry(f.cache_key()).generation == generation
    f()
    assert len(calls) == 2
    unregister_handler(SpecialHandler.name)


# --- views and the tier in memory ----------------------------------------------------------------


def test_mmap_gives_read_only_views(cache):
    @cached(cache=cache, mmap=True)
    def f(n):
        return np.random.default_rng(n).random(200_000)

    first, second = f(1), f(1)
    assert np.array_equal(first, second)
    assert not second.flags.writeable


@pytest.mark.parametrize("memory", [True, "1 MiB", 1 << 20])
def test_memory_serves_hits_from_this_process(cache, calls, memory):
    @cached(cache=cache, memory=memory)
    def f(a):
        calls.append(a)
        return {"rows": [a]}

    first = f(1)
    first["rows"].append("the caller's own")
    assert f(1) == {"rows": [1]}
    assert f(1) is not f(1)
    cache.invalidate(f.cache_key(1))
    f(1)
    cache.put({"rows": ["put"]}, f.cache_key(1))
    assert f(1) == {"rows": ["put"]}
    assert len(calls) == 2
    assert type(cache.engine.backend).__name__ == "MemoryCacheWrapper"


def test_memory_sees_what_others_do(tmp_path, calls):
    with (
        UnifiedCache(tmp_path, memory_staleness=0) as cache,
        UnifiedCache(tmp_path) as other,
    ):

        @cached(cache=cache, memory=True)
        def f(a):
            calls.append(a)
            return a

        f(1), f(1)
        other.invalidate(f.cache_key(1))
        f(1)
        assert len(calls) == 2


# --- labels ---------------------------------------------------------------------------------


def test_secrets_leave_no_trace_in_the_store(tmp_path):
    with UnifiedCache(tmp_path) as cache:

        @cached(cache=cache, secret=("token",))
        def f(user, token):
            return user

        f("ada", "hunter2")
        assert cache.get_entry(f.cache_key("ada", "hunter2")).params.get("user") == "ada"
        assert not f.is_cached("ada", "other")
    assert not any(
        b"hunter2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )


def test_disabled_caches_compute_and_do_not_wait(cache, calls):
    @cached(cache=cache)
    def f(a):
        calls.append(a)
        return a

    with cacheness.disabled():
        assert (f(1), f(1)) == (1, 1)
        assert not f.is_cached(1)
    f(1), f(1)
    assert len(calls) == 3


def test_the_default_cache_is_where_it_is_configured(tmp_path, monkeypatch, calls):
    @cached
    def f(a):
        calls.append(a)
        return a

    cacheness.configure(cache_dir=tmp_path / "configured")
    f(1), f(1)
    assert (tmp_path / "configured" / "metadata.sqlite3").exists()
    monkeypatch.setenv("CACHENESS_CACHE_DIR", str(tmp_path / "environment"))
    cacheness.configure()
    f(1), f(1)
    assert (tmp_path / "environment" / "metadata.sqlite3").exists()
    assert len(calls) == 2
    assert f.cache_info() == (2, 2, 0)


@pytest.mark.slow
def test_a_default_cache_that_cant_be_reached_costs_a_warning(tmp_path, calls):
    @cached
    def f(a):
        calls.append(a)
        return a

    @cached(on_error="raise")
    def strict(a):
        return a

    with sqlite3.connect(tmp_path / "metadata.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        cacheness.configure(cache_dir=tmp_path, lock_timeout=0.01)
        with pytest.warns(CachenessWarning, match="computes without its cache"):
            assert (f(1), f(1)) == (1, 1)
        with pytest.raises(BackendUnavailableError):
            strict(1)
        other.execute("ROLLBACK")
    other.close()
    assert f(1) == f(1) == 1
    assert f.cache_info() == (1, 3, 2)
    cacheness.configure()


def test_key_is_called_with_the_arguments_as_they_were_given(cache):
    asked = []

    def by_day(day, **options):
        asked.append((day, options))
        return day.upper()

    @cached(cache=cache, key=by_day)
    def load(day, mode="fast", *, verbose=False):
        return day, mode, verbose

    assert load("mon") == load("MON", verbose=True) == ("mon", "fast", False)
    assert load.cache_key("mon", verbose=True) == load.cache_key("Mon")
    assert load.is_cached("mon", verbose=True)
    assert asked[0] == ("mon", {})
    assert ("MON", {"verbose": True}) in asked
    assert load.cache_info().misses == 1
