# SPDX-License-Identifier: MIT
"""Maps a file into memory in place of reading it, where that is as safe."""

from __future__ import annotations

import os
import sys

__all__ = ["mapped_privately"]

_POPULATE_READ = 22
"""``MADV_POPULATE_READ`` of Linux 5.14, which the module `mmap` has no name for."""
_WRITEABLE_BY_OTHERS = 0o022


def mapped_privately(descriptor: int, size: int) -> memoryview | None:
    """Writeable memory over a file's pages; what is written stays with the caller.

    Nobody but the caller's own user may be able to change the file, whose pages are
    shared until they are written to. All are read here, so that a disk that fails is
    told now, by the read that follows None, and not by a signal at the first look.

    Args:
        descriptor: A regular file, open for reading.
        size: The file's size, more than zero.

    Returns:
        The file, or None where it has to be read: another user may write to it, it is of
        another size, or the system can't map it so.
    """
    if sys.platform != "linux" or not _is_own(os.fstat(descriptor), size):
        return None
    import mmap

    rights = mmap.PROT_READ | mmap.PROT_WRITE
    try:
        mapped = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=rights)
        mapped.madvise(_POPULATE_READ)
    except (OSError, ValueError, OverflowError):
        return None
    return memoryview(mapped)


def _is_own(status: os.stat_result, size: int) -> bool:
    own = status.st_uid == os.geteuid() and not status.st_mode & _WRITEABLE_BY_OTHERS
    return own and status.st_size == size
