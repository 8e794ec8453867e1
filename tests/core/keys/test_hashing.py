# SPDX-License-Identifier: MIT
"""Hashing gives the same digest however the bytes come, and works in a forked child."""

from __future__ import annotations

import multiprocessing
import os
import tracemalloc

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from cacheness.keys import hashing
from cacheness.keys.encoding import encode, named, params_key
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


@pytest.mark.parametrize("hash_it", [digest, lambda data: Stream().update(data)])
def test_what_is_large_is_hashed_by_as_many_threads_as_there_are_processors(monkeypatch, hash_it):
    asked = []

    def spy(*data, **options):
        asked.append(options.get("max_threads", 1))
        return blake3(*data, **options)

    monkeypatch.setattr(hashing, "blake3", spy)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    hash_it(LARGE)
    hash_it(LARGE[:70_000])

    assert asked == [6, 1]


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


SIZE = 8 << 20


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(SIZE, "u1"),
        np.zeros((1024, SIZE // 8192)),
        {"deep": [np.zeros(SIZE // 4, "f4")]},
        np.ma.array(np.zeros(SIZE, "u1"), mask=False),
        np.zeros(SIZE // 8, "i4,f4"),
        bytes(SIZE),
        bytearray(SIZE),
        memoryview(np.zeros((1024, SIZE // 8192))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_large_argument_is_named_without_a_copy_of_it(value):
    params_key({"a": value})
    tracemalloc.start()

    params_key({"a": value})

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < SIZE // 20


@pytest.mark.parametrize("array", [np.arange(999), np.arange(999, dtype=">i4"), np.eye(99)[:, ::2]])
def test_a_buffer_is_encoded_as_its_bytes_are(array):
    view, content = memoryview(array), array.tobytes()

    assert encode(bytearray(content)) == named("bytearray", encode(content))
    described = encode(view.format), encode(view.shape)
    assert encode(view) == named("memoryview", *described, encode(content))
