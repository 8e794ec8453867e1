# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What a metadata backend promises to eviction and to statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cacheness.testing.metadata_entries import make_entry
from cacheness.testing.store import StoreContract, in_namespace, in_threads

if TYPE_CHECKING:
    from cacheness.backends.base import BackendContext, MetadataBackend

__all__ = ["UpkeepPromises"]


class UpkeepPromises(StoreContract):
    """Part of `MetadataBackendContract`."""

    # --- eviction -----------------------------------------------------------------------

    def test_nothing_is_evicted_within_the_bounds(self, backend: MetadataBackend) -> None:
        _fill(backend, 10)

        assert backend.evict("lru", max_size=100, max_entries=10) == [], (
            "a cache that is just full is within its bounds: evict nothing"
        )
        assert backend.evict("lru", max_size=None, max_entries=None) == [], "None is no bound"
        assert backend.count() == 10

    def test_eviction_goes_down_to_the_slack_below_the_bound(
        self, backend: MetadataBackend
    ) -> None:
        _fill(backend, 60)

        by_count = backend.evict("lru", max_size=None, max_entries=50, slack=0.1)
        by_size = backend.evict("lru", max_size=400, max_entries=50, slack=0.0)

        assert _keys(by_count) == [f"k{n:03}" for n in range(15)], "in order, ten and a slack of 5"
        assert _keys(by_size) == [f"k{n:03}" for n in range(15, 20)], "as few as bring it to 400"
        assert (backend.count(), backend.total_size()) == (40, 400)

    def test_pinned_entries_are_not_evicted(self, backend: MetadataBackend) -> None:
        _fill(backend, 10, pinned=True)
        backend.put_entry(make_entry("free", stored_bytes=10, accessed_at=5000.0))

        evicted = _keys(backend.evict("lru", max_size=0, max_entries=1, slack=0.0))
        assert evicted == ["free"], "evict has to spare what is pinned, over the bound or not"
        assert backend.count() == 10

    def test_eviction_stays_within_its_namespace(
        self, context: BackendContext, opened: list[Any], backend: MetadataBackend
    ) -> None:
        other = self.make(in_namespace(context, "other"))
        opened.append(other)
        _fill(backend, 5)
        other.put_entries(
            make_entry(f"k{n}", namespace="other", accessed_at=1.0) for n in range(20)
        )

        assert backend.evict("lru", max_size=None, max_entries=5, slack=0.0) == [], (
            "the bounds are of a namespace: count no other's entries"
        )
        assert _keys(backend.evict("lru", max_size=None, max_entries=3, slack=0.0)) == [
            "k000",
            "k001",
        ]
        assert other.count() == 20

    def test_many_who_evict_at_once_evict_no_more_than_one(self, backend: MetadataBackend) -> None:
        if "transactions" not in backend.capabilities:
            return
        for _ in range(5):
            _fill(backend, 40)
            removed: list[str] = []
            in_threads(
                lambda _: removed.extend(  # noqa: B023  # the threads end within the turn
                    _keys(backend.evict("lru", max_size=None, max_entries=20, slack=0.5))
                ),
                4,
            )
            assert sorted(removed) == [f"k{n:03}" for n in range(30)], (
                "evict has to decide and to remove in one step, and to give each once"
            )

    # --- statistics ---------------------------------------------------------------------

    def test_labels_are_those_of_the_entries(self, backend: MetadataBackend) -> None:
        backend.put_entries(
            [
                make_entry("a", function="m:f", prefix="p", handler="json", cost_seconds=1.5),
                make_entry("b", function=None, prefix="", handler="ünï", cost_seconds=None),
                *(make_entry(f"k{number}") for number in range(1200)),
            ]
        )

        labels = backend.labels(["a", "nope", "b", *(f"k{number}" for number in range(1200))])

        assert labels["a"] == ("m:f", "p", "json", 1.5), (
            "labels are function, prefix, handler and cost_seconds, in that order"
        )
        assert labels["b"] == (None, "", "ünï", None)
        assert len(labels) == 1202
        assert backend.labels([]) == {}

    def test_statistics_add_up(
        self, context: BackendContext, opened: list[Any], backend: MetadataBackend
    ) -> None:
        backend.add_statistics({"a": 1, "b:ü'\"": 0.1})
        if not backend.read_statistics():
            return  # forgotten, which costs statistics and not results
        backend.add_statistics({"a": 2**40, "b:ü'\"": 0.2, "c": -1})
        backend.add_statistics({})

        expected = {"a": 2.0**40 + 1, "b:ü'\"": 0.1 + 0.2, "c": -1.0}
        assert backend.read_statistics() == expected, (
            "add_statistics has to add to what is there, exactly, under any name"
        )
        other = self.make(in_namespace(context, "other"))
        opened.append(other)
        assert other.read_statistics() == {}, "statistics are of a namespace"

    def test_statistics_of_threads_add_up(self, backend: MetadataBackend) -> None:
        if not {"transactions", "lock"} & backend.capabilities:
            return
        in_threads(lambda n: _add_often(backend, f"thread {n}"), 4)

        if backend.read_statistics():
            assert backend.read_statistics() == {
                "all": 100.0,
                **{f"thread {number}": 25.0 for number in range(4)},
            }, "add_statistics has to add in one step, not to read and write"


def _fill(backend: MetadataBackend, count: int, **fields: Any) -> None:
    """Put entries of ten bytes, the oldest first, in place of what is there."""
    backend.delete_entries(list(backend.iter_keys()))
    backend.put_entries(
        make_entry(f"k{n:03}", stored_bytes=10, accessed_at=1000.0 + n, **fields)
        for n in range(count)
    )


def _keys(entries: list[Any]) -> list[str]:
    return [entry.cache_key for entry in entries]


def _add_often(backend: MetadataBackend, name: str) -> None:
    for _ in range(25):
        backend.add_statistics({"all": 1, name: 1})
