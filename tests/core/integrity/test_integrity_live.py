"""Verifying, repairing and importing beside writers in other processes, and killed half-way."""

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cacheness import BackendUnavailableError, UnifiedCache
from cacheness.blobs import file
from cacheness.integrity import orphans
from cacheness.integrity.integrity import collect_garbage, verify_integrity
from cacheness.management import waiting
from cacheness.payloads import stream_writer

pytestmark = pytest.mark.slow

SECRET = b"a signing key of this test"
PRELUDE = f"""
import sys, random, numpy as np
from cacheness import UnifiedCache
from cacheness.integrity.integrity import verify_integrity
directory, backend = sys.argv[1:3]
cache = UnifiedCache(directory, metadata_backend=backend, signing_key={SECRET!r}, max_size="64MB")
print("ready", flush=True)
"""
WRITER = """
number, stop_after = int(sys.argv[3]), int(sys.argv[4])
random.seed(number)
for turn in range(stop_after):
    key = f"{number}-{random.randrange(30)}"
    choice = random.random()
    if choice < 0.1:
        cache.invalidate(key)
    elif choice < 0.3:
        cache.put({number, turn}, key)
    else:
        cache.put(np.full(random.choice([10, 20_000]), turn), key)
    if random.random() < 0.3:
        cache.get(f"{number}-{random.randrange(30)}")
cache.put(np.full(20_000, number), f"last-{number}")
cache.close()
"""
KILLED = """
import os, signal
owner, name, calls, when = sys.argv[3:7]
owner = cache.engine.backend if owner == "backend" else cache.engine.blobs()
inner, left = getattr(owner, name), [int(calls)]

def killing(*arguments, **options):
    left[0] -= 1
    if left[0] == 0 and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = inner(*arguments, **options)
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, killing)
"""
"""Dies at a call of a backend's method, just before it or just after."""
REPAIR = "verify_integrity(cache.engine, repair=True, grace=0.0)"
IMPORT = "cache.import_(sys.argv[-1])"


def start(code, directory, backend, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code, str(directory), backend, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def opened(directory, backend):
    return UnifiedCache(directory, metadata_backend=backend, signing_key=SECRET)


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_repair_beside_writers_of_other_processes_takes_nothing_from_them(tmp_path, backend):
    writers = [start(WRITER, tmp_path / "c", backend, number, 400) for number in range(2)]
    rounds = 0
    with opened(tmp_path / "c", backend) as cache:
        while any(writer.poll() is None for writer in writers):
            # What is older than five seconds without being named is nobody's any more.
            report = verify_integrity(cache.engine, repair=True, grace=5.0)
            assert report.counts == {}, str(report)
            rounds += 1
        for writer in writers:
            _, errors = writer.communicate()
            assert writer.returncode == 0, errors
            assert "Warning" not in errors, "a writer's read met damage"
        assert rounds >= 2
        for number in range(2):
            np.testing.assert_array_equal(cache[f"last-{number}"], np.full(20_000, number))
        report = cache.verify_integrity()
        assert report.ok
        assert report.counts == {}
        assert report.pending == 0, "whoever replaces removes the old blob"


def test_a_repair_that_is_killed_is_done_by_the_next(tmp_path):
    with opened(tmp_path / "c", "sqlite") as cache:
        for number in range(300):
            cache.put(np.full(5_000, number), str(number))
        names = {key: cache.get_entry(key).blob for key in cache}
        for number in range(0, 300, 3):
            path = tmp_path / "c" / "blobs" / names[str(number)]
            if number % 2:
                path.unlink()
            else:
                path.write_bytes(b"damaged")
        for number in range(100):
            cache.engine.blobs().write(f"ab/{number:032x}.npy", [b"orphan"])
    for point in (
        ("backend", "delete_entry", 1, "before"),
        ("backend", "delete_entry", 7, "after"),
        ("backend", "delete_entry", 20, "before"),
        ("blobs", "delete", 5, "before"),
        ("blobs", "delete", 30, "after"),
    ):
        process = start(KILLED + REPAIR, tmp_path / "c", "sqlite", *point)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    with opened(tmp_path / "c", "sqlite") as cache:
        assert verify_integrity(cache.engine, repair=True, grace=-1).ok
        report = cache.verify_integrity()
        assert report.ok
        assert set(report.counts) == {"quarantined"}
        assert sorted(map(int, cache)) == [number for number in range(300) if number % 3]
        for number in (1, 299):
            np.testing.assert_array_equal(cache[str(number)], np.full(5_000, number))
        aside = len(list((tmp_path / "c" / "quarantine").glob("*.json")))
        assert aside == 50, "what was damaged is there for inspection, not what was whole"


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_an_import_that_is_killed_leaves_whole_entries_and_at_worst_orphans(tmp_path, backend):
    file = tmp_path / "export.tar"
    with opened(tmp_path / "source", "sqlite") as source:
        for number in range(1500):
            source.put(np.full(5_000, number), str(number))
        source.export(file)
    for point in (
        ("blobs", "write", 1, "after"),
        ("blobs", "write", 300, "before"),
        ("backend", "put_entries", 1, "before"),
        ("backend", "put_entries", 2, "after"),
    ):
        process = start(KILLED + IMPORT, tmp_path / "c", backend, *point, file)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        with opened(tmp_path / "c", backend) as cache:
            report = cache.verify_integrity()
            assert report.ok, str(report)
            assert report.entries < 1500
    process = start(IMPORT, tmp_path / "c", backend, file)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    with opened(tmp_path / "c", backend) as cache:
        assert len(cache) == 1500
        np.testing.assert_array_equal(cache["777"], np.full(5_000, 777))
        assert verify_integrity(cache.engine, repair=True, grace=-1).ok
        report = cache.verify_integrity()
        assert (report.pending, report.counts, report.entries) == (0, {}, 1500)


@pytest.mark.parametrize("backend", ["sqlite", "json", "memory"])
def test_a_clean_up_leaves_alone_what_a_batch_of_hours_is_about_to_record(
    tmp_path, backend, monkeypatch
):
    monkeypatch.setattr(waiting, "_EVERY", 0.0)
    asked = time.time()
    monkeypatch.setattr(orphans, "time", lambda: asked)
    with opened(tmp_path, backend) as cache:

        def computed():
            nonlocal asked
            for number in range(4):
                time.sleep(0.05)
                # Of all that was not renewed since the last value was asked for, but for
                # what a file system's clock is behind.
                collect_garbage(cache.engine, grace=0.02)
                asked = time.time()
                yield np.full(20_000, number), str(number)

        cache.put_batch(computed())

        for number in range(4):
            np.testing.assert_array_equal(cache[str(number)], np.full(20_000, number))
        assert cache.verify_integrity().counts == {}


def test_a_clean_up_leaves_alone_the_file_of_a_stream_whose_items_take_hours(tmp_path, monkeypatch):
    monkeypatch.setattr(stream_writer, "_RENEW_EVERY", 0.0)
    asked = time.time()
    monkeypatch.setattr(file, "time", lambda: asked)
    noise = random.Random(1).randbytes(1_200_000)
    with opened(tmp_path, "sqlite") as cache:

        @cache.cached
        def items():
            nonlocal asked
            yield noise  # which takes a file
            for number in range(4):
                time.sleep(0.05)
                removed = collect_garbage(cache.engine, grace=0.02)
                assert removed.orphaned == 0
                asked = time.time()
                yield number

        computed = list(items())
        assert len(cache) == 1
        assert list(items()) == computed


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_batch_whose_payloads_are_gone_is_not_recorded(tmp_path, backend, monkeypatch):
    monkeypatch.setattr(waiting, "_EVERY", 0.0)
    with opened(tmp_path, backend) as cache:
        cache.put("old", "a")

        def computed():
            yield np.zeros(20_000), "a"
            # As a clean-up would while this value takes more than an hour.
            collect_garbage(cache.engine, grace=-1)
            yield np.ones(20_000), "b"

        with pytest.raises(BackendUnavailableError, match="entry a was removed as an orphan"):
            cache.put_batch(computed())

        assert list(cache) == ["a"]
        assert cache["a"] == "old"
        assert verify_integrity(cache.engine, grace=-1).counts == {}
