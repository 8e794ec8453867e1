"""Has one call of a function of the operating system, or of SQLite, fail."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections import deque

CALLS = frozenset(
    "open write writev pwrite writelines sendfile fsync fdatasync ftruncate rename replace "
    "link unlink remove mkdir chmod fchmod read readinto pread stat lstat fstat listdir scandir "
    "statvfs flush lockf execute executemany commit connect".split()
)


class Failing:
    """While it is entered, the call of that number fails; ``reached`` tells whether there was one.

    The interpreter's own profile hook sees each call of a function in C; what it raises is
    raised in the place of the call.
    """

    def __init__(self, number: int, code: int) -> None:
        self.reached = ""
        self._left = number
        self._code = code

    def __enter__(self) -> Failing:
        sys.setprofile(self._before_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _before_call(self, frame, event, function):
        if event != "c_call" or function.__name__ not in CALLS or not _is_outside(function, frame):
            return
        if self._left:
            self._left -= 1
            return
        sys.setprofile(None)
        code = frame.f_code
        self.reached = f"{function.__qualname__} in {code.co_name} ({code.co_filename})"
        if type(function.__self__).__module__ == "sqlite3" or function.__self__ is _sqlite:
            raise _of_sqlite(self._code)
        raise OSError(self._code, os.strerror(self._code))


_OWN = (str, list, set, deque)
_sqlite = sys.modules["_sqlite3"]


def _is_outside(function, frame):
    if "importlib" in frame.f_code.co_filename or type(function.__self__) in _OWN:
        return False
    if frame.f_code.co_name == "_unlock":  # giving a lock back does not fail on a local disk
        return False
    return function is not open  # it is given an open descriptor, mostly


def _of_sqlite(code):
    name = {
        errno.EIO: "SQLITE_IOERR",
        errno.ENOSPC: "SQLITE_FULL",
        errno.EACCES: "SQLITE_READONLY",
        errno.EMFILE: "SQLITE_CANTOPEN",
    }[code]
    error = sqlite3.OperationalError(f"{name} of this test")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error
