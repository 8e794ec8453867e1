# SPDX-License-Identifier: MIT
"""Bytes that nobody vouches for run no code: at worst they are refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheness import SignatureError
from cacheness_pandas.checking import check_table
from cacheness_pandas.zones import unpack_zone


class Bomb:
    """Tells when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a payload that nobody vouches for was unpickled",))


def frame():
    return pd.DataFrame(
        {
            "s": [f"text {i}" for i in range(50)],
            "c": pd.Categorical(["a", "b"] * 25),
            "n": pd.array([1, None] * 25, dtype="Int8"),
            "l": pd.arrays.ArrowExtensionArray(pa.array([[1], None] * 25)),
        },
        index=pd.MultiIndex.from_product([["x", "y"], range(25)]),
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([{}, {"format": "parquet"}]))
def test_flipped_bytes_are_refused_or_read_as_something_else(store, data, options):
    stored = store(frame(), options)
    payload = bytearray(stored.payload)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    stored.payload = bytes(payload)

    try:
        found = stored.load(verified=False)
    except Exception:
        return
    str(found)


def with_spec(stored, change):
    """The payload with another spec in its schema."""
    table = pa.ipc.open_file(stored.payload).read_all()
    spec = json.loads(table.schema.metadata[b"cacheness"])
    change(spec)
    metadata = {**table.schema.metadata, b"cacheness": json.dumps(spec).encode()}
    table = table.replace_schema_metadata(metadata)
    out = pa.BufferOutputStream()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    stored.payload = out.getvalue().to_pybytes()
    return stored


def test_a_part_is_not_read_where_the_payload_did_not_verify(store):
    stored = store(pd.DataFrame({"a": [1, 2]}))
    stored.context.parts.append(Bomb())

    with_spec(
        stored, lambda spec: spec["columns"].__setitem__(0, {"kind": "part", "part": {"part": 0}})
    )

    with pytest.raises(SignatureError):
        stored.load(verified=False)


@pytest.mark.parametrize("name", ["O", "object", "complex64", "V8", "float16"])
def test_numbers_are_not_read_as_another_type(store, name):
    stored = store(pd.DataFrame({"a": [1, 2]}))

    with_spec(stored, lambda spec: spec["columns"].__setitem__(0, name))

    with pytest.raises((ValueError, KeyError)):
        stored.load(verified=False)


def test_labels_are_no_objects_of_any_type(store):
    stored = store(pd.Series([1], name=np.int32(3)))

    with_spec(stored, lambda spec: spec["name"].update(numpy="O"))

    with pytest.raises(ValueError, match="label"):
        stored.load(verified=False)


def test_codes_that_point_to_no_category_are_found(store):
    few, many = (pd.Categorical(pd.interval_range(0, count)) for count in (2, 50))
    stored = store(pd.Series(many[:2].set_categories(few.categories)))
    borrowed = json.loads(pa.ipc.open_file(stored.payload).schema.metadata[b"cacheness"])

    forged = with_spec(store(pd.Series(many)), lambda spec: spec.update(values=borrowed["values"]))

    with pytest.raises(ValueError, match="category"):
        forged.load(verified=False)


OUTSIDE = {
    "beyond the text": [0, 10**6, 3],
    "backwards": [0, 2, 1],
    "before the text": [-5, 1, 3],
    "at the end": [0, 1, 10**6],
}


@pytest.mark.parametrize("offsets", OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize("text", [b"abc" * 5, "äöü".encode() * 5], ids=["ascii", "utf-8"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_offsets_that_point_outside_are_found(offsets, text, kind):
    width = np.int32 if kind == pa.string() else np.int64
    buffers = [None, pa.py_buffer(np.array(offsets, width)), pa.py_buffer(text)]

    with pytest.raises(pa.ArrowInvalid):
        check_table(pa.table({"a": pa.Array.from_buffers(kind, 2, buffers)}))


@pytest.mark.parametrize("text", [b"ab\xff", b"\xffaaaaaaaaaaaaaaa", b"aaaaaaaaaaaaaaaa\xe4"])
def test_text_that_is_no_utf_8_is_found(text):
    buffers = [None, pa.py_buffer(np.array([0, len(text)])), pa.py_buffer(text)]

    with pytest.raises(pa.ArrowInvalid):
        check_table(pa.table({"a": pa.Array.from_buffers(pa.large_string(), 1, buffers)}))


@pytest.mark.parametrize("code", [2, -1, 100])
def test_codes_outside_a_dictionary_are_found(code):
    codes = pa.array([0, code, 1], pa.int8())
    values = pa.DictionaryArray.from_arrays(codes, pa.array(["a", "b"]), safe=False)

    with pytest.raises(pa.ArrowInvalid):
        check_table(pa.table({"a": values}))


def test_what_is_sound_passes():
    check_table(pa.Table.from_pandas(frame().reset_index()))
    check_table(pa.table({"a": ["ä", None, "b"], "b": [[1], None, []], "c": [{"x": 1}] * 3}))
    check_table(pa.table({"a": pa.array(["a", "b", "c"])[1:1]}))


@pytest.mark.parametrize("kind", ["zoneinfo", "pytz", "dateutil"])
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/localtime", "a b", "..", ""])
def test_a_zone_is_no_path(kind, name):
    if kind != "zoneinfo":
        pytest.importorskip(kind)
    with pytest.raises(ValueError, match="time zone"):
        unpack_zone({"zone": kind, "name": name})


def test_pickles_in_the_schema_are_never_looked_at(store):
    stored = store(pd.DataFrame({"a": [1]}))
    table = pa.ipc.open_file(stored.payload).read_all()
    metadata = {**table.schema.metadata, b"pandas": pickle.dumps(Bomb())}
    out = pa.BufferOutputStream()
    with pa.ipc.new_file(out, table.schema.with_metadata(metadata)) as writer:
        writer.write_table(table.replace_schema_metadata(metadata))
    stored.payload = out.getvalue().to_pybytes()

    assert stored.load(verified=False)["a"].tolist() == [1]
