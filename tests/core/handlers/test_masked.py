# SPDX-License-Identifier: MIT
"""Promises of masked arrays."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cacheness.errors import CannotHandleError
from cacheness.handlers.numpy import NumpyHandler

HANDLER = NumpyHandler()


@st.composite
def masked_arrays(draw):
    # Of smaller integers in structures NumPy warns that its own default fill value is too large.
    fields = (
        hnp.floating_dtypes(sizes=(32, 64))
        | hnp.integer_dtypes(sizes=(32, 64))
        | hnp.boolean_dtypes()
    )
    dtypes = hnp.scalar_dtypes() | hnp.array_dtypes(fields)
    data = draw(hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, max_side=4)))
    data = np.asarray(data, order=draw(st.sampled_from("CF")))
    array = np.ma.MaskedArray(data, hard_mask=draw(st.booleans()))
    if draw(st.booleans()):
        array.mask = draw(hnp.arrays(np.ma.make_mask_descr(data.dtype), data.shape))
    if draw(st.booleans()):
        array.fill_value = np.zeros((), data.dtype)[()]
    return array


def assert_identical(back, array):
    assert type(back) is np.ma.MaskedArray
    assert repr(back.dtype) == repr(array.dtype)
    assert back.shape == array.shape
    assert back.data.tobytes() == array.data.tobytes()
    assert (back.mask is np.ma.nomask) == (array.mask is np.ma.nomask)
    assert np.asarray(back.mask).tobytes() == np.asarray(array.mask).tobytes()
    assert back.hardmask == array.hardmask
    assert (back._fill_value is None) == (array._fill_value is None)
    assert np.asarray(back.fill_value).tobytes() == np.asarray(array.fill_value).tobytes()
    assert back.flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.slow
@settings(max_examples=50)
@given(masked_arrays())
def test_masked_arrays_come_back_exactly(round_trip, array):
    assert HANDLER.can_handle(array)
    assert_identical(round_trip(HANDLER, array), array)


def test_a_strided_masked_array_comes_back(round_trip):
    array = np.ma.masked_less(np.arange(600.0).reshape(20, 30), 100)[::3, ::-2]

    back = round_trip(HANDLER, array)

    assert back.data.tobytes() == array.data.tobytes()
    assert back.mask.tobytes() == array.mask.tobytes()


def test_numpy_reads_the_data_and_then_the_mask(dump):
    array = np.ma.masked_equal([1, 2, 3], 2)
    payload, metadata = dump(HANDLER, array)

    file = io.BytesIO(payload)

    assert np.load(file).tolist() == [1, 2, 3]
    file.seek(metadata["mask"])
    assert np.load(file).tolist() == [False, True, False]


def test_data_and_mask_are_the_private_memory(dump, private, MemoryContext):
    array = np.ma.masked_equal(np.arange(10_000), 2)
    payload, metadata = dump(HANDLER, array)
    memory = private(payload)

    back = HANDLER.loads(memory, metadata, MemoryContext())

    assert np.shares_memory(back.data, np.frombuffer(memory, "u1"))
    assert np.shares_memory(back.mask, np.frombuffer(memory, "u1"))


def test_a_read_only_one_stays_so(round_trip):
    array = np.ma.MaskedArray(np.arange(3))
    array.flags.writeable = False

    assert not round_trip(HANDLER, array).flags.writeable


def test_one_over_a_subclass_is_refused(dump):
    with pytest.raises(CannotHandleError):
        dump(HANDLER, np.ma.MaskedArray(np.rec.array([(1, 2)])))


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_flipped_bits_and_cuts_fail_or_give_a_masked_array(dump, private, MemoryContext, data):
    payload, metadata = dump(HANDLER, np.ma.masked_equal([1.0, 2.0, 3.0], 2.0))
    changed = bytearray(payload[: data.draw(st.integers(0, len(payload)))])
    if changed:
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        back = HANDLER.loads(private(bytes(changed)), metadata, MemoryContext())
    except ValueError:
        return
    assert back.nbytes == 24
