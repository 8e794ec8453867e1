# SPDX-License-Identifier: MIT
"""An interrupt at any step leaves no descriptor open, no file on its way, nothing mapped."""

import gc
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from cacheness import UnifiedCache
from cacheness.decorator import cached
from cacheness.handlers.base import Handler
from cacheness.plugins.registry import register_handler, unregister_handler
from cacheness.storing import is_storing

from .interrupting import interrupted_everywhere

pytestmark = [
    pytest.mark.slow,
    # A file that an interrupt took from the call says so as it is closed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def nothing_is_marked_as_being_stored():
    yield
    assert not is_storing(), "this thread could send no cache with a key to another process"


NOISE = np.random.default_rng(1).random(1 << 17)  # 1 MB
SMOOTH = np.arange(1 << 17)
CONTAINER = {"noise": NOISE, "smooth": SMOOTH, "name": "both"}


class Drawing:
    """A value whose handler knows nothing but files."""


class DrawingHandler(Handler):
    name = "drawing"

    def can_handle(self, obj):
        return type(obj) is Drawing

    def put(self, obj, file_path):
        Path(file_path).write_bytes(NOISE.tobytes())
        return {}

    def get(self, file_path):
        assert Path(file_path).read_bytes() == NOISE.tobytes()
        return Drawing()


@pytest.fixture
def cache(quick_path, monkeypatch):
    (quick_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(quick_path / "tmp"))
    monkeypatch.setattr("cacheness.disk.scratch._directory", None)
    register_handler(priority=1000)(DrawingHandler)
    with UnifiedCache(quick_path / "cache", signing_key=b"a key of this test", min_free=0) as made:
        yield made
    unregister_handler("drawing")


def left_of(cache):
    """What is open, mapped or on its way."""
    open_files = [_target(number) for number in os.listdir("/dev/fd")]
    place = Path(cache.config.cache_dir)
    found = [name for name in open_files if name and "metadata.sqlite3" not in name]
    found += [str(file) for file in (place / "blobs").glob("*/.*")]
    found += [str(file) for file in place.parent.glob("tmp/*/*")]
    # One directory for files on their way is the process's own.
    found += [str(file) for file in sorted(place.parent.glob("tmp/*"))[1:]]
    if sys.platform == "linux":
        # Thousands of lines, of all libraries; what is sought is mostly in none of them.
        blobs, maps = str(place / "blobs"), Path("/proc/self/maps").read_text()
        found += [line for line in maps.splitlines() if blobs in line] if blobs in maps else []
    return sorted(found)


def _target(number):
    try:
        return os.readlink(f"/dev/fd/{number}")
    except OSError:
        return None


def hunt(cache, act):
    act(-1)
    gc.collect()
    before = left_of(cache)
    problems = []

    def check(_place, where):
        found = left_of(cache)
        if found != before:
            gc.collect()
            found = left_of(cache)
        more = sorted(set(found) - set(before))
        if more or len(found) > len(before):
            problems.append(f"{where}: {more or len(found) - len(before)} left")
            for path in more:
                if os.path.isfile(path):
                    os.unlink(path)
            before[:] = left_of(cache)

    interrupted_everywhere(act, check)
    assert not problems, "\n".join(problems)


PUTS = {
    "raw": (NOISE, {}),
    "compressed": (SMOOTH, {}),
    "compressed by the core": (SMOOTH.tobytes(), {"compressor": "gzip"}),
    "container": (CONTAINER, {}),
    "pickled": ({1: NOISE, frozenset((2,)): 3}, {}),
    "by a handler of files": (Drawing(), {}),
}


@pytest.mark.parametrize("name", PUTS)
def test_an_interrupted_put_leaves_no_file_open_and_none_on_its_way(cache, name):
    value, options = PUTS[name]

    hunt(cache, lambda _: cache.put(value, "name", **options))


def test_an_interrupted_batch_leaves_no_file_open_and_none_on_its_way(cache):
    hunt(cache, lambda _: cache.put_batch([(NOISE, "a"), (SMOOTH, "b"), (1, "c")]))


def test_an_interrupted_stream_leaves_no_file_open_and_none_on_its_way(cache):
    @cached(cache=cache)
    def numbers(number):
        for _ in range(3):
            yield NOISE

    def act(number):
        for _ in numbers(number):
            pass

    hunt(cache, act)


@pytest.mark.parametrize("name", PUTS)
@pytest.mark.parametrize("way", ["get", "mmap", "open"])
def test_an_interrupted_read_leaves_no_file_open_and_nothing_mapped(cache, name, way):
    value, options = PUTS[name]
    cache.put(value, "name", **options)
    ways = {
        "get": lambda _: cache.get("name"),
        "mmap": lambda _: cache.get("name", mmap=True),
        "open": lambda _: cache.open("name"),
    }

    hunt(cache, ways[way])


def test_an_interrupted_move_leaves_no_file_open_and_none_on_its_way(cache, quick_path):
    cache.put(NOISE, "a")
    cache.put(SMOOTH, "b")

    def act(_):
        cache.export(quick_path / "moved.tar")
        cache.import_(quick_path / "moved.tar")

    hunt(cache, act)
