# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""The suite for observers."""

from __future__ import annotations

import pickle
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.core import UnifiedCache
from cacheness.errors import CachenessWarning
from cacheness.events import Event
from cacheness.handlers.base import Handler
from cacheness.plugins.registry import register_handler, unregister_handler
from cacheness.plugins.tables import load_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["ObserverContract"]

_KINDS = ("put", "hit", "miss", "expire", "evict", "invalidate", "corrupt", "error")
_THREADS = 8
_PUTS = 25


class ObserverContract:
    """Everything that cacheness relies on in an observer.

    Subclass it in a test file and set `observer`; override `heard` where the observer can
    tell what it was told.

    Example:
        >>> class TestMyObserver(ObserverContract):
        ...     observer = "my_plugin.plugin:cacheness_on_event"
    """

    observer: str | Callable[[Event], None] = ""
    """The function that is marked ``@hookimpl``, or its import path."""

    def heard(self) -> Iterable[str] | None:
        """The kinds of the events that it was told so far; None where it can't tell."""
        return None

    @pytest.fixture
    def observe(self) -> Callable[[Event], None]:
        """The observer itself."""
        assert self.observer, (
            f"set {type(self).__name__}.observer to your function, or to its import path"
        )
        given: Any = self.observer
        function: Any = load_target(given) if isinstance(given, str) else given
        # A function in a class body turns into a method of the test.
        observe: Callable[[Event], None] = getattr(function, "__func__", function)
        return observe

    @pytest.fixture
    def cache(self, tmp_path: Path, observe: Callable[[Event], None]) -> Iterator[UnifiedCache]:
        """A cache that is observed, and lets through what the observer raises."""
        with UnifiedCache(
            tmp_path / "cache", inline_bytes=0, signing_key="the key of a test, known to all"
        ) as cache:
            cache.engine.watch(observe)
            yield cache

    def test_it_takes_every_kind_of_event(self, observe: Callable[[Event], None]) -> None:
        for kind in _KINDS:
            for handler, size in ((None, None), ("json", 0), ("a handler, naïve", 2**62)):
                observe(Event(kind, "a namespace", "k" * 512, handler, size, "a\nreason"))  # type: ignore[arg-type]  # of _KINDS

    def test_it_follows_the_life_of_a_cache(
        self, cache: UnifiedCache, observe: Callable[[Event], None], tmp_path: Path
    ) -> None:
        before = len(list(self.heard() or ()))

        _live(cache)
        with UnifiedCache(tmp_path / "small", max_entries=1) as small:
            small.engine.watch(observe)
            for number in range(3):
                small[str(number)] = number

        heard = self.heard()
        if heard is not None:
            missing = set(_KINDS) - set(list(heard)[before:])
            assert not missing, f"it never heard of {', '.join(sorted(missing))}"

    def test_it_leaves_the_value_of_a_read_alone(self, cache: UnifiedCache) -> None:
        value = {"a": [1, 2]}
        cache["it"] = value
        assert cache["it"] == {"a": [1, 2]}
        assert value == {"a": [1, 2]}

    def test_threads_may_tell_it_at_once(self, cache: UnifiedCache) -> None:
        before = len(list(self.heard() or ()))
        failures: list[BaseException] = []

        def put(thread: int) -> None:
            try:
                for number in range(_PUTS):
                    cache.put(number, f"{thread} {number}")
            except BaseException as error:  # noqa: BLE001  # told below
                failures.append(error)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads), (
            "it hangs when several threads tell it something"
        )
        assert not failures, f"it raised when several threads told it something: {failures[0]!r}"
        heard = self.heard()
        if heard is not None:
            puts = list(heard)[before:].count("put")
            assert puts == _THREADS * _PUTS, (
                f"of {_THREADS * _PUTS} puts in {_THREADS} threads it counted {puts}: guard what "
                "threads share with a lock"
            )

    def test_it_keeps_no_cache_alive_and_open(self, cache: UnifiedCache) -> None:
        cache["it"] = 1
        cache.close()
        assert cache.engine.closed

    def test_events_can_be_sent_on(self) -> None:
        event = Event("put", "", "k", "json", 3, "")
        assert pickle.loads(pickle.dumps(event)) == event


class _Undecodable(Handler):
    """Keeps what it can't give back."""

    name = "cacheness_testing_undecodable"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        return isinstance(obj, set)

    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        with open(file_path, "wb") as file:
            file.write(b"x")
        return {}

    def get(self, file_path: str) -> Any:
        raise ValueError("of no use")


def _live(cache: UnifiedCache) -> None:
    """Do to a cache all that an observer is told of."""
    register_handler(_Undecodable)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CachenessWarning)
            _do_everything(cache)
    finally:
        unregister_handler(_Undecodable.name)


def _do_everything(cache: UnifiedCache) -> None:
    cache["it"] = [1, 2, 3]
    assert cache["it"] == [1, 2, 3]
    assert cache.get("another") is None
    cache.put(1, "short", ttl_seconds=0.01)
    time.sleep(0.02)
    assert cache.get("short") is None
    entry = cache.get_entry("it")
    assert entry is not None
    with open(f"{cache.config.cache_dir}/blobs/{entry.blob}", "wb") as file:
        file.write(b"damage")
    assert cache.get("it") is None
    cache.put({1}, "useless", handler=_Undecodable.name)
    assert cache.get("useless") is None
    cache["gone"] = 1
    del cache["gone"]
