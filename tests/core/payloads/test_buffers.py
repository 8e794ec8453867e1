# SPDX-License-Identifier: MIT
"""The memory that payloads are read into is whole pages, and nobody else's."""

import mmap
import subprocess
import sys

import numpy as np
import pytest

from cacheness.payloads.buffers import private_buffer

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
