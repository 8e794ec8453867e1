# SPDX-License-Identifier: MIT
"""Puts a damaged entry aside, for inspection."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict

from cacheness import forks
from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cacheness.blobs.base import BlobBackend
    from cacheness.config import CacheConfig
    from cacheness.disk.folder import Folder
    from cacheness.entry import Entry
    from cacheness.handlers.protocols import Buffer

__all__ = ["put_aside"]

_MOST = 1 << 30
"""Bytes that are kept for inspection, of each cache."""
_LOOKS = 16
"""How much is there is looked at when it has grown by this part of what may be there."""
_LEAST = 1 << 16
"""The bytes that an entry counts for then, at least."""
_grown: dict[str, int] = {}
"""By directory, the bytes that this process has put into it since."""


def put_aside(entry: Entry, blobs: Callable[[], BlobBackend], config: CacheConfig) -> None:
    """Copy the payload to ``quarantine/<generation>.payload`` and its record beside it.

    A payload that can't be read any more leaves its record alone; where the cache keeps
    nothing on disk, or the disk is full, the payload is lost, as it is useless anyway. Where
    ``quarantine/`` becomes larger than the cache may be, or than 1 GiB, the oldest go; the
    newest stays, however large it is.
    """
    begun = forks.number
    if os.path.isdir(config.cache_dir):
        with suppress(OSError, ValueError, BackendUnavailableError):
            _copy(entry, blobs, config)
    forks.check(begun)  # it is up to the parent, then


def _copy(entry: Entry, blobs: Callable[[], BlobBackend], config: CacheConfig) -> None:
    from cacheness.disk.folder import Folder
    from cacheness.payloads.layout import file_mode, make_subdirectory

    directory = os.path.join(config.cache_dir, "quarantine")
    name = f"{entry.generation:016x}"
    mode = file_mode(config)
    record = {name: value for name, value in asdict(entry).items() if name != "inline"}
    text = json.dumps(record, indent=1, default=str).encode()
    make_subdirectory(directory, config)
    with Folder(directory) as folder:
        _write(folder, f"{name}.json", (text,), mode)
        if entry.inline is not None:
            _write(folder, f"{name}.payload", (entry.inline,), mode)
        elif entry.blob is not None:
            pieces = _first(entry.stored_bytes, blobs().pieces(entry.blob))
            _write(folder, f"{name}.payload", pieces, mode)
        most = _MOST if config.max_size is None else min(_MOST, config.max_size)
        # Not at each: a damaged disk may have thousands of them.
        grown = _grown.get(directory, most) + max(_LEAST, entry.stored_bytes)
        _grown[directory] = grown if grown < most // _LOOKS else 0
        if grown >= most // _LOOKS:
            _keep_within(folder, most, newest=name)


def _keep_within(folder: Folder, most: int, newest: str) -> None:
    """Remove the oldest until no more than so many bytes are left."""
    sizes: dict[str, int] = {}
    times: dict[str, float] = {}
    for name in folder.names():
        with suppress(FileNotFoundError):  # removed meanwhile
            status, stem = folder.status(name), name.partition(".")[0]
            sizes[stem] = sizes.get(stem, 0) + status.st_size
            times[stem] = max(times.get(stem, 0.0), status.st_mtime)
    size = sum(sizes.values())
    for stem in sorted(times, key=times.__getitem__):
        if size <= most:
            return
        if stem != newest:
            for name in (f"{stem}.payload", f"{stem}.json"):
                with suppress(FileNotFoundError):
                    folder.unlink(name)
            size -= sizes[stem]


def _first(size: int, pieces: Iterable[Buffer]) -> Iterator[Buffer]:
    """So many bytes: what follows may be a hole that takes nothing until it is copied."""
    for piece in pieces:
        yield piece[: max(0, size)]
        size -= len(piece)
        if size <= 0:
            return


def _write(folder: Folder, name: str, content: Iterable[Buffer], mode: int) -> None:
    with suppress(FileNotFoundError):
        folder.unlink(name)  # it may be another name of a file elsewhere
    try:
        with (
            folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as opened,
            open(opened.number, "wb", closefd=False) as file,
        ):
            file.writelines(content)
    except BaseException:
        with suppress(OSError):
            folder.unlink(name)  # a part of it may fill the disk
        raise
