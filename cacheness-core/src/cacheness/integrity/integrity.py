# SPDX-License-Identifier: MIT
"""Compares what is recorded with what is stored, and mends what can be mended.

It runs beside readers and writers: an entry that seems at fault is read again, and removed
only if it is still the one that was looked at; a blob that nothing names is removed only
once it is older than any writer takes from the blob to the entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from time import time

from cacheness.errors import BackendUnavailableError
from cacheness.faults import Faults
from cacheness.integrity.orphans import sweep
from cacheness.integrity.report import IntegrityReport, Problem, size_text
from cacheness.integrity.vetting import Vetting
from cacheness.payloads.checksum import Checksum
from cacheness.progress import reporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor
    from typing import TypeAlias, TypeVar

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.integrity.report import ProblemKind
    from cacheness.progress import Advance, Progress

    Fault: TypeAlias = tuple[ProblemKind, str]
    _T = TypeVar("_T")

__all__ = ["GRACE", "Garbage", "collect_garbage", "verify_integrity"]

GRACE = 3600.0
"""Seconds for which what nothing names is left alone, since a writer may be about to."""
_LISTED = 10_000
"""Problems of one kind that a report holds; all are counted."""
_BATCH = 256
_BATCH_BYTES = 8 << 20
"""Entries, and bytes of payloads in them, that are in memory at a time."""
_THREADS = 4
"""They wait for disks and networks; the checksums take the processor one at a time."""
_TRIES = 8
_PUT_ASIDE = ("corrupt", "bad_signature")


def verify_integrity(
    engine: Engine, *, repair: bool = False, progress: Progress = None, grace: float = GRACE
) -> IntegrityReport:
    """Look at every entry of the namespace and every blob of the store.

    Args:
        engine: The cache's.
        repair: Whether to mend, too.
        progress: As `cacheness.progress.reporting`.
        grace: See `GRACE`.

    Raises:
        ReadOnlyError: With ``repair`` in a read-only cache.
        BackendUnavailableError: The metadata can't be read at the moment.
    """
    if repair:
        engine.check_writable()
    findings = _Findings()
    sound = _check_store(engine, findings, repair=repair)
    entries = _Entries(engine, findings, repair=repair)
    try:
        with reporting(progress, engine.backend.count(), "verifying") as advance:
            entries.check_all(advance)
    except BackendUnavailableError as error:
        if sound:
            raise
        findings.add_store(engine, f"not all entries can be read: {error}")
    # A damaged store may have lost the names of blobs, which are then no orphans yet.
    pending = sweep(engine, findings.add, repair=repair and sound, grace=grace)
    return findings.report(entries.count, entries.bytes, pending)


@dataclass(frozen=True, slots=True)
class Garbage:
    """What `collect_garbage` removed."""

    expired: int
    """Entries past their time to live and their stale window."""
    orphaned: int
    """Blobs and temporary files that nothing names."""
    bytes: int
    """The size of all of it."""

    def __str__(self) -> str:
        return (
            f"{self.expired:,} expired entries and {self.orphaned:,} orphaned files removed "
            f"({size_text(self.bytes)})"
        )


def collect_garbage(engine: Engine, *, grace: float = GRACE) -> Garbage:
    """Remove what is of no use to anybody: expired entries, and what nothing names.

    Args:
        engine: The cache's.
        grace: See `GRACE`.

    Raises:
        ReadOnlyError: The cache is read-only.
    """
    engine.check_writable()
    expired, freed = _remove_expired(engine)
    findings = _Findings()
    sweep(engine, findings.add, repair=True, grace=grace)
    return Garbage(expired, findings.mended.get("orphaned", 0), freed + findings.mended_bytes)


def _check_store(engine: Engine, findings: _Findings, *, repair: bool) -> bool:
    """Have the backend look at its own files; whether they are well."""
    found = engine.backend.check_store(repair=False)
    left = engine.backend.check_store(repair=True) if repair else found
    for sentence in found:
        findings.add_store(engine, sentence, mended=sentence not in left)
    return not found


def _remove_expired(engine: Engine) -> tuple[int, int]:
    """Remove what is past its stale window; the store compares the times as it removes."""
    removed = engine.backend.delete_expired(time())
    engine.dispose(removed, "expire")
    return len(removed), sum(entry.stored_bytes for entry in removed)


class _Findings:
    """Collects problems: the first of each kind, and the number of all."""

    def __init__(self) -> None:
        self._lists: dict[ProblemKind, list[Problem]] = {}
        self._counts: dict[str, int] = {}
        self.mended: dict[str, int] = {}
        self.mended_bytes = 0

    def add(self, problem: Problem) -> None:
        kind = problem.kind
        listed = self._lists.setdefault(kind, [])
        if len(listed) < _LISTED:
            listed.append(problem)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if problem.mended:
            self.mended[kind] = self.mended.get(kind, 0) + 1
            self.mended_bytes += problem.bytes

    def add_store(self, engine: Engine, sentence: str, *, mended: bool = False) -> None:
        self.add(Problem("store", engine.config.metadata_backend, sentence, mended=mended))

    def report(self, entries: int, size: int, pending: int) -> IntegrityReport:
        return IntegrityReport(
            entries,
            size,
            pending,
            **{kind: tuple(listed) for kind, listed in self._lists.items()},
            counts=self._counts,
            mended=self.mended,
        )


class _Entries:
    """Looks at the entries of a namespace, a batch at a time."""

    def __init__(self, engine: Engine, findings: _Findings, *, repair: bool) -> None:
        self._engine = engine
        self._findings = findings
        self._repair = repair
        self._vetting = Vetting(engine)
        self._store_id: str | None = None
        self.count = 0
        self.bytes = 0

    def check_all(self, advance: Advance) -> None:
        from concurrent.futures import ThreadPoolExecutor

        backend = self._engine.backend
        most = max(1, min(_BATCH, _BATCH_BYTES // max(1, self._engine.config.inline_bytes)))
        with ThreadPoolExecutor(_THREADS, "cacheness-verify") as pool:
            for keys in in_batches(backend.iter_keys(), most):
                found = list(backend.get_entries(keys).values())
                self._check(found, pool)
                advance(len(keys))

    def _check(self, entries: list[Entry], pool: Executor) -> None:
        self.count += len(entries)
        self.bytes += sum(entry.stored_bytes for entry in entries)
        with_blobs = [entry for entry in entries if entry.blob is not None]
        if with_blobs:
            self._store_id = self._id_of_store()
        inline = (self._look(entry) for entry in entries if entry.blob is None)
        for results in (inline, pool.map(self._look, with_blobs)):
            for result in results:
                if result is not None:
                    self._deal_with(*result)

    def _id_of_store(self) -> str | None:
        try:
            return self._engine.blobs().store_id
        except BackendUnavailableError:
            return None  # each blob says so, and why

    def _look(self, entry: Entry) -> tuple[Entry, Fault] | None:
        """What is the matter with an entry, or with the one that replaced it meanwhile."""
        for _ in range(_TRIES):
            fault = self._fault(entry)
            if fault is None:
                return None
            again = self._engine.backend.get_entry(entry.cache_key)
            if again is None:
                return None
            if again.generation == entry.generation:
                return entry, fault
            entry = again
        return None

    def _fault(self, entry: Entry) -> Fault | None:
        return self._fault_of_payload(entry) or self._fault_of_signature(entry)

    def _fault_of_payload(self, entry: Entry) -> Fault | None:
        if entry.blob is None:
            if entry.inline is None:
                return "corrupt", "it has neither payload nor blob"
            return _difference(entry, (entry.inline,))
        if entry.blob_store not in (None, self._store_id):
            return "out_of_reach", f"its blob lies in another store ({entry.blob_store})"
        try:
            return _difference(entry, self._engine.blobs().pieces(entry.blob))
        except FileNotFoundError:
            return "missing", f"its blob {entry.blob} is missing"
        except BackendUnavailableError as error:
            return "out_of_reach", str(error)
        except OSError as error:
            return "out_of_reach", f"its blob {entry.blob} can't be read now: {error}"
        except ValueError as error:
            return "corrupt", str(error)

    def _fault_of_signature(self, entry: Entry) -> Fault | None:
        vetting = self._vetting
        if self._engine.config.signing != "off":
            verdict = vetting.verdict(entry)
            if verdict == "wrong":
                return "bad_signature", "its signature does not hold"
            if verdict == "foreign":
                return "unverifiable", "it was signed with a key that is not held here"
            if verdict == "missing" and vetting.needs_signature(entry):
                return "unsigned", f"the handler {entry.handler!r} needs a signature"
        unreadable = vetting.unreadable(entry)
        return ("unreadable", unreadable) if unreadable else None

    def _deal_with(self, entry: Entry, fault: Fault) -> None:
        kind, detail = fault
        told = kind == "missing" or kind in _PUT_ASIDE
        mended = told and self._repair and self._mend(entry, kind, detail)
        self._findings.add(Problem(kind, entry.cache_key, detail, entry.stored_bytes, mended))
        about = (entry.cache_key, entry.handler, entry.stored_bytes, detail)
        if told:
            self._engine.tell("corrupt", *about)
        if mended:
            self._engine.tell("invalidate", *about)

    def _mend(self, entry: Entry, kind: ProblemKind, detail: str) -> bool:
        if kind in _PUT_ASIDE:
            return Faults(self._engine).quarantine(entry.cache_key, entry.generation, detail)
        backend = self._engine.backend
        if backend.delete_entry(entry.cache_key, if_generation=entry.generation) is None:
            return False
        self._engine.bury([entry], "quarantined", detail)
        return True


def _difference(entry: Entry, pieces: Iterable[bytes | bytearray | memoryview]) -> Fault | None:
    """How a payload differs from what the entry says of it."""
    try:
        checksum = Checksum(entry.checksum)
    except ValueError as error:
        return "corrupt", str(error)
    size = 0
    for piece in pieces:
        checksum.update(piece)
        size += len(piece)
    if size != entry.stored_bytes:
        return "corrupt", f"its payload has {size} bytes, not {entry.stored_bytes}"
    return None if checksum.text() == entry.checksum else ("corrupt", "the checksum differs")


def in_batches(items: Iterable[_T], most: int) -> Iterator[list[_T]]:
    """The same in lists of up to so many."""
    iterator = iter(items)
    while batch := list(islice(iterator, most)):
        yield batch
