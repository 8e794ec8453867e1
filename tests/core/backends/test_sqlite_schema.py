"""The live SQLite schema and SQLAlchemy's description of it can't drift apart."""

from sqlalchemy import create_engine, inspect
from sqlalchemy.schema import CreateColumn

from cacheness import UnifiedCache
from cacheness.backends import sql
from cacheness.backends.sqlite_indexes import INDEXES, POLICIES
from cacheness.testing.metadata_entries import make_entry


def described(table):
    return [(column.name, not column.nullable, column.primary_key) for column in table.columns]


def test_tables_columns_and_indexes_are_the_described_ones(tmp_path):
    UnifiedCache(tmp_path).close()
    engine = create_engine(f"sqlite:///{tmp_path}/metadata.sqlite3")
    live = inspect(engine)

    assert set(live.get_table_names()) == set(sql.metadata.tables)
    for table in sql.metadata.tables.values():
        primary = live.get_pk_constraint(table.name)["constrained_columns"]
        columns = live.get_columns(table.name)
        assert [column["name"] for column in columns] == [column.name for column in table.columns]
        for column in columns:
            of = table.columns[column["name"]]
            if not of.primary_key:
                assert column["nullable"] == of.nullable, column["name"]
            assert of.primary_key == (column["name"] in primary)
            kind = CreateColumn(of).compile(dialect=engine.dialect).string.split()[1].strip(",")
            assert affinity(kind) == affinity(str(column["type"])), column["name"]
        indexes = {
            (i["name"], tuple(i["column_names"]), bool(i["unique"]))
            for i in live.get_indexes(table.name)
        }
        assert indexes == {
            (i.name, tuple(c.name for c in i.columns), bool(i.unique)) for i in table.indexes
        }
    engine.dispose()


def affinity(kind):
    """SQLite's own rule, with the types that SQLAlchemy keeps as text or number."""
    kind = kind.upper()
    if "INT" in kind or kind == "BOOLEAN":
        return "INTEGER"
    if any(word in kind for word in ("CHAR", "CLOB", "TEXT", "JSON")):
        return "TEXT"
    if "BLOB" in kind:
        return "BLOB"
    return "REAL"


def test_a_row_written_by_the_backend_is_read_by_sqlalchemy(tmp_path):
    with UnifiedCache(tmp_path, namespace="n") as cache:
        cache.put({"a": 1}, "k", tags=("t",), custom_metadata={"x": [1]}, pin=True, params=None)
    engine = create_engine(f"sqlite:///{tmp_path}/metadata.sqlite3")

    with engine.connect() as connection:
        (row,) = connection.execute(sql.entries.select()).mappings()

    assert (row["namespace"], row["cache_key"], row["handler"]) == ("n", "k", "json")
    assert row["inline"] == b'{"a":1}'
    assert row["pinned"] is True
    assert row["details"]["tags"] == ["t"]
    assert row["details"]["custom_metadata"] == {"x": [1]}
    engine.dispose()


def test_the_indexes_that_queries_make_are_the_described_ones(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        backend = cache.engine.backend
        backend.put_entries(make_entry(f"k{i}") for i in range(2000))
        for policy in POLICIES:
            backend.victims(policy, 1, 1)
        for field in ("prefix", "entry__function", "entry__created_at", "entry__stored_bytes"):
            list(backend.query_meta(**{field: "x"}))
    engine = create_engine(f"sqlite:///{tmp_path}/metadata.sqlite3")

    live = {
        index["name"]: index["column_names"] for index in inspect(engine).get_indexes("entries")
    }

    lazy = {index.name: [c.name for c in index.columns] for index in sql.lazy_indexes()}
    assert len(lazy) == len(INDEXES) == 7
    assert live.items() >= lazy.items()
    engine.dispose()
