# SPDX-License-Identifier: MIT
"""The memory tier is bounded and never staler than it may be."""

from __future__ import annotations

import inspect
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cacheness import UnifiedCache
from cacheness.backends import wrapper as wrapper_module
from cacheness.backends.base import BackendContext, MetadataBackend
from cacheness.backends.memory import MemoryBackend
from cacheness.backends.wrapper import MemoryCacheWrapper
from cacheness.config import CacheConfig
from cacheness.filters import Filter
from cacheness.testing.metadata_entries import make_entry, make_plain
from cacheness.testing.store import forked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from cacheness.backends.shapes import StoredPayload
    from cacheness.entry import Entry


class CountingBackend(MemoryBackend):
    """Counts its reads, and may be unable to tell changes."""

    def __init__(self, context: BackendContext, *, tells: bool = True) -> None:
        super().__init__(context, name=context.directory)
        self.reads = 0
        self.checks = 0
        self.tells = tells

    def find(self, cache_key: str) -> StoredPayload | None:
        self.reads += 1
        return super().find(cache_key)

    def get_entry(self, cache_key: str) -> Entry | None:
        self.reads += 1
        return super().get_entry(cache_key)

    def change_token(self) -> object:
        self.checks += 1
        return super().change_token() if self.tells else None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the wrapper sees; a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(wrapper_module, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def backend(tmp_path: Path) -> CountingBackend:
    directory = str(tmp_path)
    return CountingBackend(BackendContext(directory, "", CacheConfig(cache_dir=directory)))


@pytest.fixture
def others(tmp_path: Path, backend: CountingBackend) -> MemoryBackend:
    """What somebody else has open on the same store."""
    directory = str(tmp_path)
    context = BackendContext(directory, "", CacheConfig(cache_dir=directory))
    return MemoryBackend(context, name=directory)


def wrapped(backend: MetadataBackend, staleness: float = 10.0, mb: float = 1) -> MemoryCacheWrapper:
    return MemoryCacheWrapper(backend, max_bytes=int(mb * 1e6), staleness=staleness)


def test_a_second_read_does_not_reach_the_backend(
    backend: CountingBackend, clock: list[float]
) -> None:
    tier = wrapped(backend)
    entry = make_entry(params={"a": [1]})
    tier.put_entry(entry)

    found = [tier.find("key") for _ in range(5)]
    got = [tier.get_entry("key") for _ in range(5)]
    again = tier.find("key")

    assert backend.reads == 2
    assert backend.checks == 1
    assert found == [backend.find("key")] * 5 == [again] * 5
    assert got == [entry] * 5


def test_callers_share_nothing_mutable_of_an_entry(backend: CountingBackend) -> None:
    tier = wrapped(backend)
    tier.put_entry(make_entry(params={"a": [1]}))

    for _ in range(3):
        entry = tier.get_entry("key")
        assert entry is not None
        assert entry.params == {"a": [1]}
        entry.params["a"].append(2)


def test_a_change_by_others_is_seen_after_the_staleness(
    backend: CountingBackend, others: MemoryBackend, clock: list[float]
) -> None:
    tier = wrapped(backend, staleness=10)
    old, new = make_entry(), make_entry()
    tier.put_entry(old)
    assert tier.get_entry("key") == old
    others.put_entry(new)

    clock[0] += 9.9
    assert tier.get_entry("key") == old, "it may be stale for that long"
    clock[0] += 0.1
    assert tier.get_entry("key") == new
    others.delete_entry("key")
    clock[0] += 10
    assert tier.find("key") is None


def test_without_a_change_nothing_is_read_again(
    backend: CountingBackend, clock: list[float]
) -> None:
    tier = wrapped(backend, staleness=10)
    backend.put_entry(make_entry())
    for _ in range(20):
        assert tier.find("key") is not None
        clock[0] += 10

    assert backend.reads == 1


def test_zero_staleness_sees_every_change(backend: CountingBackend, others: MemoryBackend) -> None:
    tier = wrapped(backend, staleness=0)
    for number in range(5):
        others.put_entry(make_entry(description=str(number)))
        for _ in range(3):
            entry = tier.get_entry("key")
            assert entry is not None
            assert entry.description == str(number)

    assert backend.reads == 5


def test_a_backend_that_cannot_tell_is_read_again_after_the_staleness(
    backend: CountingBackend, others: MemoryBackend, clock: list[float]
) -> None:
    backend.tells = False
    tier = wrapped(backend, staleness=10)
    others.put_entry(make_entry(description="old"))
    tier.find("key")
    tier.find("key")
    assert backend.reads == 1
    others.put_entry(make_entry(description="new"))

    clock[0] += 10

    entry = tier.get_entry("key")
    assert entry is not None
    assert entry.description == "new"


def test_each_thread_compares_its_own_tokens(
    backend: CountingBackend, others: MemoryBackend, clock: list[float]
) -> None:
    """SQLite's ``data_version`` is of a connection, and each thread has its own."""
    token = threading.local()

    def of_thread() -> object:
        token.value = getattr(token, "value", threading.get_ident())
        return token.value

    backend.change_token = of_thread  # type: ignore[method-assign]
    tier = wrapped(backend, staleness=0)
    others.put_entry(make_entry(description="old"))
    tier.find("key")
    others.put_entry(make_entry(description="new"))
    seen: list[Any] = []

    thread = threading.Thread(target=lambda: seen.append(tier.get_entry("key")))
    thread.start()
    thread.join()

    assert seen[0].description == "new", "a thread that has compared nothing yet can't tell"


@pytest.mark.parametrize(
    "change",
    [
        lambda tier: tier.put_entry(make_entry(description="new")),
        lambda tier: tier.put_plain(make_plain()),
        lambda tier: tier.put_entries([make_entry(description="new")]),
        lambda tier: tier.put_prepared([make_plain()]),
        lambda tier: tier.update_fields("key", {"description": "new"}),
        lambda tier: tier.delete_entry("key"),
        lambda tier: tier.delete_entries(["key"]),
        lambda tier: tier.delete_where(Filter()),
        lambda tier: tier.delete_generations({"key": 1}),
        lambda tier: tier.delete_expired(9e9),
        lambda tier: tier.remove_entry("key"),
        lambda tier: tier.remove_where(Filter()),
        lambda tier: tier.remove_generations({"key": 1}),
        lambda tier: tier.evict("lru", max_size=None, max_entries=0),
        lambda tier: tier.rename_entries([("key", 1, {"cache_key": "other"})]),
        lambda tier: tier.touch_entry("key", None, now=1500.0),
        lambda tier: tier.expire_entry("key", if_generation=1, now=9e9),
        lambda tier: tier.touch_entries(Filter(), now=1500.0),
        lambda tier: tier.record_hits({"key": (1, 5e9)}),
    ],
)
def test_a_change_of_ones_own_is_seen_at_once(
    backend: CountingBackend, clock: list[float], change: Callable[[MetadataBackend], object]
) -> None:
    tier = wrapped(backend, staleness=10)
    tier.put_entry(make_entry(generation=1, expires_at=2000.0))
    tier.get_entry("key")
    tier.find("key")

    change(tier)

    assert tier.get_entry("key") == backend.get_entry("key")
    assert tier.find("key") == backend.find("key")


def test_a_change_that_fails_leaves_nothing_unsure(
    backend: CountingBackend, clock: list[float]
) -> None:
    tier = wrapped(backend)
    tier.put_entry(make_entry())
    tier.find("key")

    with pytest.raises(TypeError):
        tier.update_fields("key", {"no_such_field": 1})
    tier.find("key")

    assert backend.reads == 2


def test_what_was_read_before_a_change_is_not_kept_after_it(
    backend: CountingBackend, clock: list[float]
) -> None:
    tier = wrapped(backend)
    old, new = make_entry(description="old"), make_entry(description="new")
    backend.put_entry(old)
    find = backend.find

    def overtaken(cache_key: str) -> StoredPayload | None:
        found = find(cache_key)
        backend.find = find  # type: ignore[method-assign]
        tier.put_entry(new)
        return found

    backend.find = overtaken  # type: ignore[method-assign]

    late = tier.find("key")
    assert late is not None
    assert late[0] == old.generation
    again = tier.find("key")
    assert again is not None
    assert again[0] == new.generation


def test_memory_is_bounded_and_what_was_read_last_stays(
    backend: CountingBackend, clock: list[float]
) -> None:
    tier = wrapped(backend, mb=0.1)
    keys = [f"k{number}" for number in range(100)]
    for key in keys:
        tier.put_entry(make_entry(key, inline=bytes(9_000)))
    for key in keys:
        tier.find(key)
        tier.find("k0")
    reads = backend.reads

    tier.find("k0")
    tier.find("k99")
    assert backend.reads == reads
    assert tier._bytes <= 100_000
    assert sum(len(kept.payload[8] or b"") for kept in tier._kept.values()) <= 100_000
    tier.find("k50")
    assert backend.reads == reads + 1, "what was read longest ago is gone"


def test_a_read_in_the_midst_of_making_room_does_no_harm(backend: CountingBackend) -> None:
    tier = wrapped(backend, mb=0.1)
    for number in range(20):
        tier.put_entry(make_entry(f"k{number}", inline=bytes(9_000)))
        if number < 10:
            tier.find(f"k{number}")
    between = []

    def read_between(frame: FrameType, event: str, _: object) -> None:
        if event == "c_call" and frame.f_code.co_name == "_shrink":
            between.append(tier.find(f"k{8 + len(between) % 2}"))

    sys.setprofile(read_between)
    try:
        for number in range(10, 20):
            assert tier.find(f"k{number}") is not None
    finally:
        sys.setprofile(None)

    assert len(between) >= 10
    assert tier._bytes == sum(kept.size for kept in tier._kept.values()) <= 100_000


def test_what_is_large_or_lies_in_a_blob_is_not_kept(
    backend: CountingBackend, clock: list[float]
) -> None:
    tier = wrapped(backend, mb=0.1)
    tier.put_entry(make_entry("large", inline=bytes(30_000)))
    tier.put_entry(make_entry("blob", blob="ab/" + "0" * 32))

    for _ in range(3):
        tier.find("large")
        tier.find("blob")

    assert backend.reads == 6
    assert tier._bytes == 0


def test_a_miss_is_not_remembered(
    backend: CountingBackend, others: MemoryBackend, clock: list[float]
) -> None:
    tier = wrapped(backend)
    assert tier.find("key") is None

    others.put_entry(make_entry())

    assert tier.find("key") is not None


def test_a_forked_child_begins_empty(backend: CountingBackend, clock: list[float]) -> None:
    tier = wrapped(backend)
    tier.put_entry(make_entry())
    tier.find("key")
    tier._mutex.acquire()  # as if a thread was in there

    def child() -> tuple[bool, int]:
        return tier.find("key") is not None, backend.reads

    try:
        assert forked(child) == (True, 2)
    finally:
        tier._mutex.release()


def test_every_method_of_a_backend_is_passed_on() -> None:
    methods = {
        name
        for name, _ in inspect.getmembers(MetadataBackend, inspect.isfunction)
        if not name.startswith("_")
    }

    assert methods <= vars(MemoryCacheWrapper).keys(), "a default would bypass the backend's own"


def test_capabilities_are_the_backends(backend: CountingBackend) -> None:
    tier = wrapped(backend)

    assert tier.capabilities == backend.capabilities
    assert tier.blob_backend == "memory"
    assert tier.backend is backend


def test_the_tier_declares_what_its_backend_declares(tmp_path):
    with UnifiedCache(tmp_path, memory_bytes=1000) as cache:
        tier = cache.engine.backend
        tier.backend.shared = True
        again = type(tier)(tier.backend, max_bytes=1000, staleness=0.0)

        assert (again.shared, tier.shared) == (True, False)
        assert again.capabilities == tier.backend.capabilities
