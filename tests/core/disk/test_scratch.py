# SPDX-License-Identifier: MIT
"""What a killed process leaves among the system's temporary files is removed by the next."""

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

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
