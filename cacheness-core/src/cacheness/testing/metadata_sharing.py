# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What a metadata backend promises to those who share it."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.testing.metadata_entries import make_entry
from cacheness.testing.store import StoreContract, forked, in_namespace, in_threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness.backends.base import BackendContext, MetadataBackend

__all__ = ["SharingPromises"]


class SharingPromises(StoreContract):
    """Part of `MetadataBackendContract`."""

    # --- namespaces and notes -----------------------------------------------------------

    def test_namespaces_see_nothing_of_each_other(
        self, context: BackendContext, opened: list[Any]
    ) -> None:
        names = ["", "a", "A", "a/b", "é", "'; DROP TABLE entries; --"]
        backends = {}
        for name in names:
            backends[name] = self.make(in_namespace(context, name))
            opened.append(backends[name])
            backends[name].put_entry(make_entry(namespace=name, description=name, stored_bytes=5))

        for name, backend in backends.items():
            entry = backend.get_entry("key")
            assert entry is not None
            assert (entry.namespace, entry.description) == (name, name)
            assert (backend.count(), backend.total_size()) == (1, 5), (
                "count and total_size are of the namespace"
            )
            assert list(backend.iter_keys()) == ["key"]
            assert list(backend.query_meta()) == ["key"]
            assert len(backend.victims("lru", 10**9, 10)) == 1
            assert backend.namespaces() == sorted(names), "namespaces() is of the whole store"
        from cacheness.filters import Filter

        backends["a"].delete_where(Filter())
        backends["A"].delete_entry("key")
        assert backends["a/b"].count() == 1, "a deletion stays within its namespace"
        assert backends[""].namespaces() == sorted({*names} - {"a", "A"})

    def test_blobs_are_named_for_all_namespaces(
        self, backend: MetadataBackend, context: BackendContext, opened: list[Any]
    ) -> None:
        """Whoever removes what no entry names has to see the entries of everybody."""
        other = self.make(in_namespace(context, "other"))
        opened.append(other)
        names = [f"ab/{number:032x}.npy" for number in range(4)]
        backend.put_entry(make_entry("a", blob=names[0]))
        backend.put_entry(make_entry("inline"))
        backend.put_entry(make_entry("gone", blob=names[1]))
        other.put_entry(make_entry("a", namespace="other", blob=names[2]))
        other.put_entry(make_entry("b", namespace="other", blob=names[3]))
        backend.delete_entry("gone")

        named = backend.iter_blob_names()
        if named is None:
            return  # then no blob is ever taken for an orphan
        assert sorted(named) == [names[0], names[2], names[3]]

    def test_a_store_that_is_well_says_so(self, backend: MetadataBackend) -> None:
        entry = make_entry("a")
        backend.put_entry(entry)

        assert backend.check_store(repair=False) == []
        assert backend.check_store(repair=True) == []
        assert backend.get_entry("a") == entry

    def test_notes_are_merged_or_not_kept(
        self, context: BackendContext, opened: list[Any], backend: MetadataBackend
    ) -> None:
        backend.write_notes("kind", {"a": 1, "b": {"c": [1, "x", None, 2.5]}, "ü\n": "y"})
        if not backend.read_notes("kind"):
            return  # forgotten, which costs explanations and not results
        backend.write_notes("kind", {"a": 2, "ü\n": None, "gone": None})
        backend.write_notes("other", {"a": 3})
        elsewhere = self.make(in_namespace(context, "elsewhere"))
        opened.append(elsewhere)

        assert backend.read_notes("kind") == {"a": 2, "b": {"c": [1, "x", None, 2.5]}}, (
            "write_notes merges: a value of None removes its note"
        )
        assert backend.read_notes("other") == {"a": 3}
        assert backend.read_notes("nothing") == {}
        assert elsewhere.read_notes("kind") == {}, "notes belong to a namespace"

    # --- threads ------------------------------------------------------------------------

    def test_two_objects_see_each_others_changes(
        self, backend: MetadataBackend, another: MetadataBackend
    ) -> None:
        entry = make_entry()
        backend.put_entry(entry)
        assert another.get_entry("key") == entry
        another.update_fields("key", {"description": "changed"})
        assert _described(backend, "key") == "changed"
        assert backend.count() == another.count() == 1
        another.delete_entry("key")
        assert backend.find("key") is None

    def test_a_change_by_others_changes_the_token(
        self, backend: MetadataBackend, another: MetadataBackend
    ) -> None:
        if "watch" not in backend.capabilities:
            return
        tokens = [backend.change_token()]
        assert backend.change_token() == tokens[0], "nothing changed, so neither does the token"
        changes: list[Callable[[], object]] = [
            lambda: another.put_entry(make_entry()),
            lambda: another.put_entry(make_entry()),
            lambda: another.update_fields("key", {"description": "changed"}),
            lambda: another.delete_entry("key"),
        ]

        for change in changes:
            change()
            tokens.append(backend.change_token())

        assert None not in tokens, "declare 'watch' only if change_token can tell"
        assert all(a != b for a, b in pairwise(tokens)), (
            "change_token has to differ after every change by another"
        )

    def test_threads_never_see_half_an_entry(self, backend: MetadataBackend) -> None:
        keys = [f"k{number}" for number in range(3)]

        def work(number: int) -> None:
            for turn in range(40):
                key = keys[(number + turn) % len(keys)]
                text = f"{number}-{turn}"
                entry = make_entry(key, description=text, params={"t": text}, inline=text.encode())
                backend.put_entry(entry)
                got = backend.get_entry(keys[turn % len(keys)])
                if got is not None:
                    assert got.params == {"t": got.description}, "an entry is replaced whole"
                    assert got.inline == got.description.encode(), "with its payload"
                if turn % 7 == 0:
                    backend.delete_entry(key, if_generation=entry.generation)
            backend.put_entry(make_entry(f"last-{number}", description=str(number)))

        in_threads(work, 6)

        assert [_described(backend, f"last-{n}") for n in range(6)] == [str(n) for n in range(6)]
        assert backend.count() == len(backend.list_entries())

    def test_hits_of_threads_add_up(self, backend: MetadataBackend) -> None:
        backend.put_entry(make_entry())

        def work(_: int) -> None:
            for turn in range(25):
                backend.record_hits({"key": (1, 1000.0 + turn)})

        in_threads(work, 4)

        entry = backend.get_entry("key")
        assert entry is not None
        assert entry.hits == 100, "record_hits has to add in one step, not to read and write"

    def test_of_many_who_add_one_succeeds(self, backend: MetadataBackend) -> None:
        for turn in range(10):
            added: list[int] = []

            def work(number: int, key: str = f"k{turn}", added: list[int] = added) -> None:
                if backend.put_entry(make_entry(key), if_absent=True) is None:
                    added.append(number)

            in_threads(work, 4)
            assert len(added) == 1, "if_absent has to look and to write in one step"

    # --- locks --------------------------------------------------------------------------

    def test_a_lock_excludes_threads_from_its_key(self, backend: MetadataBackend) -> None:
        if "lock" not in backend.capabilities:
            with pytest.raises(TypeError, match="lock"):
                backend.lock("key")
            return
        inside: list[int] = []

        def work(number: int) -> None:
            for _ in range(20):
                with backend.lock("key"):
                    inside.append(number)
                    assert len(inside) == 1, "two threads held the lock of one key"
                    with backend.lock(f"other {number}"):
                        inside.remove(number)

        in_threads(work, 4)
        with pytest.raises(RuntimeError, match="in the body"), backend.lock("key"):
            raise RuntimeError("in the body")
        with backend.lock("key"):
            pass

    def test_a_lock_is_released_when_its_holder_is_killed(
        self, context: BackendContext, backend: MetadataBackend
    ) -> None:
        if "lock" not in backend.capabilities or not self.shared:
            return  # no other process can hold it
        worker = self.start(context, "hold_lock", cache_key="key")
        worker.wait_until_ready()
        taken = threading.Event()

        def take() -> None:
            with backend.lock("key"):
                taken.set()

        waiting = threading.Thread(target=take)
        waiting.start()
        assert not taken.wait(0.2), "the lock has to exclude other processes"
        worker.kill()
        waiting.join(30)
        assert taken.is_set(), "the lock has to be released when the process that holds it dies"

    # --- processes ----------------------------------------------------------------------

    def test_processes_lose_nothing(
        self, context: BackendContext, backend: MetadataBackend
    ) -> None:
        if not self.shared:
            return  # none can reach it, as the next test makes sure
        backend.put_entry(make_entry("common"))
        workers = [
            self.start(context, "put_keys", worker=number, threads=2, count=25)
            for number in range(2)
        ]
        for number in range(50):
            backend.put_entry(make_entry(f"mine-{number}"))

        written = sum(worker.result() for worker in workers)

        assert written == 100
        entries = {entry.cache_key: entry for entry in backend.list_entries()}
        assert len(entries) == written + 51, "entries of other processes got lost"
        common = entries.pop("common")
        assert common.hits == 2 * written, "hits of other processes got lost"
        replaced = [e for e in entries.values() if not e.cache_key.startswith("mine")]
        assert all(entry.hits == 1 for entry in replaced), "a replacement got lost"
        got = backend.get_entries(list(entries))
        assert all(got[e.cache_key].inline == e.cache_key.encode() for e in replaced)

    def test_a_process_sees_what_another_added(
        self, context: BackendContext, backend: MetadataBackend
    ) -> None:
        if not self.shared:
            assert forked(lambda: backend.put_entry(make_entry("new"))) is None
            assert backend.get_entry("new") is None, (
                "another process's entry is seen: set shared = True"
            )
            return
        backend.put_entry(make_entry("mine"))

        assert self.start(context, "put_one", cache_key="mine", generation=7).result() is False
        assert self.start(context, "put_one", cache_key="new", generation=7).result() is True

        entry = backend.get_entry("new")
        assert entry is not None
        assert (entry.generation, entry.inline) == (7, b"of the worker")

    def test_a_forked_child_goes_on(self, backend: MetadataBackend) -> None:
        backend.put_entry(make_entry("before", description="parent"))
        stop = threading.Event()

        def busy() -> None:
            number = 0
            while not stop.is_set():
                backend.put_entry(make_entry(f"busy-{number % 5}"))
                backend.get_entry("before")
                number += 1

        thread = threading.Thread(target=busy)
        thread.start()

        def child() -> tuple[str | None, str | None]:
            backend.put_entry(make_entry("child", description="child"))
            return _described(backend, "before"), _described(backend, "child")

        try:
            seen = [forked(child) for _ in range(5)]
        finally:
            stop.set()
            thread.join()

        assert seen == [("parent", "child")] * 5, "a forked child has to be able to go on"
        backend.put_entry(make_entry("after", description="parent"))
        assert _described(backend, "after") == "parent", "and so has its parent"
        expected = "child" if self.shared else None
        assert _described(backend, "child") == expected, (
            "shared says whether other processes see the same store"
        )


def _described(backend: MetadataBackend, cache_key: str) -> str | None:
    entry = backend.get_entry(cache_key)
    return None if entry is None else entry.description
