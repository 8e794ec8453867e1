"""What the SQLite backend asks of SQLite is counted: statements and transactions, exactly.

What has not been compiled yet is executed in a transaction of its own, after a look at the
schema. So what is counted here is done once before, but where that is the question.
"""

import pytest

from cacheness import UnifiedCache
from cacheness.filters import Filter
from cacheness.testing.metadata_entries import make_entry


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put({"a": 0}, "warm")
        cache.get("warm")
        yield cache


@pytest.fixture
def backend(cache):
    return cache.engine.backend


@pytest.fixture
def told(backend):
    """The first words of the statements; one is told again for each trigger that it starts.

    The question whether the schema is still the same is told as "look".
    """

    class Told(list):
        def take(self):
            taken, self[:] = list(self), []
            return taken

    told = Told()
    last = ""

    def tell(statement):
        nonlocal last
        if statement == "SELECT 1 FROM sqlite_master LIMIT 0":
            told.append("look")
        elif statement != last or statement.startswith("SELECT"):
            told.append(statement.split()[0])
        last = statement

    backend._connections.connection().set_trace_callback(tell)
    return told


def test_a_hit_is_one_select(cache, told):
    assert cache.get("warm") == {"a": 0}

    assert told.take() == ["SELECT"]


def test_what_has_to_be_compiled_is_so_after_one_look_in_the_same_transaction(cache, told):
    assert cache.put({"a": 1}, "new", tags=("t",), pin=True)
    assert told.take() == ["BEGIN", "look", "INSERT", "COMMIT"]

    cache.put({"a": 2}, "new", tags=("t",), pin=True)
    assert told.take() == ["INSERT"]


def test_a_put_is_one_statement_whether_the_key_is_new_or_not(cache, told):
    cache.put({"a": 0}, "warm")
    cache.put({"a": 0}, "warm", ttl_seconds=60, tags=("t",), pin=True)
    told.take()

    cache.put({"a": 1}, "new")
    assert told.take() == ["INSERT"]

    cache.put({"a": 2}, "new")
    assert told.take() == ["INSERT"]

    cache.put({"a": 3}, "new", ttl_seconds=60, tags=("t",), pin=True)
    assert told.take() == ["INSERT"]


def test_an_add_is_one_statement_and_one_more_where_there_is_something(backend, told):
    backend.put_entry(make_entry("warm"), if_absent=True)
    told.take()

    assert backend.put_entry(make_entry("new"), if_absent=True) is None
    assert told.take() == ["INSERT"]

    assert backend.put_entry(make_entry("new"), if_absent=True) is not None
    assert told.take() == ["INSERT", "SELECT"]


def test_a_delete_is_one_statement(backend, told):
    backend.delete_entry("nope", if_generation=1)
    backend.expire_entry("nope", if_generation=1, now=0.0)
    backend.delete_entry("nope")
    told.take()

    backend.delete_entry("warm", if_generation=1)
    backend.expire_entry("warm", if_generation=1, now=0.0)
    backend.delete_entry("warm")

    assert told.take() == ["DELETE", "DELETE", "DELETE"]


def test_many_are_put_in_one_transaction(backend, told):
    backend.put_entries([make_entry("warm"), *(make_entry(f"k{i}") for i in range(5))])

    assert told.take() == ["BEGIN", "look", *["INSERT"] * 6, "COMMIT"]


def test_bulk_forms_are_one_statement_each(backend, told):
    everything = Filter.parse({"prefix": "p", "i__gte": 0, "entry__hits": 0})
    backend.get_entries(["nope"])
    backend.delete_entries(["nope"])
    list(backend.query_meta(prefix="p", i__gte=0))
    backend.touch_entries(everything, now=5.0)
    backend.delete_where(everything)
    backend.delete_expired(5.0)
    backend.put_entries(make_entry(f"k{i}", prefix="p", params={"i": i}) for i in range(6))
    told.take()

    assert len(backend.get_entries(["k1", "k2", "nope"])) == 2
    assert len(backend.delete_entries(["k1", "k2", "nope"])) == 2
    assert len(list(backend.query_meta(prefix="p", i__gte=0))) == 4
    made = told.take()
    assert [word for word in made if word != "SELECT"] == ["DELETE"]
    assert backend.touch_entries(everything, now=5.0) == 4
    assert told.take()[-1:] == ["UPDATE"]
    assert len(backend.delete_where(everything)) == 4
    assert told.take()[-1:] == ["DELETE"]
    assert backend.delete_expired(5.0) == []
    assert told.take() == ["DELETE"]


def test_hits_are_recorded_in_one_transaction(backend, told):
    backend.record_hits({"warm": (2, 7.0), "nope": (1, 8.0)})

    assert told.take() == ["BEGIN", "look", "UPDATE", "UPDATE", "COMMIT"]


def test_an_eviction_is_one_transaction_and_none_within_the_bounds(backend, told):
    backend.put_entries(make_entry(f"k{i}") for i in range(10))
    backend.evict("lru", max_size=None, max_entries=10, slack=0)
    told.take()

    assert backend.evict("lru", max_size=None, max_entries=10) == []
    assert told.take() == ["SELECT"]

    assert len(backend.evict("lru", max_size=None, max_entries=9, slack=0)) == 1
    words = told.take()
    begin = words.index("BEGIN")
    assert words.count("BEGIN") == words.count("COMMIT") == 1
    assert words[begin:] == ["BEGIN", "look", "SELECT", "SELECT", "DELETE", "COMMIT"]


def test_counting_is_one_statement(backend, told):
    for ask in (backend.count, backend.total_size, backend.namespaces):
        ask()
    told.take()

    assert backend.count() == 1
    assert backend.total_size() > 0
    assert backend.namespaces() == [""]

    assert told.take() == ["SELECT", "SELECT", "SELECT"]


def test_a_plain_entry_binds_only_what_it_has(backend):
    from cacheness.backends.sqlite_rows import row_of

    plain, _ = row_of(make_entry("plain", cost_seconds=None))
    rich, values = row_of(make_entry("rich", pinned=True, hits=3, metadata={"a": 1}))

    assert "signature" not in plain
    assert "pinned" not in plain
    assert {"pinned", "hits", "metadata"} <= set(rich)
    assert dict(zip(rich, values, strict=True))["metadata"] == '{"a":1}'
