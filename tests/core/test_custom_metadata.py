"""What is promised of custom metadata of one's own classes."""

import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Float, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cacheness import ConfigError, UnifiedCache, custom_metadata_model

LARGE = bytes(100_000)


@custom_metadata_model
@dataclass
class Run:
    owner: str
    lr: float
    epochs: int = 1
    done: bool = False
    digest: bytes = b""
    ended: datetime | None = None
    note: str | None = None


@custom_metadata_model
@dataclass(frozen=True)
class Frozen:
    x: int
    twice: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "twice", 2 * self.x)


class Base(DeclarativeBase):
    pass


@custom_metadata_model
class Experiment(Base):
    __tablename__ = "experiments"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    score: Mapped[float | None] = mapped_column(Float)
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
    at: Mapped[datetime | None]


SQL = {"sqlite": {}, "tiered": {"memory_bytes": "10MB"}}
OTHERS = {"json": {"metadata_backend": "json"}, "memory": {"metadata_backend": "memory"}}


@pytest.fixture(params=list(SQL))
def cache(request, tmp_path):
    with UnifiedCache(tmp_path / "cache", **SQL[request.param]) as made:
        yield made


RUNS = [
    Run("me", 0.1),
    Run("you", 1 / 3, epochs=2**63 - 1, done=True, digest=b"\0\xff", note="ünï"),
    Run("", -5e-324, epochs=-(2**63), ended=datetime(2024, 2, 29, 1, 2, 3, 4)),
    Run("z", 1.7976931348623157e308, ended=datetime(2024, 1, 1, tzinfo=UTC)),
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.owner or "empty")
def test_a_record_comes_back_as_it_was(cache, run):
    key = cache.put(1, custom_metadata=run, a=1)

    assert cache.query_custom(Run) == [(key, run)]
    assert cache.get(a=1, custom_metadata=run) == 1


def test_a_time_with_a_zone_comes_back_as_the_same_instant(cache):
    there = timezone(timedelta(hours=5, minutes=30))
    at = datetime(2024, 6, 1, 12, tzinfo=there)
    cache.put(1, "k", custom_metadata=Run("me", 0.1, ended=at))

    [(_, run)] = cache.query_custom(Run, ended=at)

    assert run.ended == at
    assert run.ended.utcoffset() == timedelta(0)


def test_fields_that_are_not_given_to_the_class_come_back_too(cache):
    cache.put(1, "k", custom_metadata=Frozen(3))

    assert cache.query_custom(Frozen) == [("k", Frozen(3))]
    assert cache.query_custom(Frozen, twice=6) == [("k", Frozen(3))]


def test_a_model_of_sqlalchemy_is_kept_and_asked_by_its_attributes(cache):
    at = datetime(2024, 5, 5, 5)
    cache.put(1, "a", custom_metadata=Experiment(name="first", score=0.5, raw=b"\0", at=at))
    cache.put(1, "b", custom_metadata=Experiment(name="second"))

    [(key, made)] = cache.query_custom(Experiment, Experiment.score > 0.4)
    assert (key, made.name, made.score, made.raw, made.at) == ("a", "first", 0.5, b"\0", at)
    keys = [key for key, _ in cache.query_custom(Experiment, Experiment.name.in_(["second", "x"]))]
    assert keys == ["b"]
    both = cache.query_custom(Experiment, Experiment.at <= at, Experiment.name == "first")
    assert [key for key, _ in both] == ["a"]
    assert [key for key, _ in cache.query_custom(Experiment, score=None)] == ["b"]


FILTERS = [
    ({}, ["a", "b", "c"]),
    ({"owner": "me"}, ["a", "c"]),
    ({"owner__ne": "me"}, ["b"]),
    ({"lr__gt": 0.1}, ["b", "c"]),
    ({"lr__gte": 0.1, "owner": "me"}, ["a", "c"]),
    ({"lr__lt": 0.2}, ["a"]),
    ({"epochs__lte": 1}, ["a", "b", "c"]),
    ({"lr__in": [0.1, 0.3]}, ["a", "c"]),
    ({"lr__in": []}, []),
    ({"done": True}, ["b"]),
    ({"note": None}, ["a", "c"]),
    ({"note__ne": None}, ["b"]),
    ({"note__contains": "%"}, ["b"]),
    ({"note__startswith": "A%"}, ["b"]),
    ({"note__startswith": "a%"}, []),
    ({"ended__gt": datetime(2024, 1, 1)}, ["c"]),
    ({"cache_key": "b"}, ["b"]),
    ({"owner": "'; DROP TABLE entries; --"}, []),
]


@pytest.mark.parametrize(("filters", "keys"), FILTERS)
def test_records_are_selected_by_their_fields(cache, filters, keys):
    cache.put(1, "a", custom_metadata=Run("me", 0.1))
    cache.put(1, "b", custom_metadata=Run("you", 0.2, done=True, note="A%b"))
    cache.put(1, "c", custom_metadata=Run("me", 0.3, ended=datetime(2024, 2, 2)))

    assert [key for key, _ in cache.query_custom(Run, **filters)] == keys


def test_the_entry_has_the_fields_as_json(cache):
    ended = datetime(2024, 1, 2, tzinfo=UTC)
    cache.put(1, "k", custom_metadata=Run("me", 0.5, digest=b"\0\1", ended=ended))

    assert cache.get_entry("k").custom_metadata == {
        "owner": "me",
        "lr": 0.5,
        "epochs": 1,
        "done": False,
        "digest": "AAE=",
        "ended": "2024-01-02T00:00:00+00:00",
        "note": None,
    }
    assert cache.query_meta(meta__owner="me", meta__lr__lt=1) == ["k"]


# --- with its entry -------------------------------------------------------------------


def records(cache):
    return [(key, run.owner) for key, run in cache.query_custom(Run)]


def rows(cache):
    """How many rows the table has, whether or not they are of any use."""
    with sqlite3.connect(f"{cache.config.cache_dir}/metadata.sqlite3") as file:
        count = file.execute("SELECT count(*) FROM custom_run").fetchone()[0]
    file.close()
    return count


REMOVALS = {
    "invalidate": lambda cache: cache.invalidate("k"),
    "pop": lambda cache: cache.pop("k"),
    "delete_batch": lambda cache: cache.delete_batch(["k"]),
    "delete_matching": lambda cache: cache.delete_matching(meta__owner="me"),
    "delete_where": lambda cache: cache.delete_where(lambda entry: True),
    "clear": lambda cache: cache.clear(),
    "put without": lambda cache: cache.put(2, "k"),
    "put with a dict": lambda cache: cache.put(2, "k", custom_metadata={"owner": "me"}),
    "put of another class": lambda cache: cache.put(2, "k", custom_metadata=Frozen(1)),
    "put_batch without": lambda cache: cache.put_batch([(2, "k")]),
    "update_entry": lambda cache: cache.update_entry("k", custom_metadata={"a": 1}),
    "update_data": lambda cache: cache.update_data(2, "k", custom_metadata=None),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_a_record_goes_with_its_entry(cache, removal):
    cache.put(1, "k", custom_metadata=Run("me", 0.1))
    assert rows(cache) == 1

    REMOVALS[removal](cache)

    assert records(cache) == []
    assert rows(cache) == 0


CHANGES = {
    "put": lambda cache, run: cache.put(2, "k", custom_metadata=run),
    "put_batch": lambda cache, run: cache.put_batch([(2, "k")], custom_metadata=run),
    "update_entry": lambda cache, run: cache.update_entry("k", custom_metadata=run),
    "update_data": lambda cache, run: cache.update_data(2, "k", custom_metadata=run),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_record_takes_its_place(cache, change):
    cache.put(1, "k", custom_metadata=Run("me", 0.1))

    CHANGES[change](cache, Run("you", 0.2))

    assert records(cache) == [("k", "you")]
    assert rows(cache) == 1
    assert cache.get_entry("k").custom_metadata["owner"] == "you"


KEEPING = {
    "get": lambda cache: (cache.get("k"), cache.engine.flush()),
    "touch": lambda cache: cache.touch("k"),
    "touch_batch": lambda cache: cache.touch_batch(entry__cache_key="k"),
    "update_entry": lambda cache: cache.update_entry("k", description="d", tags=("t",)),
    "update_data": lambda cache: cache.update_data(LARGE, "k"),
    "add": lambda cache: cache.add(2, "k", custom_metadata=Run("you", 0.2)),
}


@pytest.mark.parametrize("change", KEEPING)
def test_a_record_stays_while_its_entry_does(cache, change):
    cache.put(1, "k", custom_metadata=Run("me", 0.1))

    KEEPING[change](cache)

    assert records(cache) == [("k", "me")]


def test_a_record_is_kept_where_add_stores(cache):
    assert cache.add(1, "k", custom_metadata=Run("me", 0.1))

    assert records(cache) == [("k", "me")]


def test_each_of_a_batch_has_a_record_of_its_own(cache):
    cache.put_batch([(n, f"k{n}") for n in range(3)], custom_metadata=Run("me", 0.1))

    assert records(cache) == [(f"k{n}", "me") for n in range(3)]
    assert cache.invalidate("k1")
    assert records(cache) == [("k0", "me"), ("k2", "me")]


@pytest.mark.slow
def test_what_knows_nothing_of_the_class_removes_the_record_too(cache):
    cache.put(1, "k", custom_metadata=Run("me", 0.1))
    cache.put(1, "l", custom_metadata=Run("me", 0.1))
    cache.put(1, "m", custom_metadata=Run("me", 0.1))
    program = f"""
from cacheness import UnifiedCache
with UnifiedCache({cache.config.cache_dir!r}) as cache:
    cache.put(2, "k")
    cache.update_data(3, "m")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    with sqlite3.connect(f"{cache.config.cache_dir}/metadata.sqlite3") as file:
        file.execute("DELETE FROM entries WHERE cache_key = 'l'")
    file.close()

    assert records(cache) == [("m", "me")]
    assert rows(cache) == 1


def test_the_table_refers_to_its_entry(cache):
    cache.put(1, "k", custom_metadata=Run("me", 0.1))

    with sqlite3.connect(f"{cache.config.cache_dir}/metadata.sqlite3") as file:
        found = file.execute('PRAGMA foreign_key_list("custom_run")').fetchall()
        broken = file.execute('PRAGMA foreign_key_check("custom_run")').fetchall()
    file.close()

    assert {(row[2], row[3], row[4], row[6]) for row in found} == {
        ("entries", "namespace", "namespace", "CASCADE"),
        ("entries", "cache_key", "cache_key", "CASCADE"),
    }
    assert broken == []


def test_each_namespace_has_its_own_records(tmp_path):
    with UnifiedCache(tmp_path) as one, UnifiedCache(tmp_path, namespace="two") as two:
        one.put(1, "k", custom_metadata=Run("me", 0.1))
        two.put(1, "k", custom_metadata=Run("you", 0.1))

        one.invalidate("k")

        assert (records(one), records(two)) == ([], [("k", "you")])


def test_records_outlive_the_process(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, "k", custom_metadata=Run("me", 0.1))

    with UnifiedCache(tmp_path, read_only=True) as cache:
        assert records(cache) == [("k", "me")]


# --- what can't be --------------------------------------------------------------------


@pytest.mark.parametrize("backend", OTHERS)
def test_a_store_without_tables_keeps_the_json(backend, tmp_path):
    with UnifiedCache(tmp_path, **OTHERS[backend]) as cache:
        cache.put(1, "k", custom_metadata=Run("me", 0.1))

        assert cache.query_meta(meta__owner="me") == ["k"]
        with pytest.raises(ConfigError, match="as JSON only"):
            cache.query_custom(Run)


@pytest.mark.parametrize(
    "wrong",
    [
        Run("me", float("nan")),
        Run("me", float("inf")),
        Run("a\0b", 0.1),
        Run("me", 0.1, epochs=2**63),
        Run("me", 0.1, epochs=True),
        Run("me", 2**53 + 1),
        Run(None, 0.1),
        Run("me", 0.1, digest="text"),
        Run("me", 0.1, ended="2024-01-01"),
    ],
)
def test_a_value_that_its_column_would_change_is_refused(cache, wrong):
    with pytest.raises(ConfigError, match=r"run\.\w+="):
        cache.put(1, "k", custom_metadata=wrong)

    assert len(cache) == 0


def test_a_class_that_is_not_registered_is_refused(cache):
    @dataclass
    class Unknown:
        x: int

    with pytest.raises(ConfigError, match="@custom_metadata_model"):
        cache.put(1, "k", custom_metadata=Unknown(1))
    with pytest.raises(ConfigError, match="@custom_metadata_model"):
        cache.query_custom(Unknown)


def test_a_filter_that_names_no_field_is_an_error(cache):
    with pytest.raises(TypeError, match="no field 'nothing'.* owner, lr"):
        cache.query_custom(Run, nothing=1)
    with pytest.raises(TypeError, match="__contains is for str"):
        cache.query_custom(Run, lr__contains="1")
    cache.put(1, "k", custom_metadata=Run("me", 0.1))
    with pytest.raises(TypeError, match="'lr > 1' is no condition of SQLAlchemy"):
        cache.query_custom(Run, "lr > 1")
    with pytest.raises(ConfigError, match=r"run\.lr='x'"):
        cache.query_custom(Run, lr="x")


def test_a_field_without_a_column_is_refused():
    @dataclass
    class Wrong:
        x: list[int]

    with pytest.raises(ConfigError, match="Wrong.x has no column"):
        custom_metadata_model(Wrong)


@pytest.mark.parametrize("name", ["cache_key", "Generation", "größe"])
def test_a_name_that_no_column_can_have_is_refused(name):
    wrong = dataclass(type("Wrong", (), {"__annotations__": {name: int}}))

    with pytest.raises(ConfigError, match=name):
        custom_metadata_model(wrong)


def test_a_plain_class_is_refused():
    with pytest.raises(ConfigError, match="neither a dataclass nor a model"):
        custom_metadata_model(object)


@pytest.mark.parametrize("given", ["runs", None, Run])
def test_what_is_no_class_is_refused(given):
    given = given("a", 1.0) if isinstance(given, type) else given

    with pytest.raises(ConfigError, match="takes a class"):
        custom_metadata_model(given)


def test_a_computed_entry_may_bear_a_record(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.get_or_compute(lambda: 5, "k", custom_metadata=Run("a", 1.0))

        assert cache.get_entry("k").custom_metadata["owner"] == "a"


def make(annotations, module="here", **defaults):
    made = type("Growing", (), {"__annotations__": annotations, "__module__": module, **defaults})
    return custom_metadata_model(dataclass(made))


def test_a_field_that_may_be_none_can_be_added(cache):
    cache.put(1, "old", custom_metadata=make({"x": int})(1))

    grown = make({"x": int, "y": str | None}, y=None)
    assert cache.query_custom(grown, y=None) == [("old", grown(1, None))]
    cache.put(1, "new", custom_metadata=grown(2, "b"))

    assert cache.query_custom(grown) == [("old", grown(1, None)), ("new", grown(2, "b"))]
    assert cache.query_custom(grown, y="b") == [("new", grown(2, "b"))]


def test_a_field_that_changed_its_type_is_an_error_and_stores_nothing(cache):
    cache.put(1, "k", custom_metadata=make({"x": int})(1))

    with pytest.raises(ConfigError, match="growing.x is TEXT, but the table .* has INTEGER"):
        cache.put(2, "k", custom_metadata=make({"x": str})("a"))

    assert cache.get("k") == 1
    with pytest.raises(ConfigError, match="already registered as 'growing'"):
        make({"x": int}, module="elsewhere")
