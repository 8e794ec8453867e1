# SPDX-License-Identifier: MIT
"""The suite for observers finds an observer's defect and says what to do about it."""

from __future__ import annotations

import inspect
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from cacheness import Event, UnifiedCache
from cacheness.testing import ObserverContract

if TYPE_CHECKING:
    from pathlib import Path


class Sound:
    """Counts events, without a defect."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.lock = threading.Lock()

    def observe(self, event: Event) -> None:
        with self.lock:
            self.kinds.append(event.kind)


class WantsAHandler(Sound):
    def observe(self, event: Event) -> None:
        assert event.handler is not None
        super().observe(event)


class KnowsNotEveryKind(Sound):
    def observe(self, event: Event) -> None:
        counts = {"put": 0, "hit": 0, "miss": 0}
        counts[event.kind] += 1
        super().observe(event)


class DropsEvictions(Sound):
    def observe(self, event: Event) -> None:
        if event.kind != "evict":
            super().observe(event)


class LosesCountInThreads(Sound):
    def observe(self, event: Event) -> None:
        kinds = list(self.kinds)
        time.sleep(0.0002)
        self.kinds = [*kinds, event.kind]


class FailsInThreads(Sound):
    def observe(self, event: Event) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("no event loop in this thread")
        super().observe(event)


DEFECTS = [
    (WantsAHandler, "it_takes_every_kind_of_event", "assert"),
    (KnowsNotEveryKind, "it_takes_every_kind_of_event", "expire"),
    (DropsEvictions, "it_follows_the_life_of_a_cache", "never heard of evict"),
    (LosesCountInThreads, "threads_may_tell_it_at_once", "with a lock"),
    (FailsInThreads, "threads_may_tell_it_at_once", "it raised when several threads"),
]


def run(of: type[Sound], name: str, folder: Path) -> None:
    """Run one test of the suite on an observer, as pytest would."""
    subject = of()

    class Suite(ObserverContract):
        observer = staticmethod(subject.observe)

        def heard(self) -> list[str]:
            return list(subject.kinds)

    test = getattr(Suite(), f"test_{name}")
    with UnifiedCache(folder / name, inline_bytes=0, signing_key="0" * 32) as cache:
        cache.engine.watch(subject.observe)
        given: dict[str, Any] = {
            "tmp_path": folder,
            "observe": subject.observe,
            "cache": cache,
        }
        test(**{name: given[name] for name in inspect.signature(test).parameters})


@pytest.mark.slow
def test_an_observer_without_a_defect_keeps_every_promise(tmp_path: Path) -> None:
    for name in dir(ObserverContract):
        if name.startswith("test_"):
            run(Sound, name.removeprefix("test_"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("of", "name", "advice"), DEFECTS)
def test_a_defect_is_found_and_the_failure_says_what_to_do(
    of: type[Sound], name: str, advice: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, KeyError), match=advice):
        run(of, name, tmp_path)
