# SPDX-License-Identifier: MIT
"""The shortcuts of get and put are the methods, in fewer steps."""

import inspect

import pytest

from cacheness import UnifiedCache
from cacheness.errors import CacheClosedError, InvalidKeyError, ReadOnlyError


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", ["get", "put"])
def test_the_methods_have_the_signature_and_the_words_of_what_they_do(name):
    method = getattr(UnifiedCache, name)
    parameters = inspect.signature(method).parameters

    assert {"cache_key", "params", "prefix", "ttl_seconds", "options", "fields"} <= set(parameters)
    assert method.__name__ == name
    assert method.__qualname__ == f"UnifiedCache.{name}"
    assert method.__module__ == "cacheness.core"
    assert "Raises:" in method.__doc__


NAMES = [
    ((), {"a": 1}),
    ((), {"params": {"a": 1}}),
    ((), {"params": {"params": 1}}),
    (("key",), {}),
    ((), {"cache_key": "key"}),
    ((None,), {"a": 1}),
    ((), {"cache_key": None, "a": [1, 2]}),
]


@pytest.mark.parametrize(("args", "kwargs"), NAMES)
def test_whatever_names_an_entry_names_it_in_both(cache, args, kwargs):
    key = cache.put({"v": 1}, *args, **kwargs)

    assert cache.get(*args, **kwargs) == cache.get(key) == {"v": 1}
    assert cache.get(*args, **kwargs, default=2) == {"v": 1}
    assert cache.put({"v": 2}, *args, **kwargs, prefix="", tags=()) == key
    assert cache.get(*args, **kwargs, prefix="", ttl_seconds=None) == {"v": 2}


@pytest.mark.parametrize(
    ("args", "kwargs", "error"),
    [
        ((), {}, TypeError),
        (("key",), {"a": 1}, TypeError),
        (("key",), {"params": {"a": 1}}, TypeError),
        ((), {"a": 1, "flight_timeout": 1}, TypeError),
        ((), {"where": 1}, TypeError),
        ((None,), {}, TypeError),
        (("",), {}, InvalidKeyError),
        ((1,), {}, InvalidKeyError),
    ],
)
def test_whatever_names_none_is_refused_by_both(cache, args, kwargs, error):
    with pytest.raises(error):
        cache.get(*args, **kwargs)
    with pytest.raises(error):
        cache.put(1, *args, **kwargs)
    assert len(cache) == 0


def test_a_miss_gives_the_default(cache):
    assert cache.get("nothing") is None
    assert cache.get(nothing=1, default=2) == 2
    assert cache.get("nothing", default=3, prefix="p") == 3


def test_a_subclass_may_extend_them(tmp_path):
    class Counting(UnifiedCache):
        calls = 0

        def get(self, /, *args, **kwargs):
            self.calls += 1
            return super().get(*args, **kwargs)

    with Counting(tmp_path) as cache:
        cache.put(1, a=1)
        assert (cache.get(a=1), cache.get(a=1, prefix=""), cache.calls) == (1, 1, 2)


def test_a_closed_cache_and_one_that_only_reads_take_nothing(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, "key")
    with pytest.raises(CacheClosedError):
        cache.put(2, "key")
    with UnifiedCache(tmp_path, read_only=True) as cache:
        with pytest.raises(ReadOnlyError):
            cache.put(2, "key")
        with pytest.raises(ReadOnlyError):
            cache.put(2, a=1)
        assert cache.get("key") == 1
