# SPDX-License-Identifier: MIT
"""Promises of every compressor."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import blosc2
import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cacheness.builtins import COMPRESSORS
from cacheness.compressors.auto import AutoCompressor
from cacheness.compressors.blosc2 import (
    Blosc2BloscLzCompressor,
    Blosc2Lz4Compressor,
    Blosc2ZlibCompressor,
    Blosc2ZstdCompressor,
)
from cacheness.compressors.gzip import GzipCompressor
from cacheness.compressors.lz4 import Lz4Compressor
from cacheness.compressors.none import NoneCompressor
from cacheness.compressors.zstd import ZstdCompressor

BLOSC2 = [
    Blosc2Lz4Compressor(),
    Blosc2ZstdCompressor(),
    Blosc2BloscLzCompressor(),
    Blosc2ZlibCompressor(),
]
PACKING = [*BLOSC2, GzipCompressor(), Lz4Compressor(), ZstdCompressor()]
ALL = [*PACKING, NoneCompressor(), AutoCompressor()]
each = pytest.mark.parametrize("compressor", ALL, ids=lambda c: c.name)
each_packing = pytest.mark.parametrize("compressor", PACKING, ids=lambda c: c.name)
SAMPLE = np.cumsum(np.random.default_rng(0).integers(0, 9, 25_000)).astype("<i4").tobytes()


def test_the_table_names_each_by_its_name():
    assert set(COMPRESSORS) == {compressor.name for compressor in ALL}


@each
@settings(max_examples=25)
@given(st.binary(max_size=300), st.integers(1, 300), st.integers(1, 40))
def test_chunks_come_back(compressor, data, typesize, times):
    data = data * times

    packed = compressor.compress(data, typesize=typesize)

    assert bytes(compressor.decompress(packed, max_size=len(data))) == data


@each
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(compressor, kind):
    packed = compressor.compress(kind(SAMPLE), typesize=4)

    assert bytes(compressor.decompress(kind(bytes(packed)), max_size=len(SAMPLE))) == SAMPLE


@each_packing
def test_what_repeats_shrinks(compressor):
    assert len(compressor.compress(SAMPLE, typesize=4)) < 0.95 * len(SAMPLE)


@each
def test_one_instance_serves_all_threads(compressor):
    chunks = [SAMPLE[n:] for n in range(40)]

    with ThreadPoolExecutor(8) as pool:
        packed = list(pool.map(compressor.compress, chunks))
        back = list(pool.map(lambda c: bytes(compressor.decompress(c, max_size=10**6)), packed))

    assert back == chunks


@each
def test_a_chunk_larger_than_it_may_be_fails(compressor):
    packed = compressor.compress(SAMPLE)

    for most in (0, 1, len(SAMPLE) - 1):
        with pytest.raises(ValueError, match=".+"):
            compressor.decompress(packed, max_size=most)


@each_packing
def test_a_bomb_takes_no_memory(compressor):
    bomb = bytes(compressor.compress(bytes(50 << 20)))

    tracemalloc.start()
    with pytest.raises(ValueError, match=".+"):
        compressor.decompress(bomb, max_size=1 << 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 5 << 20


def test_frames_that_hide_their_size_take_no_memory():
    data = bytes(50 << 20)
    hidden = [
        (Lz4Compressor(), lz4.frame.compress(data, store_size=False)),
        (ZstdCompressor(), zstandard.ZstdCompressor(write_content_size=False).compress(data)),
    ]

    for compressor, bomb in hidden:
        tracemalloc.start()
        with pytest.raises(ValueError, match=".+"):
            compressor.decompress(bomb, max_size=1 << 20)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5 << 20


@each_packing
def test_a_chunk_cut_short_or_continued_fails(compressor):
    packed = bytes(compressor.compress(SAMPLE))
    cuts = [*range(40), *range(40, len(packed), len(packed) // 20)]

    for changed in (*(packed[:n] for n in cuts), packed + b"\0"):
        with pytest.raises(ValueError, match=".+"):
            compressor.decompress(changed, max_size=len(SAMPLE))


@each_packing
@settings(max_examples=30)
@given(st.data())
def test_flipped_bits_fail_or_give_no_more_than_allowed(compressor, data):
    packed = bytearray(compressor.compress(SAMPLE[:4000], typesize=4))
    near = st.integers(0, min(60, len(packed) - 1))
    anywhere = st.integers(0, len(packed) - 1)
    for position in data.draw(st.lists(near | anywhere, min_size=1, max_size=4)):
        packed[position] ^= data.draw(st.integers(1, 255))
    try:
        back = compressor.decompress(bytes(packed), max_size=4000)
    except ValueError:
        return
    assert len(back) <= 4000


@each_packing
@given(st.binary(max_size=100))
def test_other_bytes_fail(compressor, data):
    with pytest.raises(ValueError, match=".+"):
        compressor.decompress(data, max_size=1000)


def test_the_formats_are_the_public_ones():
    assert (
        gzip.decompress(
            b"".join([GzipCompressor().compress(b"a"), GzipCompressor().compress(b"b")])
        )
        == b"ab"
    )
    assert lz4.frame.decompress(Lz4Compressor().compress(SAMPLE)) == SAMPLE
    assert zstandard.ZstdDecompressor().decompress(ZstdCompressor().compress(SAMPLE)) == SAMPLE
    for compressor in BLOSC2:
        assert blosc2.decompress2(compressor.compress(SAMPLE, typesize=4)) == SAMPLE


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (2, 0xC5),  # a registered codec
        (16, 3),  # delta, which looks at another chunk
        (16, 200),  # a registered filter
        (30, 1),  # blocks of variable length
        (31, 0x08),  # lazy: the data lie in a file
        (31, 0x40),  # uninitialised memory
        (31, 0x80),  # instrumented
    ],
)
def test_kinds_of_blosc2_chunks_that_reach_beyond_their_bytes_are_refused(position, value):
    packed = bytearray(Blosc2Lz4Compressor().compress(SAMPLE, typesize=4))
    packed[position] = value

    with pytest.raises(ValueError, match="does not write"):
        Blosc2Lz4Compressor().decompress(bytes(packed), max_size=len(SAMPLE))


@pytest.mark.parametrize(
    ("module", "name", "package"),
    [("lz4", "Lz4Compressor", "lz4"), ("zstd", "ZstdCompressor", "zstandard")],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(module, name, package):
    code = f"""
import sys
sys.modules[{package!r}] = None
from cacheness.compressors.{module} import {name} as Compressor
Compressor()
"""

    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert "ConfigError" in output.stderr.splitlines()[-1]
    assert "pip install 'cacheness-core[codecs]'" in output.stderr
