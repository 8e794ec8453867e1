# SPDX-License-Identifier: MIT
"""What a blob backend is: where payloads too large to inline are kept."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from cacheness import forks
from cacheness.disk.blob_names import BLOB_NAME, check_blob_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from cacheness.backends.base import BackendContext
    from cacheness.handlers.protocols import Buffer

__all__ = ["BLOB_NAME", "BlobBackend", "check_blob_name"]


class BlobBackend(ABC):
    """Keeps immutable payloads by name. Safe for threads and processes.

    Made by ``target(context, **blob_options)``. A missing blob is ``FileNotFoundError``,
    a store that can't be reached is another ``OSError`` or `BackendUnavailableError`.

    In all methods ``name`` is a blob's name, to be checked by `check_blob_name` before any
    use; a ``staged_path`` is what `stage` gave; sizes are in bytes. ``context`` has the
    directory and the configuration, ``options`` are the cache's ``blob_options``.
    """

    directory: str | None = None
    """The directory on a disk of this machine in which the store grows, if there is one."""

    @abstractmethod
    def __init__(self, context: BackendContext, **options: object) -> None:
        """Open the store, and make it where there is none."""

    @property
    @abstractmethod
    def store_id(self) -> str:
        """A random id that is kept in the store, so that two stores are told apart."""

    def claim(self, owner: str) -> None:  # noqa: B027  # keeping none is a choice
        """Remember for good that the metadata store of this id names blobs here."""

    def owners(self) -> frozenset[str] | None:
        """All that was ever told to `claim`.

        None, the default, says that the backend doesn't remember; then no blob is ever
        taken for an orphan, since another metadata store may name it.
        """
        return None

    @abstractmethod
    def write(self, name: str, source: Iterable[Buffer]) -> int:
        """Store the buffers as one blob, whole or not at all, and give its size in bytes.

        If iterating ``source`` raises, nothing remains of the blob.
        """

    @abstractmethod
    def read(self, name: str) -> Buffer:
        """Give the whole blob in one buffer."""

    def read_into(self, name: str, target: memoryview) -> Iterator[memoryview]:
        """Fill ``target`` with the blob, giving each filled slice once, in order.

        Ends early where the blob is shorter than ``target``; the caller compares.

        Raises:
            ValueError: The blob is longer than ``target``.
        """
        data = self.read(name)
        if len(data) > len(target):
            raise ValueError(f"blob {name} is longer than {len(target)} bytes")
        target[: len(data)] = data
        yield target[: len(data)]

    def read_scattered(
        self, name: str, targets: Sequence[memoryview]
    ) -> Iterator[memoryview] | None:
        """Fill each of ``targets`` with what comes next of the blob, as `read_into` does one.

        None where there is no way but `read_into`, which the caller takes then.

        Raises:
            ValueError: The blob is longer than all of them together.
        """
        return None

    def mapped(self, name: str, size: int) -> memoryview | None:
        """Give the blob's own pages, mapped privately and writeable, in place of a copy.

        Only where nobody else may change them, a failure to read any of them is told here,
        and the blob has ``size`` bytes; else None, and the caller reads it. A blob that is
        deleted stays on the disk until its pages are let go of.
        """
        return None

    def pieces(self, name: str) -> Iterator[Buffer]:
        """Give the blob in order, about 1 MiB at a time, however large it is."""
        from cacheness.disk.staging import pieces_of

        with self.local_path(name) as path:
            yield from pieces_of(path)

    @abstractmethod
    def local_path(self, name: str) -> AbstractContextManager[str]:
        """A path at which the blob can be opened while the context lasts; never written to."""

    @abstractmethod
    def delete(self, name: str) -> bool:
        """Remove the blob; False where there was none."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether the blob is there."""

    def renew(self, name: str) -> bool:
        """Have `iter_blobs` say that the blob was changed just now; False where there is none.

        So that a payload whose entry is still to be recorded is not taken for an orphan. The
        default can't, and says only whether it is there.
        """
        return self.exists(name)

    @abstractmethod
    def iter_blobs(self) -> Iterator[tuple[str, int, float]]:
        """Name, size in bytes and time of the last change (epoch seconds) of every blob."""

    def iter_leftovers(self, *, older_than: float = 3600.0) -> Iterator[tuple[str, int, float]]:
        """As `iter_blobs`, of what writers that were killed left unfinished.

        Args:
            older_than: Seconds since the last change; what is younger may still be written.
        """
        return iter(())

    def remove_leftovers(self, *, older_than: float = 3600.0) -> int:
        """Remove what `iter_leftovers` gives, by the same seconds; give the bytes that it took."""
        return 0

    # --- files that a handler writes itself -------------------------------------------

    def stage(self, name: str) -> str:
        """Give the path of a new file for a handler to write, with the blob's extension.

        The file does not exist yet, and nobody else can read its directory. What comes of
        it is told by `adopt`; whoever does not come to that removes the file.
        """
        from cacheness.disk.staging import new_file_path

        return new_file_path(check_blob_name(name))

    def adopt(self, staged_path: str, name: str) -> int:
        """Store a staged file as a blob, whole or not at all, and give its size in bytes.

        The file is gone then, and the blob may bear another name than `stage` was told.

        Raises:
            FileNotFoundError: Nobody wrote the file.
            OSError: It is no regular file.
        """
        from cacheness.disk.staging import pieces_of

        begun = forks.number
        size = self.write(name, pieces_of(staged_path))
        if forks.number == begun:
            os.unlink(staged_path)
        return size

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Release what the backend holds; closing twice is allowed."""
