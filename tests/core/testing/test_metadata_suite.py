# SPDX-License-Identifier: MIT
"""The suite for metadata backends finds a backend's defect and says what to do about it."""

from __future__ import annotations

import inspect
import json
import re
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.backends.base import BackendContext, MetadataBackend
from cacheness.backends.memory import MemoryBackend
from cacheness.config import CacheConfig
from cacheness.errors import CachenessError
from cacheness.testing import MetadataBackendContract

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.backends.shapes import Remains, Removed
    from cacheness.entry import Entry
    from cacheness.filters import Filter


class Sound(MemoryBackend):
    """Without a defect."""

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context, name=context.directory)


class IgnoresIfAbsent(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        return super().put_entry(entry)


class AddsInTwoSteps(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        if if_absent and (standing := self.get_entry(entry.cache_key)) is not None:
            return standing
        time.sleep(0.001)
        super().put_entry(entry)
        return None


class ForgetsTheDisplaced(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        old = super().put_entry(entry, if_absent=if_absent)
        return old if if_absent else None


class ForgetsTheRemains(Sound):
    def put_plain(self, plain: PlainEntry) -> Remains | None:
        super().put_plain(plain)
        return None


class RemovesWithoutAWord(Sound):
    def remove_entry(self, cache_key: str) -> Removed | None:
        gone = super().remove_entry(cache_key)
        return None if gone is None else (*gone[:3], None, None)


class RemovesEverything(Sound):
    def remove_where(self, filter: Filter) -> list[Removed]:
        return [gone for key in list(self.iter_keys()) if (gone := self.remove_entry(key))][:1]


class PutsPlainForEver(Sound):
    def put_plain(self, plain: PlainEntry) -> Remains | None:
        return super().put_plain(plain._replace(ttl_seconds=None))


class KeepsWhatWasReplaced(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        old = self.get_entry(entry.cache_key)
        merged = replace(entry, params={**old.params, **entry.params}) if old else entry
        return super().put_entry(merged, if_absent=if_absent)


class DeletesAnyGeneration(Sound):
    def delete_entry(self, cache_key: str, *, if_generation: int | None = None) -> Entry | None:
        return super().delete_entry(cache_key)


class ExpiresWhatWasRenewed(Sound):
    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        return self.delete_entry(cache_key, if_generation=if_generation)


class ExpiresTooLate(Sound):
    def expire_entry(self, cache_key: str, *, if_generation: int, now: float) -> Entry | None:
        return super().expire_entry(cache_key, if_generation=if_generation, now=now - 1e-3)


class UpdatesAnyGeneration(Sound):
    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        return super().update_fields(cache_key, changes)


class NewGenerationAtUpdate(Sound):
    def update_fields(
        self, cache_key: str, changes: Mapping[str, Any], *, if_generation: int | None = None
    ) -> bool:
        changes = {**changes, "generation": 99}
        return super().update_fields(cache_key, changes, if_generation=if_generation)


class SetsHits(Sound):
    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        for key, (count, accessed_at) in hits.items():
            self.update_fields(key, {"hits": count, "accessed_at": accessed_at})


class LosesHitsOfOthers(Sound):
    def record_hits(self, hits: Mapping[str, tuple[int, float]]) -> None:
        for key, (count, accessed_at) in hits.items():
            entry = self.get_entry(key)
            time.sleep(0.0001)
            if entry is not None:
                last = max(accessed_at, entry.accessed_at)
                self.update_fields(key, {"hits": entry.hits + count, "accessed_at": last})


class FoldsCase(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        return super().put_entry(replace(entry, cache_key=entry.cache_key.casefold()))

    def get_entry(self, cache_key: str) -> Entry | None:
        return super().get_entry(cache_key.casefold())


class HandsOutItsOwn(Sound):
    def get_entry(self, cache_key: str) -> Entry | None:
        return self._store.table(self._namespace).get(cache_key)


class FloatsLargeIntegers(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        params = json.loads(json.dumps(entry.params), parse_int=lambda text: _number(text))
        return super().put_entry(replace(entry, params=params), if_absent=if_absent)


def _number(text: str) -> int | float:
    return int(text) if abs(int(text)) < 2**53 else float(text)


class DropsEmptyText(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        return super().put_entry(replace(entry, signature=entry.signature or None))


class FindsInAnotherOrder(Sound):
    def find(self, cache_key: str) -> Any:
        found = super().find(cache_key)
        return found and (*found[:9], found[10], found[9], *found[11:])


class ListsPayloads(Sound):
    def list_entries(self) -> list[Entry]:
        entries = [self.get_entry(key) for key in self.iter_keys()]
        return [entry for entry in entries if entry is not None]


class PutsHalfABatch(Sound):
    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        return MetadataBackend.put_entries(self, entries)


class CountsPuts(Sound):
    def put_entries(self, entries: Iterable[Entry]) -> list[Entry]:
        displaced = super().put_entries(entries)
        return displaced[:0]


class MissesOnePage(Sound):
    def iter_keys(self) -> Iterator[str]:
        return iter(list(super().iter_keys())[:1000])


class SeesOnlyItsOwnNamespaces(Sound):
    def namespaces(self) -> list[str]:
        return [self._namespace] if self.count() else []


class TakesTrueForOne(Sound):
    def query_meta(self, **filters: Any) -> Iterator[str]:
        lenient = {k: int(v) if isinstance(v, bool) else v for k, v in filters.items()}
        return super().query_meta(**lenient)


class FindsNewestFirst(Sound):
    def query_meta(self, **filters: Any) -> Iterator[str]:
        return reversed(list(super().query_meta(**filters)))


class SwallowsBadFilters(Sound):
    def query_meta(self, **filters: Any) -> Iterator[str]:
        try:
            return super().query_meta(**filters)
        except TypeError:
            return iter(())


class KeepsTouchedExpiry(Sound):
    def touch_entries(self, filter: Filter, *, now: float) -> int:
        before = {entry.cache_key: entry.expires_at for entry in self.list_entries()}
        touched = super().touch_entries(filter, now=now)
        for key, expires_at in before.items():
            self.update_fields(key, {"expires_at": expires_at})
        return touched


class EvictsPinned(Sound):
    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        pinned = [entry for entry in self.list_entries() if entry.pinned]
        return pinned[:count] + super().victims(policy, size, count)


class EvictsTooMuch(Sound):
    def victims(self, policy: str, size: int, count: int) -> list[Entry]:
        return super().victims(policy, size, count + 1)


class EvictsInTwoSteps(Sound):
    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        count = self.count() - (max_entries or 0)
        time.sleep(0.01)
        if count <= 0:
            return []
        victims = self.victims(policy, 0, count + int((max_entries or 0) * slack))
        return self.delete_entries([victim.cache_key for victim in victims])


class EvictsToTheBound(Sound):
    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        return super().evict(policy, max_size=max_size, max_entries=max_entries, slack=0.0)


class EvictsUnderAnyBound(Sound):
    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        bound = None if max_entries is None else max_entries - 1
        return super().evict(policy, max_size=max_size, max_entries=bound, slack=slack)


class EvictsPinnedToo(Sound):
    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        return self.delete_entries(list(self.iter_keys()))


class EvictsByAllNamespaces(Sound):
    def evict(
        self, policy: str, *, max_size: int | None, max_entries: int | None, slack: float = 0.1
    ) -> list[Entry]:
        count = sum(map(len, self._store.tables.values()))
        victims = self.victims(policy, 0, count - (max_entries or 0))
        return self.delete_entries([victim.cache_key for victim in victims])


class LabelsWithoutCost(Sound):
    def labels(self, cache_keys: Sequence[str]) -> dict[str, Any]:
        return {key: (*of[:3], None) for key, of in super().labels(cache_keys).items()}


class SetsStatistics(Sound):
    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        self.write_notes("statistics", dict(amounts))


class LosesStatisticsOfOthers(Sound):
    def add_statistics(self, amounts: Mapping[str, float]) -> None:
        sums = self.read_statistics()
        time.sleep(0.001)
        added = {name: sums.get(name, 0.0) + amount for name, amount in amounts.items()}
        self.write_notes("statistics", added)


class CountsAllNamespaces(Sound):
    def count(self) -> int:
        return sum(map(len, self._store.tables.values()))


class SharesNotes(Sound):
    def read_notes(self, kind: str) -> dict[str, Any]:
        return self._store.notes.get(("", kind), {})


class KeepsRemovedNotes(Sound):
    def write_notes(self, kind: str, notes: Mapping[str, Any]) -> None:
        super().write_notes(kind, {name: value or 0 for name, value in notes.items()})


class NeverChanges(Sound):
    def change_token(self) -> object:
        return 1


class LocksNothing(Sound):
    def lock(self, cache_key: str) -> AbstractContextManager[None]:
        return nullcontext(time.sleep(0.0001))


class LocksEverything(Sound):
    def lock(self, cache_key: str) -> AbstractContextManager[None]:
        return super().lock("all")


class ClosesOnce(Sound):
    def close(self) -> None:
        self._store.version += 1
        super().close()


class DeclaresTheUnknown(Sound):
    capabilities = Sound.capabilities | {"teleport"}


class DirtyReads(Sound):
    def put_entry(self, entry: Entry, *, if_absent: bool = False) -> Entry | None:
        old = super().put_entry(replace(entry, inline=b""), if_absent=if_absent)
        time.sleep(0.0001)
        if old is None or not if_absent:
            self.update_fields(entry.cache_key, {"inline": entry.inline})
        return old


DEFECTS: list[tuple[type[MemoryBackend], str, str]] = [
    (IgnoresIfAbsent, "if_absent_keeps_the_one_that_stands", "if_absent must not replace"),
    (AddsInTwoSteps, "of_many_who_add_one_succeeds", "look and to write in one step"),
    (ForgetsTheDisplaced, "a_put_gives_the_entry_that_it_displaced", "its blob is removed"),
    (
        ForgetsTheRemains,
        "a_plain_put_tells_what_is_left_of_the_entry_that_it_displaced",
        "prefix and blob of what it replaced",
    ),
    (RemovesWithoutAWord, "a_removal_tells_what_has_to_be_known_of_it", "blob and store"),
    (RemovesEverything, "a_removal_tells_what_has_to_be_known_of_it", "no more"),
    (PutsPlainForEver, "a_plain_put_records_the_same_entry", "what put_entry records"),
    (KeepsWhatWasReplaced, "a_put_gives_the_entry_that_it_displaced", "nothing of the old entry"),
    (DeletesAnyGeneration, "a_deletion_spares_another_generation", "spare a newer entry"),
    (
        ExpiresWhatWasRenewed,
        "expiry_removes_only_what_is_expired_still",
        "removes nothing before expires_at",
    ),
    (ExpiresTooLate, "expiry_removes_only_what_is_expired_still", "at that very time too"),
    (UpdatesAnyGeneration, "an_update_spares_another_generation", "spare a newer entry"),
    (NewGenerationAtUpdate, "an_update_changes_what_it_names", "leave all other fields"),
    (SetsHits, "hits_add_up", "record_hits adds to hits"),
    (LosesHitsOfOthers, "hits_of_threads_add_up", "add in one step"),
    (FoldsCase, "keys_are_compared_byte_by_byte", "fold no case"),
    (HandsOutItsOwn, "callers_and_store_share_nothing_mutable", "copy what you keep"),
    (FloatsLargeIntegers, "every_entry_comes_back_exactly", "of the same type"),
    (DropsEmptyText, "nothing_empty_is_taken_for_nothing", "None and empty"),
    (FindsInAnotherOrder, "every_entry_comes_back_exactly", "in that order"),
    (ListsPayloads, "listings_agree", "without its payload"),
    (PutsHalfABatch, "a_transaction_is_all_or_nothing", "only if a bulk form that fails changes"),
    (CountsPuts, "many_are_put_at_once", "so that their blobs are removed"),
    (CountsPuts, "of_one_key_put_twice_at_once_the_last_stays", "the first was displaced too"),
    (MissesOnePage, "a_long_listing_is_complete", "all pages"),
    (SeesOnlyItsOwnNamespaces, "namespaces_see_nothing_of_each_other", "of the whole store"),
    (CountsAllNamespaces, "namespaces_see_nothing_of_each_other", "are of the namespace"),
    (TakesTrueForOne, "filters_mean_what_filter_matches_says", "what Filter.matches selects"),
    (FindsNewestFirst, "filters_mean_what_filter_matches_says", "oldest first"),
    (SwallowsBadFilters, "a_filter_that_means_nothing_is_an_error", "raise TypeError"),
    (KeepsTouchedExpiry, "what_a_filter_selects_is_touched", "count the time to live from now"),
    (EvictsPinned, "victims_come_in_the_order_of_the_policy", "none that is pinned"),
    (EvictsTooMuch, "victims_come_in_the_order_of_the_policy", "none that is pinned"),
    (
        EvictsInTwoSteps,
        "many_who_evict_at_once_evict_no_more_than_one",
        "decide and to remove in one step",
    ),
    (EvictsToTheBound, "eviction_goes_down_to_the_slack_below_the_bound", "a slack of 5"),
    (EvictsUnderAnyBound, "nothing_is_evicted_within_the_bounds", "just full is within its bounds"),
    (EvictsPinnedToo, "pinned_entries_are_not_evicted", "spare what is pinned"),
    (EvictsByAllNamespaces, "eviction_stays_within_its_namespace", "count no other's entries"),
    (LabelsWithoutCost, "labels_are_those_of_the_entries", "prefix, handler and cost_seconds"),
    (SetsStatistics, "statistics_add_up", "add to what is there"),
    (LosesStatisticsOfOthers, "statistics_of_threads_add_up", "add in one step"),
    (SharesNotes, "notes_are_merged_or_not_kept", "belong to a namespace"),
    (KeepsRemovedNotes, "notes_are_merged_or_not_kept", "None removes its note"),
    (NeverChanges, "a_change_by_others_changes_the_token", "differ after every change"),
    (LocksNothing, "a_lock_excludes_threads_from_its_key", "two threads held the lock"),
    (LocksEverything, "a_lock_excludes_threads_from_its_key", "lock of entry 'all'"),
    (ClosesOnce, "it_may_be_closed_twice", "close has to do nothing"),
    (DeclaresTheUnknown, "it_is_a_metadata_backend", "capabilities may be of"),
    (DirtyReads, "threads_never_see_half_an_entry", "with its payload|replaced whole"),
]


def run(target: type[MemoryBackend], name: str, directory: str) -> None:
    """Run one test of the suite on a backend, as pytest would."""
    suite = type("Suite", (MetadataBackendContract,), {"target": target})()
    config = CacheConfig(cache_dir=directory, lock_timeout=0.2)
    context = BackendContext(directory, "", config)
    test = getattr(suite, f"test_{name}")
    given: dict[str, Any] = {"context": context, "opened": [], "policy": "lru"}
    for parameter in ("backend", "another"):
        given[parameter] = suite.make(context)
    test(**{name: given[name] for name in inspect.signature(test).parameters})


@pytest.mark.slow
@pytest.mark.parametrize(("target", "name", "advice"), DEFECTS)
def test_a_defect_is_found_and_the_failure_says_what_to_do(
    target: type[MemoryBackend], name: str, advice: str, tmp_path: Path
) -> None:
    run(Sound, name, str(tmp_path / "sound"))

    with pytest.raises((AssertionError, CachenessError, pytest.fail.Exception)) as failure:
        run(target, name, str(tmp_path / "defect"))

    assert re.search(advice, str(failure.value)), str(failure.value)


def test_a_suite_without_a_target_says_what_to_set(tmp_path: Path) -> None:
    class Suite(MetadataBackendContract):
        pass

    context = BackendContext(str(tmp_path), "", CacheConfig(cache_dir=tmp_path))
    with pytest.raises(AssertionError, match=r"set Suite\.target"):
        Suite().make(context)
