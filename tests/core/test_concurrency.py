"""Threads and processes share one cache: no torn value, no lost write, nothing left over."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cacheness import UnifiedCache
from cacheness.backends import sqlite_making

KEYS = [f"key-{i}" for i in range(50)]


def value_of(key, worker, number):
    """Some are inline, some are blobs; each says whose it is, all over."""
    size = 20_000 if number % 2 else 10
    return np.full(size, KEYS.index(key) * 10**9 + worker * 10**6 + number % 10**6)


def check(key, value):
    if value is None:
        return
    assert (value == value[0]).all(), f"torn value under {key}"
    assert int(value[0]) // 10**9 == KEYS.index(key), f"another key's value under {key}"


def hammer(directory, worker, seconds, failures, backend):
    try:
        with UnifiedCache(directory, metadata_backend=backend) as cache:
            end = time.monotonic() + seconds
            threads = [
                threading.Thread(target=one_thread, args=(cache, worker * 8 + t, end, failures))
                for t in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    except BaseException as error:
        failures.put(repr(error))


def one_thread(cache, worker, end, failures):
    random = np.random.default_rng(worker)
    number = 0
    try:
        while time.monotonic() < end:
            key = KEYS[random.integers(len(KEYS))]
            number += 1
            action = random.integers(10)
            if action < 6:
                check(key, cache.get(key))
            elif action < 9:
                cache.put(value_of(key, worker, number), key)
            else:
                cache.invalidate(key)
    except BaseException as error:
        failures.put(repr(error))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.filterwarnings("error::cacheness.CorruptionWarning")
def test_eight_threads_in_four_processes(tmp_path, backend):
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    workers = [
        context.Process(
            target=hammer, args=(tmp_path, w, 20 if backend == "sqlite" else 10, failures, backend)
        )
        for w in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert failures.empty(), failures.get()
    assert [worker.exitcode for worker in workers] == [0] * 4

    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        for key in KEYS:
            cache.put(value_of(key, 9, 1), key)
            check(key, cache[key])
        named = {cache.get_entry(key).blob for key in cache} - {None}
    left = {
        f"{os.path.basename(folder)}/{name}"
        for folder, _, names in os.walk(tmp_path / "blobs")
        for name in names
        if not name.startswith(("store-id", "owner-"))
    }
    assert left == named


OPEN_AT_ONCE = """
import os, sys
from cacheness import UnifiedCache
print("ready", flush=True)
sys.stdin.read()  # until the test closes the pipe that all of them read
with UnifiedCache(sys.argv[1]) as cache:
    cache.put(os.getpid(), str(os.getpid()))
"""


@pytest.mark.slow
def test_a_new_directory_is_opened_by_many_processes_at_the_same_instant(tmp_path):
    reading, writing = os.pipe()
    command = [sys.executable, "-c", OPEN_AT_ONCE, str(tmp_path / "new")]
    workers = [
        subprocess.Popen(
            command, stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(100)
    ]
    os.close(reading)
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    os.close(writing)

    told = [worker.communicate(timeout=120)[0] for worker in workers]

    assert [text for text in told if text] == []
    assert [worker.returncode for worker in workers] == [0] * 100
    with UnifiedCache(tmp_path / "new") as cache:
        assert len(cache) == 100


def test_who_makes_the_file_and_was_slower_takes_the_one_that_is_there(tmp_path, monkeypatch):
    finish = sqlite_making._finish

    def overtaken(path, mode):
        monkeypatch.setattr(sqlite_making, "_finish", finish)
        with UnifiedCache(tmp_path) as quicker:
            quicker["theirs"] = 1
        finish(path, mode)

    monkeypatch.setattr(sqlite_making, "_finish", overtaken)
    with UnifiedCache(tmp_path) as cache:
        cache["ours"] = 2
        assert sorted(cache) == ["ours", "theirs"]
    assert list(tmp_path.glob("*.tmp")) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put("before", "k")
        for _ in range(3):
            cache.get("k")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if cache["k"] == "before":
                    cache["child"] = np.zeros(50_000)
                    cache.close()
                    status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        cache["parent"] = 1
        assert cache["child"].shape == (50_000,)
    with UnifiedCache(tmp_path) as cache:
        assert cache["parent"] == 1
        assert cache.get_entry("k").hits == 3 + 1  # the parent's three, the child's own one


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_large_array_is_the_readers_own_even_after_a_fork(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(np.zeros(200_000), "k")
        array = cache["k"]
        child = os.fork()
        if child == 0:
            array[:] = 1
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert array.sum() == 0


def test_threads_that_end_leave_no_connection_behind(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache["k"] = 1
        for _ in range(30):
            thread = threading.Thread(target=lambda: cache["k"])
            thread.start()
            thread.join()
        assert len(cache.engine.backend._connections._connections) <= 2
