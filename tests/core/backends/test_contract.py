# SPDX-License-Identifier: MIT
"""The core's metadata backends keep the promises that any backend makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cacheness.backends.base import MetadataBackend
from cacheness.backends.json import JsonBackend
from cacheness.backends.memory import MemoryBackend
from cacheness.backends.wrapper import MemoryCacheWrapper
from cacheness.testing import MetadataBackendContract

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.backends.base import BackendContext
    from cacheness.entry import Entry


class TestSQLiteBackend(MetadataBackendContract):
    target = "cacheness.backends.sqlite:SQLiteBackend"
    shared = True
    persistent = True


class TestSQLiteBackendOnANetworkFileSystem(MetadataBackendContract):
    target = "cacheness.backends.sqlite:SQLiteBackend"
    shared = True
    persistent = True

    def options(self, context: BackendContext) -> dict[str, Any]:
        return {"journal": "rollback"}


class TestJsonBackend(MetadataBackendContract):
    target = "cacheness.backends.json:JsonBackend"
    shared = True
    persistent = True


class TestMemoryBackend(MetadataBackendContract):
    target = "cacheness.backends.memory:MemoryBackend"

    def options(self, context: BackendContext) -> dict[str, Any]:
        return {"name": context.directory}


class TestMemoryCacheWrapper(MetadataBackendContract):
    target = "cacheness.backends.json:JsonBackend"
    shared = True
    persistent = True

    def make(self, context: BackendContext) -> MemoryCacheWrapper:
        return MemoryCacheWrapper(JsonBackend(context), max_bytes=1 << 20, staleness=0)


class SmallestBackend(MetadataBackend):
    """What an author has to write at least; the rest are the base class's defaults."""

    capabilities = frozenset({"inline"})

    def __init__(self, context: BackendContext, **options: Any) -> None:
        self._entries = MemoryBackend(context, name=f"smallest {context.directory}")

    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        return self._entries.put_entry(entry, if_absent=if_absent)

    def get_entry(self, cache_key: str) -> Entry | None:
        return self._entries.get_entry(cache_key)

    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        return self._entries.delete_entry(cache_key, if_generation=if_generation)

    def iter_entry_summaries(self) -> Iterator[dict[str, Any]]:
        return self._entries.iter_entry_summaries()

    def close(self) -> None:
        self._entries.close()


class TestDefaultsOfTheBase(MetadataBackendContract):
    target = SmallestBackend
    # A default that takes several steps is not atomic.
    test_hits_of_threads_add_up = None
    # A default sees its own namespace only.
    test_namespaces_see_nothing_of_each_other = None
