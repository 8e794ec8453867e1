"""Filters in SQL mean what `Filter.matches` says, whatever was stored and whatever is asked."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cacheness.backends import sql
from cacheness.backends.base import BackendContext
from cacheness.backends.json import JsonBackend
from cacheness.backends.sqlite import SQLiteBackend
from cacheness.backends.sqlite_filters import Selection
from cacheness.config import CacheConfig
from cacheness.errors import ConfigError
from cacheness.filters import Condition, Filter
from cacheness.testing.metadata_entries import make_entry

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**70, 10**400]),
    st.floats(allow_nan=False),
    st.sampled_from([0.1, 0.30000000000000004, 1e22, 5e-324, 1.7976931348623157e308]),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT, st.sampled_from(["a", "A", "a\0b"]))
NAMES = st.sampled_from(["x", "y z", "a.b", "é", 'q"', "back\\slash", "$", "", "x[0]", "\n"])
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(NAMES, SCALARS, max_size=2),
)
TAGS = st.sampled_from(["t", "tt", 't"', "é", "a b", "\\"])
ENTRIES = st.fixed_dictionaries(
    {
        "params": st.dictionaries(NAMES, VALUES, max_size=2),
        "custom_metadata": st.dictionaries(NAMES, VALUES, max_size=1),
        "metadata": st.dictionaries(NAMES, VALUES, max_size=1),
        "tags": st.lists(TAGS, max_size=2).map(tuple),
        "prefix": st.sampled_from(["", "p", "pq", "é"]),
        "description": TEXT,
        "function": st.sampled_from([None, "m:f", "m:g"]),
        "hits": st.integers(0, 3),
        "cost_seconds": st.one_of(st.none(), st.floats(0, 2)),
        "pinned": st.booleans(),
    }
)
FIELDS = st.one_of(
    st.tuples(st.sampled_from(["params", "custom_metadata", "metadata"]), NAMES),
    st.tuples(st.just("params"), NAMES, NAMES),
    st.sampled_from(["prefix", "description", "function", "hits", "cost_seconds", "pinned"]).map(
        lambda name: (name,)
    ),
)
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["eq", "ne"]), VALUES),
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), st.one_of(NUMBERS, TEXT)),
    st.tuples(st.just("in"), st.lists(VALUES, max_size=3).map(tuple)),
    st.tuples(st.just("contains"), SCALARS),
    st.tuples(st.just("startswith"), TEXT),
)
CONDITIONS = st.one_of(
    st.builds(lambda path, of: Condition(path, *of), FIELDS, OPERATORS),
    st.builds(
        lambda operator, tag: Condition(("tags",), operator, tag),
        st.sampled_from(["contains", "lacks"]),
        TAGS,
    ),
    st.builds(
        lambda tags: Condition(("tags",), "overlaps", tuple(tags)), st.lists(TAGS, max_size=2)
    ),
)


def open_backend(path):
    return SQLiteBackend(BackendContext(str(path), "", CacheConfig(cache_dir=str(path))))


@pytest.fixture
def backend(tmp_path):
    backend = open_backend(tmp_path)
    yield backend
    backend.close()


@pytest.mark.slow
@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    corpus=st.lists(ENTRIES, max_size=4), conditions=st.lists(CONDITIONS, min_size=1, max_size=3)
)
@example(  # SQLite before 3.45 reads the stored text up to the NUL
    corpus=[{"params": {"x": "a\0b"}}], conditions=[Condition(("params", "x"), "eq", "a")]
)
@example(  # text that SQLite can't be given
    corpus=[{"prefix": "p"}], conditions=[Condition(("prefix",), "ne", "\ud800")]
)
@example(
    corpus=[{"params": {"x": 1.5}}], conditions=[Condition(("params", "x"), "lt", float("inf"))]
)
@example(  # what is no JSON for SQLite is some for Python
    corpus=[{"params": {"x": float("inf"), "y z": 2**70}}],
    conditions=[Condition(("params", "y z"), "gt", 5)],
)
def test_a_filter_selects_what_it_matches(backend, corpus, conditions):
    backend.delete_where(Filter())
    backend.put_entries(make_entry(f"k{n}", **fields) for n, fields in enumerate(corpus))
    selected = Filter(tuple(conditions))
    expected = {s["cache_key"] for s in backend.iter_entry_summaries() if selected.matches(s)}

    chosen = Selection(selected, backend._connections)
    rows = backend._connections.rows(
        f"SELECT cache_key FROM entries WHERE {chosen.sql}", tuple(chosen.values)
    )

    assert {row[0] for row in rows} == expected, chosen.sql
    assert {entry.cache_key for entry in backend.delete_where(selected)} == expected


def test_names_in_json_paths_are_text_and_nothing_else(backend):
    name = '$."a"\' OR 1 --'
    backend.put_entry(make_entry("k", params={name: 1}))

    assert list(backend.query_meta(params={name: 1})) == ["k"]
    assert list(backend.query_meta(params={name: 2})) == []


def plan(backend, filters):
    chosen = Selection(Filter.parse(filters), backend._connections)
    rows = backend._connections.rows(
        f"EXPLAIN QUERY PLAN SELECT id FROM entries WHERE namespace = ? AND {chosen.sql}",
        ("", *chosen.values),
    )
    return " ".join(row[-1] for row in rows)


INDEXED = {
    "prefix": ({"prefix": "p1"}, "entries_by_prefix"),
    "prefix startswith": ({"prefix__startswith": "p1"}, "entries_by_prefix"),
    "function": ({"entry__function": "f"}, "entries_by_function"),
    "expiry": ({"entry__expires_at__lt": 5.0}, "entries_by_expiry"),
    "age": ({"entry__created_at__gte": 5.0}, "entries_by_age"),
    "access": ({"entry__accessed_at__lt": 5.0}, "entries_by_access"),
    "hits": ({"entry__hits__gt": 5}, "entries_by_hits"),
    "size": ({"entry__stored_bytes__gt": 5}, "entries_by_size"),
}


@pytest.mark.parametrize("case", INDEXED)
def test_among_many_a_field_has_an_index_from_its_first_query_on(backend, case):
    filters, index = INDEXED[case]
    backend.put_entries(make_entry(f"k{n}", prefix=f"p{n}") for n in range(2000))
    made = "SELECT name FROM sqlite_master WHERE type = 'index' AND name = ?"
    assert index == "entries_by_expiry" or not backend._connections.rows(made, (index,))

    list(backend.query_meta(**filters))

    assert index in plan(backend, filters)


def test_few_entries_get_no_index(backend):
    backend.put_entries(make_entry(f"k{n}") for n in range(1000))
    before = backend._connections.rows("SELECT name FROM sqlite_master")

    list(backend.query_meta(prefix="p"))
    backend.victims("lru", 1, 1)

    assert backend._connections.rows("SELECT name FROM sqlite_master") == before


@pytest.mark.slow
def test_what_is_asked_by_an_index_is_the_same_as_without(backend):
    backend.put_entries(
        make_entry(f"k{n}", prefix=f"p{n % 7}", hits=n % 11, pinned=not n % 5, params={"n": n})
        for n in range(2500)
    )
    for filters in ({"prefix": "p3"}, {"prefix": ""}, {"entry__hits__gt": 8, "n__lt": 100}):
        selected = Filter.parse(filters)
        summaries = [s for s in backend.iter_entry_summaries() if selected.matches(s)]
        summaries.sort(key=lambda s: (s["created_at"], s["cache_key"]))
        assert list(backend.query_meta(**filters)) == [s["cache_key"] for s in summaries]


# --- where= -----------------------------------------------------------------------------


def test_a_condition_of_sqlalchemy_selects_beside_the_filter(backend):
    backend.put_entries(
        make_entry(
            f"k{n}", hits=n, prefix="p?" if n % 2 else "", params={"lr": n / 10}, created_at=n
        )
        for n in range(10)
    )
    column = sql.entries.c

    def found(expression, **filters):
        return list(backend.query_where(Filter.parse(filters), expression))

    assert found(column.hits > 7) == ["k8", "k9"]
    assert found(column.hits.in_([2, 3, 5]), prefix="p?") == ["k3", "k5"]
    assert found((column.hits < 2) | (column.prefix == "p?"), lr__gte=0.7) == ["k7", "k9"]
    assert found(column.details["params"]["lr"].as_float() < 0.15) == ["k0", "k1"]
    assert found(column.pinned.is_(True)) == []
    assert found(column.cache_key == "'; DROP TABLE entries; --") == []
    assert backend.count() == 10


def test_a_condition_sees_its_own_namespace_only(tmp_path, backend):
    config = CacheConfig(cache_dir=str(tmp_path), namespace="n")
    other = SQLiteBackend(BackendContext(str(tmp_path), "n", config))
    other.put_entry(make_entry("theirs", namespace="n"))
    backend.put_entry(make_entry("mine"))

    assert list(backend.query_where(Filter(), sql.entries.c.hits >= 0)) == ["mine"]
    other.close()


def test_what_is_no_condition_is_refused(backend, tmp_path):
    from sqlalchemy import column as unknown

    with pytest.raises(TypeError, match="where='hits > 5' is no condition"):
        backend.query_where(Filter(), "hits > 5")
    with pytest.raises(ConfigError, match="no such column: nonsense"):
        backend.query_where(Filter(), unknown("nonsense") > 5)
    lines = JsonBackend(BackendContext(str(tmp_path), "", CacheConfig(cache_dir=str(tmp_path))))
    with pytest.raises(TypeError, match="JsonBackend has no tables"):
        lines.query_where(Filter(), sql.entries.c.hits > 5)
    lines.close()
