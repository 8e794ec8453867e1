# SPDX-License-Identifier: MIT
"""Promises of the handler of arrays: what comes back, in which file, at what cost."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cacheness.errors import CannotHandleError
from cacheness.handlers.numpy import NumpyHandler

HANDLER = NumpyHandler()
LONG = st.sampled_from([np.dtype("g"), np.dtype("G"), np.dtype("q"), np.dtype("Q")])
SIMPLE = hnp.scalar_dtypes() | LONG | st.integers(1, 9).map(lambda n: np.dtype(f"V{n}"))
DTYPES = (
    SIMPLE
    | hnp.array_dtypes(SIMPLE, allow_subarrays=True)
    | hnp.nested_dtypes(SIMPLE, max_leaves=4, max_itemsize=200)
)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def arrays(draw, dtypes=DTYPES):
    """Arrays of every dtype, of any bytes, shape, order, stride, and writeable or not."""
    dtype, shape = draw(dtypes), draw(SHAPES)
    seed = draw(st.integers(0, 2**32 - 1))
    raw = np.random.default_rng(seed).bytes(max(dtype.itemsize, 1) * int(np.prod(shape)))
    array = np.ndarray(shape, dtype, buffer=bytearray(raw), order=draw(st.sampled_from("CF")))
    if array.ndim:
        array = array[draw(hnp.basic_indices(shape, allow_ellipsis=False))]
        if isinstance(array, np.ndarray) and array.ndim:
            array = array.transpose(draw(st.permutations(range(array.ndim))))
    if type(array) is np.ndarray:
        array.flags.writeable = draw(st.booleans())
    return array


def bits(array):
    """Every field's bytes; of a long double those that mean something."""
    array = np.atleast_1d(np.asarray(array))
    if array.dtype.names is not None:
        return [bits(array[name]) for name in array.dtype.names]
    flat = np.ascontiguousarray(array)
    if array.dtype.kind in "fc" and array.dtype.char in "gG":
        return flat.view("g").reshape(-1).view("u1").reshape(-1, 16)[:, :10].tobytes()
    return flat.tobytes()


def assert_identical(back, array):
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.dtype.char == array.dtype.char
    assert back.dtype.type is array.dtype.type
    assert back.dtype.isalignedstruct == array.dtype.isalignedstruct
    assert repr(back.dtype) == repr(array.dtype)
    assert back.shape == array.shape
    assert bits(back) == bits(array)
    if isinstance(array, np.ndarray):
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        assert (back.flags.f_contiguous and not back.flags.c_contiguous) == fortran
        assert back.flags.writeable == array.flags.writeable
        assert back.flags.aligned


@pytest.mark.slow
@settings(max_examples=80)
@given(arrays())
def test_arrays_come_back_exactly(round_trip, array):
    if array.dtype.itemsize == 0 and array.dtype.names is None:
        return
    assert HANDLER.can_handle(array)
    try:
        back = round_trip(HANDLER, array)
    except CannotHandleError:
        assert isinstance(array, (np.str_, np.bytes_))
        assert len(array) == 0 or not array[-1] or array[-1] in "\0"
        return
    assert_identical(back, array)


@pytest.mark.slow
@settings(max_examples=60)
@given(arrays(SIMPLE))
def test_what_comes_of_shared_memory_can_be_written_to(dump, MemoryContext, array):
    if not isinstance(array, np.ndarray):
        return
    payload, metadata = dump(HANDLER, array)

    back = HANDLER.loads(memoryview(payload), metadata, MemoryContext())

    assert back.flags.writeable == array.flags.writeable
    if back.flags.writeable and back.nbytes:
        before = bytes(payload)
        flat = (back.T if back.flags.f_contiguous else back).reshape(-1)
        flat.view("u1")[:] ^= 255
        assert np.shares_memory(flat, back)
        assert payload == before


@pytest.mark.slow
@settings(max_examples=60)
@given(arrays(hnp.scalar_dtypes() | hnp.array_dtypes(hnp.scalar_dtypes())))
def test_numpy_reads_the_file(dump, array):
    try:
        payload, _ = dump(HANDLER, array)
    except CannotHandleError:
        return

    loaded = np.load(io.BytesIO(payload))

    assert loaded.dtype == np.asarray(array).dtype
    assert loaded.shape == array.shape
    assert bits(loaded) == bits(array)


ALIGNED = np.dtype([("a", "i1"), ("b", "f8"), ("c", "i2")], align=True)
ODD = [
    ALIGNED,
    np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [2, 0]}),
    np.dtype({"names": ["a"], "formats": ["f4"], "offsets": [9], "itemsize": 40}),
    np.dtype({"names": ["a"], "formats": ["f4"], "titles": ["The title"]}),
    np.dtype([("Größe", "f4"), ("\u6e29\u5ea6", "i4"), ("a'b\n", "i1")]),
    np.dtype((np.record, [("a", "i4"), ("b", "f8")])),
    np.dtype([("outer", ALIGNED, (2, 3)), ("m", "M8[25s]"), ("u", "U3"), ("big", ">c16")]),
    np.dtype([]),
    np.dtype([(f"field{i}", "i1") for i in range(6000)]),
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ODD, ids=lambda d: repr(d)[:40])
def test_structured_dtypes_keep_offsets_titles_padding_and_alignment(round_trip, dump, dtype):
    array = np.zeros(3, dtype)

    assert_identical(round_trip(HANDLER, array), array)
    loaded = np.load(io.BytesIO(dump(HANDLER, array)[0]), max_header_size=1 << 20)
    assert loaded.shape == (3,)


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(-0.0),
        np.float32("nan"),
        np.float16(1.5),
        np.longdouble(1) / 3,
        np.clongdouble(1j),
        np.complex64(1j),
        np.bool_(True),
        np.int64(1),
        np.longlong(1),
        np.ulonglong(2),
        np.intc(3),
        np.str_("é\ud800"),
        np.str_(""),
        np.bytes_(b"ab"),
        np.datetime64("NaT", "D"),
        np.datetime64("2020-01-01", "25s"),
        np.timedelta64(3, "h"),
        np.void(b"abc"),
        np.array((1, 2.5), "i4,f8")[()],
        np.rec.array([(1, 2.5)], dtype="i4,f8")[0],
    ],
    ids=repr,
)
def test_scalars_keep_their_type(round_trip, scalar):
    assert HANDLER.can_handle(scalar)
    assert_identical(round_trip(HANDLER, scalar), scalar)


@pytest.mark.parametrize("scalar", [np.str_("a\0"), np.bytes_(b"a\0")])
def test_a_string_scalar_that_an_array_would_cut_is_refused(dump, scalar):
    with pytest.raises(CannotHandleError):
        dump(HANDLER, scalar)


class Mine(np.ndarray):
    pass


class Half(np.float64):
    pass


@pytest.mark.parametrize(
    "obj",
    [
        np.array([object()]),
        np.zeros(2, [("a", "i4"), ("o", "O")]),
        np.array(["a"], np.dtypes.StringDType()),
        np.zeros(2).view(Mine),
        np.rec.array([(1, 2)]),
        np.ma.masked,
        np.ma.array([1]).view(type("Sub", (np.ma.MaskedArray,), {})),
        Half(1),
        [1.0],
        "text",
    ],
    ids=lambda o: type(o).__name__,
)
def test_objects_and_subclasses_are_not_taken(obj):
    assert not HANDLER.can_handle(obj)


def test_a_memmap_is_not_taken(tmp_path):
    array = np.memmap(tmp_path / "file", "f8", "w+", shape=(3,))

    assert not HANDLER.can_handle(array)


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype("f8", metadata={"unit": "m"}),
        np.dtype([("a", np.dtype("f8", metadata={"unit": "m"}))]),
        np.dtype({"names": ["a"], "formats": ["f4"], "titles": [("not", "text")]}),
    ],
    ids=["metadata", "inner metadata", "title"],
)
def test_a_dtype_that_no_file_keeps_is_refused(dump, dtype):
    with pytest.raises(CannotHandleError):
        dump(HANDLER, np.zeros(2, dtype))


def test_a_dtype_of_another_package_is_not_taken_for_bytes():
    ml_dtypes = pytest.importorskip("ml_dtypes")

    assert not HANDLER.can_handle(np.zeros(3, ml_dtypes.bfloat16))
    assert not HANDLER.can_handle(ml_dtypes.bfloat16(1))


# --- what it costs ---------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_buffers_are_the_arrays_own_memory(MemoryContext, order):
    array = np.ones((100, 1000), order=order)

    buffers, metadata = HANDLER.dumps(array, MemoryContext())

    head, data = buffers
    assert len(head) % 64 == 0
    assert np.shares_memory(np.frombuffer(data, "u1"), array)
    assert metadata == {}


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_read_is_the_private_memory_itself(MemoryContext, private, dump, order):
    payload, metadata = dump(HANDLER, np.ones((100, 1000), order=order))
    memory = private(payload)

    back = HANDLER.loads(memory, metadata, MemoryContext())

    assert np.shares_memory(back, np.frombuffer(memory, "u1"))


def test_a_view_is_written_without_a_copy_of_the_whole(MemoryContext):
    array = np.ones((4096, 2048))[::2, ::-1]  # 32 MiB of every other row, backwards

    tracemalloc.start()
    written = 0
    for buffer in HANDLER.dumps(array, MemoryContext())[0]:
        written += len(buffer)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert written > array.nbytes
    assert peak < 6 << 20


def test_a_view_with_padding_writes_no_strange_memory(dump):
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    array = np.ndarray(2000, dtype, buffer=bytearray(b"\x07" * 32_000))[::2]

    payload, _ = dump(HANDLER, array)

    assert payload.endswith(b"\x07" * 16_000)


def test_a_large_transposed_array_arrives_in_order(round_trip):
    array = np.arange(600_000).reshape(3, 200, 1000).transpose(1, 0, 2)

    assert_identical(round_trip(HANDLER, array), np.ascontiguousarray(array))


def test_a_file_is_viewed_where_it_lies(tmp_path, dump, MemoryContext):
    array = np.arange(10.0)
    payload, metadata = dump(HANDLER, array)
    path = tmp_path / "a.npy"
    path.write_bytes(payload)

    view = HANDLER.open(str(path), metadata, MemoryContext())

    assert type(view) is np.ndarray
    assert not view.flags.writeable
    assert not view.flags.owndata
    assert (view == array).all()
    assert (np.load(path, mmap_mode="r") == array).all()


@pytest.mark.parametrize(
    ("obj", "line"),
    [
        (np.zeros((1000, 50)), "float64 (1000, 50)"),
        (np.zeros(3, ">M8[s]"), ">M8[s] (3,)"),
        (np.float32(1), "float32"),
        (np.ma.zeros(3), "masked float64 (3,)"),
        (np.zeros(3, "i4,f8"), "structured of 2 fields (3,)"),
    ],
)
def test_it_is_described_in_a_line(obj, line):
    assert HANDLER.describe(obj) == line


# --- hostile files -----------------------------------------------------------------------


def good_file(dump):
    return dump(HANDLER, np.arange(6, dtype="<i4").reshape(2, 3))[0]


def replaced(payload, old, new):
    """The header changed, its padding made to fit."""
    assert old in payload
    end = payload.index(b"\n")
    text = payload[:end].replace(old, new, 1)
    if len(new) != len(old):
        text = text.rstrip(b" ").ljust(end)
    assert len(text) == end
    return text + payload[end:]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"'<i4'", b"'|O8'"),
        (b"'<i4'", b"'<i8'"),
        (b"'<i4'", b"'<q4'"),
        (b"'<i4'", b"'i4,O'"),
        (b"'<i4'", b"'<U99999999'"),
        (b"'<i4'", b"'<i4444444444'"),
        (b"'<i4'", b"['<i4']"),
        (b"(2, 3)", b"(2, 4)"),
        (b"(2, 3)", b"(-2, -3)"),
        (b"(2, 3)", b"(999999999999, 99999999)"),
        (b"(2, 3)", b"(2, 9**9)"),
        (b"(2, 3)", b"(0, 999999999999999999)"),
        (b"(2, 3)", b"()"),
        (b"False", b"Maybe"),
        (b"'descr'", b"'__import__'"),
        (b"\x93NUMPY\x01", b"\x93NUMPY\x09"),
        (b"\x93NUMPY\x01\x00v", b"\x93NUMPY\x01\x00\xff"),
        (b"\x93NUMPY\x01", b"\x93NUMPY\x02"),
    ],
)
def test_a_header_that_lies_fails(dump, private, MemoryContext, old, new):
    payload = good_file(dump)
    changed = replaced(payload, old, new)

    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(private(changed), {}, MemoryContext())


def test_a_file_cut_short_or_continued_fails(dump, private, MemoryContext):
    payload = good_file(dump)

    for changed in (*(payload[:n] for n in range(len(payload))), payload + b"\0"):
        with pytest.raises(ValueError, match=".+"):
            HANDLER.loads(private(changed), {}, MemoryContext())


@pytest.mark.parametrize(
    "metadata",
    [
        {"dtype": "O"},
        {"dtype": 3},
        {"dtype": {"names": ["a"], "formats": ["|O"], "offsets": [0], "itemsize": 8}},
        {"dtype": {"char": "O", "as": "|O"}},
        {"dtype": {"char": "i4,O", "as": "<i4"}},
        {"dtype": {"names": ["a"], "formats": ["<i4"], "offsets": [-8], "itemsize": 4}},
        {"dtype": {"names": ["a"], "formats": ["<i4"], "offsets": [0], "itemsize": 10**12}},
        {"dtype": {"names": ["a"], "formats": ["<i4"], "offsets": [0]}},
        {"dtype": {"long": "<f16", "digits": 1}},
        {"dtype": {"base": "<i4", "shape": [10**10, 10**10]}},
        {"kind": "object"},
        {"kind": "scalar"},
        {"kind": "masked"},
        {"kind": "masked", "dtype": "<i4", "mask": 10**9},
        {"kind": "masked", "dtype": "<i4", "mask": 192},
    ],
)
def test_metadata_that_lie_fail(dump, private, MemoryContext, metadata):
    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(private(good_file(dump)), metadata, MemoryContext())


def test_a_deeply_nested_spelling_fails(dump, private, MemoryContext):
    spelling: object = "<i4"
    for _ in range(1000):
        spelling = {"base": spelling, "shape": [1]}

    with pytest.raises(ValueError, match="deep"):
        HANDLER.loads(private(good_file(dump)), {"dtype": spelling}, MemoryContext())


@pytest.mark.slow
@settings(max_examples=80)
@given(st.data())
def test_flipped_bits_give_an_array_of_the_same_size_or_fail(dump, private, MemoryContext, data):
    payload = bytearray(good_file(dump))
    for position in data.draw(st.lists(st.integers(0, len(payload) * 8 - 1), max_size=4)):
        payload[position // 8] ^= 1 << position % 8
    try:
        back = HANDLER.loads(private(bytes(payload)), {}, MemoryContext())
    except ValueError:
        return
    assert not back.dtype.hasobject
    assert back.nbytes == 24
