# SPDX-License-Identifier: MIT
"""The memory that payloads are read into is whole pages, and nobody else's."""

import mmap
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheness.payloads.buffers import Scattered, private_buffer

SIZES = [256 << 10, (256 << 10) + 1, (1 << 20) + 5, (16 << 20) - 1, 16 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_it_starts_on_a_page_and_is_shared_with_nobody(size):
    first, second = private_buffer(size), private_buffer(size)

    for buffer in (first, second):
        assert (buffer.nbytes, buffer.itemsize, buffer.readonly) == (size, 1, False)
        assert np.frombuffer(buffer, np.uint8).ctypes.data % mmap.PAGESIZE == 0
    first[:] = bytes(size)
    second[0] = second[-1] = 1
    assert (first[0], first[-1]) == (0, 0)


@pytest.mark.parametrize("numpy", ["", "sys.modules['numpy'] = type(sys)('numpy')"])
def test_it_imports_no_numpy_and_uses_none_that_is_half_imported(numpy):
    program = f"""
import sys
from cacheness.payloads.buffers import private_buffer
{numpy}
print(len(private_buffer(1 << 20)), hasattr(sys.modules.get("numpy"), "empty"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout.split() == [b"1048576", b"False"]


@given(
    cuts=st.lists(st.integers(1, 99), unique=True).map(sorted),
    start=st.integers(0, 110),
    size=st.integers(0, 110),
)
def test_bytes_in_several_buffers_are_those_of_one(cuts, start, size):
    whole = bytes(range(100))
    scattered = Scattered(cuts, len(whole))
    rest = iter(whole)
    for buffer in scattered.buffers:
        buffer[:] = bytes(next(rest) for _ in range(len(buffer)))

    assert len(scattered) == len(whole)
    assert scattered[start : start + size] == whole[start : start + size]
    assert scattered[:] == whole


def test_what_lies_in_one_buffer_is_a_view_and_what_was_let_go_of_is_an_error():
    scattered = Scattered([10, 20], 30)

    scattered[10:20][0] = 7
    assert scattered[10:11] == b"\x07"

    scattered.let_go(scattered.buffer_at(19))
    assert len(scattered) == 30
    assert scattered[20:30] == bytes(10)
    for span in (slice(10, 11), slice(5, 25), slice(0, 30)):
        with pytest.raises(ValueError, match="let go of"):
            scattered[span]
