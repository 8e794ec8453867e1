# SPDX-License-Identifier: MIT
"""Maps a file into memory in place of reading it, where that is as safe."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False

__all__ = ["mapped_privately"]

_POPULATE_READ = 22
"""``MADV_POPULATE_READ`` of Linux 5.14, which the module `mmap` has no name for."""
_WRITEABLE_BY_OTHERS = 0o022

if sys.platform == "linux":

    def mapped_privately(descriptor: int, size: int) -> memoryview | None:
        """Writeable memory over a file's pages; what is written stays with the caller.

        Nobody but the caller's own user may be able to change the file, whose pages are
        shared until they are written to. All are read here, so that a disk that fails is
        told now, by an `OSError`, and not by a signal at the first look.

        Args:
            descriptor: A regular file, open for reading.
            size: The file's size, more than zero.

        Returns:
            The file, or None where it has to be read: another user may write to it, it is of
            another size, or the system can't.
        """
        status = os.fstat(descriptor)
        if (
            status.st_uid != os.geteuid()
            or status.st_mode & _WRITEABLE_BY_OTHERS
            or status.st_size != size
        ):
            return None
        import mmap

        try:
            mapped = mmap.mmap(
                descriptor,
                size,
                flags=mmap.MAP_PRIVATE,
                prot=mmap.PROT_READ | mmap.PROT_WRITE,
            )
            mapped.madvise(_POPULATE_READ)
        except (OSError, ValueError, OverflowError):
            return None
        return memoryview(mapped)

else:

    def mapped_privately(descriptor: int, size: int) -> memoryview | None:
        """None: what this system can map might fail by a signal where a read raises."""
        return None
