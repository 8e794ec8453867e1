# SPDX-License-Identifier: MIT
"""Payloads of more than 2 GiB, where sizes no longer fit into 31 bits, come back whole."""

import numpy as np
import pytest

from cacheness import UnifiedCache

pytestmark = pytest.mark.slow

SIZE = (2 << 30) + (3 << 20) + 5


def check(got, expected):
    assert type(got) is type(expected)
    assert len(got) == len(expected)
    step = 64 << 20
    for start in range(0, len(expected), step):
        assert memoryview(got)[start : start + step] == memoryview(expected)[start : start + step]


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)


def test_a_raw_array_of_more_than_2_gib(tmp_path, noise):
    with UnifiedCache(tmp_path) as cache:
        cache.put(noise, "key")
        entry = cache.get_entry("key")
        assert entry.compressor == "none"
        assert entry.stored_bytes > SIZE
        check(cache.get("key", mmap=True), noise)
        check(cache.get("key"), noise)


def test_a_compressed_array_of_more_than_2_gib(tmp_path):
    array = np.arange(SIZE // 4, dtype=np.uint32)
    with UnifiedCache(tmp_path) as cache:
        cache.put(array, "key")
        assert cache.get_entry("key").stored_bytes < SIZE // 4
        check(cache.get("key"), array)


@pytest.mark.parametrize("compressor", ["none", "blosc2-lz4"])
def test_bytes_of_more_than_2_gib(tmp_path, compressor):
    value = bytearray(SIZE)
    value[1 << 31 : (1 << 31) + 8] = b"noticed!"
    with UnifiedCache(tmp_path) as cache:
        cache.put(value, "key", compressor=compressor)
        check(cache.get("key"), value)


def test_a_dict_that_holds_more_than_2_gib(tmp_path, noise):
    half = SIZE // 2
    with UnifiedCache(tmp_path) as cache:
        cache.put({"a": noise[:half], "b": [noise[half:]]}, "key")
        got = cache.get("key")
        check(got["a"], noise[:half])
        check(got["b"][0], noise[half:])
