# SPDX-License-Identifier: MIT
"""Refuses what lies in the place of a SQLite file and would lead SQLite elsewhere."""

from __future__ import annotations

import os
import stat

from cacheness.disk.descriptor import Descriptor
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

__all__ = ["check_file", "return_to_log"]

_SUPER_JOURNAL = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
"""What a journal ends in that names another file, which SQLite removes after a rollback
(https://sqlite.org/fileformat2.html#the_rollback_journal). Only transactions over several
databases write one, so none of ours does."""


def check_file(path: str) -> None:
    """Look at a file that SQLite is about to open by its name.

    SQLite follows a link in the place of the database, and removes whatever file a
    journal names.

    Raises:
        BackendUnavailableError: It is a link, no regular file, or such a journal.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return  # gone again, or for SQLite to tell
    if not stat.S_ISREG(status.st_mode):
        raise BackendUnavailableError(
            f"{path} is a link or no regular file, and was not put there by cacheness; remove it"
        )
    if path.endswith("-journal") and _names_another_file(path):
        raise BackendUnavailableError(
            f"{path} names a file to be removed, and was not written by cacheness; remove it"
        )


def return_to_log(connection: sqlite3.Connection, path: str) -> None:
    """Set a database on a local disk to WAL mode that somebody has set to another.

    Out of WAL mode SQLite looks for a journal at every read, and not only when it opens
    the file, so that one could be planted behind `check_file`.
    """
    if os.path.getsize(path):
        connection.execute("PRAGMA journal_mode = WAL")


def _names_another_file(path: str) -> bool:
    try:
        # SQLite has no locks on a journal that closing this could release.
        opened = Descriptor(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return True
    with opened, open(opened.number, "rb", closefd=False) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(_SUPER_JOURNAL)))
        return file.read() == _SUPER_JOURNAL


_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
