# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What a metadata backend promises of many entries at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.backends.in_order import InOrder
from cacheness.backends.sums import sum_up
from cacheness.entry import Entry
from cacheness.errors import ConfigError
from cacheness.filters import Filter, eviction_order
from cacheness.testing.metadata_entries import make_entry, make_plain, without_payload
from cacheness.testing.store import StoreContract

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cacheness.backends.base import MetadataBackend
    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.backends.shapes import Held

__all__ = ["ManyEntriesPromises"]

_PARAMS: tuple[dict[str, Any], ...] = (
    {"x": 1},
    {"x": 1.0},
    {"x": True},
    {"x": "1"},
    {"x": None},
    {},
    {"x": 2.5, "model__alpha": 0.1},
    {"x": -3},
    {"x": "Abc"},
    {"x": "abc"},
    {"x": "a%c"},
    {"x": "ünïcode"},
    {"x": [1, "a", None]},
    {"x": [[1], {"a": 1}]},
    {"x": {"a": 1}},
    {"x": {"a": {"b": "deep"}}},
    {"x": 2**53 + 1},
    {"x": 2**70},
    {"x": False},
    {"x": ""},
    {"description": "a param", "x__gt": 5},
)
"""Parameters that a filter might confuse."""

_FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"x": 1},
    {"x": 1.0},
    {"x": True},
    {"x": False},
    {"x": "1"},
    {"x": None},
    {"x": ""},
    {"x": "abc"},
    {"x": [1, "a", None]},
    {"x": {"a": 1}},
    {"x": 2**53 + 1},
    {"x": 2**70},
    {"x__ne": 1},
    {"x__ne": None},
    {"x__ne": "abc"},
    {"x__gt": 1},
    {"x__gte": 1},
    {"x__lt": 1},
    {"x__lte": 2.5},
    {"x__gt": -10, "x__lt": 2},
    {"x__gt": "A"},
    {"x__lt": "b"},
    {"x__gte": 2**53 + 1},
    {"x__in": [1, "abc", None]},
    {"x__in": [True]},
    {"x__in": []},
    {"x__in": [[1, "a", None], {"a": 1}]},
    {"x__contains": "b"},
    {"x__contains": "%"},
    {"x__contains": ""},
    {"x__contains": "a"},
    {"x__contains": 1},
    {"x__contains": None},
    {"x__startswith": "a"},
    {"x__startswith": "A"},
    {"x__startswith": "ü"},
    {"x__startswith": ""},
    {"y": 1},
    {"y__ne": 1},
    {"model__alpha": 0.1},
    {"model__alpha__lte": 0.1},
    {"params": {"description": "a param"}},
    {"params": {"description__startswith": "a"}},
    {"x__gt__in": [5]},
    {"x'; DROP TABLE entries; --": 1},
    {'x"': 1},
    {"x.a": 1},
    {"$": 1},
    {"prefix": "even"},
    {"prefix__startswith": "e"},
    {"prefix__ne": "even"},
    {"tags": "t1"},
    {"tags": ["t1", "all"]},
    {"tags__contains": "t2"},
    {"tags__in": ["t1", "t2"]},
    {"tags__ne": "t1"},
    {"tags": "t"},
    {"meta__run__id": 3},
    {"meta__run__id__gte": 10},
    {"meta__run": {"id": 4}},
    {"meta__owner": None},
    {"meta__nothing": None},
    {"entry__hits__gt": 5},
    {"entry__pinned": True},
    {"entry__pinned__ne": True},
    {"entry__function": None},
    {"entry__function__ne": None},
    {"entry__function__startswith": "mod"},
    {"entry__expires_at__lte": 1005.0},
    {"entry__expires_at": None},
    {"entry__cost_seconds__lt": 1},
    {"entry__description__contains": "entry 1"},
    {"entry__cache_key__in": ["k01", "k03", "nope"]},
    {"entry__metadata__shape": [2]},
    {"entry__params__x__a__b": "deep"},
    {"entry__object_type": "builtins.list", "x__gt": 0},
    {"entry__created_at__gte": 1003.0, "prefix": "odd", "tags": "all"},
    {"tags__ne": "nothing"},
    {"tags__in": []},
    {"entry__params": {}},
    {"entry__params__ne": {"nothing": 1}},
    {"entry__params__in": [{}, {"x": 1}]},
    {"entry__custom_metadata": {}},
    {"entry__custom_metadata__ne": {"nothing": 1}},
)
"""One of every kind, with and without matches."""


def _corpus() -> list[Entry]:
    return [
        make_entry(
            f"k{number:02}",
            params=params,
            prefix=("even", "odd", "")[number % 3],
            tags=("all", f"t{number % 4}") if number % 5 != 3 else (),
            custom_metadata={"run": {"id": number}, "owner": None if number % 5 else "me"}
            if number % 5 != 2
            else {},
            description=f"entry {number}",
            metadata={"shape": [number % 3]},
            object_type="builtins.list" if number % 2 else "builtins.dict",
            function=None if number % 4 else "module:function",
            created_at=1000.0 + (number * 7) % 10,
            expires_at=None if number % 3 else 1000.0 + number,
            cost_seconds=None if number % 2 else number / 10,
            hits=number,
            pinned=number % 6 == 0,
        )
        for number, params in enumerate(_PARAMS)
    ]


class ManyEntriesPromises(StoreContract):
    """Part of `MetadataBackendContract`."""

    def test_many_are_put_at_once(self, backend: MetadataBackend) -> None:
        old = make_entry("k0")
        backend.put_entry(old)
        new = [make_entry(f"k{number}", hits=number) for number in range(5)]

        displaced = backend.put_entries(iter(new))

        assert list(map(without_payload, displaced)) == [without_payload(old)], (
            "put_entries has to give the entries that it displaced, so that their blobs are removed"
        )
        assert backend.get_entries([e.cache_key for e in new]) == {e.cache_key: e for e in new}

    def test_of_one_key_put_twice_at_once_the_last_stays(self, backend: MetadataBackend) -> None:
        first, second = make_entry(), make_entry()

        displaced = backend.put_entries([first, second])

        assert backend.get_entry("key") == second
        assert list(map(without_payload, displaced)) == [without_payload(first)], (
            "the first was displaced too: its blob has to be removed"
        )
        assert backend.count() == 1

    @pytest.mark.parametrize("others", [0, 1])
    def test_entries_said_in_short_are_put_as_others_are(
        self, backend: MetadataBackend, others: int
    ) -> None:
        old = make_entry("k0", prefix="p", blob="ab/" + "0" * 32, blob_store="store")
        backend.put_entry(old)
        first = make_plain("k1", ttl_seconds=60.0, params={"a": 1, "b": [None, "é"]})
        short = [
            make_plain("k0"),
            first,
            make_plain("k2", params={"b": "\0 and \ud800", "c": 1e300}),
            make_plain("k3", summary="\0 and \ud800"),
            make_plain("ключ", ttl_seconds=0.125, params={"a": 1}, is_told=True),
            make_plain("k1", params={"last": True}),
        ]
        long = [make_entry("k4", tags=("t",), params={"a": 1})] * others
        prepared: list[Entry | PlainEntry] = [*short, *long]

        displaced = backend.put_prepared(iter(prepared))

        expected = {entry.cache_key: entry for entry in [one.entry() for one in short] + long}
        assert backend.get_entries(list(expected)) == expected, (
            "put_prepared has to record what put_entries records for the same entries"
        )
        assert sorted(entry.generation for entry in displaced) == sorted(
            (old.generation, first.generation)
        ), "put_prepared has to give the entries that it displaced, so that their blobs are removed"
        assert backend.count() == len(expected)

    def test_entries_that_are_made_one_by_one_are_put_as_others_are(
        self, backend: MetadataBackend
    ) -> None:
        old = make_entry("k1", prefix="p")
        backend.put_entry(old)
        made = {key: make_plain(key, params={"of": key}) for key in ("k2", "k0", "ключ", "k1")}

        displaced = backend.put_prepared(InOrder(sorted(made), made.__getitem__))

        expected = {key: entry.entry() for key, entry in made.items()}
        assert backend.get_entries(list(expected)) == expected, (
            "put_prepared has to take any iterable, one that makes its entries among them"
        )
        assert [entry.generation for entry in displaced] == [old.generation]
        assert backend.put_prepared(InOrder([], made.__getitem__)) == []

    def test_a_transaction_is_all_or_nothing(self, backend: MetadataBackend) -> None:
        if "transactions" not in backend.capabilities:
            return
        old = make_entry("k0")
        backend.put_entry(old)

        def failing() -> Iterator[Entry]:
            yield make_entry("k0")
            yield make_entry("k1")
            raise RuntimeError("the source failed")

        with pytest.raises(RuntimeError, match="the source failed"):
            backend.put_entries(failing())
        with pytest.raises(KeyError, match="k1"):
            backend.put_prepared(InOrder(["k0", "k1"], {"k0": make_plain("k0")}.__getitem__))

        assert backend.list_entries() == [without_payload(old)], (
            "declare 'transactions' only if a bulk form that fails changes nothing"
        )

    def test_many_are_read_at_once(self, backend: MetadataBackend) -> None:
        put = [make_entry(f"k{number}") for number in range(3)]
        backend.put_entries(put)

        got = backend.get_entries(["k2", "nope", "k0"])

        assert got == {"k0": put[0], "k2": put[2]}, "payloads included, missing keys left out"
        assert backend.get_entries([]) == {}

    def test_many_are_deleted_at_once(self, backend: MetadataBackend) -> None:
        backend.put_entries(make_entry(f"k{number}") for number in range(4))

        removed = backend.delete_entries(iter(["k3", "nope", "k1", "k1"]))

        assert sorted(entry.cache_key for entry in removed) == ["k1", "k3"]
        assert sorted(backend.iter_keys()) == ["k0", "k2"]
        assert backend.delete_entries([]) == []

    def test_entries_are_renamed_and_keep_the_rest(self, backend: MetadataBackend) -> None:
        inline = make_entry("a", params={"x": 1}, hits=3, tags=("t",))
        blob = make_entry("b", blob="00/b", blob_store="s", stored_bytes=9, signature="k:old")
        backend.put_entries([inline, blob])
        changes: list[dict[str, Any]] = [
            {"cache_key": "A", "generation": 7_001, "code_digest": "new"},
            {"cache_key": "B", "generation": 7_002, "signature": "k:new"},
        ]

        renamed = backend.rename_entries(
            [("a", inline.generation, changes[0]), ("b", blob.generation, changes[1])]
        )

        assert sorted(renamed) == ["A", "B"]
        assert backend.get_entry("A") == replace(inline, **changes[0])
        assert backend.get_entry("B") == replace(blob, **changes[1])
        assert set(backend.iter_keys()) == {"A", "B"}
        assert (backend.count(), backend.total_size()) == (2, 16)

    def test_a_rename_replaces_nothing_and_takes_nothing_newer(
        self, backend: MetadataBackend
    ) -> None:
        taken, standing, newer = make_entry("a"), make_entry("A"), make_entry("b")
        backend.put_entries([taken, standing, newer])

        renamed = backend.rename_entries(
            [
                ("a", taken.generation, {"cache_key": "A", "generation": 7_001}),
                ("b", newer.generation - 1, {"cache_key": "B", "generation": 7_002}),
                ("c", 1, {"cache_key": "C", "generation": 7_003}),
            ]
        )

        assert renamed == []
        for entry in (taken, standing, newer):
            assert backend.get_entry(entry.cache_key) == entry
        assert backend.count() == 3

    def test_of_two_renames_to_one_key_the_first_counts(self, backend: MetadataBackend) -> None:
        first, second = make_entry("a"), make_entry("b")
        backend.put_entries([first, second])

        renamed = backend.rename_entries(
            [
                (entry.cache_key, entry.generation, {"cache_key": "C", "generation": 7_000 + n})
                for n, entry in enumerate((first, second))
            ]
        )

        assert renamed == ["C"]
        assert set(backend.iter_keys()) == {"C", "b"}
        assert backend.get_entry("b") == second

    def test_listings_agree(self, backend: MetadataBackend) -> None:
        put = {entry.cache_key: entry for entry in _corpus()}
        backend.put_entries(put.values())

        listed = {entry.cache_key: entry for entry in backend.list_entries()}
        summaries = {summary["cache_key"]: summary for summary in backend.iter_entry_summaries()}

        assert listed == {key: without_payload(entry) for key, entry in put.items()}, (
            "list_entries has to give every entry, without its payload (inline=None)"
        )
        assert sorted(backend.iter_keys()) == sorted(put)
        for key, entry in put.items():
            expected = {name: getattr(entry, name) for name in Entry.__slots__ if name != "inline"}
            assert summaries[key] == expected, "a summary has every field but inline, by name"

    def test_no_two_summaries_share_what_can_change(self, backend: MetadataBackend) -> None:
        backend.put_entries([make_entry("a"), make_entry("b")])

        first, second = backend.iter_entry_summaries()

        for name in ("params", "metadata", "key_parts", "custom_metadata"):
            assert first[name] is not second[name], f"give each summary its own {name}"

    def test_a_long_listing_is_complete(self, backend: MetadataBackend) -> None:
        keys = [f"k{number}" for number in range(1203)]
        backend.put_entries(map(make_entry, keys))

        assert sorted(backend.iter_keys()) == sorted(keys), "a listing has to go through all pages"
        assert sorted(s["cache_key"] for s in backend.iter_entry_summaries()) == sorted(keys)

    def test_a_listing_stands_changes_meanwhile(self, backend: MetadataBackend) -> None:
        backend.put_entries(make_entry(f"k{number}") for number in range(50))

        seen = []
        for summary in backend.iter_entry_summaries():
            seen.append(summary["cache_key"])
            backend.delete_entry(summary["cache_key"])

        assert sorted(seen) == sorted(f"k{number}" for number in range(50)), (
            "entries that stand during a whole listing have to be in it once"
        )
        assert backend.count() == 0

    def test_count_and_size_follow_every_change(self, backend: MetadataBackend) -> None:
        def state() -> tuple[int, int]:
            return backend.count(), backend.total_size()

        assert state() == (0, 0)
        backend.put_entry(make_entry("a", stored_bytes=100))
        backend.put_entries([make_entry("b", stored_bytes=20), make_entry("c", stored_bytes=3)])
        assert state() == (3, 123)
        backend.put_entry(make_entry("a", stored_bytes=50))
        assert state() == (3, 73), "a replaced entry's bytes do not count any more"
        backend.put_entry(make_entry("a", stored_bytes=5), if_absent=True)
        assert state() == (3, 73)
        backend.update_fields("b", {"stored_bytes": 30})
        assert state() == (3, 83)
        backend.delete_entry("b")
        backend.delete_entries(["c", "nope"])
        assert state() == (1, 50)
        backend.delete_where(Filter())
        assert state() == (0, 0)

    def test_what_is_summed_up_is_what_all_entries_are_together(
        self, backend: MetadataBackend
    ) -> None:
        for number in range(40):
            backend.put_entry(
                make_entry(
                    f"k{number}",
                    function=f"m:f{number % 2}" if number % 3 else None,
                    code_digest=f"d{number % 5}" if number % 3 else None,
                    prefix="\0" if number % 10 == 7 else "p" * (number % 2),
                    created_at=1e9 + 40_000.25 * number,
                    expires_at=None if number % 4 else 5e9,
                    stored_bytes=number,
                    logical_bytes=2 * number,
                    pinned=number % 7 == 0,
                )
            )

        for now in (4e9, 6e9):
            expected = _together(sum_up(backend.iter_entry_summaries(), now))
            assert _together(backend.held(now)) == expected, "held: as `sums.sum_up` says it"

    def test_filters_mean_what_filter_matches_says(self, backend: MetadataBackend) -> None:
        backend.put_entries(_corpus())
        summaries = list(backend.iter_entry_summaries())

        for filters in _FILTERS:
            selected = Filter.parse(filters)
            expected = sorted(
                (s["created_at"], s["cache_key"]) for s in summaries if selected.matches(s)
            )
            found = list(backend.query_meta(**filters))

            assert found == [key for _, key in expected], (
                f"query_meta(**{filters!r}) has to give what Filter.matches selects, oldest first"
            )

    def test_a_filter_that_means_nothing_is_an_error(self, backend: MetadataBackend) -> None:
        for name in ("entry__nonsense", "description", "entry__hits__x"):
            try:
                list(backend.query_meta(**{name: 1}))
                said = None
            except TypeError as error:
                said = str(error)
            assert said is not None, f"the filter {name!r} means nothing: raise TypeError"
            assert name.rpartition("__")[2] in said, "the error names what was not understood"

    def test_what_a_filter_selects_is_touched(self, backend: MetadataBackend) -> None:
        corpus = [
            make_entry("a", tags=("t",), ttl_seconds=60.0, expires_at=1060.0),
            make_entry("b", tags=("t",), ttl_seconds=None, expires_at=None, hits=3),
            make_entry("c", ttl_seconds=60.0, expires_at=1060.0),
        ]
        backend.put_entries(corpus)

        assert backend.touch_entries(Filter.parse({"tags": "t"}), now=1050.0) == 2

        times: dict[str, Any] = {"accessed_at": 1050.0, "renewed_at": 1050.0}
        assert backend.get_entry("a") == replace(corpus[0], expires_at=1110.0, **times), (
            "touch_entries has to count the time to live from now, and set both times"
        )
        assert backend.get_entry("b") == replace(corpus[1], **times)
        assert backend.get_entry("c") == corpus[2]

    def test_touching_brings_nothing_back_that_has_expired(self, backend: MetadataBackend) -> None:
        expired = make_entry(ttl_seconds=60.0, expires_at=1060.0, stale_until=1100.0)
        backend.put_entry(expired)

        assert backend.touch_entries(Filter(), now=1060.0) == 0

        assert backend.get_entry("key") == expired

    def test_touching_moves_the_stale_window_with_the_expiry(
        self, backend: MetadataBackend
    ) -> None:
        backend.put_entry(make_entry(ttl_seconds=60.0, expires_at=1060.0, stale_until=1090.0))

        backend.touch_entries(Filter(), now=1050.0)

        entry = backend.get_entry("key")
        assert entry is not None
        assert (entry.expires_at, entry.stale_until) == (1110.0, 1140.0)

    def test_of_many_only_the_generations_that_were_seen_are_deleted(
        self, backend: MetadataBackend
    ) -> None:
        seen = [make_entry(f"k{number}") for number in range(3)]
        backend.put_entries(seen)
        backend.put_entry(make_entry("k1"))

        removed = backend.delete_generations({e.cache_key: e.generation for e in seen} | {"k": 1})

        assert sorted(map(_identity, removed)) == sorted(_identity(e) for e in (seen[0], seen[2]))
        assert list(backend.iter_keys()) == ["k1"], "one that was replaced meanwhile has to stay"
        assert backend.delete_generations({}) == []

    def test_what_has_expired_is_deleted(self, backend: MetadataBackend) -> None:
        backend.put_entries(
            [
                make_entry("for ever", expires_at=None),
                make_entry("later", expires_at=1060.5),
                make_entry("now", expires_at=1060.0),
                make_entry("before", expires_at=900.0),
                make_entry("stale", expires_at=1000.0, stale_until=1061.0),
                make_entry("no longer stale", expires_at=1000.0, stale_until=1060.0),
            ]
        )

        removed = backend.delete_expired(1060.0)

        gone = {entry.cache_key for entry in removed}
        assert gone == {"now", "before", "no longer stale"}, (
            "what has expired at that time, unless it may be served stale"
        )
        assert set(backend.iter_keys()) == {"for ever", "later", "stale"}
        assert backend.delete_expired(1060.0) == []

    def test_what_a_filter_selects_is_deleted(self, backend: MetadataBackend) -> None:
        corpus = _corpus()
        backend.put_entries(corpus)
        selected = Filter.parse({"prefix": "odd", "entry__hits__lt": 10})

        removed = backend.delete_where(selected)

        gone = {entry.cache_key for entry in corpus if entry.prefix == "odd" and entry.hits < 10}
        assert {entry.cache_key for entry in removed} == gone
        assert set(backend.iter_keys()) == {entry.cache_key for entry in corpus} - gone
        assert backend.delete_where(selected) == []

    @pytest.mark.parametrize("policy", ["lru", "lfu", "fifo", "cost"])
    def test_victims_come_in_the_order_of_the_policy(
        self, backend: MetadataBackend, policy: str
    ) -> None:
        corpus = [
            replace(entry, accessed_at=1000.0 + (number * 11) % 13, stored_bytes=100)
            for number, entry in enumerate(_corpus())
        ]
        backend.put_entries(corpus)

        def expected() -> list[str]:
            summaries = [s for s in backend.iter_entry_summaries() if not s["pinned"]]
            return [s["cache_key"] for s in sorted(summaries, key=eviction_order(policy))]

        def victims(size: int, count: int) -> list[str]:
            return [entry.cache_key for entry in backend.victims(policy, size, count)]

        assert victims(10**9, 0) == expected(), "all but the pinned ones, in order"
        assert victims(0, 3) == expected()[:3], (
            "no more than were asked for, and none that is pinned"
        )
        assert victims(250, 0) == expected()[:3], "as few as free 250 bytes: three of 100"
        assert victims(100, 2) == expected()[:2], "both bounds hold"
        assert victims(0, 0) == []
        first = expected()[0]
        backend.record_hits({first: (100, 9000.0)})
        backend.update_fields(expected()[-1], {"pinned": True})
        backend.delete_entry(expected()[1])
        assert victims(10**9, 0) == expected(), "the order follows hits, pins and deletions"

    def test_victims_of_an_unknown_policy_are_an_error(self, backend: MetadataBackend) -> None:
        backend.put_entry(make_entry())

        with pytest.raises(ConfigError, match="policy='random'"):
            backend.victims("random", 1, 1)

    def test_what_has_expired_is_removed(self, backend: MetadataBackend) -> None:
        corpus = [
            make_entry("never", expires_at=None),
            make_entry("later", expires_at=1000.5),
            make_entry("now", expires_at=1000.0),
            make_entry("long ago", expires_at=1.0, pinned=True),
            make_entry("stale", expires_at=1.0, stale_until=1000.5),
            make_entry("stale no more", expires_at=1.0, stale_until=1000.0),
        ]
        backend.put_entries(corpus)

        removed = backend.delete_expired(1000.0)

        gone = {"now", "long ago", "stale no more"}
        assert {entry.cache_key for entry in removed} == gone
        assert all(without_payload(e) in map(without_payload, removed) for e in corpus[2:4])
        assert set(backend.iter_keys()) == {"never", "later", "stale"}
        assert backend.delete_expired(1000.0) == []

    @pytest.mark.parametrize("policy", ["lru", "lfu", "fifo", "cost"])
    def test_what_is_over_a_bound_is_evicted(self, backend: MetadataBackend, policy: str) -> None:
        corpus = [
            replace(entry, accessed_at=1000.0 + (number * 11) % 13, stored_bytes=100)
            for number, entry in enumerate(_corpus())
        ]
        backend.put_entries(corpus)
        order = [entry.cache_key for entry in backend.victims(policy, 10**9, 0)]

        def evicted(max_size: int | None, max_entries: int | None) -> list[str]:
            found = backend.evict(policy, max_size=max_size, max_entries=max_entries, slack=0.1)
            return [entry.cache_key for entry in found]

        assert evicted(100 * len(corpus), len(corpus)) == [], "within both bounds"
        assert evicted(None, len(corpus) - 1) == order[:3], "one is over, and a tenth of 20"
        left = len(corpus) - 3
        assert evicted(100 * (left - 1), None) == order[3:6], "100 bytes over, and a tenth of 1700"
        assert (backend.count(), backend.total_size()) == (left - 3, 100 * (left - 3))
        assert evicted(0, None) == order[6:], "all but the pinned ones, in order"
        assert evicted(0, 0) == []
        assert all(entry.pinned for entry in backend.list_entries())


def _identity(entry: Entry) -> tuple[str, int]:
    return entry.cache_key, entry.generation


def _together(held: Iterable[Held]) -> dict[tuple[object, ...], list[float]]:
    """What was told in any number of parts, by all that tells them apart."""
    sums: dict[tuple[object, ...], list[float]] = {}
    expired = 0
    for *group, entries, stored, logical, pinned, over, newest in held:
        expired += over
        if entries:
            amounts = sums.setdefault((*group, newest // 86_400), [0, 0, 0, 0, 0.0])
            for position, amount in enumerate((entries, stored, logical, pinned)):
                amounts[position] += amount
            amounts[4] = max(amounts[4], round(newest, 3))
    return {**sums, ("expired",): [expired]}
