# SPDX-License-Identifier: MIT
"""`cached` takes whatever can be called, and what it gives looks like it."""

import asyncio
import functools
import inspect
import math

import pytest

from cacheness import ConfigError, cached


def add(a: int, b: int = 2, /, *, scale: float = 1.0) -> float:
    """Adds."""
    return (a + b) * scale


async def coroutine(a: int) -> int:
    return a


def generator(a: int):
    yield a


async def async_generator(a: int):
    yield a


@pytest.mark.parametrize("function", [add, coroutine, generator, async_generator])
def test_a_wrapper_looks_like_its_function(cache, function):
    wrapped = cached(function, cache=cache)

    assert inspect.isfunction(wrapped)
    assert wrapped.__name__ == function.__name__
    assert wrapped.__qualname__ == function.__qualname__
    assert wrapped.__module__ == function.__module__
    assert wrapped.__doc__ == function.__doc__
    assert wrapped.__annotations__ == function.__annotations__
    assert wrapped.__wrapped__ is function
    assert inspect.signature(wrapped) == inspect.signature(function)
    for kind in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        asyncio.iscoroutinefunction,
    ):
        assert kind(wrapped) == kind(function)


def test_a_call_that_does_not_fit_the_signature_fails_as_the_functions_own(cache):
    wrapped = cached(add, cache=cache)

    for args, kwargs in (((), {}), ((1, 2, 3), {}), ((1,), {"b": 2}), ((1,), {"other": 2})):
        with pytest.raises(TypeError) as expected:
            add(*args, **kwargs)
        with pytest.raises(TypeError) as raised:
            wrapped(*args, **kwargs)
        assert str(raised.value) == str(expected.value)


def test_parameters_may_have_any_name(cache):
    @cached(cache=cache)
    def f(found, miss, lookup, _cacheness_found, name, values, *args, params=1, **kwargs):
        return [found, miss, lookup, _cacheness_found, name, values, list(args), params, kwargs]

    expected = [1, 2, 3, 4, 5, 6, [7], 8, {"signature": 9}]
    assert f(1, 2, 3, 4, 5, 6, 7, params=8, signature=9) == expected
    assert f(1, 2, 3, 4, 5, 6, 7, params=8, signature=9) == expected
    assert f.cache_info() == (1, 1, 0)


@pytest.mark.parametrize("word", ["self", "args", "function", "cache_key"])
def test_what_asks_about_a_call_takes_parameters_of_any_name(cache, word):
    @cached(cache=cache)
    def f(**named):
        return named

    call = {word: 1}

    assert f.cache_refresh(**call) == call
    assert f.is_cached(**call)
    assert f.cache_explain(**call).verdict == "hit"
    assert f.cache_ref(**call).get() == call
    assert f.cache_key(**call) != f.cache_key(other=1)
    assert f.cache_invalidate(**call)


def test_partials_count_what_they_hold(cache, calls):
    def f(a, b, c=0):
        calls.append((a, b, c))
        return a + b + c

    one = cached(functools.partial(f, 1), cache=cache)
    two = cached(functools.partial(f, 2), cache=cache)
    three = cached(functools.partial(f, 1, c=5), cache=cache)

    assert one.__name__ == "f"
    assert str(inspect.signature(three)) == "(b, *, c=5)"
    assert (one(10), two(10), three(10)) == (11, 12, 16)
    assert (one(b=10), two(10), three(10)) == (11, 12, 16)
    assert len(calls) == 3


def test_callable_instances_count_their_state_as_it_is_at_the_call(cache, calls):
    class Scale:
        def __init__(self, by):
            self.by = by

        def __call__(self, x):
            calls.append(x)
            return self.by * x

    scale = Scale(2)
    wrapped = cached(scale, cache=cache)
    assert wrapped(3) == wrapped(3) == cached(Scale(2), cache=cache)(3) == 6
    assert len(calls) == 1
    scale.by = 10
    assert wrapped(3) == 30
    assert wrapped.is_cached(3)
    assert str(inspect.signature(wrapped)) == "(x)"


def test_bound_methods_count_their_object(cache, calls):
    class Model:
        def __init__(self, weight):
            self.weight = weight

        def predict(self, x):
            calls.append(x)
            return self.weight * x

    one, two = cached(Model(1).predict, cache=cache), cached(Model(2).predict, cache=cache)
    assert (one(5), two(5), one(5)) == (5, 10, 5)
    assert len(calls) == 2


def test_lambdas_are_told_apart_by_their_code(cache):
    double, triple = cached(lambda x: 2 * x, cache=cache), cached(lambda x: 3 * x, cache=cache)

    assert (double(1), triple(1), double(1)) == (2, 3, 2)
    assert double.cache_info() == (1, 1, 0)
    assert double.__name__ == "<lambda>"


def test_functions_in_c_are_taken(cache):
    hypot = cached(math.hypot, cache=cache)

    assert hypot(3, 4) == hypot(3, 4) == 5.0
    assert hypot.cache_info() == (1, 1, 0)


def test_a_function_that_calls_itself(cache, calls):
    @cached(cache=cache)
    def fibonacci(n):
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(20) == 6765
    assert sorted(calls) == list(range(21))


@pytest.mark.parametrize("thing", [3, "name", functools.cached_property(len), None])
def test_what_cant_be_called_is_told_where_to_put_the_decorator(cache, thing):
    if thing is None:
        with pytest.raises(TypeError, match="without a getter"):
            cached(property(), cache=cache)
        return
    with pytest.raises(TypeError, match="put @cached directly above the function"):
        cached(thing, cache=cache)


@pytest.mark.parametrize(
    "options",
    [
        {"ignore": "a"},
        {"ignore": ("typo",)},
        {"secret": ("typo",)},
        {"ttl_seconds": 0},
        {"stale_seconds": -1},
        {"refresh_errors": "ignore"},
        {"on_error": "ignore"},
        {"flight_timeout": "soon"},
        {"key": 3},
        {"cache_if": 3},
        {"cache_exceptions": BaseException},
        {"cache_exceptions": "ValueError"},
        {"cache_exceptions": (ValueError, 0)},
        {"memory": "much"},
        {"code": "sometimes"},
        {"code": 5},
        {"prefix": 5},
        {"key_prefix": 5},
        {"ignore": 5},
        {"tags": 5},
    ],
)
def test_an_option_that_cant_work_is_refused_at_the_definition(cache, options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        cached(lambda a: a, cache=cache, **options)


def test_an_option_that_does_not_exist_is_refused(cache):
    with pytest.raises(TypeError, match="no option 'ttl'; there are: cache, .*ttl_seconds"):
        cached(lambda a: a, cache=cache, ttl=5)


def test_what_is_no_cache_is_refused_at_the_definition(tmp_path):
    with pytest.raises(TypeError, match="give a UnifiedCache"):
        cached(cache=str(tmp_path))
