# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What a metadata backend promises of single entries."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

from cacheness.backends.base import MetadataBackend
from cacheness.backends.plain_entry import PlainEntry
from cacheness.backends.shapes import stored_payload
from cacheness.entry import Entry
from cacheness.filters import Filter
from cacheness.testing.store import StoreContract, close_twice
from cacheness.testing.strategies import entries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cacheness.backends.base import BackendContext

__all__ = ["SingleEntryPromises", "make_entry"]

_generations = itertools.count(1)

HOSTILE_KEYS = (
    "a",
    "A",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    " a",
    "a ",
    "'; DROP TABLE entries; --",
    '"',
    "%",
    "_",
    "\\",
    "../../etc/passwd",
    "line\nbreak",
    "\N{SNOWMAN}\N{GRINNING FACE}",
    "1",
    "01",
    "k" * 512,
    "k" * 511 + "K",
)
"""Keys that a store might confuse."""


def make_entry(cache_key: str = "key", **fields: Any) -> Entry:
    """An entry of a new generation, with a small payload unless told otherwise."""
    given_fields: dict[str, Any] = {
        "namespace": "",
        "generation": next(_generations),
        "handler": "json",
        "inline": None if "blob" in fields else b"payload",
        "stored_bytes": 7,
        "created_at": 1000.0,
        "renewed_at": 1000.0,
        "accessed_at": 1000.0,
        **fields,
    }
    return Entry(cache_key=cache_key, **given_fields)


def make_plain(
    cache_key: str = "key",
    *,
    ttl_seconds: float | None = None,
    params: Mapping[str, Any] | None = None,
    summary: str = "dict of 3",
    is_told: bool = False,
) -> PlainEntry:
    """An entry that is said in short, of a generation of its own, maybe with its ``details``."""
    told = {"object_type": "builtins.dict", "summary": summary, "params": params}
    return PlainEntry(
        namespace="",
        cache_key=cache_key,
        generation=next(_generations),
        handler="json",
        checksum="xxh3-128:00",
        payload=b"payload",
        distribution="dist",
        now=1000.25,
        ttl_seconds=ttl_seconds,
        params=params or {},
        object_type="builtins.dict",
        summary=summary,
        details=json.dumps(told) if is_told else None,
    )


def without_payload(entry: Entry | None) -> Entry | None:
    """The entry as a backend may give it back when it was displaced or removed."""
    return None if entry is None else replace(entry, inline=None)


_HARD: dict[str, Any] = {
    "odd": 2**53 + 1,
    "large": -(10**40),
    "float": 1.7976931348623157e308,
    "small": 5e-324,
    "text": "\0\ud800\u2028",
    "": [[], {}, None, True, 1, 1.0],
}
"""What JSON keeps and its readers like to change."""


class SingleEntryPromises(StoreContract):
    """Part of `MetadataBackendContract`."""

    def test_it_is_a_metadata_backend(self, backend: MetadataBackend) -> None:
        known = {"inline", "query", "lock", "watch", "transactions", "records"}

        assert isinstance(backend, MetadataBackend), "derive it from cacheness.MetadataBackend"
        assert backend.capabilities <= known, (
            f"capabilities may be of {sorted(known)}, not {sorted(backend.capabilities - known)}"
        )
        assert isinstance(backend.blob_backend, str), "blob_backend is the name of a blob backend"

    def test_every_entry_comes_back_exactly(self, backend: MetadataBackend) -> None:
        # An entry has so many fields that shrinking takes minutes; the failure names them.
        @settings(
            max_examples=30,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  # its members
        )
        @given(entries())
        @example(make_entry("hard", params=_HARD, metadata=_HARD, custom_metadata=_HARD))
        def check(entry: Entry) -> None:
            self._check_round_trip(backend, entry)

        check()

    def test_nothing_empty_is_taken_for_nothing(self, backend: MetadataBackend) -> None:
        nothing: dict[str, Any] = {"ttl_seconds": 0.0, "cost_seconds": 0.0, "expires_at": 0.0}
        for name in ("signature", "blob", "blob_store", "function", "code_digest"):
            nothing[name] = ""
        metadata: dict[str, Any] = {"empty": [], "none": None, "zero": 0, "text": "", "no": False}

        self._check_round_trip(backend, make_entry("empty", **{**nothing, "inline": b""}))
        self._check_round_trip(backend, make_entry("none", inline=None, **dict.fromkeys(nothing)))
        self._check_round_trip(backend, make_entry("json", metadata=metadata, params=metadata))

    def _check_round_trip(self, backend: MetadataBackend, entry: Entry) -> None:
        if "inline" not in backend.capabilities:
            entry = replace(entry, inline=None)
        backend.put_entry(entry)

        got = backend.get_entry(entry.cache_key)

        assert got is not None, f"the entry of the key {entry.cache_key!r} got lost"
        different = {
            name: (given, kept)
            for name in Entry.__slots__
            if not _same(given := getattr(entry, name), kept := getattr(got, name))
        }
        assert not different, (
            "get_entry has to give every field as put_entry was given it, and of the same type "
            f"(1, 1.0 and True are three things, and so are None and empty): {different!r}"
        )
        found = backend.find(entry.cache_key)
        assert _comparable(found) == _comparable(stored_payload(entry)), (
            "find has to give the fields of stored_payload, in that order"
        )

    def test_find_gives_what_get_entry_gives(self, backend: MetadataBackend) -> None:
        entry = make_entry(metadata={"shape": [2, 3]}, expires_at=2000.0, signature="id:ff")
        backend.put_entry(entry)

        found = backend.find("key")

        assert _comparable(found) == _comparable(stored_payload(entry)), (
            "find has to give the fields of stored_payload, in that order"
        )

    def test_what_is_not_there_is_none(self, backend: MetadataBackend) -> None:
        backend.put_entry(make_entry("other"))

        assert backend.get_entry("key") is None
        assert backend.find("key") is None
        assert backend.delete_entry("key") is None
        assert backend.expire_entry("key", if_generation=1, now=1e9) is None
        assert backend.update_fields("key", {"hits": 1}) is False
        assert backend.count() == 1, "an update or a deletion of nothing must not change anything"

    def test_a_put_gives_the_entry_that_it_displaced(self, backend: MetadataBackend) -> None:
        first, second = make_entry(params={"a": 1}), make_entry(blob="ab/" + "0" * 32)

        assert backend.put_entry(first) is None
        displaced = backend.put_entry(second)

        assert without_payload(displaced) == without_payload(first), (
            "put_entry has to give the entry that it displaced, so that its blob is removed"
        )
        assert backend.get_entry("key") == second, "nothing of the old entry may remain"

    def test_a_plain_put_records_the_same_entry(self, backend: MetadataBackend) -> None:
        plains = (
            make_plain(),
            make_plain(ttl_seconds=60.0, params={"a": 1, "b": "\0 and \ud800", "c": 1e300}),
            make_plain(params={"a": 1, "b": "é"}, is_told=True),
        )
        for plain in plains:
            backend.put_plain(plain)

            assert backend.get_entry("key") == plain.entry(), (
                "put_plain has to record what put_entry records for the same entry"
            )

    def test_a_plain_put_tells_what_is_left_of_the_entry_that_it_displaced(
        self, backend: MetadataBackend
    ) -> None:
        def put_plain() -> object:
            return backend.put_plain(make_plain())

        blob, advice = (
            "ab/" + "0" * 32,
            "put_plain has to give the prefix and blob of what it replaced",
        )
        assert put_plain() is None, advice
        assert put_plain() == ("", None, None), advice
        backend.put_entry(make_entry(blob=blob, blob_store="store", prefix="p \ufffd?"))
        assert put_plain() == ("p \ufffd?", blob, "store"), advice
        backend.put_entry(make_entry(blob=blob, description="\0 and \ud800", prefix="p"))
        assert put_plain() == ("p", blob, None), advice

    def test_if_absent_keeps_the_one_that_stands(self, backend: MetadataBackend) -> None:
        first, second = make_entry(), make_entry()

        assert backend.put_entry(first, if_absent=True) is None
        standing = backend.put_entry(second, if_absent=True)

        assert without_payload(standing) == without_payload(first)
        assert backend.get_entry("key") == first, "if_absent must not replace an entry"

    def test_a_deletion_gives_what_it_removed(self, backend: MetadataBackend) -> None:
        entry = make_entry(tags=("a", "b"))
        backend.put_entry(entry)

        removed = backend.delete_entry("key")

        assert without_payload(removed) == without_payload(entry)
        assert backend.get_entry("key") is None
        assert backend.delete_entry("key") is None

    def test_a_removal_tells_what_has_to_be_known_of_it(self, backend: MetadataBackend) -> None:
        blob, advice = (
            "ab/" + "0" * 32,
            "give key, handler, bytes, blob and store of what was removed",
        )
        backend.put_entry(make_entry(blob=blob, blob_store="store", prefix="p"))
        backend.put_entry(make_entry("other", prefix="p"))
        backend.put_entry(make_entry("third"))

        assert backend.remove_entry("nothing") is None, advice
        assert backend.remove_entry("key") == ("key", "json", 7, blob, "store"), advice
        removed = backend.remove_where(Filter.parse({"prefix": "p"}))
        assert list(map(tuple, removed)) == [("other", "json", 7, None, None)], advice
        assert list(backend.iter_keys()) == ["third"], "remove what is selected, and no more"
        third = backend.get_entry("third")
        assert third is not None
        later, now = third.generation + 1, third.generation
        assert backend.remove_generations({"third": later, "other": now}) == [], "it is another"
        removed = backend.remove_generations({"third": now, "other": now})
        assert list(map(tuple, removed)) == [("third", "json", 7, None, None)], advice
        assert list(backend.iter_keys()) == []

    def test_a_deletion_spares_another_generation(self, backend: MetadataBackend) -> None:
        old, new = make_entry(), make_entry()
        backend.put_entry(old)
        backend.put_entry(new)

        removed = backend.delete_entry("key", if_generation=old.generation)

        assert removed is None, "if_generation has to spare a newer entry"
        assert backend.get_entry("key") == new
        assert backend.delete_entry("key", if_generation=new.generation) is not None

    def test_expiry_removes_only_what_is_expired_still(self, backend: MetadataBackend) -> None:
        entry = make_entry(expires_at=2000.0)
        generation = entry.generation
        backend.put_entry(entry)

        assert backend.expire_entry("key", if_generation=generation, now=1999.0) is None, (
            "expire_entry removes nothing before expires_at"
        )
        assert backend.expire_entry("key", if_generation=generation + 1, now=3000.0) is None, (
            "if_generation has to spare a newer entry"
        )
        backend.update_fields("key", {"expires_at": 4000.0})
        assert backend.expire_entry("key", if_generation=generation, now=3000.0) is None, (
            "expire_entry has to look at expires_at again: it was renewed"
        )
        backend.update_fields("key", {"expires_at": None})
        assert backend.expire_entry("key", if_generation=generation, now=1e12) is None, (
            "an entry without expires_at never expires"
        )
        backend.update_fields("key", {"expires_at": 2000.0})
        assert backend.expire_entry("key", if_generation=generation, now=2000.0) is not None, (
            "from expires_at on an entry is expired, at that very time too"
        )
        assert backend.get_entry("key") is None

    def test_an_update_changes_what_it_names(self, backend: MetadataBackend) -> None:
        entry = make_entry(params={"a": 1}, tags=("old",), ttl_seconds=60.0, hits=3)
        backend.put_entry(entry)
        changes: dict[str, Any] = {
            "description": "new",
            "custom_metadata": {"run": {"id": 7}},
            "tags": ("x", "y"),
            "ttl_seconds": None,
            "expires_at": 5.5,
            "pinned": True,
        }

        assert backend.update_fields("key", changes) is True

        assert backend.get_entry("key") == replace(entry, **changes), (
            "update_fields has to leave all other fields, the generation among them"
        )

    def test_an_update_spares_another_generation(self, backend: MetadataBackend) -> None:
        entry = make_entry()
        backend.put_entry(entry)

        changes = {"description": "late"}
        late = backend.update_fields("key", changes, if_generation=entry.generation + 1)
        assert late is False, "if_generation has to spare a newer entry"
        assert backend.get_entry("key") == entry
        assert backend.update_fields("key", changes, if_generation=entry.generation) is True

    def test_an_update_of_an_unknown_field_is_an_error(self, backend: MetadataBackend) -> None:
        backend.put_entry(make_entry())

        with pytest.raises(TypeError):
            backend.update_fields("key", {"no_such_field": 1})

    def test_hits_add_up(self, backend: MetadataBackend) -> None:
        entry = make_entry(hits=1, accessed_at=1000.0)
        backend.put_entry(entry)

        backend.record_hits({"key": (2, 3000.0), "gone": (1, 3000.0)})
        backend.record_hits({"key": (3, 2000.0)})

        expected = replace(entry, hits=6, accessed_at=3000.0)
        assert backend.get_entry("key") == expected, (
            "record_hits adds to hits, and accessed_at never goes back"
        )
        assert backend.get_entry("gone") is None, "a hit makes no entry"

    def test_keys_are_compared_byte_by_byte(self, backend: MetadataBackend) -> None:
        for key in HOSTILE_KEYS:
            backend.put_entry(make_entry(key, description=key))

        for key in HOSTILE_KEYS:
            entry = backend.get_entry(key)
            assert entry is not None, f"the key {key!r} got lost"
            assert entry.description == key, (
                f"the key {key!r} was taken for {entry.description!r}: fold no case"
            )
        assert sorted(backend.iter_keys()) == sorted(HOSTILE_KEYS)

    def test_callers_and_store_share_nothing_mutable(self, backend: MetadataBackend) -> None:
        params = {"list": [1]}
        backend.put_entry(make_entry(params=params))
        params["list"].append(2)

        got = backend.get_entry("key")
        assert got is not None
        got.params["list"].append(3)
        for summary in backend.iter_entry_summaries():
            summary["params"]["list"].append(4)

        again = backend.get_entry("key")
        assert again is not None
        assert again.params == {"list": [1]}, "copy what you keep in memory, in and out"

    def test_it_may_be_closed_twice(self, context: BackendContext) -> None:
        backend = self.make(context)
        backend.put_entry(make_entry())

        close_twice(backend)

    def test_it_is_there_when_opened_again(self, context: BackendContext) -> None:
        entry = make_entry(params={"a": [1, None, "x"]}, tags=("t",))
        backend = self.make(context)
        backend.put_entry(entry)
        backend.update_fields("key", {"description": "changed"})
        backend.write_notes("kind", {"name": 1})
        backend.close()

        backend = self.make(context)

        kept = backend.get_entry("key")
        notes = backend.read_notes("kind")
        backend.close()
        if not self.persistent:
            assert kept is None, "the store outlives its last user: set persistent = True"
            return
        assert kept == replace(entry, description="changed"), (
            "the entry has to be there when the store is opened again (persistent = True)"
        )
        assert notes in ({"name": 1}, {}), "notes come back, or are not kept"


def _same(given: Any, kept: Any) -> bool:
    """Whether two values and their types are equal, all the way down."""
    if type(given) is not type(kept):
        return False
    if isinstance(given, dict):
        return given.keys() == kept.keys() and all(_same(of, kept[n]) for n, of in given.items())
    if isinstance(given, (list, tuple)):
        return len(given) == len(kept) and all(map(_same, given, kept))
    return bool(given == kept)


def _comparable(found: Any) -> Any:
    """What `find` gave, its metadata parsed."""
    assert found is not None, "find gives nothing for an entry that get_entry gives"
    metadata = found[7]
    parsed = json.loads(metadata) if isinstance(metadata, str) else metadata or {}
    return tuple(found[:7]), parsed, tuple(found[8:])
