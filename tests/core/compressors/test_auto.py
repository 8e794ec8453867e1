# SPDX-License-Identifier: MIT
"""Promises of the compressor that measures."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cacheness.compressors.auto import AutoCompressor

AUTO = AutoCompressor()
RANDOM = np.random.default_rng(0)
LARGE = 2 << 20


def choice(array, size=None):
    view = memoryview(array).cast("B") if len(array) else memoryview(b"")
    typesize = getattr(array, "itemsize", 1)
    return AUTO.choose(view, size=size or len(view), typesize=typesize).name


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (np.arange(LARGE // 8), "blosc2-lz4"),
        (np.zeros(LARGE // 8), "blosc2-lz4"),
        (RANDOM.integers(0, 1000, LARGE // 8), "blosc2-lz4"),
        (b"a line of text, and another\n" * 80_000, "blosc2-lz4"),
        (RANDOM.bytes(LARGE), "none"),
        (RANDOM.random(LARGE // 8), "none"),
        (RANDOM.normal(size=LARGE // 8), "none"),
        (np.arange(1000), "none"),
        (b"", "none"),
    ],
)
def test_it_compresses_what_shrinks_and_is_large(payload, name):
    assert choice(payload) == name


def test_numbers_shrink_by_the_size_of_their_type():
    counter = np.arange(LARGE // 4, dtype="i4")
    view = memoryview(counter).cast("B")

    assert AUTO.choose(view, size=len(view), typesize=4).name == "blosc2-lz4"


def test_a_small_start_does_not_decide_for_the_whole():
    noise = RANDOM.bytes(LARGE)

    assert choice(bytes(64 << 10) + noise) == "none"
    assert choice(noise[: 64 << 10] + bytes(LARGE)) == "blosc2-lz4"
    assert choice(bytes(300 << 10) + noise) == "none"
    assert choice(noise[: 300 << 10] + bytes(LARGE)) == "blosc2-lz4"


def test_a_first_piece_stands_for_a_payload_made_piece_by_piece():
    assert choice(bytes(4096), size=LARGE) == "blosc2-lz4"
    assert choice(RANDOM.bytes(4096), size=LARGE) == "none"


@pytest.mark.parametrize("typesize", [3, 7, 255, 256, 100_000])
def test_any_size_of_type_is_taken(typesize):
    assert AUTO.choose(bytes(LARGE), size=LARGE, typesize=typesize).name == "blosc2-lz4"


FRESH = """
import random, sys
from cacheness.compressors.auto import AutoCompressor
payload = {payload}
chosen = AutoCompressor().choose(payload, size=len(payload), typesize=8)
print(chosen.name, "blosc2" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("payload", "output"),
    [
        ("bytes(1000)", "none False"),
        ("random.Random(0).randbytes(2 << 20)", "none False"),
        ("bytes(2 << 20)", "blosc2-lz4 True"),
    ],
)
def test_a_new_process_loads_blosc2_only_for_what_shrinks(payload, output):
    command = [sys.executable, "-c", FRESH.format(payload=payload)]

    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == output
    )
