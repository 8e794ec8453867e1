# SPDX-License-Identifier: MIT
"""Promises of the handler of last resort."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheness.errors import CannotHandleError, SerializationError
from cacheness.handlers.pickle import PickleHandler

HANDLER = PickleHandler()


@dataclass
class Model:
    weights: Any
    name: str


@pytest.mark.slow
@given(
    st.recursive(
        st.integers() | st.text() | st.sets(st.integers()) | st.decimals(allow_nan=False),
        lambda inner: st.lists(inner) | st.tuples(inner, inner),
        max_leaves=8,
    )
)
def test_objects_come_back(dump, round_trip, value):
    assert round_trip(HANDLER, value) == value
    assert pickle.loads(dump(HANDLER, value)[0]) == value


def test_a_small_object_is_a_plain_pickle(dump):
    payload, metadata = dump(HANDLER, Model(np.arange(5), "m"))

    assert metadata == {}
    assert pickle.loads(payload).name == "m"


def big(readonly=False, order="C"):
    array = np.arange(40_000.0).reshape(200, 200).copy(order=order)
    array.flags.writeable = not readonly
    return array


def test_large_buffers_are_neither_copied_out_nor_in(MemoryContext, private):
    model = OrderedDict(a=big(), b=big(order="F"), c=big(readonly=True))

    buffers, metadata = HANDLER.dumps(model, MemoryContext())
    buffers = list(buffers)
    memory = private(b"".join(buffers))
    back = HANDLER.loads(memory, metadata, MemoryContext())

    for name, array in model.items():
        assert any(np.shares_memory(np.frombuffer(b, "u1"), array) for b in buffers if len(b))
        assert np.shares_memory(back[name], np.frombuffer(memory, "u1"))
        assert (back[name] == array).all()
        assert back[name].flags.f_contiguous == array.flags.f_contiguous
        assert back[name].flags.writeable == array.flags.writeable
        address = back[name].__array_interface__["data"][0]
        start = np.frombuffer(memory, "u1").__array_interface__["data"][0]
        assert (address - start) % 64 == 0


def test_what_comes_of_shared_memory_can_be_written_to(dump, MemoryContext):
    payload, metadata = dump(HANDLER, [big()])

    back = HANDLER.loads(memoryview(payload), metadata, MemoryContext())
    back[0][:] = 0

    assert pickle.loads(payload[: metadata["stream"]], buffers=[bytes(320_000)])
    assert np.frombuffer(payload[-8:], "f8")[0] == 39_999.0


def test_more_buffers_than_a_thousand_stay_inside(round_trip, dump):
    arrays = {i: np.full(2100, i, "f8") for i in range(1005)}

    back = round_trip(HANDLER, arrays)

    assert len(dump(HANDLER, arrays)[1]["buffers"]) == 1000
    assert all((back[i] == i).all() for i in arrays)


def test_identity_and_cycles_are_kept(round_trip):
    value: list[Any] = [set()]
    value += [value[0], value]

    back = round_trip(HANDLER, value)

    assert back[0] is back[1]
    assert back[2] is back


def test_cloudpickle_keeps_what_pickle_refuses(round_trip, dump):
    offset = 3

    def local(x):
        return x + offset

    assert dump(HANDLER, local)[1]["pickler"] == "cloudpickle"
    assert round_trip(HANDLER, local)(1) == 4
    assert round_trip(HANDLER, {"f": lambda: big()})["f"]().shape == (200, 200)


@pytest.mark.parametrize(
    "obj", [threading.Lock(), (i for i in range(3))], ids=["lock", "generator"]
)
def test_what_nothing_pickles_is_named_with_a_way_out(dump, obj):
    with pytest.raises(
        SerializationError, match=f"{type(obj).__qualname__}.*[Rr]egister a handler"
    ):
        dump(HANDLER, obj)


class Stubborn:
    def __reduce__(self):
        raise RuntimeError("never")


def test_an_objects_own_error_is_told(dump):
    with pytest.raises(SerializationError, match="never"):
        dump(HANDLER, Stubborn())


WITHOUT_CLOUDPICKLE = """
import sys
sys.modules["cloudpickle"] = None
from cacheness.handlers.pickle import PickleHandler
class Context:
    allow_pickle = True
PickleHandler().dumps(lambda: 1, Context())
"""


def test_without_cloudpickle_it_is_proposed():
    command = [sys.executable, "-c", WITHOUT_CLOUDPICKLE]

    output = subprocess.run(command, capture_output=True, text=True, check=False).stderr

    assert "SerializationError" in output.splitlines()[-1]
    assert "Install cloudpickle" in output.splitlines()[-1]


def test_without_pickle_it_is_refused_both_ways(dump, private, MemoryContext):
    forbidden = MemoryContext(allow_pickle=False)

    with pytest.raises(CannotHandleError, match="allow_pickle"):
        dump(HANDLER, 1, forbidden)
    with pytest.raises(SerializationError, match="allow_pickle"):
        HANDLER.loads(private(pickle.dumps(1)), {}, forbidden)


def test_a_class_that_is_gone_is_named(private, MemoryContext):
    payload = pickle.dumps(Model(1, "m")).replace(b"Model", b"Modem")

    with pytest.raises(SerializationError, match="Modem"):
        HANDLER.loads(private(payload), {}, MemoryContext())


@pytest.mark.parametrize(
    "lie",
    [
        {"stream": None},
        {"stream": 10**9},
        {"buffers": [[10**12, False]]},
        {"buffers": [[-5, False]]},
        {"buffers": [3]},
        {"buffers": 3},
        {"buffers": []},
    ],
    ids=str,
)
def test_metadata_that_lie_fail(dump, private, MemoryContext, lie):
    payload, metadata = dump(HANDLER, [big()])

    with pytest.raises(ValueError, match=".+"):
        HANDLER.loads(private(payload), metadata | lie, MemoryContext())


def test_everything_is_taken_and_described_by_its_class():
    assert HANDLER.can_handle(object())
    assert HANDLER.describe({1}) == "builtins.set"
