# SPDX-License-Identifier: MIT
"""Moves entries between caches: into a file, out of one, or straight across."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress

from cacheness import forks
from cacheness.blobs.base import BLOB_NAME
from cacheness.disk.apart import nameless_file, telling_of_forks
from cacheness.disk.descriptor import Descriptor
from cacheness.errors import BackendUnavailableError, BlobCorruptedError
from cacheness.integrity.integrity import in_batches
from cacheness.integrity.vetting import Vetting
from cacheness.payloads.layout import file_mode
from cacheness.progress import reporting
from cacheness.transfer.arrivals import Arrivals, Tally
from cacheness.transfer.export_file import ExportReader, ExportWriter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, BinaryIO

    from cacheness.config import CacheConfig
    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.handlers.protocols import Buffer
    from cacheness.progress import Progress
    from cacheness.transfer.arrivals import Transferred
    from cacheness.transfer.export_file import Exported

__all__ = ["copy_entries", "export_entries", "import_entries"]

_BATCH = 64
_BATCH_WEIGHT = 1 << 20
_BLOWUP = 64
"""A hostile line of JSON takes so many times its length in memory."""
_STEM = 35
"""The length of a blob's name without its extension."""
_TRIES = 8
"""How often an entry is read again that was replaced before its payload was read."""


def export_entries(
    engine: Engine, path: str | os.PathLike[str], filters: Mapping[str, Any], progress: Progress
) -> Transferred:
    """Write the selected entries to a file, which is there whole or not at all."""
    tally = Tally()
    engine.flush()

    def write(entry: Entry, extension: str, pieces: Iterable[Buffer]) -> None:
        writer.add(entry, extension, pieces)

    with (
        telling_of_forks(),
        _new_file(os.path.abspath(os.path.expanduser(path)), engine.config) as (file, spool),
        reporting(progress, _total(engine, filters), "exporting") as advance,
    ):
        writer = ExportWriter(file, spool)
        for entries in _selected(engine, filters):
            for entry in entries:
                _hand_over(engine, entry, write, tally)
            advance(len(entries))
        writer.finish()
    tally.copied, tally.bytes = writer.count, writer.bytes
    return tally.result()


def import_entries(
    engine: Engine, path: str | os.PathLike[str], progress: Progress, *, trust: bool
) -> Transferred:
    """Take in what an export holds."""
    engine.check_writable()
    tally = Tally()
    with telling_of_forks(), ExportReader.open(os.path.expanduser(path)) as reader:
        total = reader.check()
        with (
            reporting(progress, total, "importing") as advance,
            Arrivals(engine, Vetting(engine).verdict, tally, trust=trust) as arrivals,
        ):
            for batch in _light_batches(reader):
                _take_batch(reader, batch, arrivals, tally)
                advance(len(batch))
    return tally.result()


def copy_entries(
    engine: Engine,
    target: Engine,
    filters: Mapping[str, Any],
    progress: Progress,
    *,
    trust: bool,
) -> Transferred:
    """Copy the selected entries to another cache."""
    target.check_writable()
    tally = Tally()
    engine.flush()
    with (
        telling_of_forks(),
        reporting(progress, _total(engine, filters), "copying") as advance,
        Arrivals(target, Vetting(engine).verdict, tally, trust=trust) as arrivals,
    ):
        for entries in _selected(engine, filters):
            for entry in arrivals.wanted(entries):
                _hand_over(engine, entry, arrivals.take, tally)
            advance(len(entries))
    return tally.result()


def _take_batch(
    reader: ExportReader, batch: list[Exported], arrivals: Arrivals, tally: Tally
) -> None:
    wanted = {id(entry) for entry in arrivals.wanted([exported.entry for exported in batch])}
    for exported in batch:
        if id(exported.entry) in wanted:
            try:
                arrivals.take(
                    exported.entry,
                    exported.extension,
                    reader.pieces(exported),
                    exported.weight * _BLOWUP,
                )
            except BlobCorruptedError as error:
                tally.refuse(exported.entry.cache_key, str(error), damaged=True)


def _light_batches(exported: Iterable[Exported]) -> Iterator[list[Exported]]:
    batch: list[Exported] = []
    weight = 0
    for one in exported:
        batch.append(one)
        weight += one.weight
        if len(batch) >= _BATCH or weight >= _BATCH_WEIGHT:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


# --- entries of a cache ---------------------------------------------------------------------


def _total(engine: Engine, filters: Mapping[str, Any]) -> int | None:
    return None if filters else engine.backend.count()


def _selected(engine: Engine, filters: Mapping[str, Any]) -> Iterator[list[Entry]]:
    """The entries that the filters select, a batch at a time."""
    backend = engine.backend
    keys = backend.query_meta(**filters) if filters else backend.iter_keys()
    for some in in_batches(keys, _BATCH):
        yield list(backend.get_entries(some).values())


def _hand_over(
    engine: Engine,
    entry: Entry,
    take: Callable[[Entry, str, Iterable[Buffer]], None],
    tally: Tally,
) -> None:
    """Give an entry and its payload away; if a replace overtook that, what stands now."""
    for _ in range(_TRIES):
        try:
            return take(entry, _extension_of(entry), _pieces_of(engine, entry))
        except BlobCorruptedError as error:
            now = engine.backend.get_entry(entry.cache_key)
            if now is None:
                return None
            if now.generation == entry.generation:
                return tally.refuse(entry.cache_key, str(error), damaged=True)
            entry = now
    why = "it was replaced again and again while it was read"
    return tally.refuse(entry.cache_key, why, damaged=True)


def _pieces_of(engine: Engine, entry: Entry) -> Iterator[Buffer]:
    """The payload as it is stored; what is missing is damage, like what is cut off."""
    about = f"entry {entry.cache_key}"
    if entry.blob is None:
        if entry.inline is None:
            raise BlobCorruptedError(f"{about} has neither payload nor blob")
        yield entry.inline
        return
    blobs = engine.blobs()
    if entry.blob_store not in (None, blobs.store_id):
        raise BlobCorruptedError(f"{about} lies in another blob store ({entry.blob_store})")
    try:
        yield from blobs.pieces(entry.blob)
    except FileNotFoundError:
        raise BlobCorruptedError(f"{about}: its blob {entry.blob} is missing") from None
    except ValueError as error:
        raise BlobCorruptedError(f"{about}: {error}") from None
    except OSError as error:
        raise BackendUnavailableError(f"{about} can't be read: {error}") from error


def _extension_of(entry: Entry) -> str:
    """What the file of the payload ends in, where it has one."""
    if entry.blob is None or not BLOB_NAME.fullmatch(entry.blob):
        return ""
    return entry.blob[_STEM:]


# --- the file -------------------------------------------------------------------------------


@contextmanager
def _new_file(path: str, config: CacheConfig) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """A file that comes to its path when the body has ended well, and one beside it."""
    directory, name = os.path.split(path)
    begun = forks.number
    temporary = os.path.join(directory, f".{name[:100]}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with (
            Descriptor(temporary, flags, file_mode(config), begun=begun) as opened,
            open(opened.number, "wb", closefd=False) as file,
            nameless_file(directory) as spool,
        ):
            yield file, spool
            forks.check(begun)
            file.flush()
            if config.durability == "fsync":
                os.fsync(file.fileno())
        forks.check(begun)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            if forks.number == begun:
                os.unlink(temporary)
        raise
    if config.durability == "fsync":
        _sync(directory)


def _sync(directory: str) -> None:
    """Wait for the name to be on the disk; Windows keeps directories in order by itself."""
    if os.name != "nt":
        with Descriptor(directory, os.O_RDONLY) as opened:
            os.fsync(opened.number)
