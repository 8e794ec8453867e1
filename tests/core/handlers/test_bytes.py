# SPDX-License-Identifier: MIT
"""Promises of the handler of raw bytes."""

from __future__ import annotations

import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheness.errors import CannotHandleError
from cacheness.handlers.bytes import BytesHandler

HANDLER = BytesHandler()


@given(st.binary())
def test_bytes_come_back(dump, round_trip, data):
    assert round_trip(HANDLER, data) == data
    assert type(round_trip(HANDLER, data)) is bytes
    assert dump(HANDLER, data) == (data, {})


@given(st.binary())
def test_a_bytearray_comes_back_as_one(round_trip, data):
    back = round_trip(HANDLER, bytearray(data))

    assert back == data
    assert type(back) is bytearray
    back += b"more"


@given(st.binary(), st.booleans())
def test_a_memoryview_keeps_whether_it_is_read_only(round_trip, data, readonly):
    view = memoryview(data) if readonly else memoryview(bytearray(data))

    back = round_trip(HANDLER, view)

    assert back == view
    assert back.readonly is readonly


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_a_memoryview_keeps_its_format_and_shape(round_trip, code):
    view = memoryview(array.array(code, range(6)))
    grid = view.cast("B").cast(code, [2, 3])

    for each in (view, grid):
        back = round_trip(HANDLER, each)
        assert (back.format, back.shape, back.tolist()) == (
            each.format,
            each.shape,
            each.tolist(),
        )


@pytest.mark.parametrize(
    "view",
    [
        memoryview(b"abcdef")[::2],
        memoryview(np.zeros(3, ">f8")),
        memoryview(np.zeros(2, "i4,f8")),
        memoryview(np.zeros((0, 3))),
        memoryview(np.asfortranarray(np.zeros((2, 3)))),
    ],
    ids=["strided", "swapped", "structured", "empty", "fortran"],
)
def test_a_memoryview_that_cannot_be_made_again_is_refused(dump, view):
    with pytest.raises(CannotHandleError):
        dump(HANDLER, view)


def test_a_released_memoryview_is_refused_as_python_refuses_it(dump):
    view = memoryview(b"x")
    view.release()

    with pytest.raises(ValueError, match="released"):
        dump(HANDLER, view)


def test_only_the_exact_types_are_taken():
    class Mine(bytes):
        pass

    assert not HANDLER.can_handle(Mine(b"x"))
    assert not HANDLER.can_handle("x")
    assert not HANDLER.can_handle(array.array("b"))


def test_writing_copies_nothing(MemoryContext):
    data = bytes(1 << 20)

    (buffer,), _ = HANDLER.dumps(data, MemoryContext())

    assert buffer is data


def test_a_writeable_memoryview_is_the_private_memory_itself(MemoryContext, private, dump):
    payload, metadata = dump(HANDLER, memoryview(bytearray(b"abc")))
    memory = private(payload)

    back = HANDLER.loads(memory, metadata, MemoryContext())
    back[0] = ord("x")

    assert bytes(memory) == b"xbc"


def test_what_is_made_of_shared_memory_does_not_write_to_it(MemoryContext, dump):
    payload, metadata = dump(HANDLER, memoryview(bytearray(b"abc")))

    back = HANDLER.loads(memoryview(payload), metadata, MemoryContext())
    back[0] = ord("x")

    assert payload == b"abc"


@pytest.mark.parametrize(
    "metadata",
    [
        {"kind": "list"},
        {"kind": ["bytes"]},
        {"kind": "memoryview"},
        {"kind": "memoryview", "format": "P", "shape": [7], "itemsize": 8, "byteorder": "little"},
        {"kind": "memoryview", "format": "i", "shape": [-1], "itemsize": 4, "byteorder": "little"},
        {"kind": "memoryview", "format": "i", "shape": 3, "itemsize": 4, "byteorder": "little"},
        {"kind": "memoryview", "format": 3, "shape": [1], "itemsize": 4, "byteorder": "little"},
        {"kind": "memoryview", "format": "i", "shape": [2], "itemsize": 9, "byteorder": "little"},
        {"kind": "memoryview", "format": "i", "shape": [2], "itemsize": 4, "byteorder": "middle"},
    ],
)
def test_metadata_that_lie_fail(MemoryContext, private, metadata):
    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(private(bytes(8)), metadata, MemoryContext())


def test_it_is_described_in_a_line():
    assert HANDLER.describe(b"abc") == "bytes of 3"
    assert HANDLER.describe(memoryview(b"abc")) == "memoryview of B (3,)"
