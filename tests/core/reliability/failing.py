"""Has one call of a function of the operating system, or of SQLite, fail."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections import deque

CALLS = frozenset(
    {
        "chmod",
        "commit",
        "connect",
        "execute",
        "executemany",
        "fchmod",
        "fdatasync",
        "flush",
        "fstat",
        "fsync",
        "ftruncate",
        "link",
        "listdir",
        "lockf",
        "lstat",
        "mkdir",
        "open",
        "pread",
        "pwrite",
        "read",
        "readinto",
        "remove",
        "rename",
        "replace",
        "scandir",
        "sendfile",
        "stat",
        "statvfs",
        "unlink",
        "write",
        "writelines",
        "writev",
    }
)


class Failing:
    """While it is entered, one call fails; ``reached`` tells which, if there were as many.

    Args:
        number: Of the call.
        code: Of the error; None is a ``KeyboardInterrupt`` just after the call, which did
            what it does.

    The interpreter's own profile hook sees each call of a function in C; what it raises is
    raised in the place of the call.
    """

    def __init__(self, number: int, code: int | None) -> None:
        self.reached = ""
        self.in_removal = False
        """Whether what could not be done is to remove a file that nothing names."""
        self._left = number
        self._code = code

    def __enter__(self) -> Failing:
        sys.setprofile(self._before_call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _before_call(self, frame, event, function):
        if (
            event != ("c_return" if self._code is None else "c_call")
            or function.__name__ not in CALLS
            or not _is_outside(function, frame)
        ):
            return
        if self._left:
            self._left -= 1
            return
        sys.setprofile(None)
        code = frame.f_code
        self.in_removal = _removes(function, frame)
        if self._code is None:
            self.reached = f"interrupted after {function.__qualname__} in {code.co_name}"
            raise KeyboardInterrupt
        self.reached = f"{function.__qualname__} in {code.co_name} ({code.co_filename})"
        if type(function.__self__).__module__ == "sqlite3" or function.__self__ is _sqlite:
            raise _of_sqlite(self._code)
        raise OSError(self._code, os.strerror(self._code))


_OWN = (str, bytes, list, set, deque)
_sqlite = sys.modules["_sqlite3"]


def _is_outside(function, frame):
    if "importlib" in frame.f_code.co_filename or type(function.__self__) in _OWN:
        return False
    if frame.f_code.co_name == "_unlock":  # giving a lock back does not fail on a local disk
        return False
    return function is not open  # it is given an open descriptor, mostly


def _removes(function, frame):
    if function.__name__ == "unlink":
        return True
    while frame is not None:
        if frame.f_code.co_name in ("discard_blob", "drop_blob", "withdraw", "sync"):
            return True  # a log that can't be synced has been written
        frame = frame.f_back
    return False


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
