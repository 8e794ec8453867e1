# SPDX-License-Identifier: MIT
"""Promises of the fingerprints of arrays."""

from __future__ import annotations

import hashlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from cacheness.errors import CannotHandleError
from cacheness.handlers.numpy import NumpyHandler

HANDLER = NumpyHandler()
ARRAYS = hnp.arrays(
    hnp.scalar_dtypes() | hnp.array_dtypes(hnp.scalar_dtypes(), allow_subarrays=True),
    hnp.array_shapes(max_dims=3, min_side=0, max_side=4),
)


def digest(obj):
    hasher = hashlib.sha256()
    HANDLER.fingerprint(obj, hasher.update)
    return hasher.hexdigest()


@pytest.mark.slow
@settings(max_examples=50)
@given(ARRAYS)
def test_order_strides_and_flags_do_not_count(array):
    wider = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
    strided = wider[tuple(slice(None, None, 2) for _ in array.shape)]
    strided[...] = array
    fortran = np.asfortranarray(array)
    frozen = array.copy()
    frozen.flags.writeable = False

    assert digest(strided) == digest(fortran) == digest(frozen) == digest(array)


def test_padding_does_not_count():
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    clean, dirty = np.zeros(3, dtype), np.ndarray(3, dtype, buffer=bytearray(b"\xff" * 48))
    dirty["a"], dirty["b"] = 0, 0
    long, other = np.zeros(3, "g"), np.ndarray(3, "g", buffer=bytearray(b"\xff" * 48))
    other[:] = 0

    assert clean.tobytes() != dirty.tobytes()
    assert digest(clean) == digest(dirty)
    assert digest(long) == digest(other)


DIFFERENT = [
    np.zeros(4),
    np.zeros((2, 2)),
    np.zeros((4, 1)),
    np.zeros(0),
    np.zeros((0, 2)),
    np.zeros(()),
    -np.zeros(4),
    np.zeros(4, "f4"),
    np.zeros(8, "f4"),
    np.zeros(4, ">f8"),
    np.zeros(4, "i8"),
    np.zeros(4, "u8"),
    np.zeros(4, "M8[s]"),
    np.zeros(4, "M8[ms]"),
    np.zeros(4, "m8[s]"),
    np.zeros(2, "c16"),
    np.zeros(4, "V8"),
    np.zeros(4, "S8"),
    np.zeros(4, "U2"),
    np.zeros(4, "f4,f4"),
    np.zeros(4, [("a", "f4"), ("b", "f4")]),
    np.zeros(4, [("a", "f4", (2,))]),
    np.zeros(4, [("b", "f4", (2,))]),
    np.zeros(4, "g"),
    np.array([0, 0, 0, 1.0]),
    np.float64(0),
    np.float32(0),
    np.int64(0),
    np.longlong(0),
    np.ma.zeros(4),
    np.ma.MaskedArray(np.zeros(4), mask=[0, 0, 0, 0]),
    np.ma.MaskedArray(np.zeros(4), mask=[0, 0, 0, 1]),
    np.ma.MaskedArray(np.zeros(4), hard_mask=True),
    np.ma.MaskedArray(np.zeros(4), fill_value=3),
]


def test_whatever_makes_arrays_different_counts():
    assert len({digest(array) for array in DIFFERENT}) == len(DIFFERENT)


def test_a_change_in_any_field_counts():
    dtype = np.dtype([("a", "i1"), ("b", "f8"), ("c", ">i4", (2,))], align=True)
    arrays = [np.zeros(3, dtype) for _ in range(4)]
    arrays[1]["a"][2] = 1
    arrays[2]["b"][0] = 1
    arrays[3]["c"][1, 1] = 1

    assert len({digest(array) for array in arrays}) == 4


def test_the_fingerprint_stays_the_same_from_version_to_version():
    # Stored keys rest on it: a change here makes every cached call a miss.
    assert digest(np.arange(3, dtype="<i4")) == (
        "2ff3944c08b32b820840e0aa43dd8003f28b76d4efc95884b9e46bb335ba43e4"
    )


def test_contiguous_memory_is_fed_as_it_is():
    array = np.ones((100, 100))
    fed = []

    HANDLER.fingerprint(array, fed.append)

    assert np.shares_memory(np.frombuffer(fed[-1], "u1"), array)


@pytest.mark.parametrize(
    "array", [np.ones((4096, 2048))[::2, ::-1], np.ones((1024, 2048)).T], ids=["view", "fortran"]
)
def test_what_is_not_in_c_order_is_fed_in_pieces(array):
    tracemalloc.start()
    digest(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4 << 20


@pytest.mark.parametrize("obj", [np.array([object()]), np.zeros(2).view(np.recarray), [1.0]])
def test_what_has_no_fingerprint_is_refused(obj):
    with pytest.raises(CannotHandleError):
        HANDLER.fingerprint(obj, lambda data: None)
