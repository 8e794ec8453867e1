# SPDX-License-Identifier: MIT
"""A filter selects in SQL what it selects in Python, by an index where there is one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheness.entry import renewal
from cacheness.filters import Condition, Filter, eviction_order
from cacheness_postgres.selection import key_query, victim_query

from .conftest import an_entry

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg

    from cacheness.entry import Entry
    from cacheness_postgres.backend import PostgresBackend

MANY, FEWER = 1_000_000, 100_000
"""Entries that a query has to pass over. To write a million takes a minute: one server does."""

on_one_database = settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Few values, so that filters hit; awkward ones, so that they would hit wrongly.
texts = st.sampled_from(["", "a", "ab", "b", "B", "é", "😀", "\0", "\ud800", "1", "%", "a" * 300])
numbers = st.sampled_from(
    [0, 1, -1, 1.0, 0.1, -0.0, 1.5, 2**53, 2**53 + 1, 2.0**53, 10**23, 1e23, 1e300, 2**63, -(2**70)]
)
infinite = st.sampled_from([float("inf"), float("-inf")])
scalars = st.none() | st.booleans() | numbers | infinite | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(["a", "b", "", "\0", "😀"])
documents = st.dictionaries(names, values, max_size=3)
moments = st.sampled_from([0.0, 1.0, 1.5, 1e9])

stored = st.builds(
    an_entry,
    prefix=texts,
    description=texts,
    params=documents,
    custom_metadata=documents,
    metadata=documents,
    tags=st.lists(texts, max_size=2).map(tuple),
    created_at=moments,
    accessed_at=moments,
    expires_at=st.none() | moments,
    ttl_seconds=st.none() | st.sampled_from([1.0, 1e9]),
    stale_until=st.none() | moments,
    function=st.none() | texts,
    hits=st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**63 - 1]),
    stored_bytes=st.sampled_from([0, 1, 100]),
    cost_seconds=st.none() | st.sampled_from([0.0, 0.1, 1.0, 1e308]),
    pinned=st.booleans(),
)
evictable = st.builds(
    an_entry,
    created_at=moments,
    accessed_at=moments,
    hits=st.integers(0, 3),
    stored_bytes=st.sampled_from([0, 1, 100]),
    cost_seconds=st.none() | st.sampled_from([0.0, 0.1, 1.0, 3.0]),
    pinned=st.booleans(),
)
paths = st.one_of(
    names.map(lambda name: ("params", name)),
    st.tuples(st.just("custom_metadata"), names, names),
    st.sampled_from(
        [
            ("params",),
            ("metadata", "a"),
            ("prefix",),
            ("description",),
            ("function",),
            ("hits",),
            ("created_at",),
            ("expires_at",),
            ("cost_seconds",),
            ("pinned",),
            ("cache_key",),
        ]
    ),
)
conditions = st.one_of(
    st.builds(Condition, paths, st.sampled_from(["eq", "ne"]), values),
    st.builds(
        Condition, paths, st.sampled_from(["gt", "gte", "lt", "lte"]), numbers | infinite | texts
    ),
    st.builds(Condition, paths, st.just("in"), st.lists(values, max_size=3).map(tuple)),
    st.builds(Condition, paths, st.just("contains"), scalars),
    st.builds(Condition, paths, st.just("startswith"), texts),
    st.builds(Condition, st.just(("tags",)), st.sampled_from(["contains", "lacks"]), texts),
    st.builds(
        Condition, st.just(("tags",)), st.just("overlaps"), st.lists(texts, max_size=2).map(tuple)
    ),
)
filters = st.lists(conditions, min_size=1, max_size=2).map(lambda some: Filter(tuple(some)))


def keyed(entries: list[Entry]) -> list[Entry]:
    return [
        replace(entry, cache_key=f"key-{number}", generation=number + 1)
        for number, entry in enumerate(entries)
    ]


def matching(entries: list[Entry], wanted: Filter) -> list[str]:
    found = [entry for entry in entries if wanted.matches(_Fields(entry))]
    return [entry.cache_key for entry in sorted(found, key=lambda e: (e.created_at, e.cache_key))]


def touched_at(entry: Entry, now: float) -> Entry:
    expiry = renewal(
        now, entry.ttl_seconds, expires_at=entry.expires_at, stale_until=entry.stale_until
    )
    return replace(entry, accessed_at=now, renewed_at=now, **expiry)


class _Fields:
    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    def __getitem__(self, name: str) -> Any:
        return getattr(self._entry, name)


@on_one_database
@given(entries=st.lists(stored, min_size=1, max_size=6).map(keyed), wanted=filters)
def test_every_filter_selects_what_it_says(
    backend: PostgresBackend,
    monkeypatch: pytest.MonkeyPatch,
    entries: list[Entry],
    wanted: Filter,
) -> None:
    backend.delete_where(Filter())
    backend.put_entries(entries)
    expected = matching(entries, wanted)

    monkeypatch.setattr(Filter, "parse", classmethod(lambda cls, filters: wanted))
    found = list(backend.query_meta())
    monkeypatch.undo()
    touched = backend.touch_entries(wanted, now=5e8)
    # `touch` changes times, by which the filter may select, of what has not expired.
    touchable = {
        entry.cache_key
        for entry in entries
        if entry.cache_key in expected and (entry.expires_at is None or entry.expires_at > 5e8)
    }
    renewed = [
        touched_at(entry, 5e8) if entry.cache_key in touchable else entry for entry in entries
    ]
    still = set(matching(renewed, wanted))
    removed = backend.delete_where(wanted)

    assert found == expected
    assert touched == len(touchable)
    assert {entry.cache_key for entry in removed} == still
    assert backend.count() == len(entries) - len(still)


@pytest.mark.parametrize("policy", ["lru", "lfu", "fifo", "cost"])
@settings(parent=on_one_database, max_examples=25)
@given(entries=st.lists(evictable, min_size=1, max_size=8).map(keyed))
def test_eviction_takes_the_same_entries_in_the_same_order(
    backend: PostgresBackend, policy: str, entries: list[Entry]
) -> None:
    backend.delete_where(Filter())
    backend.put_entries(entries)
    order = eviction_order(policy)
    expected = sorted((e for e in entries if not e.pinned), key=lambda e: order(_Fields(e)))

    found = backend.victims(policy, 0, len(entries))

    assert [e.cache_key for e in found] == [e.cache_key for e in expected]


def test_eviction_takes_as_few_as_free_the_bytes(backend: PostgresBackend) -> None:
    backend.put_entries(
        an_entry(f"key-{n:03}", n + 1, stored_bytes=10, accessed_at=float(n)) for n in range(300)
    )

    assert [e.cache_key for e in backend.victims("lru", 25, 0)] == ["key-000", "key-001", "key-002"]
    assert len(backend.victims("lru", 2005, 3)) == 201


# --- by an index --------------------------------------------------------------------------


def fill(admin: psycopg.Connection[Any], schema: str, count: int) -> None:
    """Many entries, written by the server itself."""
    # An index that is made of all rows at once takes a fraction of one that grows with each.
    indexes = admin.execute(
        """SELECT indexname, indexdef FROM pg_indexes
        WHERE schemaname = %s AND tablename = 'entries' AND indexname <> 'entries_pkey'""",
        [schema],
    ).fetchall()
    for name, _ in indexes:
        admin.execute(f"DROP INDEX {schema}.{name}")
    admin.execute(
        f"""INSERT INTO {schema}.entries (namespace, cache_key, generation, prefix, description,
        params, handler, handler_version, object_type, summary, compressor, stored_bytes,
        logical_bytes, checksum, created_at, renewed_at, accessed_at, pinned, hits, tags,
        custom_metadata, distribution, function, expires_at)
        SELECT '', md5(i::text), i, 'prefix-' || i % 1000, '',
        jsonb_build_object('experiment', 'e' || i % 1000, 'lr', i / 1000.0, 'day', 'd' || i),
        'json', 1, 'builtins.dict', '', 'none', 10, 10, '', i, i, i, false, i % 7,
        jsonb_build_array('tag-' || i % 1000),
        jsonb_build_object('run', jsonb_build_object('id', i)), 'cacheness-core',
        'module:function_' || i % 1000, i + 1e9 FROM generate_series(1, {count}) AS i"""
    )
    for _, definition in indexes:
        admin.execute(definition)
    admin.execute(f"VACUUM ANALYZE {schema}.entries")


def plan_of(
    admin: psycopg.Connection[Any], schema: str, filters: dict[str, Any]
) -> tuple[str, list[str]]:
    text, values = key_query(schema, "", Filter.parse(filters), 0.0)
    row = admin.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    scans: list[str] = []
    walk(plan[0]["Plan"], lambda node: scans.append(str(node["Node Type"])))
    return json.dumps(plan), scans


def walk(node: dict[str, Any], visit: Callable[[dict[str, Any]], None]) -> None:
    visit(node)
    for inner in node.get("Plans", ()):
        walk(inner, visit)


QUERIES = {
    "param": ({"experiment": "e7"}, "entries_by_params"),
    "params": ({"experiment": "e7", "day": "d1007"}, "entries_by_params"),
    "param in": ({"day__in": ["d5", "d6"]}, "entries_by_params"),
    "nested metadata": ({"meta__run__id": 77}, "entries_by_custom_metadata"),
    "tag": ({"tags": "tag-7"}, "entries_by_tags"),
    "any of tags": ({"tags__in": ["tag-7", "tag-8"]}, "entries_by_tags"),
    "prefix": ({"prefix": "prefix-7"}, "entries_by_prefix"),
    "prefix in": ({"prefix__in": ["prefix-7", "prefix-8"]}, "entries_by_prefix"),
    "prefix startswith": ({"prefix__startswith": "prefix-77"}, "entries_by_prefix"),
    "function": ({"entry__function": "module:function_7"}, "entries_by_function"),
    "expiry": ({"entry__expires_at__lt": 1e9 + 20}, "entries_by_expiry"),
    "number range": ({"lr__gte": 0.5, "lr__lt": 0.51}, "entries_numbers_"),
    "text range": ({"day__gte": "d777", "day__lt": "d7771"}, "entries_text_"),
    "text startswith": ({"day__startswith": "d777"}, "entries_text_"),
    "key": ({"entry__cache_key": "abc"}, "entries_pkey"),
}


@pytest.fixture
def filled(
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
    schema: str,
    request: pytest.FixtureRequest,
) -> PostgresBackend:
    backend = open_backend(range_indexes=["lr", "day"])
    is_own = request.node.callspec.params["url"] == "own"
    fill(admin, schema, request.param if is_own else min(request.param, FEWER))
    return backend


@pytest.mark.parametrize(
    "filled",
    [20_000, pytest.param(MANY, marks=pytest.mark.slow, id="many")],
    indirect=True,
)
def test_queries_are_index_scans(
    filled: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    for name, (wanted, index) in QUERIES.items():
        plan, scans = plan_of(admin, schema, wanted)

        assert "Seq Scan" not in scans, f"{name}: {plan}"
        assert index in plan, f"{name}: {plan}"
        assert list(filled.query_meta(**wanted)) or name == "key"


@pytest.mark.parametrize("filled", [20_000], indirect=True)
def test_eviction_reads_off_an_index(
    filled: PostgresBackend,
    open_backend: Callable[..., PostgresBackend],
    admin: psycopg.Connection[Any],
    schema: str,
) -> None:
    for policy in ("lru", "lfu", "fifo", "cost"):
        open_backend(config={"max_entries": 1000, "policy": policy})
    admin.execute(f"ANALYZE {schema}.entries")

    for policy in ("lru", "lfu", "fifo", "cost"):
        text, values = victim_query(schema, "", policy, 0, 64)
        plan = "\n".join(row[0] for row in admin.execute(f"EXPLAIN {text}", values).fetchall())

        assert f"entries_for_{policy}" in plan
        assert "Sort" not in plan


@pytest.mark.parametrize("filled", [20_000], indirect=True)
def test_a_batch_looks_its_keys_up_in_the_index(
    filled: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    before = counts(filled, admin, schema)

    filled.put_entries(an_entry(f"new-{number}", number + 1) for number in range(10_000))

    scans, inserted, _ = counts(filled, admin, schema)
    assert (scans, inserted) == (before[0], before[1] + 10_000)


def test_a_table_that_was_filled_a_moment_ago_is_listed_row_by_row(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    """The server, which knows nothing of it yet, would sort all that is left for each page."""
    admin.execute(f"ALTER TABLE {schema}.entries SET (autovacuum_enabled = false)")
    backend.put_entries(
        an_entry(f"{number * 7919 % 10_007:05}", number + 1) for number in range(10_000)
    )
    before = counts(backend, admin, schema)

    assert sum(1 for _ in backend.iter_entry_summaries()) == 10_000
    assert sum(1 for _ in backend.iter_keys()) == 10_000
    assert list(backend.iter_blob_names()) == []

    after = counts(backend, admin, schema)
    assert after[2] - before[2] <= 30_000


def counts(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> tuple[int, int, int]:
    """Of the table of entries: scans of all of it, rows inserted, rows read."""
    # The counts of a session are handed in when it is idle for long, or when it is told to.
    backend._database.fetch("SELECT pg_stat_force_next_flush()::text")
    admin.execute("SELECT pg_stat_force_next_flush()")
    row = admin.execute(
        "SELECT seq_scan, n_tup_ins, coalesce(idx_tup_fetch, 0) + seq_tup_read "
        "FROM pg_stat_user_tables WHERE schemaname = %s AND relname = 'entries'",
        [schema],
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]
