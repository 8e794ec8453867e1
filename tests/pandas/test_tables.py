# SPDX-License-Identifier: MIT
"""Arrow tables, batches, arrays and schemas come back exactly."""

from __future__ import annotations

import decimal

import pyarrow as pa
import pytest

from cacheness import ConfigError

TABLE = pa.table(
    {
        "i": pa.chunked_array([[1, 2], [3]]),
        "s": pa.chunked_array([["a", None], ["c"]]),
        "l": pa.chunked_array([[[1], None], [[]]]),
        "d": pa.chunked_array(
            [pa.array(["x", "y"]).dictionary_encode()] * 1
            + [pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), pa.array(["x", "y"]))]
        ),
        "m": pa.chunked_array([[decimal.Decimal("1.5"), None], [decimal.Decimal("2.5")]]),
    },
    metadata={b"source": b"test"},
)


def test_a_table_comes_back_with_its_chunks_and_metadata(store):
    found = store(TABLE).load()

    assert found.equals(TABLE, check_metadata=True)
    assert [column.num_chunks for column in found.columns] == [2] * 5
    found.validate(full=True)


@pytest.mark.parametrize(
    "obj",
    [
        TABLE.to_batches()[0],
        TABLE.slice(1, 1).to_batches()[0],
        TABLE["s"],
        TABLE["i"].chunk(0),
        pa.array([[1], None])[1:],
        pa.array(["a", "b"]).dictionary_encode(),
        pa.nulls(3),
        pa.array([], pa.int8()),
        pa.chunked_array([], pa.string()),
        pa.array([b"x" * 16], pa.binary(16)),
    ],
    ids=str,
)
def test_batches_and_arrays_come_back(store, obj):
    found = store(obj).load()

    assert type(found) is type(obj)
    assert found.equals(obj)


@pytest.mark.parametrize(
    "table", [TABLE.slice(0, 0), TABLE.slice(1, 2), pa.table({}), TABLE.schema.empty_table()]
)
def test_slices_and_empty_tables_come_back(store, table):
    assert store(table).load().equals(table, check_metadata=True)


def test_a_schema_comes_back(store):
    field = pa.field("a", pa.int8(), nullable=False, metadata={"unit": "m"})
    schema = pa.schema([field, pa.field("b", pa.large_string())], metadata={"k": "v"})

    assert store(schema).load().equals(schema, check_metadata=True)


def test_chunks_with_dictionaries_of_their_own_come_back_with_them(store):
    column = pa.chunked_array(
        [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    )
    table = pa.table({"d": column})

    stored = store(table)

    assert stored.load().equals(table)
    assert stored.metadata["extension"] == ".arrows"
    assert stored.load({"rows": slice(1, 3)}).equals(table.slice(1, 2))


def test_a_table_may_be_stored_as_parquet(store):
    table = pa.table({"a": [1, 2], "s": ["x", None], "l": [[1], []]})

    stored = store(table, {"format": "parquet"}, "zstd")

    assert stored.payload.startswith(b"PAR1")
    assert stored.load().equals(table)


def test_parquet_is_refused_for_what_it_would_change(store):
    with pytest.raises(ConfigError, match="seconds"):
        store(pa.table({"seconds": pa.array([1], pa.timestamp("s"))}), {"format": "parquet"})


@pytest.mark.parametrize("compressor", ["none", "zstd"])
def test_a_part_of_a_table(store, tmp_path, compressor):
    stored = store(TABLE, None, compressor)
    options = {"columns": ["s", "i"], "rows": slice(1, None)}

    for found in (stored.load(options), stored.load_file(str(tmp_path / "table"), options)):
        assert found.to_pydict() == {"s": [None, "c"], "i": [2, 3]}
    assert stored.load({"rows": slice(None, None, -2)})["i"].to_pylist() == [3, 1]


def test_columns_of_an_array_are_refused(store):
    with pytest.raises(ConfigError, match="no columns"):
        store(pa.array([1])).load({"columns": ["a"]})
