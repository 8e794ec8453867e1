"""A cache leaves others some of the disk, and a full disk harms nothing that is stored."""

import errno
import os
import subprocess
import sys
import warnings
from contextlib import nullcontext

import pytest

from cacheness import BackendUnavailableError, CachenessWarning, UnifiedCache
from cacheness.upkeep.free_space import FreeSpace
from cacheness.upkeep.tombstones import find

MORE_THAN_THERE_IS = 1 << 60
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system of 8 MiB of its own; None where nobody may make one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(directory)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        yield None
        return
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)


def files_in(directory):
    return sorted(
        name
        for _, _, names in os.walk(directory / "blobs")
        for name in names
        if not name.startswith(("store-id", "owner-"))
    )


def fill(path):
    with open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def put_many(cache):
    for i in range(1000):
        cache.put("x" * 20_000, f"k{i}")


def double(x):
    return 2 * x


# --- without a bound ------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.parametrize("size", [10, 100_000])
def test_a_put_that_leaves_too_little_is_refused_and_the_old_entry_stays(tmp_path, backend, size):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        cache.put("old", "a")
    with (
        UnifiedCache(tmp_path, metadata_backend=backend, min_free=MORE_THAN_THERE_IS) as cache,
        pytest.raises(BackendUnavailableError) as refused,
    ):
        cache.put(os.urandom(size), "a")

    for told in ("entry a is not stored", str(tmp_path), "min_free asks for", "TiB", "max_size="):
        assert told in str(refused.value)
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        assert cache["a"] == "old"
    assert files_in(tmp_path) == []


def test_a_hit_does_not_mind(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put("value", "a")
    with UnifiedCache(tmp_path, min_free=MORE_THAN_THERE_IS) as cache:
        assert cache["a"] == "value"


def test_a_cached_function_computes_and_warns_once(tmp_path):
    with UnifiedCache(tmp_path, min_free=MORE_THAN_THERE_IS) as cache:
        cached = cache.cached(double)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert [cached(1), cached(2), cached(1)] == [2, 4, 2]

    assert [w.category for w in caught] == [CachenessWarning]
    assert "min_free" in str(caught[0].message)
    assert cached.cache_info().errors == 3


def test_none_is_left_free_where_none_is_asked_for(tmp_path):
    with UnifiedCache(tmp_path, min_free=0) as cache:
        cache.put(os.urandom(100_000), "a")
        assert "a" in cache


def test_a_cache_in_memory_has_no_disk(tmp_path):
    options = {"metadata_backend": "memory", "min_free": MORE_THAN_THERE_IS}
    with UnifiedCache(tmp_path, **options) as cache:
        cache.put(os.urandom(100_000), "a")
        assert "a" in cache


# --- how often the disk is looked at --------------------------------------------------------


class Counting(FreeSpace):
    looks = 0

    def _missing(self):
        self.looks += 1
        return super()._missing()


def test_small_puts_look_seldom_and_large_ones_always(tmp_path):
    space = Counting(lambda: [str(tmp_path)], 0, 32 << 10, None)
    space.before("a", b"")
    assert space.looks == 1
    space.quiet_until = float("inf")  # a second that never passes

    for _ in range(1000):
        space.before("a", b"x" * 100)
        space.after("a", 100, own_file=False)
    assert space.looks == 1
    for _ in range(500):
        space.before("a", b"x")
        space.after("a", 30_000, own_file=False)
    assert space.looks == 1 + 500 * (30_000 + 512) // (8 << 20)
    before = space.looks
    for _ in range(10):
        space.before("a", b"x")
        space.after("a", 40_000, own_file=True)
    assert space.looks == before + 10


@pytest.mark.parametrize("clock", [1000.999, 1001.0, 999.999, 10.0])
def test_it_looks_again_after_a_second_and_where_the_clock_was_set_back(
    tmp_path, monkeypatch, clock
):
    now = [1000.0]
    monkeypatch.setattr("cacheness.upkeep.free_space.time", lambda: now[0])
    monkeypatch.setattr("cacheness.small_put.time", lambda: now[0])
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, "a")
        small = cache.engine.writer.small
        assert small.plain_entry("b", 1, None, None) is not None
        now[0] = clock

        assert (small.plain_entry("c", 1, None, None) is not None) is (clock == 1000.999)
        cache.put(1, "c")
        assert small.plain_entry("d", 1, None, None) is not None


@pytest.mark.parametrize("min_free", [0, MORE_THAN_THERE_IS])
def test_whoever_puts_while_another_looks_sees_what_the_look_before_saw(
    tmp_path, monkeypatch, min_free
):
    """As another thread does: a look at the disk lets it run."""
    with UnifiedCache(tmp_path, min_free=min_free) as cache:
        small, space = cache.engine.writer.small, cache.engine.upkeep().space
        is_short, seen = min_free > 0, []

        def meanwhile():
            seen.append(small.plain_entry("b", 1, None, None))
            return [str(tmp_path)]

        monkeypatch.setattr(space, "_directories", meanwhile)
        for _ in range(3):
            space.quiet_until = min(space.quiet_until, 1.0)  # the second is over
            with pytest.raises(BackendUnavailableError) if is_short else nullcontext():
                space.after("a", 50_000, own_file=True)

    first, *others = [made is None for made in seen]
    assert first, "nobody knew"
    assert len(others) >= 2
    assert set(others) == {is_short}


def test_a_payload_larger_than_what_may_go_unseen_takes_the_short_way_after_a_look(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("cacheness.upkeep.free_space._LOOK_AFTER_BYTES", 1000)
    with UnifiedCache(tmp_path, compressor="none") as cache:
        cache.put(1, "first")
        plain_entry = cache.engine.writer.small.plain_entry

        assert plain_entry("large", "x" * 2000, None, None) is not None
        assert plain_entry("next", 1, None, None) is None


def test_from_the_look_on_that_finds_it_short_each_put_looks(tmp_path, monkeypatch):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, "a")
        small, space = cache.engine.writer.small, cache.engine.upkeep().space
        assert small.plain_entry("b", 1, None, None) is not None

        monkeypatch.setattr(space, "_min_free", MORE_THAN_THERE_IS)
        with pytest.raises(BackendUnavailableError):
            cache.put(os.urandom(50_000), "large")

        assert small.plain_entry("b", 1, None, None) is None
        with pytest.raises(BackendUnavailableError):
            cache.put(1, "b")


def test_where_the_disk_is_short_each_put_looks(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put_batch((1, key) for key in "abc")
    with UnifiedCache(tmp_path, max_entries=3, min_free=MORE_THAN_THERE_IS) as cache:
        for key in "de":
            cache.put(1, key)
            assert cache.engine.writer.small.plain_entry("f", 1, None, None) is None


# --- with a bound ---------------------------------------------------------------------------


def test_nothing_is_evicted_where_all_of_it_would_not_do(tmp_path):
    with UnifiedCache(tmp_path, max_entries=100) as cache:
        for i in range(5):
            cache.put(os.urandom(50_000), f"k{i}")
    with UnifiedCache(tmp_path, max_entries=100, min_free=MORE_THAN_THERE_IS) as cache:
        with pytest.raises(BackendUnavailableError, match="set min_free= to less"):
            cache.put(os.urandom(50_000), "new")
        assert len(cache) == 5
    assert len(files_in(tmp_path)) == 5, "that of the refused put is gone"


def test_a_small_put_takes_the_place_of_what_is_evicted_for_it(tmp_path):
    with UnifiedCache(tmp_path, max_entries=100) as cache:
        for i in range(20):
            cache.put(f"value {i}", f"k{i}")
    with UnifiedCache(tmp_path, max_entries=100, min_free=MORE_THAN_THERE_IS) as cache:
        cache.put("x", "new")

        assert cache["new"] == "x"
        assert sorted(cache) == sorted(["new", *(f"k{i}" for i in range(1, 20))])


def test_a_small_put_is_refused_where_there_is_nothing_to_evict(tmp_path):
    with (
        UnifiedCache(tmp_path, max_entries=100, min_free=MORE_THAN_THERE_IS) as cache,
        pytest.raises(BackendUnavailableError, match="min_free"),
    ):
        cache.put("x", "new")


def test_old_entries_make_room_on_a_disk_that_is_nearly_full(small_disk, tmp_path):
    """Where no disk can be made, one that seems to be as full is what the test can have."""
    if small_disk is None:
        used = os.statvfs(tmp_path)
        free = used.f_bavail * used.f_frsize
        directory, min_free = tmp_path / "cache", free - 6 * MIB
    else:
        directory, min_free = small_disk, MIB
    with UnifiedCache(directory, max_size="1GB", min_free=min_free, compressor="none") as cache:
        for i in range(12):
            cache.put(os.urandom(MIB), f"k{i}")

        assert "k11" in cache
        assert "k0" not in cache
        assert 2 <= len(cache) <= 7
        assert find(cache.engine.backend, "k0").reason == "min_free"
        assert len(files_in(directory)) == len(cache)
        assert all(cache.get(key) is not None for key in cache)


# --- a disk that is really full -------------------------------------------------------------

FILL = """
import errno, os, resource, signal, sys
from cacheness import BackendUnavailableError, UnifiedCache
directory, limited = sys.argv[1], sys.argv[2] == "limited"
cache = UnifiedCache(directory, min_free=0, compressor="none")
cache.put(b"old" * 100_000, "a")
if limited:  # no file may grow further than this
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))
try:
    cache.put(os.urandom(20 << 20), "a")
except BackendUnavailableError as error:
    print(error)
    print(error.__cause__.errno)
assert cache.get("a") == b"old" * 100_000
cache.put("small", "b")
assert cache.get("b") == "small"
cache.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["limited", "full"])
def test_a_write_that_fails_leaves_the_old_entry_and_nothing_else(small_disk, tmp_path, way):
    directory = small_disk if way == "full" and small_disk is not None else tmp_path / "cache"
    limit = "full" if directory == small_disk else "limited"

    done = subprocess.run(
        [sys.executable, "-c", FILL, str(directory), limit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    message, number = done.stdout.splitlines()
    assert message.startswith("entry a can't be stored: ")
    assert message.endswith("; free some space on the disk")
    assert int(number) == (errno.ENOSPC if limit == "full" else errno.EFBIG)
    assert len(files_in(directory)) == 1, "the old entry's"


def test_a_full_disk_is_said_to_be_full_by_the_file_of_entries(small_disk, tmp_path):
    """The entry itself does not fit: its blob, which did, is removed."""
    if small_disk is None:
        small_disk = tmp_path / "cache"
    with UnifiedCache(small_disk, min_free=0, compressor="none") as cache:
        cache.put("old", "a")
        ballast = small_disk / "ballast"
        if os.path.ismount(small_disk):
            with pytest.raises(OSError, match="No space left"):
                fill(ballast)
            with pytest.raises(BackendUnavailableError, match="disk is full"):
                put_many(cache)
        else:
            ballast.touch()
        assert cache["a"] == "old"
        ballast.unlink()
        cache.put("new", "a")
        assert cache["a"] == "new"
