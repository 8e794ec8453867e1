# SPDX-License-Identifier: MIT
"""A list of small values is stored while its entries are made, as any other batch is."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cacheness import (
    CachenessWarning,
    Handler,
    UnifiedCache,
    disabled,
    register_handler,
    unregister_handler,
)
from cacheness.backends.in_order import InOrder
from cacheness.testing.metadata_entries import make_plain
from cacheness_postgres import PostgresBackend

from .conftest import an_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import psycopg

    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.entry import Entry

PAIRS: list[tuple[object, Any]] = [
    ({"a": [1, None]}, "b"),
    (None, "a\n"),
    ("twice", "twice"),
    ("last", "twice"),
    (1.5, {"x": 1, "y": "text " * 60}),
    ([1], "\U0001f600"),
]


@pytest.fixture
def cache(url: str, schema: str, tmp_path: Path) -> Iterator[UnifiedCache]:
    options = {"url": url, "schema": schema}
    with UnifiedCache(
        tmp_path / "c", metadata_backend="postgres", metadata_options=options
    ) as cache:
        yield cache


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """In what the backend was given the batches."""
    given: list[type] = []
    put_prepared = PostgresBackend.put_prepared

    def noting(self: PostgresBackend, prepared: Any) -> list[Entry]:
        given.append(type(prepared))
        return put_prepared(self, prepared)

    monkeypatch.setattr(PostgresBackend, "put_prepared", noting)
    return given


def recorded(cache: UnifiedCache) -> list[Entry]:
    """All entries, but for what each put has of its own."""
    of_a_put: dict[str, Any] = {"generation": 1, "created_at": 0, "renewed_at": 0, "accessed_at": 0}
    entries = [cache.get_entry(key) for key in cache]
    return sorted(
        (replace(entry, **of_a_put) for entry in entries if entry is not None),
        key=lambda entry: entry.cache_key,
    )


def test_a_list_is_stored_as_what_comes_one_by_one(cache: UnifiedCache, ways: list[type]) -> None:
    keys = cache.put_batch(iter(PAIRS))
    one_by_one = recorded(cache)
    cache.clear()
    with disabled():
        assert cache.put_batch(PAIRS) == keys
    assert len(cache) == 0

    assert cache.put_batch(PAIRS) == keys
    assert recorded(cache) == one_by_one
    assert cache.get_batch(keys) == ["last" if of == "twice" else of for of, _ in PAIRS]
    cache.put_batch(tuple(PAIRS))  # over themselves
    assert recorded(cache) == one_by_one
    assert InOrder not in ways[:1]
    assert ways[1:] == [InOrder, InOrder]


def test_what_a_list_takes_the_place_of_is_removed(cache: UnifiedCache, ways: list[type]) -> None:
    cache.put(bytes(100_000), "b", prefix="p")

    with pytest.warns(CachenessWarning, match="had the prefix 'p'") as seen:
        cache.put_batch(PAIRS)

    assert seen[0].filename == __file__
    assert ways == [InOrder]
    assert list(cache.engine.blobs().iter_blobs()) == []
    assert cache.get("b") == {"a": [1, None]}


@pytest.mark.parametrize("value", [(1,), [(1,)], b"bytes", {1: 2}, 2**70], ids=repr)
def test_a_list_with_something_unusual_is_stored_as_it_comes(
    cache: UnifiedCache, value: object
) -> None:
    # So many that some are on their way when it turns up.
    pairs = [(number, f"k{number:03}") for number in range(500)]

    cache.put_batch([*pairs, (value, "unusual")])

    assert cache.get("unusual") == value
    assert cache.get_batch([key for _, key in pairs]) == list(range(500))


def test_a_list_is_stored_whenever_the_disk_is_looked_at(
    cache: UnifiedCache, ways: list[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cacheness.upkeep.free_space._LOOK_AFTER_BYTES", 5000)
    looked: list[str] = []
    directories = cache.engine.directories
    space: Any = cache.engine.upkeep().space
    monkeypatch.setattr(space, "_directories", lambda: looked.append("at") or directories())

    cache.put_batch([(number, f"k{number}") for number in range(100)])

    assert ways == [InOrder]
    assert 5 < len(looked) < 50
    assert len(cache) == 100


def test_no_code_but_our_own_runs_while_locks_are_held(
    cache: UnifiedCache, admin: psycopg.Connection[Any], schema: str
) -> None:
    held: list[int] = []
    query = "SELECT count(*) FROM pg_locks WHERE relation = %s::regclass AND mode LIKE 'Row%%'"

    def look(*_: object) -> None:
        row = admin.execute(query, [f"{schema}.entries"]).fetchone()
        assert row is not None
        held.append(row[0])

    class Parameter:
        def __cacheness_key__(self) -> str:
            look()
            return "a"

        def __repr__(self) -> str:
            look()
            return "a"

    @register_handler(priority=100, types=("builtins.complex",))
    class LookingHandler(Handler):
        data_only = True

        def can_handle(self, obj: object) -> bool:
            look()
            return type(obj) is complex

        def dumps_plain(self, obj: complex) -> bytes:
            look()
            return repr(obj).encode()

    def source() -> Iterator[tuple[object, Any]]:
        look()
        yield from PAIRS

    batches: dict[str, Callable[[], object]] = {
        "an iterable's": lambda: cache.put_batch(source()),
        "a progress bar's": lambda: cache.put_batch(PAIRS, progress=look),
        "a parameter's": lambda: cache.put_batch([(1, {"p": Parameter()})]),
        "a handler's": lambda: cache.put_batch([(1j, "j")]),
        "an observer's": lambda: (cache.engine.watch(look), cache.put_batch(PAIRS)),
    }
    try:
        for whose, put in batches.items():
            held.clear()
            put()
            assert set(held) == {0}, whose
    finally:
        unregister_handler("looking")


def test_who_is_overtaken_makes_the_entries_once_more(
    open_backend: Callable[..., PostgresBackend], schema: str, url: str
) -> None:
    backend, made = open_backend(), []
    keys = [f"k{number:03}" for number in range(300)]
    generations = itertools.count(100)

    def make(key: str) -> PlainEntry:
        if not made:
            other.put_entry(an_entry(keys[-1], 5))  # nobody had it when it was looked for
        made.append(key)
        return make_plain(key)._replace(generation=next(generations))

    other = open_backend()
    displaced = backend.put_prepared(InOrder(keys, make))

    assert made == keys * 2
    assert [entry.generation for entry in displaced] == [5]
    assert [entry.generation for entry in backend.get_entries(keys).values()] == [*range(400, 700)]
