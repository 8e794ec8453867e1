# SPDX-License-Identifier: MIT
"""A directory for the files of this process alone, which goes with it at the latest."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import contextmanager

from cacheness import forks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["new_directory", "private_directory", "remove_directory", "scratch_directory"]

_PREFIX = "cacheness-files-"

_directory: tuple[int, str] | None = None
"""The process that made it, and the directory: a forked child makes one of its own."""


def scratch_directory() -> str:
    """The directory of this process, made at first need."""
    global _directory
    pid = os.getpid()
    if _directory is None or _directory[0] != pid or not os.path.isdir(_directory[1]):
        _directory = pid, tempfile.mkdtemp(prefix=f"{_PREFIX}{pid}-")
        atexit.register(remove_directory, *_directory)
    return _directory[1]


def new_directory() -> str:
    """The path of a new directory of this process alone, gone with it at the latest."""
    begun = forks.number
    path = os.path.join(scratch_directory(), os.urandom(16).hex())
    forks.check(begun)
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
        forks.check(begun)
        os.mkdir(path, 0o700)
        yield path
    finally:
        if forks.number == begun:
            # A view that is still open keeps its pages although the name is gone.
            shutil.rmtree(path, ignore_errors=True)
