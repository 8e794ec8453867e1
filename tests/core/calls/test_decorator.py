"""What `cached` promises in its plain form."""

import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import cacheness
from cacheness import (
    CachenessWarning,
    ConfigError,
    UnhashableParameterError,
    UnifiedCache,
    cached,
)


def test_an_equal_call_is_answered_from_the_cache(cache, calls):
    @cached(cache=cache)
    def f(a, b=2, *rest, c=3, **more):
        calls.append(a)
        return [a, b, rest, c, more]

    first = f(1)
    assert f(1) == f(a=1) == f(1, 2) == f(1, b=2, c=3) == first
    assert len(calls) == 1
    assert f(1, 2, 5) == [1, 2, (5,), 3, {}]
    assert f(1, d=4) == [1, 2, (), 3, {"d": 4}]
    assert f(1.0) == first
    assert len(calls) == 4
    assert f.cache_info() == (4, 4, 0)


def test_plain_called_and_method_spellings(cache, calls):
    cacheness.configure(cache.config)

    @cached
    def plain(a):
        calls.append(a)
        return a

    @cache.cached
    def bound(a):
        calls.append(a)
        return a

    @cache.cached(tags=("t",))
    def called(a):
        calls.append(a)
        return a

    for function in (plain, bound, called):
        assert function(1) == function(1) == 1
    assert len(calls) == 3
    assert cache.get_entry(called.cache_key(1)).tags == ("t",)
    cacheness.configure(cache.config)


def test_an_unhashable_argument_is_an_error_before_the_call(cache, calls):
    @cached(cache=cache)
    def f(guard):
        calls.append(guard)

    with pytest.raises(UnhashableParameterError, match="'guard'"):
        f(threading.Lock())
    assert calls == []


def test_ignored_arguments_make_no_difference_and_are_never_touched(cache, calls):
    @cached(cache=cache, ignore=("verbose", "extra"))
    def f(a, verbose=False, **more):
        calls.append(a)
        return a

    class Untouchable:
        def refuse(self, *_):
            raise AssertionError("it was touched")

        __getattribute__ = __repr__ = __reduce_ex__ = __eq__ = __hash__ = __bool__ = refuse

    f(1)
    f(1, verbose=threading.Lock(), extra=object())
    f(1, verbose=Untouchable(), extra=Untouchable())
    f(1, Untouchable())
    assert len(calls) == 1
    f(3, Untouchable(), extra=Untouchable())
    assert calls.pop() == 3
    f(1, other=2)
    assert len(calls) == 2
    with pytest.raises(ConfigError, match="'nothing'.*there are: a"):
        cached(cache=cache, ignore=("nothing",))(lambda a: a)


def test_key_prefix_version_and_prefix(cache, calls):
    def make(**options):
        @cached(cache=cache, **options)
        def f(a):
            calls.append(a)
            return a

        return f

    make()(1)
    make(prefix="label")
    assert make(prefix="label").is_cached(1)
    for options in ({"version": 2}, {"key_prefix": "x"}, {"version": "2"}):
        assert not make(**options).is_cached(1)


def test_key_decides_alone_when_given(cache, calls):
    @cached(cache=cache, key=lambda path, mode: path.lower())
    def f(path, mode):
        calls.append(path)
        return path

    assert f("A", 1) == f("a", 2) == "A"
    assert len(calls) == 1


def test_results_of_which_cache_if_says_no_are_not_kept(cache, calls):
    @cached(cache=cache, cache_if=lambda result: result is not None)
    def f(a):
        calls.append(a)
        return a or None

    f(0), f(0), f(1), f(1)
    assert calls == [0, 0, 1]


def test_none_is_a_hit(cache, calls):
    @cached(cache=cache)
    def f():
        calls.append(1)

    f(), f()
    assert len(calls) == 1


def test_methods_count_their_instance(cache, calls):
    class Model:
        def __init__(self, weight):
            self.weight = weight

        @cached(cache=cache)
        def predict(self, x):
            calls.append(x)
            return self.weight * x

        @staticmethod
        @cached(cache=cache)
        def helper(x):
            calls.append(x)
            return x

    assert Model(2).predict(3) == Model(2).predict(3) == 6
    assert Model(3).predict(3) == 9
    assert Model.helper(1) == Model(5).helper(1) == 1
    assert len(calls) == 3


def test_the_other_operations(cache, calls):
    @cached(cache=cache)
    def f(a):
        """The docstring."""
        calls.append(a)
        return [a, len(calls)]

    assert not f.is_cached(1)
    f(1), f(2)
    assert f.is_cached(1)
    assert cache.get(f.cache_key(1)) == [1, 1]
    assert f.cache_refresh(1) == [1, 3] == f(1)
    assert f.cache_invalidate(1)
    assert not f.is_cached(1)
    assert f.cache_clear() == 1
    assert len(cache) == 0
    assert f.__name__ == "f"
    assert f.__doc__ == "The docstring."
    assert str(inspect.signature(f)) == "(a)"
    assert f.__wrapped__(5) == [5, 4]


def test_the_entry_says_what_made_it(cache):
    @cached(cache=cache, tags=("etl",), prefix="p", ttl_seconds="1h", secret=("token",))
    def f(a, token):
        return np.zeros(3)

    f(1, "hunter2")
    entry = cache.get_entry(f.cache_key(1, "hunter2"))

    assert entry.function.endswith(":test_the_entry_says_what_made_it.<locals>.f")
    assert entry.params["a"] == 1
    assert "hunter2" not in repr(entry)
    assert entry.cost_seconds is not None
    assert (entry.prefix, entry.tags, entry.ttl_seconds) == ("p", ("etl",), 3600.0)
    assert entry.code_digest


def test_a_failing_cache_never_fails_the_function(cache, calls, tmp_path):
    @cached(cache=cache)
    def f(a):
        calls.append(a)
        return (i for i in range(a)) if a > 5 else a

    with pytest.warns(CachenessWarning, match="is not kept"):
        assert list(f(6)) == list(range(6))
    assert list(f(6)) == list(range(6))  # said once
    assert f.cache_info().errors == 2
    cache.close()
    assert f(1) == 1
    assert f.cache_info().errors > 2

    @cached(cache=cache, on_error="raise")
    def strict(a):
        return a

    with pytest.raises(cacheness.CacheClosedError):
        strict(1)


def test_the_functions_own_errors_pass_and_nothing_is_kept(cache):
    @cached(cache=cache)
    def f(a):
        raise ZeroDivisionError(a)

    with pytest.raises(ZeroDivisionError):
        f(1)
    assert len(cache) == 0


def test_another_users_entry_is_computed_around_and_kept(tmp_path, monkeypatch, calls):
    def make(directory):
        cache = UnifiedCache(directory)

        @cached(cache=cache, code="off")
        def f(a):
            calls.append(a)
            return {a}

        return cache, f

    monkeypatch.setenv("HOME", str(tmp_path / "one"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    cache, f = make(tmp_path / "cache")
    f(1)
    cache.close()
    monkeypatch.setenv("HOME", str(tmp_path / "two"))
    cache, f = make(tmp_path / "cache")
    with pytest.warns(cacheness.SecurityWarning):
        assert f(1) == {1}
    cache.close()
    monkeypatch.setenv("HOME", str(tmp_path / "one"))
    cache, f = make(tmp_path / "cache")
    assert f(1) == {1}
    cache.close()
    assert len(calls) == 2


def test_a_read_only_cache_computes_and_keeps_nothing(tmp_path, calls):
    UnifiedCache(tmp_path).close()
    with UnifiedCache(tmp_path, read_only=True) as cache:

        @cached(cache=cache)
        def f(a):
            calls.append(a)
            return a

        assert f(1) == f(1) == 1
        assert len(calls) == 2
        assert len(cache) == 0


def module_level(a):
    return a * 2


def test_a_cached_function_pickles_by_its_name(cache):
    wrapped = cached(cache=cache)(module_level)
    globals()["module_level"] = wrapped

    assert pickle.loads(pickle.dumps(wrapped)) is wrapped


SCRIPT = """
from cacheness import cached

{helper}

@cached
def work(a):
    print("computed", end=" ")
    return {body}

print(work(3))
"""


@pytest.mark.slow
def test_an_edit_makes_a_miss_and_a_comment_does_not(tmp_path):
    def run(body, helper="SCALE = 2"):
        (tmp_path / "script.py").write_text(
            SCRIPT.format(body=body, helper=textwrap.dedent(helper))
        )
        ran = subprocess.run(
            [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return ran.stdout.strip()

    assert run("a * SCALE") == "computed 6"
    assert run("a * SCALE") == "6"
    assert run("a * SCALE  # said differently") == "6"
    assert run("a * SCALE", "# moved down\n\nSCALE = 2") == "6"
    assert run("a * SCALE", "SCALE = 5") == "computed 15"
    assert run("a + SCALE") == "computed 5"
    assert run("help(a)", "def help(a):\n    return a + 1") == "computed 4"
    assert run("help(a)", "def help(a):\n    return a + 2") == "computed 5"
    assert run("help(a)", "def help(a):\n    '''Adds.'''\n    return a + 2") == "5"
    assert os.path.isdir(tmp_path / ".cacheness")


def test_what_the_code_does_not_name_counts_when_it_is_listed(cache, calls):
    def make(model):
        @cached(cache=cache, code=[model])
        def f(a):
            calls.append(a)
            return a

        return f

    make("small")(1)
    make("small")(1)
    assert len(calls) == 1
    make("large")(1)
    assert len(calls) == 2
    with pytest.raises(ConfigError, match="'auto', 'off' or a list"):
        cached(cache=cache, code="sometimes")(len)
