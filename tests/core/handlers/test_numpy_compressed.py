# SPDX-License-Identifier: MIT
"""Promises of arrays kept as Blosc2 files."""

from __future__ import annotations

import tracemalloc

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cacheness.compressors.auto import AutoCompressor
from cacheness.compressors.blosc2 import (
    COMPRESSORS,
    Blosc2BloscLzCompressor,
    Blosc2Lz4Compressor,
    Blosc2ZlibCompressor,
    Blosc2ZstdCompressor,
)
from cacheness.compressors.gzip import GzipCompressor
from cacheness.handlers import b2nd
from cacheness.handlers.b2nd import Layout
from cacheness.handlers.numpy import NumpyHandler
from cacheness.handlers.spool import Spool

HANDLER = NumpyHandler()
LZ4 = Blosc2Lz4Compressor()
ALL = [LZ4, Blosc2ZstdCompressor(), Blosc2BloscLzCompressor(), Blosc2ZlibCompressor()]
DTYPES = hnp.scalar_dtypes() | hnp.array_dtypes(hnp.scalar_dtypes(), allow_subarrays=True)


def assert_identical(back, array):
    assert type(back) is np.ndarray
    assert repr(back.dtype) == repr(array.dtype)
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    assert (back.flags.f_contiguous and not back.flags.c_contiguous) == fortran
    assert back.flags.writeable == array.flags.writeable


@pytest.mark.slow
@settings(max_examples=60)
@given(
    hnp.arrays(DTYPES, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5), fill=None),
    st.sampled_from("CF"),
    st.integers(1, 2),
    st.booleans(),
)
def test_arrays_come_back_exactly(round_trip, MemoryContext, array, order, step, writeable):
    array = np.asarray(array, order=order)[::step]
    array.flags.writeable = writeable

    assert_identical(round_trip(HANDLER, array, MemoryContext(compressor=LZ4)), array)


@pytest.mark.parametrize("compressor", ALL, ids=lambda c: c.name)
@pytest.mark.parametrize(
    "array",
    [
        np.arange(2_500_000),  # several chunks, the last one shorter
        np.arange(3_000_000.0).reshape(3, -1),  # chunks within lines
        np.arange(2 * 6007 * 101).reshape(2, 6007, 101),  # lines of a prime length
        np.arange(1_000_000, dtype=">f8").reshape(1000, 1000)[::2, ::-1],  # a view
        np.asfortranarray(np.arange(1_200_000.0).reshape(1000, -1)),
        np.zeros((3, 1_000_003), "i1"),
        np.full(300_000, np.nan),
        np.full(300_000, 7, "i2"),
        np.array(["text", "größer" * 20] * 5000),
        np.zeros(50, "V300"),
        np.ones((2, 1) * 4),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_every_shape_and_codec_comes_back_and_opens_with_blosc2(
    dump, private, MemoryContext, array, compressor
):
    context = MemoryContext(compressor=compressor)
    payload, metadata = dump(HANDLER, array, context)

    assert_identical(HANDLER.loads(private(payload), metadata, context), array)
    assert metadata["extension"] == ".b2nd"
    assert metadata["compressed"] is True
    opened = blosc2.ndarray_from_cframe(payload)
    stored = opened[:].tobytes()
    assert stored == (array.T if metadata["order"] == "F" else array).tobytes()


@given(
    st.lists(st.integers(1, 13), min_size=1, max_size=4).map(tuple),
    st.integers(1, 255),
    st.integers(600, 9000),
    st.integers(1, 60),
)
def test_any_layout_covers_the_array_once_in_order(shape, itemsize, chunk, blocks_in_chunk):
    sizes = b2nd._CHUNK_BYTES, b2nd._BLOCK_BYTES
    b2nd._CHUNK_BYTES, b2nd._BLOCK_BYTES = chunk, max(1, chunk // blocks_in_chunk)
    try:
        layout = Layout.plan(shape, itemsize)
        runs = list(layout.runs())
    finally:
        b2nd._CHUNK_BYTES, b2nd._BLOCK_BYTES = sizes

    assert [start for start, _ in runs] == [0, *(end for _, end in runs[:-1])]
    assert runs[-1][1] == layout.nbytes
    assert len(runs) == layout.count
    assert all(end - start <= layout.padded_bytes for start, end in runs)
    assert all(b <= c <= s for b, c, s in zip(layout.blocks, layout.chunks, shape, strict=True))


def test_auto_compresses_what_shrinks_and_leaves_what_does_not(dump, MemoryContext):
    context = MemoryContext(compressor=AutoCompressor())
    smooth = np.arange(300_000)
    noise = np.random.default_rng(0).random(300_000)

    assert dump(HANDLER, smooth, context)[1]["storage_format"] == "b2nd"
    assert dump(HANDLER, noise, context)[1] == {}
    assert dump(HANDLER, smooth[:1000], context)[1] == {}


@pytest.mark.parametrize("order", ["C", "F"])
def test_auto_asks_the_whole_of_an_array_and_not_its_start(dump, MemoryContext, order):
    context = MemoryContext(compressor=AutoCompressor())
    array = np.random.default_rng(0).integers(0, 1 << 63, (64, 10_000))
    array[:8] = 0
    rising = np.arange(640_000).reshape(64, 10_000)
    rising[:4] = array[8:12]
    if order == "F":
        array, rising = array.T, rising.T

    assert dump(HANDLER, array, context)[1].get("storage_format") is None
    assert dump(HANDLER, rising, context)[1]["storage_format"] == "b2nd"


def test_other_compressors_are_left_to_the_core(dump, MemoryContext):
    context = MemoryContext(compressor=GzipCompressor())

    payload, metadata = dump(HANDLER, np.arange(300_000), context)

    assert metadata == {}
    assert payload.startswith(b"\x93NUMPY")


@pytest.mark.parametrize(
    "obj", [np.float64(1), np.array(1.0), np.zeros((0, 3)), np.ma.zeros(9), np.ones((1,) * 12)]
)
def test_what_blosc2_has_no_shape_for_stays_raw(dump, MemoryContext, obj):
    payload, _ = dump(HANDLER, obj, MemoryContext(compressor=LZ4))

    assert payload.startswith(b"\x93NUMPY")


def test_reading_needs_the_array_and_no_second_copy(dump, private, MemoryContext):
    array = np.arange(4_000_000)
    payload, metadata = dump(HANDLER, array, MemoryContext(compressor=LZ4))
    memory = private(payload)

    tracemalloc.start()
    back = HANDLER.loads(memory, metadata, MemoryContext())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert back.nbytes == 32_000_000
    assert peak < 1.35 * back.nbytes  # one padded chunk of 8 MiB beside it


def test_compressing_holds_one_chunk_and_what_is_compressed(MemoryContext):
    array = np.arange(4_000_000)

    tracemalloc.start()
    size = sum(len(b) for b in HANDLER.dumps(array, MemoryContext(compressor=LZ4))[0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < size + (20 << 20)


def test_more_than_the_spool_holds_waits_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pieces = [bytes([i]) * 1000 for i in range(10)]

    with Spool(in_memory=3000) as spool:
        for piece in pieces:
            spool.append(piece)
        assert b"".join(spool) == b"".join(pieces)
        assert spool.size == 10_000
        assert spool._file is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("array", "lazy"),
    [
        (np.arange(10_000.0).reshape(100, 100), True),
        (np.asfortranarray(np.arange(10_000.0).reshape(100, 100)), False),
        (np.array(["a", "b"] * 500), False),
    ],
)
def test_a_file_is_viewed_lazily_where_blosc2_can_show_it(
    tmp_path, dump, MemoryContext, array, lazy
):
    payload, metadata = dump(HANDLER, array, MemoryContext(compressor=LZ4))
    path = tmp_path / "a.b2nd"
    path.write_bytes(payload)

    view = HANDLER.open(str(path), metadata, MemoryContext())

    assert isinstance(view, blosc2.NDArray) is lazy
    assert (view[:] == array).all()
    if not lazy:
        assert not view.flags.writeable


@pytest.mark.parametrize("compressor", COMPRESSORS)
def test_a_file_is_viewed_lazily_whatever_the_codec(tmp_path, dump, MemoryContext, compressor):
    array = np.arange(10_000.0)
    payload, metadata = dump(HANDLER, array, MemoryContext(compressor=compressor()))
    path = tmp_path / "a.b2nd"
    path.write_bytes(payload)

    view = HANDLER.open(str(path), metadata, MemoryContext())

    assert isinstance(view, blosc2.NDArray)
    assert (view[:] == array).all()


def test_a_file_that_asks_for_more_than_an_array_is_not_given_to_blosc2(
    tmp_path, dump, MemoryContext
):
    array = np.arange(10_000.0)
    _, metadata = dump(HANDLER, array, MemoryContext(compressor=LZ4))
    foreign = blosc2.asarray(
        array, chunks=metadata["chunks"], blocks=metadata["blocks"], meta={"extra": "anything"}
    )
    path = tmp_path / "a.b2nd"
    path.write_bytes(foreign.to_cframe())

    view = HANDLER.open(str(path), metadata, MemoryContext())

    assert type(view) is np.ndarray
    assert (view == array).all()


# --- hostile files -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(dump, MemoryContext):
    array = np.arange(3_000_000, dtype="i4") % 1000
    return dump(HANDLER, array, MemoryContext(compressor=LZ4))


def test_a_file_cut_short_or_continued_fails(good, private, MemoryContext):
    payload, metadata = good
    lengths = [*range(0, 300, 7), *range(0, len(payload), len(payload) // 50)]

    for changed in (*(payload[:n] for n in lengths), payload + b"\0"):
        with pytest.raises(ValueError, match=".+"):
            HANDLER.loads(private(changed), metadata, MemoryContext())


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.data())
def test_flipped_bits_give_an_array_of_the_same_size_or_fail(good, private, MemoryContext, data):
    payload, metadata = bytearray(good[0]), good[1]
    anywhere = st.integers(0, len(payload) - 1)
    in_header = st.integers(0, 300)
    at_the_end = st.integers(len(payload) - 150, len(payload) - 1)
    where = st.one_of(anywhere, in_header, at_the_end)
    for position in data.draw(st.lists(where, min_size=1, max_size=4)):
        payload[position] ^= data.draw(st.integers(1, 255))
    try:
        back = HANDLER.loads(private(bytes(payload)), metadata, MemoryContext())
    except ValueError:
        return
    assert back.shape == (3_000_000,)


@pytest.mark.parametrize(
    "lie",
    [
        {"shape": [10**12]},
        {"shape": [-1]},
        {"shape": [1.5]},
        {"shape": "3"},
        {"shape": []},
        {"chunks": [0]},
        {"chunks": [1]},
        {"chunks": [10**15]},
        {"blocks": [10**15]},
        {"blocks": [1, 2]},
        {"order": "K"},
        {"order": ["C"]},
        {"dtype": "<i8"},
        {"dtype": "O"},
        {"dtype": None},
    ],
    ids=str,
)
def test_metadata_that_lie_fail_before_memory_is_taken(good, private, MemoryContext, lie):
    payload, metadata = good
    memory = private(payload)

    tracemalloc.start()
    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(memory, {**metadata, **lie}, MemoryContext())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1 << 20


@pytest.mark.parametrize("missing", ["dtype", "shape", "order", "chunks", "blocks"])
def test_missing_metadata_fail(good, private, MemoryContext, missing):
    payload, metadata = good

    with pytest.raises(ValueError, match="metadata"):
        HANDLER.loads(
            private(payload),
            {key: value for key, value in metadata.items() if key != missing},
            MemoryContext(),
        )
