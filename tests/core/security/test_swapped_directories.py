"""A directory of a cache that becomes a link between two steps leads no file out of it."""

import os
import shutil
import stat
import sys
import warnings

import pytest
from tests.core.security.hostile import everything

from cacheness import CachenessError, UnifiedCache
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "use"),
    [("blobs", claim), ("blobs", claim_again), ("blobs", write), ("blobs/ab", write)],
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
    before_each_call(tmp_path, folder, cache_of_a_group, most=25)


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
