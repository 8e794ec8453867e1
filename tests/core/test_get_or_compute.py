# SPDX-License-Identifier: MIT
"""`get_or_compute` gives what is stored, or computes it, stores it and gives it."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import cacheness
from cacheness import (
    CacheClosedError,
    CachenessWarning,
    ConfigError,
    SerializationError,
    UnhashableParameterError,
    UnifiedCache,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[UnifiedCache]:
    with UnifiedCache(tmp_path / "cache") as cache:
        yield cache


class Counted:
    """A function that counts its calls."""

    def __init__(self, result: Any = "computed") -> None:
        self.calls = 0
        self.result = result

    def __call__(self) -> Any:
        self.calls += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def never() -> Any:
    pytest.fail("computed")


def test_a_cold_call_counts_as_one_miss_and_the_next_as_a_hit(cache: UnifiedCache) -> None:
    cache.get_or_compute(Counted(), "k")
    cache.get_or_compute(never, "k")

    stats = cache.stats()
    assert (stats.misses, stats.hits) == (1, 1)


@pytest.mark.parametrize("value", [{"score": 0.9}, None, False, [1, 2], b"bytes"])
def test_computes_once_and_gives_what_is_stored(cache: UnifiedCache, value: object) -> None:
    function = Counted(value)

    assert cache.get_or_compute(function, model="a", lr=0.1) == value
    assert cache.get_or_compute(function, params={"model": "a", "lr": 0.1}) == value
    assert cache.get(model="a", lr=0.1, default="nothing") == value
    assert function.calls == 1


def test_records_what_put_would_and_measures_the_cost(cache: UnifiedCache) -> None:
    waited = threading.Event()
    cache.get_or_compute(
        lambda: waited.wait(0.02),
        "k",
        prefix="p",
        description="d",
        custom_metadata={"a": 1},
        tags=("t",),
        ttl_seconds=60,
        pin=True,
        handler="pickle",
        compressor="gzip",
    )

    entry = cache.get_entry("k")
    assert entry is not None
    assert (entry.prefix, entry.description, entry.custom_metadata) == ("p", "d", {"a": 1})
    assert (entry.tags, entry.ttl_seconds, entry.pinned) == (("t",), 60.0, True)
    assert (entry.handler, entry.compressor) == ("pickle", "gzip")
    assert entry.cost_seconds is not None
    assert entry.cost_seconds > 0


def test_a_cost_that_is_given_is_kept(cache: UnifiedCache) -> None:
    cache.get_or_compute(Counted(), "k", cost_seconds=1234)

    entry = cache.get_entry("k")
    assert entry is not None
    assert entry.cost_seconds == 1234.0


def test_what_is_older_than_ttl_seconds_is_computed_anew(cache: UnifiedCache) -> None:
    cache.put("old", "k")
    cache.engine.backend.update_fields("k", {"renewed_at": 1000.0})

    assert cache.get_or_compute(never, "k") == "old"
    assert cache.get_or_compute(Counted("new"), "k", ttl_seconds="1h") == "new"
    assert cache.get_or_compute(never, "k", ttl_seconds="1h") == "new"


def test_an_entry_of_another_prefix_is_a_miss_only_where_one_is_given(cache: UnifiedCache) -> None:
    cache.put("of a", "k", prefix="a")

    assert cache.get_or_compute(never, "k") == "of a"
    assert cache.get_or_compute(never, "k", prefix="a") == "of a"
    with pytest.warns(CachenessWarning, match="had the prefix 'a', now 'b'"):
        assert cache.get_or_compute(Counted("of b"), "k", prefix="b") == "of b"


def test_what_the_function_raises_is_raised_and_nothing_is_stored(cache: UnifiedCache) -> None:
    function = Counted(KeyError("mine"))

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            cache.get_or_compute(function, "k")

    assert function.calls == 2
    assert "k" not in cache


def test_mistakes_are_raised_before_anything_is_computed(cache: UnifiedCache) -> None:
    with pytest.raises(UnhashableParameterError):
        cache.get_or_compute(never, lock=threading.Lock())
    with pytest.raises(ConfigError, match="ttl_seconds"):
        cache.get_or_compute(never, "k", ttl_seconds=-1)
    with pytest.raises(ConfigError, match="flight_timeout"):
        cache.get_or_compute(never, "k", flight_timeout=-1)
    with pytest.raises(ConfigError, match="tags"):
        cache.get_or_compute(never, "k", tags="one")
    with pytest.raises(ConfigError, match="cost_seconds"):
        cache.get_or_compute(never, "k", cost_seconds=-1)
    with pytest.raises(TypeError, match="one"):
        cache.get_or_compute(never)
    with pytest.raises(TypeError, match="mmap"):
        cache.get_or_compute(never, a=1, mmap=True)
    with pytest.raises(TypeError, match="without arguments"):
        cache.get_or_compute("no function", "k")  # type: ignore[arg-type]


def test_a_coroutine_function_is_sent_to_aio(cache: UnifiedCache) -> None:
    async def function() -> int:
        return 1

    with pytest.raises(TypeError, match=r"cache\.aio\.get_or_compute"):
        cache.get_or_compute(function, "k")


def test_what_can_t_be_stored_is_given_with_one_warning(cache: UnifiedCache) -> None:
    unstorable = threading.Lock()

    with pytest.warns(CachenessWarning, match="said once") as told:
        results = [cache.get_or_compute(lambda: unstorable, "k") for _ in range(2)]

    assert results == [unstorable] * 2
    assert [warning.filename for warning in told] == [__file__]


def test_a_failing_store_raises_where_that_is_asked_for(tmp_path: Path) -> None:
    with (
        UnifiedCache(tmp_path, on_error="raise") as cache,
        pytest.raises(SerializationError),
    ):
        cache.get_or_compute(threading.Lock, "k")


def test_an_entry_that_can_t_be_read_here_is_kept_and_the_function_computes(
    cache: UnifiedCache,
) -> None:
    cache.put("stored", "k")
    cache.engine.backend.update_fields("k", {"handler": "of_nobody"})

    assert cache.get_or_compute(Counted("computed"), "k") == "computed"

    entry = cache.get_entry("k")
    assert entry is not None
    assert entry.handler == "of_nobody"


def test_a_read_only_cache_computes_without_a_word(tmp_path: Path) -> None:
    UnifiedCache(tmp_path).close()
    function = Counted()

    with UnifiedCache(tmp_path, read_only=True) as cache, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get_or_compute(function, "k") == "computed"
        assert cache.get_or_compute(function, "k") == "computed"

    assert function.calls == 2


def test_where_caches_are_off_it_computes(cache: UnifiedCache) -> None:
    cache.put("stored", "k")

    with cacheness.disabled():
        assert cache.get_or_compute(Counted(), "k") == "computed"
    assert cache.get("k") == "stored"


def test_a_closed_cache_says_so_and_computes_nothing(cache: UnifiedCache) -> None:
    cache.close()

    with pytest.raises(CacheClosedError):
        cache.get_or_compute(never, "k")


def test_who_waits_no_longer_computes_as_well(cache: UnifiedCache) -> None:
    leads, done = threading.Event(), threading.Event()

    def slow() -> str:
        leads.set()
        done.wait(60)
        return "of the leader"

    leader = threading.Thread(target=cache.get_or_compute, args=(slow, "k"))
    leader.start()
    leads.wait(60)

    assert cache.get_or_compute(Counted("mine"), "k", flight_timeout=0.01) == "mine"
    done.set()
    leader.join()
    assert cache.get("k") == "of the leader"
