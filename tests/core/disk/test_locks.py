# SPDX-License-Identifier: MIT
"""Locks by name exclude threads and processes, and nobody holds them who is dead."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cacheness.disk.locks import FileLocks, Mutexes
from cacheness.errors import BackendUnavailableError
from cacheness.testing.store import forked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import sys, threading
from cacheness.disk.locks import FileLocks
with FileLocks(sys.argv[1]).hold(("", sys.argv[2]), timeout=10):
    print("held", flush=True)
    threading.Event().wait(60)
"""
TRY = """
import sys
from cacheness.disk.locks import FileLocks
print(FileLocks(sys.argv[1]).hold(("", sys.argv[2])).acquire(timeout=0))
"""


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path)


@pytest.fixture
def locks(directory: str) -> Iterator[FileLocks]:
    locks = FileLocks(directory)
    yield locks
    locks.close()


def taken_elsewhere(directory: str, key: str) -> bool:
    """Whether another process finds the key's lock taken."""
    command = [sys.executable, "-c", TRY, directory, key]
    return subprocess.run(command, check=True, capture_output=True).stdout == b"False\n"


def test_threads_exclude_each_other_by_name(locks: FileLocks) -> None:
    inside: list[str] = []
    most = []

    def work(name: str) -> None:
        for _ in range(50):
            with locks.hold(name, timeout=30):
                inside.append(name)
                most.append(inside.count(name))
                inside.remove(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "aaabbb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(most) == 300
    assert set(most) == {1}


@pytest.mark.slow
def test_processes_exclude_each_other(locks: FileLocks, directory: str) -> None:
    with locks.hold(("", "k"), timeout=1):
        assert taken_elsewhere(directory, "k")
        assert not taken_elsewhere(directory, "another")

    assert not taken_elsewhere(directory, "k")


def test_a_killed_holder_releases(locks: FileLocks, directory: str) -> None:
    command = [sys.executable, "-c", HOLD, directory, "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert not locks.hold(("", "k")).acquire(timeout=0.01)
        holder.kill()

    with locks.hold(("", "k"), timeout=10):
        pass


def test_waiting_in_vain_says_for_what(locks: FileLocks, directory: str) -> None:
    with (
        locks.hold(("team", "k"), timeout=1),
        pytest.raises(BackendUnavailableError, match=r"0\.01 s .*entry 'k' \(namespace 'team'\)"),
        FileLocks(directory).hold(("team", "k"), timeout=0.01),
    ):
        pass


def test_a_lock_is_free_again_after_an_error(locks: FileLocks) -> None:
    with pytest.raises(RuntimeError, match="body"), locks.hold("k", timeout=1):
        raise RuntimeError("body")

    assert locks.hold("k").acquire(timeout=0)


def test_namespace_and_key_are_told_apart(locks: FileLocks) -> None:
    names: list[str | tuple[str, str]] = [("a", "bc"), ("ab", "c"), ("", "abc"), "abc"]

    assert [locks.hold(name).acquire(timeout=0) for name in names] == [True] * 4


def test_one_file_serves_every_name(locks: FileLocks, directory: str) -> None:
    for number in range(100):
        with locks.hold(f"k{number}", timeout=0):
            pass

    assert os.listdir(directory) == ["locks"]
    assert os.listdir(f"{directory}/locks") == ["keys.lock"]
    assert os.stat(f"{directory}/locks/keys.lock").st_size == 0


def test_closing_one_user_drops_no_lock_of_another(locks: FileLocks, directory: str) -> None:
    other = FileLocks(directory)
    link = f"{directory}-link"
    os.symlink(directory, link)
    by_another_path = FileLocks(link)
    with other.hold("other", timeout=1), by_another_path.hold("by path", timeout=1):
        pass

    with locks.hold(("", "k"), timeout=1):
        other.close()
        by_another_path.close()
        assert taken_elsewhere(directory, "k")
        locks.close()
        assert taken_elsewhere(directory, "k"), "closed while held"

    assert not taken_elsewhere(directory, "k")


def test_closing_the_last_user_closes_the_file(directory: str) -> None:
    before = os.listdir("/dev/fd")
    for _ in range(5):
        locks = FileLocks(directory)
        with locks.hold("k", timeout=1):
            pass
        locks.close()
        locks.close()

    assert os.listdir("/dev/fd") == before


def test_a_forked_child_holds_nothing_of_its_parent(locks: FileLocks, directory: str) -> None:
    held = locks.hold(("", "k"), timeout=1)

    def child() -> bool:
        free = locks.hold(("", "k")).acquire(timeout=0.01)
        held.release()
        return free

    with held:
        assert forked(child) is False
        assert taken_elsewhere(directory, "k"), "the child must not release its parent's lock"


@pytest.mark.slow
def test_a_child_forked_while_threads_wait_can_lock(locks: FileLocks) -> None:
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            with locks.hold("busy", timeout=30):
                pass

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child() -> bool:
        return locks.hold("busy").acquire(timeout=20)

    try:
        assert [forked(child) for _ in range(10)] == [True] * 10
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_directory_that_is_made_anew_has_new_locks(locks: FileLocks, directory: str) -> None:
    with locks.hold(("", "k"), timeout=1):
        shutil.rmtree(f"{directory}/locks")
        assert not taken_elsewhere(directory, "k"), "nobody finds the removed file any more"
        with locks.hold(("", "k"), timeout=1):
            assert taken_elsewhere(directory, "k"), "but the new one excludes"


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/null", p)])
def test_a_planted_lock_file_is_refused(directory: str, plant: object) -> None:
    os.mkdir(f"{directory}/locks")
    plant(f"{directory}/locks/keys.lock")  # type: ignore[operator]

    with (
        pytest.raises(BackendUnavailableError, match=r"keys\.lock can't be used"),
        FileLocks(directory).hold("k", timeout=1),
    ):
        pass


@pytest.mark.parametrize(
    ("permissions", "of_directory", "of_file"),
    [("private", 0o700, 0o600), ("group", 0o2770, 0o660)],
)
def test_the_directory_is_open_to_whom_it_should_be(
    directory: str, permissions: str, of_directory: int, of_file: int
) -> None:
    previous = os.umask(0o077)
    try:
        locks = FileLocks(directory, permissions=permissions)
        with locks.hold("k", timeout=1):
            pass
        locks.close()
    finally:
        os.umask(previous)

    assert os.stat(f"{directory}/locks").st_mode & 0o7777 == of_directory
    assert os.stat(f"{directory}/locks/keys.lock").st_mode & 0o7777 == of_file


def test_mutexes_that_nobody_uses_are_forgotten() -> None:
    mutexes = Mutexes()
    for number in range(10):
        assert mutexes.acquire(number)
        assert not mutexes.acquire(number, timeout=0)
        mutexes.release(number)

    assert mutexes._by_name == {}
