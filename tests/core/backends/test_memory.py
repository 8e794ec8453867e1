# SPDX-License-Identifier: MIT
"""A memory store belongs to one backend object, or to those of one name."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from cacheness.backends.base import BackendContext
from cacheness.backends.memory import MemoryBackend
from cacheness.config import CacheConfig
from cacheness.errors import BackendUnavailableError, CacheClosedError
from cacheness.filters import eviction_order
from cacheness.testing.metadata_entries import make_entry
from cacheness.testing.store import forked

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> BackendContext:
    directory = str(tmp_path / "cache")
    return BackendContext(directory, "", CacheConfig(cache_dir=directory, lock_timeout=0.05))


def test_two_backends_are_separate_unless_they_share_a_name(context: BackendContext) -> None:
    alone, other = MemoryBackend(context), MemoryBackend(context)
    named, same = MemoryBackend(context, name="n"), MemoryBackend(context, name="n")

    for backend in (alone, named):
        backend.put_entry(make_entry())

    assert (other.count(), same.count()) == (0, 1)
    assert MemoryBackend(context, name="m").count() == 0


@pytest.mark.slow
def test_a_named_store_lives_as_long_as_somebody_has_it_open(context: BackendContext) -> None:
    first, second = MemoryBackend(context, name="lives"), MemoryBackend(context, name="lives")
    first.put_entry(make_entry())
    first.close()
    assert second.count() == 1

    second.close()
    gc.collect()

    assert MemoryBackend(context, name="lives").count() == 0


def test_a_closed_backend_says_so(context: BackendContext) -> None:
    backend = MemoryBackend(context)
    backend.close()

    with pytest.raises(CacheClosedError):
        backend.find("key")


def test_the_disk_is_left_alone(context: BackendContext) -> None:
    MemoryBackend(context).put_entry(make_entry())

    assert not os.path.exists(context.directory)


def test_a_child_keeps_a_copy_and_none_of_the_locks(context: BackendContext) -> None:
    backend = MemoryBackend(context)
    backend.put_entry(make_entry("before"))

    def child() -> int:
        with backend.lock("key"):
            backend.put_entry(make_entry("child"))
        return backend.count()

    with backend.lock("key"):
        assert forked(child) == 2
        assert backend.count() == 1
        with pytest.raises(BackendUnavailableError, match=r"0\.05 s .* entry 'key'"):
            backend.lock("key").__enter__()


def test_victims_are_found_without_a_scan(
    context: BackendContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MemoryBackend(context)
    backend.put_entries(make_entry(f"k{n}", accessed_at=float(n)) for n in range(2000))
    looked_at = []

    def counting(policy: str) -> object:
        order = eviction_order(policy)
        return lambda summary: looked_at.append(1) or order(summary)

    monkeypatch.setattr("cacheness.backends.table.eviction_order", counting)
    backend.victims("lru", 0, 1)
    looked_at.clear()

    for number in range(100):
        (victim,) = backend.victims("lru", 0, 1)
        assert victim.cache_key == f"k{number}"
        backend.delete_entry(victim.cache_key)
        backend.record_hits({"k1999": (1, 5000.0)})

    assert len(looked_at) <= 100 * 4
