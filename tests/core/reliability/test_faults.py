"""What the operating system can do to a cache, really done: the outcome is the documented one."""

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from cacheness import (
    BackendUnavailableError,
    CachenessError,
    CachenessWarning,
    CorruptionWarning,
    Handler,
    ReadOnlyError,
    UnifiedCache,
    register_handler,
    unregister_handler,
)

BACKENDS = ["sqlite", "json"]
LARGE = np.arange(20_000)


def double(x):
    return 2 * x


def blob_path(cache, key):
    return os.path.join(cache.config.cache_dir, "blobs", cache.get_entry(key).blob)


def computes(cache, value=1):
    """A cached function is never failed by its cache."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cache.cached(double)(value) == 2 * value
    return caught


def attempted(function, *arguments):
    """What it gives, and the message of the error of ours that it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CachenessWarning)
        try:
            return function(*arguments), ""
        except CachenessError as error:
            return None, f"{type(error).__name__}: {error}"


@pytest.fixture(autouse=True)
def no_hang():
    """What hangs is ended by a signal, and fails."""

    def too_long(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def disk(tmp_path):
    """A small file system of its own; None where nobody may make one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        yield None
        return
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


# --- payloads -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"\x5a" * 50_000, id="bytes"),
        pytest.param(LARGE, id="array", marks=pytest.mark.slow),
        pytest.param({1: LARGE}, id="container", marks=pytest.mark.slow),
    ],
)
def test_a_bit_flipped_anywhere_is_never_a_value(tmp_path, value):
    with UnifiedCache(tmp_path, compressor="none", signing_key=b"k" * 32) as cache:
        cache.put(value, "k")
        whole = bytearray(Path(blob_path(cache, "k")).read_bytes())
        assert len(whole) > 40_000
        for offset in range(0, len(whole), 997):
            cache.put(value, "k")
            path = blob_path(cache, "k")
            damaged = bytearray(Path(path).read_bytes())
            damaged[offset] ^= 1 << offset % 8
            with open(path, "wb") as file:
                file.write(damaged)
            with pytest.warns(CorruptionWarning, match="quarantine"):
                assert cache.get("k", default="none") == "none"
            assert "k" not in cache


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_blob_of_another_entry_is_never_taken_for_ones_own(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        cache.put(LARGE, "one")
        cache.put(LARGE[::-1].copy(), "other")
        ours, theirs = blob_path(cache, "one"), blob_path(cache, "other")
        os.rename(ours, tmp_path / "aside")
        os.rename(theirs, ours)
        os.rename(tmp_path / "aside", theirs)

        for key in ("one", "other"):
            with pytest.warns(CorruptionWarning):
                assert cache.get(key, default="none") == "none"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("intruder", ["directory", "symlink", "fifo", "device", "socket"])
def test_what_is_no_file_is_a_missing_blob_and_no_wait(tmp_path, backend, intruder):
    import socket

    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        cache.put(LARGE, "k")
        path = blob_path(cache, "k")
        os.unlink(path)
        if intruder == "directory":
            os.mkdir(path)
        elif intruder == "symlink":
            os.symlink("/dev/zero", path)
        elif intruder == "fifo":
            os.mkfifo(path)
        elif intruder == "device":
            os.symlink("/dev/full", path)
        else:
            made = socket.socket(socket.AF_UNIX)
            here = os.open(os.path.dirname(path), os.O_RDONLY)
            made.bind(f"/proc/self/fd/{here}/{os.path.basename(path)}")
            os.close(here)
            made.close()

        with pytest.warns(CorruptionWarning, match="is missing"):
            assert cache.get("k", default="none") == "none"
        cache.put(LARGE, "k")
        assert (cache["k"] == LARGE).all()


# --- descriptors, permissions, space --------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_a_free_descriptor_nothing_is_lost(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        cache.put(LARGE, "k")
        cached = cache.cached(double)
        assert cached(3) == 6
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = os.open("/dev/null", os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, limits[1]))
        held = []
        try:
            with pytest.raises(OSError, match="Too many open files"):  # noqa: PT012
                while True:
                    held.append(os.dup(spare))
            with pytest.raises(BackendUnavailableError, match="Too many open files"):
                cache.get("k")
            with pytest.raises(BackendUnavailableError, match="Too many open files"):
                cache.put(LARGE, "new")
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                assert [cached(4), cached(3)] == [8, 6]
            assert all(issubclass(w.category, CachenessWarning) for w in caught)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            for descriptor in [*held, spare]:
                os.close(descriptor)
        assert (cache["k"] == LARGE).all()
        assert "new" not in cache
        assert cache.verify_integrity().ok


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_disk_keeps_what_is_there_and_takes_more_once_there_is_space(disk, backend):
    if disk is None:
        return
    with UnifiedCache(disk / "c", metadata_backend=backend, min_free=0) as cache:
        cache.put(LARGE, "large")
        cache.put("small", "small")
        with open(disk / "filler", "wb", buffering=0) as file, pytest.raises(OSError) as full:  # noqa: PT012, PT011
            while True:
                file.write(bytes(4096))
        assert full.value.errno == errno.ENOSPC
        for value in (LARGE[::-1].copy(), os.urandom(20_000)):
            with pytest.raises(BackendUnavailableError, match=r"(?i)space|full"):
                cache.put(value, "large")
        assert (cache["large"] == LARGE).all()
        assert cache["small"] == "small"
        computes(cache)
        os.unlink(disk / "filler")
        cache.put(LARGE[::-1].copy(), "large")
        assert (cache["large"] == LARGE[::-1]).all()
        assert cache.verify_integrity().ok


class Written:
    """What a handler keeps in a file that it writes itself."""


class WrittenHandler(Handler):
    data_only = True

    def can_handle(self, obj):
        return isinstance(obj, Written)

    def put(self, obj, file_path):
        Path(file_path).write_bytes(bytes(500_000))
        return {}

    def get(self, file_path):
        return Written()


def chunks():
    for _ in range(2000):
        yield os.urandom(1000)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_disk_that_fills_up_on_the_way_is_left_as_it_was(disk, backend):
    """No half of a file stays, in whatever way it was on its way."""
    if disk is None:
        return
    register_handler(priority=100)(WrittenHandler)
    options = {"metadata_backend": backend, "min_free": 0, "compressor": "none"}
    with UnifiedCache(disk / "c", signing_key=b"k" * 32, **options) as cache:
        cache.put(LARGE, "k")
        path = Path(blob_path(cache, "k"))
        filler = disk / "filler"
        with open(filler, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):  # noqa: PT012
            while True:
                file.write(bytes(4096))
        os.truncate(filler, filler.stat().st_size - (64 << 10))
        for step in (
            lambda: cache.put(np.random.default_rng(0).random(90_000), "k"),
            lambda: cache.put(Written(), "k"),
            lambda: cache.put({"a": Written(), "b": LARGE}, "k"),
            lambda: cache.put({os.urandom(500_000)}, "k"),
            lambda: cache.put_batch((os.urandom(40_000), "k") for _ in range(20)),
        ):
            with pytest.raises(BackendUnavailableError, match=r"(?i)no space|full") as told:
                step()
            assert "/proc/" not in str(told.value)
        with pytest.warns(CachenessWarning, match=r"(?i)no space|full"):
            assert len(list(cache.cached(chunks)())) == 2000
        with pytest.raises(OSError, match="No space"):
            cache.export(disk / "out.tar")
        assert (cache["k"] == LARGE).all()
        assert sorted(disk.iterdir()) == [disk / "c", filler]
        blobs = [found for found in (disk / "c" / "blobs").glob("??/*") if found.is_file()]
        assert blobs == [path]

        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.warns(CorruptionWarning, match="quarantine"):
            assert cache.get("k") is None
        assert not list((disk / "c").glob("quarantine/*.payload")), "there was room for a half"
        filler.unlink()
        assert cache.verify_integrity().ok
    unregister_handler("written")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_disk_that_becomes_read_only_is_read_on(disk, backend):
    if disk is None:
        return
    with UnifiedCache(disk / "c", metadata_backend=backend) as cache:
        cache.put(LARGE, "large")
        cache.put("small", "small")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    if backend == "sqlite":
        with pytest.raises(BackendUnavailableError, match="can't be written.*read_only=True"):
            UnifiedCache(disk / "c")
    else:
        with UnifiedCache(disk / "c", metadata_backend=backend) as cache:
            assert (cache["large"] == LARGE).all()
            assert cache["small"] == "small"
            computes(cache)
            with pytest.raises(BackendUnavailableError, match="(?i)read-only"):
                cache.put("new", "new")
    with UnifiedCache(disk / "c", metadata_backend=backend, read_only=True) as cache:
        assert (cache["large"] == LARGE).all()
        assert cache["small"] == "small"
        computes(cache)
        with pytest.raises(ReadOnlyError):
            cache.put("new", "new")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with UnifiedCache(disk / "c", metadata_backend=backend) as cache:
        cache.put("new", "new")
        assert cache.verify_integrity().ok


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reader_that_may_not_write_sees_what_writers_elsewhere_do(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as writer:
        writer.put(LARGE, "k")
        with UnifiedCache(tmp_path, metadata_backend=backend, read_only=True) as reader:
            for number in range(20):
                writer.put(LARGE + number, "k")
                assert (reader["k"] == LARGE + number).all()
            writer.invalidate("k")
            assert reader.get("k") is None
            computes(reader)
            assert len(reader) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_directory_that_is_removed_under_a_cache_gives_no_wrong_value(tmp_path, backend):
    with UnifiedCache(tmp_path / "c", metadata_backend=backend) as cache:
        cache.put(LARGE, "large")
        cache.put("small", "small")
        shutil.rmtree(tmp_path / "c")
        for key, value in (("large", LARGE), ("small", "small")):
            found, _ = attempted(cache.get, key)
            assert found is None or np.array_equal(found, value)
        if not attempted(cache.put, "new", "small")[1]:
            assert attempted(cache.get, "small") == ("new", "")
        if backend == "json":
            with UnifiedCache(tmp_path / "c", metadata_backend=backend) as other:
                assert list(other) == ["small"], "it makes the directory anew"
                assert other["small"] == "new"
        computes(cache)
    with UnifiedCache(tmp_path / "c", metadata_backend=backend) as cache:
        cache.put(LARGE, "again")
        assert (cache["again"] == LARGE).all()
        assert cache.verify_integrity().ok


# --- the store of entries -------------------------------------------------------------------


@pytest.mark.parametrize("part", ["header", "first page", "page", "every page", "end", "all"])
def test_a_damaged_sqlite_file_gives_no_wrong_value(tmp_path, part):
    values = {f"k{number}": f"value {number} " * 60 for number in range(200)}
    with UnifiedCache(tmp_path) as cache:
        cache.put_batch([(value, key) for key, value in values.items()])
    path = tmp_path / "metadata.sqlite3"
    content = bytearray(path.read_bytes())
    chance = random.Random(3)
    starts = {
        "header": range(1),
        "first page": range(100, 101),
        "page": range(4096 * 5, 4096 * 5 + 1),
        "every page": range(4096, len(content), 4096),
        "end": range(0),
        "all": range(0, len(content), 64),
    }[part]
    for start in starts:
        content[start : start + 64] = chance.randbytes(64)
    path.write_bytes(content[: len(content) // 2] if part == "end" else content)

    cache, told = attempted(UnifiedCache, tmp_path)
    if cache is None:
        assert "metadata.sqlite3" in told
        return
    with cache:
        for key, value in values.items():
            found, told = attempted(cache.get, key)
            assert found in (None, value)
            assert not told or "metadata.sqlite3" in told
        report, told = attempted(cache.verify_integrity)
        assert part == "page" or "metadata.sqlite3" in told or not report.ok
        computes(cache)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["torn", "flipped", "emptied", "noise"])
def test_a_damaged_log_of_sqlite_gives_old_values_or_new_ones(tmp_path, damage):
    with UnifiedCache(tmp_path / "c") as cache:
        cache.put_batch([("old", f"k{number}") for number in range(50)])
    with UnifiedCache(tmp_path / "c") as cache:
        for number in range(50):
            cache.put("new", f"k{number}")
        # As a kill would leave it: with a log that was not written back.
        shutil.copytree(tmp_path / "c", tmp_path / "d")
    log = tmp_path / "d" / "metadata.sqlite3-wal"
    content = bytearray(log.read_bytes())
    assert len(content) > 10_000
    for at in range(0, len(content), 9973):
        changed = bytearray(content)
        if damage == "torn":
            changed = changed[:at]
        elif damage == "flipped":
            changed[at] ^= 0x40
        elif damage == "emptied":
            changed[at:] = bytes(len(changed) - at)
        else:
            changed[at : at + 500] = random.Random(at).randbytes(500)
        place = tmp_path / f"{damage}{at}"
        shutil.copytree(tmp_path / "d", place)
        (place / "metadata.sqlite3-shm").unlink(missing_ok=True)
        (place / "metadata.sqlite3-wal").write_bytes(changed)
        with UnifiedCache(place) as cache:
            found = [cache.get(f"k{number}") for number in range(50)]
            assert set(found) <= {"old", "new"}
            # What is lost is the end.
            assert found == sorted(found)
            assert cache.verify_integrity().ok
            cache.put("newest", "k0")
            assert cache["k0"] == "newest"


# --- time and signals -----------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_clock_that_jumps_expires_nothing_early_and_revives_nothing(
    tmp_path, backend, monkeypatch
):
    real, shift = time.time, [0.0]
    moved = lambda: real() + shift[0]  # noqa: E731
    for module in [*sys.modules.values()]:
        name = getattr(module, "__name__", "")
        if name.startswith("cacheness") and getattr(module, "time", None) is real:
            monkeypatch.setattr(module, "time", moved)
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        cache.put("value", "k", ttl_seconds=3600)
        cache.put("forever", "f")
        for jump in (-86_400, -1e9, 0, 3000):
            shift[0] = jump
            assert cache["k"] == "value", jump
            assert cache.get("k", ttl_seconds=3500) == "value", "a negative age counts as zero"
            assert cache["f"] == "forever"
            assert cache.verify_integrity().ok
        shift[0] = -86_400
        cache.put("put in the past", "p", ttl_seconds=3600)
        assert cache["p"] == "put in the past"
        shift[0] = 0
        assert cache.get("p") is None
        shift[0] = 1e9
        assert cache.get("k") is None
        shift[0] = 0
        assert cache.get("k") is None, "what expired is gone"
        assert cache["f"] == "forever"


@pytest.mark.parametrize("backend", BACKENDS)
def test_signals_that_arrive_all_the_time_fail_nothing(tmp_path, backend):
    handled = []
    before = signal.signal(signal.SIGUSR1, lambda *_: handled.append(None))
    done = threading.Event()
    main = threading.main_thread().ident

    def send():
        while not done.wait(0.0005):
            signal.pthread_kill(main, signal.SIGUSR1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
            for number in range(60):
                cache.put(LARGE + number, "large")
                cache.put(number, "small")
                assert cache["large"][0] == number
                assert cache["small"] == number
            assert cache.verify_integrity().ok
    finally:
        done.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert len(handled) > 20
