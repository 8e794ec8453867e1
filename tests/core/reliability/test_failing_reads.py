# SPDX-License-Identifier: MIT
"""Calls that fail in a read or an export, that do half of what they are asked to, or fail late."""

import errno
import itertools
import os
import warnings

import pytest

from cacheness import BackendUnavailableError, CachenessError, UnifiedCache

from .failing import Failing

LARGE = os.urandom(100_000)
OPTIONS = {"signing_key": b"of this test only", "min_free": 0, "compressor": "none"}


def failing_calls(act, code=errno.EIO):
    """Have each call of ``act`` fail once; what it gave or raised, each time."""
    for number in itertools.count():
        failing = Failing(number, code)
        try:
            with failing:
                found = act()
        except Exception as error:
            found = error.with_traceback(None)
        if not failing.reached:
            assert number > 3
            return
        yield failing.reached, found


@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES], ids=["EIO", "EACCES"])
def test_a_read_of_which_a_call_fails_says_so_and_keeps_the_entry(quick_path, backend, code):
    with UnifiedCache(quick_path, metadata_backend=backend, **OPTIONS) as cache:
        cache.put(LARGE, "k")
        for reached, found in failing_calls(lambda: cache.get("k"), code):
            assert isinstance(found, BackendUnavailableError) or found == LARGE, (reached, found)
            assert cache.get("k") == LARGE, reached


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_damaged_payload_that_can_t_be_put_aside_is_a_miss(quick_path, backend):
    with UnifiedCache(quick_path, metadata_backend=backend, **OPTIONS) as cache:

        def read_damaged():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return cache.get("k", default="missed")

        def damage():
            cache.put(LARGE, "k")
            (quick_path / "blobs" / cache.get_entry("k").blob).write_bytes(LARGE[::-1])

        damage()
        for reached, found in failing_calls(read_damaged):
            known = isinstance(found, CachenessError) or found == "missed"
            assert known, (reached, found)
            if "quarantine" in reached:
                assert found == "missed", reached
            damage()


def test_an_export_of_which_a_call_fails_leaves_no_file(quick_path):
    exports = quick_path / "exports"
    exports.mkdir()
    with UnifiedCache(quick_path / "cache", **OPTIONS) as cache:
        cache.put(LARGE, "k")
        for reached, _ in failing_calls(lambda: cache.export(exports / "moved.tar")):
            if "unlink" not in reached:
                assert [path.name for path in exports.glob(".*")] == [], reached


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_write_that_takes_a_part_goes_on_with_the_rest(quick_path, backend, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda to, data: write(to, memoryview(data)[:10_000]))

    with UnifiedCache(quick_path, metadata_backend=backend, **OPTIONS) as cache:
        cache.put(LARGE, "file")
        cache.put(LARGE[:20_000], "inline")

    with UnifiedCache(quick_path, metadata_backend=backend, **OPTIONS) as cache:
        assert cache.get("file") == LARGE
        assert cache.get("inline") == LARGE[:20_000]


def test_of_a_line_whose_write_fails_in_its_middle_nothing_is_left(quick_path, monkeypatch):
    with UnifiedCache(quick_path, metadata_backend="json", **OPTIONS) as cache:
        cache.put(1, "k")
        log, write, calls = quick_path / "metadata.jsonl", os.write, []

        def half(to, data):
            calls.append(to)
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(to, memoryview(data)[:20])

        before = log.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", half)
            with pytest.raises(BackendUnavailableError, match="No space"):
                cache.put(2, "k")
        assert log.read_bytes() == before
        assert cache.get("k") == 1


def test_a_log_that_can_t_be_made_shorter_fails_no_put(quick_path, monkeypatch):
    with UnifiedCache(quick_path, metadata_backend="json", **OPTIONS) as cache:
        replaced = []

        def refuse(*_):
            replaced.append(1)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(os, "replace", refuse)
        for number in range(80):
            cache.put(LARGE[: 20_000 + number], "k")
        assert replaced
        assert cache.get("k") == LARGE[:20_079]


class OpenFailing:
    """`os.open`, of which one call fails: no profile hook sees those that C makes."""

    def __init__(self, number, code):
        self.failed = False
        self._left = number
        self._code = code
        self._open = os.open

    def __call__(self, *args, **options):
        self._left -= 1
        if self._left == -1:
            self.failed = True
            raise OSError(self._code, os.strerror(self._code))
        return self._open(*args, **options)


@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE], ids=["EIO", "EMFILE"])
@pytest.mark.parametrize("way", ["get", "put"])
def test_what_can_t_be_opened_is_not_taken_for_missing(quick_path, backend, code, way, monkeypatch):
    with UnifiedCache(quick_path, metadata_backend=backend, **OPTIONS) as cache:
        cache.put(LARGE, "k")
        raised = 0
        for number in range(30):
            opening = OpenFailing(number, code)
            with monkeypatch.context() as patched:
                patched.setattr(os, "open", opening)
                try:
                    cache.get("k") if way == "get" else cache.put(LARGE, "k")
                except BackendUnavailableError:
                    raised += 1
            assert cache.get("k") == LARGE
            if not opening.failed:
                break
        assert not opening.failed
        assert raised > 2
