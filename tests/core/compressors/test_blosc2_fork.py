# SPDX-License-Identifier: MIT
"""A forked child compresses and reads without the threads that its parent had."""

import os

import numpy as np
import pytest

from cacheness import UnifiedCache
from cacheness.testing.store import forked

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or not os.path.isdir("/proc/self/task"), reason="no fork, or no /proc"
)
ARRAY = np.arange(2_000_000)


@pytest.mark.slow
@pytest.mark.parametrize("compressor", ["blosc2-lz4", "blosc2-zstd"])
def test_a_child_starts_no_threads_of_the_library(tmp_path, compressor):
    cache = UnifiedCache(tmp_path, compressor=compressor)
    cache.put(ARRAY, "array")
    cache.put(bytes(10_000_000), "bytes")
    assert np.array_equal(cache.get("array"), ARRAY)

    def in_child():
        cache.put(ARRAY + 1, "another")
        same = [
            np.array_equal(cache.get("array"), ARRAY),
            np.array_equal(cache.get("another"), ARRAY + 1),
            cache.get("bytes") == bytes(10_000_000),
            np.array_equal(cache.open("array")[:], ARRAY),
        ]
        return same, len(os.listdir("/proc/self/task"))

    assert forked(in_child) == ([True] * 4, 1)
    assert np.array_equal(cache.get("another"), ARRAY + 1)
    cache.close()
