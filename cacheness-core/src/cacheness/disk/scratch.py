# SPDX-License-Identifier: MIT
"""A directory for the files of this process alone, which goes with it at the latest.

It lies in the system's directory for temporary files. Who is killed leaves it: the next process
that makes one removes those of the dead. A process is alive as long as it holds the lock of the
file ``owner`` in its directory, whatever has become of its number. The file gets that name
once it is locked: who found it before would take the process for dead.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from time import time

from cacheness import forks
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["new_directory", "private_directory", "remove_directory", "scratch_directory"]

_PREFIX = "cacheness-files-"
_OWNER, _NEW_OWNER = "owner", "owner.new"
_GRACE = 3600.0
"""Seconds after which a directory that has no lock yet is of somebody who was killed."""

_directory: tuple[int, str] | None = None
"""The process that made it, and the directory: a forked child makes one of its own."""


def scratch_directory() -> str:
    """The directory of this process, made at first need.

    Raises:
        BackendUnavailableError: There is no directory for temporary files.
    """
    global _directory
    pid = os.getpid()
    if _directory is None or _directory[0] != pid or not os.path.isdir(_directory[1]):
        with _missing_told():
            _directory = pid, tempfile.mkdtemp(prefix=f"{_PREFIX}{pid}-")
        atexit.register(remove_directory, *_directory)
        with suppress(OSError):  # without locks nobody can tell who is dead
            _take(_directory[1])
            _remove_dead(os.path.dirname(_directory[1]))
    return _directory[1]


def new_directory() -> str:
    """The path of a new directory of this process alone, gone with it at the latest."""
    begun = forks.number
    path = os.path.join(scratch_directory(), os.urandom(16).hex())
    forks.check(begun)
    with _missing_told():
        os.mkdir(path, 0o700)
    return path


def remove_directory(pid: int, path: str) -> None:
    """Remove what was made in the process ``pid``, and leave it alone in its children."""
    if os.getpid() == pid:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def private_directory() -> Iterator[str]:
    """A new directory of this process alone, which is removed in the end."""
    begun = forks.number
    path = os.path.join(scratch_directory(), os.urandom(16).hex())
    try:  # an interrupt may come right after it is made
        with _missing_told():
            forks.check(begun)
            os.mkdir(path, 0o700)
        yield path
    finally:
        if forks.number == begun:
            # A view that is still open keeps its pages although the name is gone.
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _missing_told() -> Iterator[None]:
    """Tell a directory that is gone from a blob that is: an entry of that would be removed."""
    try:
        yield
    except FileNotFoundError as error:
        raise BackendUnavailableError(f"no file can be kept for a while: {error}") from error


if sys.platform == "win32":

    def _take(path: str) -> None:
        """Windows has no such locks."""

    def _remove_dead(above: str) -> None:
        """As nobody can tell who is dead."""

else:
    import fcntl

    from cacheness.disk.folder import Folder

    def _take(path: str) -> None:
        """Hold the lock of a new directory, until this process ends."""
        begun = forks.number
        with Folder(path) as folder:
            owner = folder.open(_NEW_OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            fcntl.lockf(owner.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            forks.check(begun)
            folder.rename(_NEW_OWNER, _OWNER)
        owner.keep()

    def _remove_dead(above: str) -> None:
        """Remove the directories of this user whose processes have ended."""
        for name in os.listdir(above):
            # To open one's own file a second time, and close it, would drop its lock.
            if name.startswith(_PREFIX) and not name.startswith(f"{_PREFIX}{os.getpid()}-"):
                with suppress(OSError):  # somebody else's, alive, or gone by now
                    _remove_if_dead(os.path.join(above, name))

    def _remove_if_dead(path: str) -> None:
        with Folder(path) as folder:
            status = os.fstat(folder.number)
            if status.st_uid != os.geteuid():
                return
            is_old = time() - status.st_mtime > _GRACE
            for name in (_OWNER, _NEW_OWNER) if is_old else (_OWNER,):
                with suppress(FileNotFoundError), folder.open(name, os.O_RDWR) as owner:
                    fcntl.lockf(owner.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                    return
            if is_old:
                os.rmdir(path)  # it is empty
