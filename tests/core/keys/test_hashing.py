# SPDX-License-Identifier: MIT
"""Hashing gives the same digest however the bytes come, and works in a forked child."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from cacheness.keys.hashing import THREADED_BYTES, Stream, digest

LARGE = os.urandom(1 << 20) * (THREADED_BYTES // (1 << 20) + 1)


@given(st.lists(st.binary(max_size=50) | st.sampled_from([LARGE[:70_000], LARGE[:300_000]])))
def test_a_stream_of_pieces_has_the_digest_of_the_whole(pieces):
    stream = Stream()
    for piece in pieces:
        stream.update(memoryview(piece))

    assert stream.digest() == blake3(b"".join(pieces)).digest()


@pytest.mark.parametrize("head", [b"", b"dtype", LARGE], ids=["empty", "short", "large"])
def test_large_buffers_of_any_type_count_by_their_bytes(head):
    array = np.frombuffer(LARGE, dtype="u4").reshape(2, -1)
    stream = Stream()

    stream.update(head)
    stream.update(array.data)

    assert stream.digest() == blake3(head + LARGE).digest()
    assert digest(array.data) == digest(LARGE) == blake3(LARGE).digest()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_hash_what_is_large_too():
    # given a process that has hashed with threads
    expected = digest(LARGE)

    # when a child that has none of them does
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(digest, (LARGE,)).get(timeout=60)

    # then it does not wait for them
    assert found == expected


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_an_array_without_elements_feeds_nothing(shape):
    stream = Stream()
    stream.update(b"before")
    stream.update(np.zeros(shape).data)

    assert stream.digest() == blake3(b"before").digest()
    assert digest(np.zeros(shape).data) == blake3().digest()
