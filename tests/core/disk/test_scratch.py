# SPDX-License-Identifier: MIT
"""What a killed process leaves among the system's temporary files is removed by the next."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from cacheness import (
    BackendUnavailableError,
    Handler,
    UnifiedCache,
    register_handler,
    unregister_handler,
)
from cacheness.disk.scratch import scratch_directory
from cacheness.disk.staging import new_file_path

USER = """
import os, sys
from cacheness.disk.staging import new_file_path
path = new_file_path("00/00.bin")
open(path, "w").close()
print(path, flush=True)
sys.stdin.read()
"""


class Page:
    def __init__(self, text):
        self.text = text


class Kept(Handler):
    """Reads a file, which is copied first where it is signed."""

    name = "kept"

    def can_handle(self, obj):
        return isinstance(obj, Page)

    def put(self, obj, file_path):
        with open(file_path, "w") as file:
            file.write(obj.text)
        return {}

    def get(self, file_path):
        with open(file_path) as file:
            return Page(file.read())


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("cacheness.disk.scratch._directory", None)
    return tmp_path


@pytest.fixture
def user(place):
    """Another process, with a file of its own."""
    started = subprocess.Popen(
        [sys.executable, "-c", USER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    started.path = started.stdout.readline().strip()
    assert os.path.dirname(os.path.dirname(started.path)) == str(place)
    yield started
    started.kill()
    started.communicate()


def test_the_directory_of_a_killed_process_is_removed(user, place):
    user.send_signal(signal.SIGKILL)
    user.wait()
    assert os.path.exists(user.path)

    mine = new_file_path("00/00.bin")

    assert [str(path) for path in place.iterdir()] == [os.path.dirname(mine)]


def test_that_of_another_user_stays(user, place, monkeypatch):
    user.kill()
    user.wait()
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)

    new_file_path("00/00.bin")

    assert os.path.exists(user.path)


def test_that_of_a_living_process_stays(user):
    new_file_path("00/00.bin")

    assert os.path.exists(user.path)


SLOW = """
import fcntl, sys
lock = fcntl.lockf
def lock_later(*arguments):
    fcntl.lockf = lock
    print(flush=True)
    sys.stdin.readline()
    lock(*arguments)
fcntl.lockf = lock_later
from cacheness.disk.staging import new_file_path
print(new_file_path("00/00.bin"), flush=True)
sys.stdin.read()
"""


def test_that_of_a_process_which_has_not_come_to_its_lock_stays(place):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    ) as slow:
        slow.stdout.readline()
        (directory,) = place.iterdir()

        mine = scratch_directory()
        assert {str(path) for path in place.iterdir()} == {str(directory), mine}
        slow.stdin.write("\n")
        slow.stdin.flush()
        path = slow.stdout.readline().strip()
        try:
            assert os.path.dirname(path) == str(directory)
            child = os.fork()
            if child == 0:
                scratch_directory()  # looks for the dead again
                os._exit(0 if directory.exists() and os.path.exists(mine) else 1)
            assert os.waitpid(child, 0)[1] == 0
        finally:
            slow.stdin.close()


def test_that_of_a_process_which_was_killed_before_its_lock_goes_in_time(place):
    killed = place / "cacheness-files-4-killed"
    killed.mkdir()
    (killed / "owner.new").touch()
    os.utime(killed, (time.time() - 7200,) * 2)

    mine = scratch_directory()

    assert [str(path) for path in place.iterdir()] == [mine]


def test_an_entry_stays_where_there_is_no_place_for_temporary_files(
    place, tmp_path_factory, monkeypatch
):
    directory = tmp_path_factory.mktemp("cache")
    register_handler(priority=1000)(Kept)
    try:
        with UnifiedCache(
            directory, signing="all", signing_key=b"a key of this test", inline_bytes=0
        ) as cache:
            cache.put(Page("text"), "k")
            assert cache.get("k").text == "text"
            shutil.rmtree(scratch_directory())
            monkeypatch.setattr(tempfile, "tempdir", str(place / "gone"))
            with pytest.raises(BackendUnavailableError, match="gone"):
                cache.get("k")

            monkeypatch.setattr(tempfile, "tempdir", str(place))
            assert cache.get("k").text == "text"
    finally:
        unregister_handler("kept")


def test_that_of_a_forked_child_which_ends_without_a_word_is_removed(place):
    mine = scratch_directory()
    child = os.fork()
    if child == 0:
        scratch_directory()
        os._exit(0)
    os.waitpid(child, 0)
    left = {str(path) for path in place.iterdir()} - {mine}
    assert len(left) == 1

    another = os.fork()
    if another == 0:
        scratch_directory()
        os._exit(0 if os.path.isdir(mine) and not os.path.exists(left.pop()) else 1)

    assert os.waitpid(another, 0)[1] == 0


def test_what_is_no_directory_of_ours_is_left_alone(place):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "owner").write_text("")
    (place / "cacheness-files-1-link").symlink_to(elsewhere)
    young = place / "cacheness-files-2-young"  # its process has not come to the lock
    young.mkdir()
    old = place / "cacheness-files-3-old"
    old.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    others = place / "cacheness-abcd"
    others.mkdir()

    scratch_directory()

    assert (elsewhere / "owner").exists()
    assert young.exists()
    assert others.exists()
    assert not old.exists()
