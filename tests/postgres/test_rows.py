# SPDX-License-Identifier: MIT
"""Entries round trip through PostgreSQL exactly, whatever is in them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheness.backends.plain_entry import PlainEntry, in_full
from cacheness.entry import Entry
from cacheness.testing.metadata_entries import make_plain
from cacheness_postgres.rows import COLUMNS, FIELDS
from cacheness_postgres.tables import tables

from .conftest import an_entry

if TYPE_CHECKING:
    from cacheness_postgres.backend import PostgresBackend

any_text = st.text(
    st.characters() | st.sampled_from(["\0", "\ud800", "\udc00", "\ufffd", "\\", "'", "%", "😀"]),
    max_size=12,
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False)
    | any_text
)
documents = st.dictionaries(
    any_text,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
times = st.floats(0, 4e9) | st.sampled_from([0.0, 1e-300, 1_700_000_000.123_456_7])
counts = st.integers(0, 2**63 - 1)

entries = st.builds(
    Entry,
    namespace=st.just(""),
    cache_key=st.just("key"),
    generation=st.integers(1, 2**63 - 1),
    prefix=any_text,
    description=any_text,
    params=documents,
    handler=any_text,
    handler_version=st.integers(1, 2**31),
    metadata=documents,
    object_type=any_text,
    summary=any_text,
    compressor=any_text,
    stored_bytes=counts,
    logical_bytes=counts,
    checksum=any_text,
    signature=st.none() | any_text,
    inline=st.none() | st.binary(max_size=40),
    blob=st.none() | any_text,
    blob_store=st.none() | any_text,
    created_at=times,
    renewed_at=times,
    accessed_at=times,
    ttl_seconds=st.none() | times,
    expires_at=st.none() | times,
    stale_until=st.none() | times,
    pinned=st.booleans(),
    hits=counts,
    cost_seconds=st.none() | st.floats(0),
    function=st.none() | any_text,
    code_digest=st.none() | any_text,
    key_parts=documents,
    tags=st.lists(any_text, max_size=3).map(tuple),
    custom_metadata=documents,
    distribution=any_text,
)

on_one_database = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def typed(value: Any) -> Any:
    """The value with the types of all that is in it, since 1 == 1.0 == True."""
    if isinstance(value, dict):
        return {name: typed(of) for name, of in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value), [typed(of) for of in value]
    return type(value), repr(value)


def fields_of(entry: Entry) -> dict[str, Any]:
    return {name: typed(getattr(entry, name)) for name in FIELDS}


@on_one_database
@given(entry=entries)
def test_every_entry_round_trips_with_its_types(backend: PostgresBackend, entry: Entry) -> None:
    backend.put_entry(entry)

    found = backend.get_entry("key")

    assert found is not None
    assert fields_of(found) == fields_of(entry)
    (summary,) = backend.iter_entry_summaries()
    assert fields_of(Entry(**summary)) == fields_of(replace(entry, inline=None))
    stored = backend.find("key")
    assert stored is not None
    assert (stored[1], stored[8], stored[13]) == (entry.handler, entry.inline, entry.prefix)


@on_one_database
@given(entry=entries)
def test_every_entry_round_trips_through_the_bulk_form(
    backend: PostgresBackend, entry: Entry
) -> None:
    backend.put_entries([entry])

    assert fields_of(backend.get_entries(["key"])["key"]) == fields_of(entry)


def test_a_not_a_number_comes_back_as_one(backend: PostgresBackend) -> None:
    backend.put_entry(an_entry(params={"x": math.nan, "y": math.inf}, cost_seconds=math.nan))

    found = backend.get_entry("key")

    assert found is not None
    assert math.isnan(found.params["x"])
    assert found.params["y"] == math.inf
    assert found.cost_seconds is not None
    assert math.isnan(found.cost_seconds)


@pytest.mark.parametrize(
    "text",
    ["plain", "ünï", "日本語", "😀", "a" * 100_000],
    ids=["ascii", "latin", "cjk", "emoji", "long"],
)
def test_common_text_stays_legible_in_the_columns(
    backend: PostgresBackend, admin: Any, schema: str, text: str
) -> None:
    backend.put_entry(an_entry(prefix=text, params={"name": text}, tags=(text,)))

    row = admin.execute(f"SELECT prefix, params, tags, exact FROM {schema}.entries").fetchone()

    assert row == (text, {"name": text}, [text], None)


def test_the_columns_are_the_fields_of_an_entry_in_their_order(schema: str) -> None:
    assert Entry.__slots__ == FIELDS
    assert tuple(tables(schema).entries.columns.keys()) == COLUMNS


@pytest.mark.parametrize("unusual", [(), (0,), (3,), (5,), (2, 4), tuple(range(6))], ids=str)
def test_a_batch_of_all_kinds_of_entries_is_what_they_are_one_by_one(
    backend: PostgresBackend, unusual: tuple[int, ...]
) -> None:
    """Plain ones are written in fewer columns, up to the first that can't be."""
    batch: list[Entry | PlainEntry] = []
    for number in range(6):
        key = f"k{number}"
        if number not in unusual:
            batch.append(make_plain(key, params={"at": number}, ttl_seconds=number * 1e9 or None))
        elif number % 2:
            batch.append(an_entry(key, params={"at": number}, tags=("t",), prefix="p"))
        else:
            batch.append(make_plain(key, params={"at": "\0"}))

    assert backend.put_prepared(batch) == []

    for one in map(in_full, batch):
        found = backend.get_entry(one.cache_key)
        assert found is not None
        assert fields_of(found) == fields_of(one)
