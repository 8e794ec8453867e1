# SPDX-License-Identifier: MIT
"""Large containers: read into some buffers, so that no part keeps all of them in memory."""

from __future__ import annotations

import _thread
import errno
import json
import os
import random
import tarfile
import threading
import time
import tracemalloc

import numpy as np
import pytest
from tests.core.security.hostile import change

from cacheness import (
    CachenessWarning,
    UnifiedCache,
    forks,
    register_handler,
    unregister_handler,
)
from cacheness.blobs.file import FileBlobBackend
from cacheness.compressors.base import Compressor
from cacheness.errors import CachenessError
from cacheness.handlers.base import BufferHandler
from cacheness.payloads import apart
from cacheness.payloads.apart import updating_apart
from cacheness.payloads.archive import CUT, cuts_of
from cacheness.payloads.checksum import checksum_of

MB = 1_000_000


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        yield cache


def noise(size, seed=0):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


def peak_of(action):
    tracemalloc.start()
    try:
        value = action()
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return value, now, peak


def test_a_large_container_comes_back_and_is_a_tar(cache, tmp_path):
    shared = noise(3 * MB)
    value = {"a": [shared, shared, noise(20 * MB)], "b": (b"x" * MB, "text"), "c": noise(5 * MB)}
    cache.put(value, "k")

    entry, got = cache.get_entry("k"), cache.get("k")

    cuts = entry.metadata["_cuts"]
    assert 1 <= len(cuts) <= entry.stored_bytes // CUT
    assert got["a"][0] is got["a"][1]
    assert all(map(np.array_equal, [*got["a"], got["c"]], [*value["a"], value["c"]]))
    assert got["b"] == value["b"]
    (blob,) = tmp_path.rglob("*.tar")
    assert checksum_of(blob.read_bytes(), entry.checksum) == entry.checksum
    with tarfile.open(blob) as tar:
        assert tar.getnames()[-2:] == ["body.json", "manifest.json"]


def test_a_kept_part_keeps_its_neighbours_alone(cache):
    cache.put([noise(2 * MB, seed) for seed in range(20)], "k")

    kept, now, _ = peak_of(lambda: cache.get("k")[7])

    assert np.array_equal(kept, noise(2 * MB, 7))
    assert now < 2 * CUT


def test_what_is_decompressed_is_let_go_of(cache):
    arrays = [noise(2 * MB, seed).astype(np.uint16) for seed in range(32)]
    cache.put(arrays, "k", compressor="blosc2-lz4")
    stored, whole = cache.get_entry("k").stored_bytes, sum(array.nbytes for array in arrays)
    assert stored > 4 * CUT

    got, _, peak = peak_of(lambda: cache.get("k"))

    assert all(map(np.array_equal, got, arrays))
    assert peak < whole + 2 * CUT < whole + stored


def test_putting_it_copies_nothing(cache):
    arrays = [noise(2 * MB, seed) for seed in range(50)]

    _, _, peak = peak_of(lambda: cache.put(arrays, "k"))

    assert peak < 5 * MB


@pytest.mark.parametrize(
    "cuts",
    [
        None, {}, "x", [], [0], [-CUT], ["x"], [1.5], [True], [None], [10**20], [CUT - 1],
        [CUT, CUT], [CUT, 2 * CUT - 1], [2 * CUT, CUT], [CUT + 1], [CUT, 2 * CUT + 3], [16 * MB],
    ],
)  # fmt: skip
def test_cuts_that_a_stranger_wrote_change_nothing(cache, tmp_path, cuts):
    value = [noise(5 * MB, seed) for seed in range(4)]
    cache.put(value, "k")
    metadata = {**cache.get_entry("k").metadata, "_cuts": cuts}

    change(tmp_path, "UPDATE entries SET metadata = ?", json.dumps(metadata))

    assert all(map(np.array_equal, cache.get("k"), value))


@pytest.mark.parametrize(("parts", "threads"), [(3, 0), (20, 1)])
def test_one_thread_takes_the_checksum_of_many_parts(cache, monkeypatch, parts, threads):
    started = []

    def start(function, arguments):
        started.append(function)
        return _thread.start_new_thread(function, arguments)

    monkeypatch.setattr(apart, "start_new_thread", start)
    cache.put([noise(MB, seed) for seed in range(parts)], "k")

    assert len(started) == threads


def test_buffers_begin_where_blocks_of_the_tar_do():
    """So that what is aligned in the file is in memory."""
    for cuts, taken in (([CUT], True), ([CUT, 2 * CUT + 512], True), ([CUT + 64], False)):
        assert bool(cuts_of({"_archive": [0, 1], "_cuts": cuts}, 4 * CUT)) is taken


class Fails(BufferHandler):
    name = "fails"
    extension = ".bin"
    data_only = True

    def can_handle(self, obj):
        return type(obj) is Failing

    def dumps(self, obj, context):
        raise OSError(28, "no space for it")

    def loads(self, buffer, metadata, context):
        raise AssertionError("nothing of it was stored")


class Failing:
    """What `Fails` can't keep."""


@pytest.fixture
def handled(request):
    """Registers a handler for the time of a test."""

    def register(handler):
        register_handler(handler)
        request.addfinalizer(lambda: unregister_handler(handler.name))

    return register


class Scratch:
    """What is kept by `Reuses`."""

    def __init__(self, seed):
        self.value = bytes(noise(MB, seed))


class Reuses(BufferHandler):
    """Gives the same memory at each put, as one may that says nothing of `buffers_last`."""

    name = "reuses"
    extension = ".bin"
    data_only = True
    memory = bytearray(MB)

    def can_handle(self, obj):
        return type(obj) is Scratch

    def dumps(self, obj, context):
        self.memory[:] = obj.value
        return (memoryview(self.memory),), {}

    def loads(self, buffer, metadata, context):
        return bytes(buffer)


class OneBuffer(Compressor):
    """Gives the same memory at each call."""

    name = "one-buffer"
    extension = ".one"
    memory = bytearray(8 * MB)

    def compress(self, buffer, *, typesize=1):
        size = memoryview(buffer).nbytes
        self.memory[:size] = memoryview(buffer).cast("B")
        return memoryview(self.memory)[:size]

    def decompress(self, buffer, *, max_size):
        return bytes(buffer)


def slow_checksums(monkeypatch):
    """Have the second thread come to its pieces late."""
    follow = apart._follow

    def late(update, *rest):
        def slowly(piece):
            time.sleep(0.01)
            update(piece)

        follow(slowly, *rest)

    monkeypatch.setattr(apart, "_follow", late)


def test_a_handler_may_use_its_memory_again(cache, handled, monkeypatch):
    handled(Reuses)
    slow_checksums(monkeypatch)
    parts = [Scratch(seed) for seed in range(20)]
    array = noise(5 * MB)

    cache.put([array, *parts, array], "k")

    got = cache.get("k")
    assert got[1:-1] == [part.value for part in parts]
    assert np.array_equal(got[0], array)


def test_a_handler_may_use_its_memory_again_within_a_value(cache, handled, monkeypatch):
    given = [noise(MB, seed).tobytes() for seed in range(20)]

    class Pieces(Reuses):
        name = "pieces"

        def dumps(self, obj, context):
            def pieces():
                for piece in given:
                    self.memory[:] = piece
                    yield memoryview(self.memory)

            return pieces(), {}

    handled(Pieces)
    slow_checksums(monkeypatch)

    cache.put(Scratch(0), "k")

    assert cache.get("k") == b"".join(given)


def test_a_compressor_may_use_its_memory_again(cache, monkeypatch):
    compressor = OneBuffer()
    monkeypatch.setattr(type(cache.engine.registry), "compressor", lambda self, name: compressor)
    slow_checksums(monkeypatch)
    parts = [noise(MB, seed) for seed in range(20)]

    cache.put(parts, "k", compressor="one-buffer")

    assert all(map(np.array_equal, cache.get("k"), parts))


@pytest.mark.parametrize("at", [-1, -4 * MB, 9 * MB, 100])
def test_a_damaged_byte_in_any_buffer_is_found(cache, tmp_path, at):
    cache.put([noise(5 * MB, seed) for seed in range(4)], "k")
    (blob,) = tmp_path.rglob("*.tar")
    content = bytearray(blob.read_bytes())
    content[at] ^= 1
    blob.write_bytes(content)

    with pytest.warns(CachenessWarning, match="checksum"):
        assert cache.get("k") is None


def test_a_blob_that_was_cut_off_is_found(cache, tmp_path):
    cache.put([noise(5 * MB, seed) for seed in range(4)], "k")
    (blob,) = tmp_path.rglob("*.tar")
    os.truncate(blob, blob.stat().st_size - 1024)

    with pytest.warns(CachenessWarning, match="bytes, not"):
        assert cache.get("k") is None


def test_a_store_that_changes_what_is_read_is_asked_its_own_way(cache):
    """A class made of `FileBlobBackend` that encrypts, of which `read_into` decrypts."""
    swapped = bytes(range(255, -1, -1))

    class Encrypted(FileBlobBackend):
        def write(self, name, source):
            return super().write(name, (bytes(piece).translate(swapped) for piece in source))

        def read_into(self, name, target):
            for piece in super().read_into(name, target):
                piece[:] = bytes(piece).translate(swapped)
                yield piece

    cache.engine._blob_backend = Encrypted(cache.engine._context)
    value = [noise(5 * MB, seed) for seed in range(4)]
    cache.put(value, "k")

    assert all(map(np.array_equal, cache.get("k"), value))


class Full(FileBlobBackend):
    """A store whose disk is full after some megabytes."""

    def write(self, name, source):
        for number, _ in enumerate(source):
            if number == 40:  # of four for each array
                raise OSError(errno.ENOSPC, "no space left")
        raise AssertionError("there was more")


def test_a_write_that_fails_ends_the_thread_though_its_error_is_kept(cache):
    cache.engine._blob_backend = Full(cache.engine._context)
    threads, errors = _thread._count(), []
    for _ in range(3):
        with pytest.raises((OSError, CachenessError)) as failed:
            cache.put([noise(MB, seed) for seed in range(20)], "k")
        errors.append(failed)

    assert _thread._count() == threads


@pytest.mark.parametrize("pieces", [1, 60])
def test_what_the_thread_can_t_do_is_told(pieces):
    def fails(piece):
        raise BufferError("it can't be read")

    def give():
        with updating_apart(fails) as update:
            for _ in range(pieces):
                update(bytes(MB))

    with pytest.raises(BufferError, match="can't be read"):
        give()


@pytest.mark.parametrize("before", [2, 10])
def test_a_part_that_fails_leaves_no_thread_and_no_file(cache, tmp_path, handled, before):
    handled(Fails)
    threads = _thread._count()

    with pytest.raises((OSError, CachenessError)):
        cache.put([noise(MB, seed) for seed in range(before)] + [Failing()], "k")

    assert _thread._count() == threads
    assert not [path for path in tmp_path.rglob("*.t*") if path.is_file()]


def test_no_more_than_some_waits_for_the_thread_that_takes_checksums():
    taken, may_go_on = [], threading.Event()

    def slow(piece):
        may_go_on.wait()
        taken.append(piece)

    pieces = [bytes([n]) * MB for n in range(60)]
    given = 0

    def give():
        nonlocal given
        with updating_apart(slow) as update:
            for piece in pieces:
                update(piece)
                given += 1

    giver = threading.Thread(target=give)
    giver.start()
    while given < 33 and giver.is_alive():
        giver.join(0.01)
    giver.join(0.2)
    waiting = given
    may_go_on.set()
    giver.join()
    assert waiting == 33, "the 34th MB waits until the first was taken"
    assert taken == pieces


def test_a_child_does_not_wait_for_a_thread_that_it_has_not(monkeypatch):
    stop = threading.Event()

    def give():
        with updating_apart(lambda _: stop.wait()) as update:
            for number in range(60):
                if number == 30:
                    monkeypatch.setattr(forks, "number", forks.number + 1)  # as in a child
                update(bytes(MB))

    try:
        with pytest.raises(forks.ForkedError):
            give()
    finally:
        stop.set()


def test_containers_of_any_sizes_come_back(cache):
    """Small and large parts in any order, about where the ways part."""
    choose = random.Random(5)
    for _ in range(12):
        sizes = [choose.choice([0, 1, 384, 70_000, MB, 1 << 20, 5 * MB, 9 * MB]) for _ in range(6)]
        # Of bytes the stored size is theirs, of arrays a header more.
        arrays = [noise(size, seed) for seed, size in enumerate(sizes)]
        value = [array.tobytes() if seed % 2 else array for seed, array in enumerate(arrays)]
        cache.put([value, arrays[0]], "k")
        got = cache.get("k")[0]
        assert [bytes(one) for one in got] == [array.tobytes() for array in arrays], sizes
