# SPDX-License-Identifier: MIT
"""Files on their way into a store, at paths where nobody else can put anything."""

from __future__ import annotations

import os
import sys

from cacheness.disk.descriptor import Descriptor
from cacheness.disk.scratch import scratch_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from cacheness.disk.folder import Folder

__all__ = [
    "HeldPath",
    "is_ours_alone",
    "new_file_path",
    "open_regular",
    "pieces_of",
]

_PIECE = 1 << 20


class HeldPath(str):
    """A path into a directory that is open as long as somebody has the path.

    It leads to that very directory, whatever is in the place of its name by then, in this
    process and in those that it starts.
    """

    __slots__ = ("_folder",)
    _folder: Folder

    @classmethod
    def within(cls, folder: Folder, name: str) -> Self | None:
        """The path of a file in the folder; None where there is no such path to a folder."""
        if sys.platform != "linux":
            return None
        directory = f"/proc/{os.getpid()}/fd/{folder.number}"
        try:
            if not os.path.samestat(os.stat(directory), os.fstat(folder.number)):
                return None
        except FileNotFoundError:
            return None
        path = cls(f"{directory}/{name}")
        path._folder = folder
        return path


def is_ours_alone(directory: str) -> bool:
    """Whether nobody else may put files into it."""
    if sys.platform == "win32":
        return True
    status = os.stat(directory)
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def new_file_path(name: str) -> str:
    """The path of a file that does not exist yet, in a directory of this process alone.

    Args:
        name: The blob that it is for; the file bears its extension.
    """
    extension = name[name.find(".") :] if "." in name else ""
    return os.path.join(scratch_directory(), os.urandom(16).hex() + extension)


def pieces_of(path: str) -> Iterator[bytes]:
    """The bytes of a regular file, about 1 MiB at a time.

    Raises:
        OSError: It is missing, or no regular file.
    """
    with open_regular(path) as opened:
        while piece := os.read(opened.number, _PIECE):
            yield piece


def open_regular(path: str) -> Descriptor:
    """A file to be read, if it is a regular one and no link.

    Raises:
        OSError: It is missing, or something else.
    """
    flags = os.O_RDONLY
    for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_NOINHERIT", "O_BINARY"):
        flags |= getattr(os, name, 0)
    opened = Descriptor(path, flags)
    if not opened.is_regular():
        opened.close()
        raise OSError(f"{path} is no regular file")
    return opened
