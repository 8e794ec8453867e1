"""A directory of a cache that becomes a link between two steps leads no file out of it."""

import os
import shutil
import stat
import sys
import warnings

import numpy as np
import pytest
from tests.core.security.hostile import everything

from cacheness import (
    CachenessError,
    Handler,
    UnifiedCache,
    register_handler,
    unregister_handler,
)
from cacheness.backends.base import BackendContext
from cacheness.blobs.file import FileBlobBackend
from cacheness.config import CacheConfig
from cacheness.flights.board import FilePlace

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there")

NAME = "ab/" + "0" * 32 + ".npy"


class Swapper:
    """Swaps a directory of the cache for a link to another, before one of the calls of C.

    Args:
        path: The directory; nothing happens while there is none.
        outside: Where the link leads.
        number: Of the call, counted from the moment that there is a directory.
    """

    def __init__(self, path, outside, number):
        self.path, self.outside, self.left = str(path), str(outside), number
        self.swapped = False

    def __enter__(self):
        sys.setprofile(self._before_call)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _before_call(self, _, event, __):
        if event != "c_call":
            return
        sys.setprofile(None)
        if os.path.isdir(self.path) and not os.path.islink(self.path):
            if not self.left:
                os.rename(self.path, f"{self.path}.aside")
                os.symlink(self.outside, self.path)
                self.swapped = True
                return
            self.left -= 1
        sys.setprofile(self._before_call)


def store_in(directory, **options):
    config = CacheConfig(cache_dir=directory, **options)
    return FileBlobBackend(BackendContext(str(directory), "", config))


def before_each_call(tmp_path, folder, use, most=1000):
    """Do ``use(directory)`` again and again, each time swapped one call later."""
    outside = tmp_path / "outside"
    (outside / "ab").mkdir(parents=True)
    outside.chmod(0o755)
    (outside / "precious").write_text("precious")
    before = everything(outside), modes(outside)
    for number in range(most):
        directory = tmp_path / "cache"
        with Swapper(directory / folder, outside, number) as swapper:
            try:
                use(directory)
            except (CachenessError, OSError) as error:
                assert str(error)  # noqa: PT017  # it may say no, or not notice
        assert (everything(outside), modes(outside)) == before, number
        shutil.rmtree(directory)
        if not swapper.swapped:
            break
    assert number > 10
    assert most < 1000 or not swapper.swapped


def modes(directory):
    return [stat.S_IMODE(path.stat().st_mode) for path in [directory, *directory.rglob("*")]]


def claim(directory):
    store_in(directory, permissions="group").claim("an owner")


def claim_again(directory):
    store = store_in(directory)
    assert store.store_id
    store.claim("an owner")
    store.claim("another")


def write(directory):
    store_in(directory, permissions="group").write(NAME, [b"x"])


def stage(directory):
    store = store_in(directory)
    staged = store.stage(NAME)
    for mode in ("wb", "r+b"):
        with open(staged, mode) as file:
            file.write(b"by a handler")
    store.adopt(staged, NAME)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "use"),
    [
        ("blobs", claim),
        ("blobs", claim_again),
        ("blobs", write),
        ("blobs/ab", write),
        ("blobs", stage),
        ("blobs/ab", stage),
    ],
)
def test_nothing_is_written_by_a_link_that_was_a_directory(tmp_path, folder, use):
    before_each_call(tmp_path, folder, use)


def cache_of_a_group(directory):
    """Each part of a cache makes its directory, writes to it, and is done."""
    options = {"permissions": "group", "metadata_backend": "json", "inline_bytes": 0}
    with UnifiedCache(directory, **options) as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = cache.get_entry(cache.put(b"x" * 100, "k")).blob
        (directory / "blobs" / name).write_bytes(b"y" * 100)
        cache.get("k")  # goes to quarantine
        cache.verify_integrity(repair=True)


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["locks", "quarantine"])
def test_no_directory_of_a_cache_is_taken_for_what_a_link_leads_to(tmp_path, folder):
    before_each_call(tmp_path, folder, cache_of_a_group, most=15)


def test_the_notices_of_flights_stay_in_their_directory(tmp_path):
    def tell(directory):
        (directory / "locks").mkdir(parents=True)
        place = FilePlace(str(directory), None, for_group=True)
        place.write("ab", '[["a", "b"]]')
        assert place.read() in ({"ab": [["a", "b"]]}, {})
        place.remove("ab")

    before_each_call(tmp_path, "locks", tell)


def test_a_notice_that_is_a_file_elsewhere_is_not_written_over(tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / "precious").write_text("precious")
    os.link(tmp_path / "precious", tmp_path / "locks" / "ab.waits.new")

    FilePlace(str(tmp_path), None, for_group=True).write("ab", "[]")

    assert (tmp_path / "precious").read_text() == "precious"
    assert stat.S_IMODE((tmp_path / "precious").stat().st_mode) == 0o644


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"[[1,2]]", b"{", b"[]" * 10**6])
def test_a_notice_of_a_strangers_is_none(tmp_path, content):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "ab.waits").write_bytes(content)

    assert FilePlace(str(tmp_path), None, for_group=False).read() in (
        {},
        {"ab": []},
        {"ab": [[1, 2]]},
    )


class Written:
    """What a handler keeps that opens its file twice."""


class WrittenHandler(Handler):
    data_only = True

    def can_handle(self, obj):
        return isinstance(obj, Written)

    def put(self, obj, file_path):
        for mode in ("wb", "ab"):
            with open(file_path, mode) as file:
                file.write(b"x" * 50_000)
        PLACES.append(os.path.realpath(file_path))
        return {}

    def get(self, file_path):
        return os.path.getsize(file_path)


PLACES = []


@pytest.fixture
def written_handler():
    PLACES.clear()
    register_handler(priority=100)(WrittenHandler)
    yield
    unregister_handler("written")


@pytest.mark.parametrize("shared", ["by a group", "by a mode", "not at all"])
@pytest.mark.usefixtures("written_handler")
def test_a_handler_writes_where_others_write_only_what_it_opens_once(tmp_path, shared):
    """The second time, the file could have become a link in a directory of others."""
    permissions = "group" if shared == "by a group" else "private"
    with UnifiedCache(tmp_path / "cache", permissions=permissions, compressor="none") as cache:
        cache.put(np.arange(20_000), "array")
        for number in range(256 if shared == "by a mode" else 0):
            (tmp_path / "cache" / "blobs" / f"{number:02x}").mkdir(exist_ok=True)
            (tmp_path / "cache" / "blobs" / f"{number:02x}").chmod(0o777)
        cache.put(Written(), "k")
        cache.put({"a": Written(), "b": np.zeros(9)}, "part")
        assert cache["k"] == cache["part"]["a"] == 100_000
        assert cache.verify_integrity().ok
    for path in PLACES:
        inside = path.startswith(os.path.realpath(tmp_path))
        assert inside == (shared == "not at all")
        assert inside or os.stat(os.path.dirname(path)).st_mode & 0o077 == 0


def test_a_new_database_that_becomes_a_link_opens_no_file_of_the_users_to_a_group(tmp_path):
    """Its name is known as soon as there is a file."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "precious").chmod(0o600)
    swapped = []

    def before_call(_, event, __):
        made = event == "c_call" and list((tmp_path / "cache").glob("metadata.sqlite3.*.tmp"))
        if made and not swapped and made[0].stat().st_size > 4096:
            swapped.append(made[0])
            made[0].unlink()
            made[0].symlink_to(tmp_path / "precious")

    sys.setprofile(before_call)
    try:
        with UnifiedCache(tmp_path / "cache", permissions="group") as cache:
            cache.put(1, "k")
            assert cache["k"] == 1
    finally:
        sys.setprofile(None)

    assert swapped
    assert (tmp_path / "precious").read_text() == "precious"
    assert stat.S_IMODE((tmp_path / "precious").stat().st_mode) == 0o600
