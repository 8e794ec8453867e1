# SPDX-License-Identifier: MIT
"""Finds the blobs and files of a cache that nothing names, and removes them."""

from __future__ import annotations

import json
import os
import re
from array import array
from bisect import bisect_left
from contextlib import closing, suppress
from stat import S_ISREG
from time import time

from cacheness.blobs.base import BLOB_NAME
from cacheness.disk.folder import Folder
from cacheness.errors import BackendUnavailableError, ConfigError
from cacheness.integrity.report import Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cacheness.backends.base import MetadataBackend
    from cacheness.engine import Engine

    Add = Callable[[Problem], None]

__all__ = ["sweep"]

_SUSPECTS = 10_000
"""Blobs that seem orphaned and are held in memory until a second look."""
_TEMPORARY = re.compile(r".+\.[0-9]+\.[0-9a-f]+\.tmp", re.ASCII)
_RECORDS = {"sqlite": "metadata.sqlite3", "json": "metadata.jsonl"}
"""What other backends of the core keep in a cache's directory, beside the same blobs."""
_LONGEST_RECORD = 1 << 20


def sweep(engine: Engine, add: Add, *, repair: bool, grace: float) -> int:
    """Find what nothing names; with ``repair`` remove what is older than ``grace`` seconds.

    Args:
        engine: The cache's.
        add: Is told each problem.
        repair: Whether to remove.
        grace: Seconds for which what nothing names may be a writer's.

    Returns:
        The number of blobs that nothing names yet, which are younger.
    """
    pending = 0
    try:
        named = _named_blobs(engine)
    except (ConfigError, BackendUnavailableError) as error:
        add(Problem("store", "blobs", f"no blob is taken for an orphan: {error}"))
        named = None
    try:
        if named is not None:
            _check_sole_owner(engine)
            pending = _sweep_blobs(engine, named, add, repair=repair, grace=grace)
        _sweep_leftovers(engine, add, repair=repair, grace=grace)
    except _NotOursAloneError as error:
        add(Problem("out_of_reach", "blobs", f"no blob is taken for an orphan: {error}"))
    except (BackendUnavailableError, OSError) as error:
        add(Problem("out_of_reach", "blobs", f"the blobs can't be listed now: {error}"))
    try:
        _sweep_directory(engine, add, repair=repair, grace=grace)
    except OSError as error:
        add(Problem("out_of_reach", "files", f"the files can't be listed now: {error}"))
    return pending


class _NotOursAloneError(Exception):
    """Another metadata store may name blobs in the same blob store."""


# --- blobs ----------------------------------------------------------------------------------


def _sweep_blobs(engine: Engine, named: array[int], add: Add, *, repair: bool, grace: float) -> int:
    before = time() - grace
    pending = 0
    suspects: dict[str, int] = {}
    for name, size, changed_at in engine.blobs().iter_blobs():
        if _is_among(named, name):
            continue
        if changed_at >= before:
            pending += 1
            continue
        suspects[name] = size
        if len(suspects) >= _SUSPECTS:
            _deal_with(engine, suspects, add, repair=repair)
            suspects.clear()
    _deal_with(engine, suspects, add, repair=repair)
    return pending


def _deal_with(engine: Engine, suspects: dict[str, int], add: Add, *, repair: bool) -> None:
    """Look a second time whether somebody named them since; the rest are orphans."""
    if not suspects:
        return
    for name in _iter_named(engine):
        suspects.pop(name, None)
    # Whoever named one that we could not see has said so before.
    if suspects:
        _check_sole_owner(engine)
    for name, size in suspects.items():
        removed = repair and engine.blobs().delete(name)
        add(Problem("orphaned", name, "no entry names this blob", size, removed))


def _named_blobs(engine: Engine) -> array[int] | None:
    """The first 64 bits of each blob's name, sorted: 8 MB for a million.

    Two blobs of the same bits keep an orphan alive, nothing else. None where it can't be
    known which blobs are named.
    """
    if engine.backend.iter_blob_names() is None or not _sees_all(engine):
        return None
    if engine.owner() is None or engine.blobs().owners() is None:
        return None
    # Not an array yet: those can't be sorted in place.
    names = [int(name[3:19], 16) for name in _iter_named(engine) if BLOB_NAME.fullmatch(name)]
    names.sort()
    return array("Q", names)


def _check_sole_owner(engine: Engine) -> None:
    """See that no other metadata store names blobs in this store of blobs.

    Raises:
        _NotOursAloneError: One does.
    """
    others = len((engine.blobs().owners() or frozenset()) - {engine.owner()})
    if others:
        raise _NotOursAloneError(
            f"the entries of {others} other metadata {'store' if others == 1 else 'stores'} may "
            "name it; give each cache blobs of its own, or remove the mark of an owner that is "
            "no more"
        )


def _is_among(named: array[int], name: str) -> bool:
    number = int(name[3:19], 16)
    at = bisect_left(named, number)
    return at < len(named) and named[at] == number


def _iter_named(engine: Engine) -> Iterator[str]:
    yield from engine.backend.iter_blob_names() or ()
    for other in _other_records(engine):
        with closing(other):
            yield from other.iter_blob_names() or ()


def _sees_all(engine: Engine) -> bool:
    """Whether all that could name a blob of the store can be asked.

    What other processes or other objects hold in their memory can't.
    """
    config = engine.config
    if engine.backend.blob_backend != "memory":
        return True
    shared_by = config.blob_options.get("name"), config.metadata_options.get("name")
    return config.blob_backend in (None, "memory") and shared_by[0] == shared_by[1]


def _other_records(engine: Engine) -> Iterator[MetadataBackend]:
    """What was recorded in the same directory when the cache was used with another backend."""
    from cacheness.backends.base import BackendContext

    config = engine.config
    for name, file_name in _RECORDS.items():
        path = os.path.join(config.cache_dir, file_name)
        if name != config.metadata_backend and os.path.exists(path):
            looking = config.replace(
                read_only=True, metadata_backend=name, metadata_options={}, memory_bytes=0
            )
            context = BackendContext(config.cache_dir, config.namespace, looking)
            yield engine.registry.metadata_backend(name)(context)


# --- files ----------------------------------------------------------------------------------


def _sweep_leftovers(engine: Engine, add: Add, *, repair: bool, grace: float) -> None:
    found = list(engine.blobs().iter_leftovers(older_than=grace))
    if found and repair:
        engine.blobs().remove_leftovers(older_than=grace)
    for name, size, _ in found:
        add(Problem("orphaned", name, "a writer that was killed left it", size, repair))


def _sweep_directory(engine: Engine, add: Add, *, repair: bool, grace: float) -> None:
    before = time() - grace
    directory = os.path.realpath(engine.config.cache_dir)
    with suppress(FileNotFoundError), Folder(directory) as root:
        _sweep_files(root, "", add, repair=repair, before=before)
        for name in ("blobs", "quarantine"):
            # What is no directory, or a link to one, has none of our files.
            with suppress(FileNotFoundError, NotADirectoryError), Folder(name, root) as folder:
                _sweep_files(folder, name, add, repair=repair, before=before)


def _sweep_files(folder: Folder, path: str, add: Add, *, repair: bool, before: float) -> None:
    names = folder.names()
    there = frozenset(names)
    for name in names:
        try:
            status = folder.status(name)
        except FileNotFoundError:
            continue  # removed meanwhile
        about = os.path.join(path, name)
        if not S_ISREG(status.st_mode):
            continue
        if path == "quarantine" and name.endswith(".json"):
            add(_in_quarantine(folder, name, about))
        elif not _is_named(name, path, there) and status.st_ctime < before:
            removed = repair and _unlink(folder, name)
            add(Problem("orphaned", about, "nothing names this file", status.st_size, removed))


def _is_named(name: str, path: str, there: frozenset[str]) -> bool:
    """Whether it is no temporary file, and no payload in quarantine without its record."""
    if path == "quarantine" and name.endswith(".payload"):
        return f"{name.removesuffix('.payload')}.json" in there
    return not _TEMPORARY.fullmatch(name)


def _in_quarantine(folder: Folder, name: str, about: str) -> Problem:
    try:
        with folder.open(name, os.O_RDONLY) as opened:
            record = json.loads(opened.file().read(_LONGEST_RECORD))
        detail = f"entry {record['cache_key']} of the handler {record['handler']!r}"
        size = int(record["stored_bytes"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        detail, size = "a record that can't be read", 0
    return Problem("quarantined", about, detail, size)


def _unlink(folder: Folder, name: str) -> bool:
    try:
        folder.unlink(name)
    except OSError:
        return False
    return True
