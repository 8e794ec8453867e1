# SPDX-License-Identifier: MIT
"""Remembers why entries are gone, so that a miss can be explained."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from weakref import WeakKeyDictionary

from cacheness.errors import BackendUnavailableError
from cacheness.noted import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cacheness.backends.base import MetadataBackend
    from cacheness.entry import Entry

__all__ = ["KEPT", "TRIM_EVERY", "Tombstone", "Why", "find", "record", "record_invalidated"]

Why: TypeAlias = Literal["evicted", "expired", "invalidated", "quarantined", "superseded"]

KEPT = 10_000
"""The newest of a namespace that stay when the table is trimmed."""
TRIM_EVERY = 1_000
"""A process trims after so many of its own, so that each is looked at about ten times."""

_KIND = "tombstones"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is known of an entry that is gone. It holds nothing of its parameters."""

    cache_key: str
    """The entry's key."""
    why: Why
    """What became of the entry."""
    at: float
    """When it was removed, in epoch seconds."""
    function: str | None
    """``module:qualname`` of the cached function that had made it."""
    stored_bytes: int
    """The payload's size in the store; 0 where it was invalidated."""
    reason: str
    """More about it, such as the fault for which it was quarantined; may be empty."""


def record(
    backend: MetadataBackend, entries: Iterable[Entry], why: Why, now: float, reason: str = ""
) -> None:
    """Remember the removal of entries, in one write.

    The table stays below `KEPT` and `TRIM_EVERY` for each process that writes to it. A
    store that can't be written at the moment costs the explanation and nothing else.
    """
    notes: dict[str, Any] = {
        entry.cache_key: [why, now, entry.function, entry.stored_bytes, reason] for entry in entries
    }
    if notes:
        _write(backend, notes)


def record_invalidated(backend: MetadataBackend, cache_key: str, function: str, now: float) -> None:
    """Remember that a call's result was invalidated, in place of how an earlier one went."""
    _write(backend, {cache_key: ["invalidated", now, function, 0, ""]})


def find(backend: MetadataBackend, cache_key: str) -> Tombstone | None:
    """Why there is no entry of that key; None where there is one, or where nobody knows."""
    note = backend.read_notes(_KIND).get(cache_key)
    if note is None or backend.find(cache_key) is not None:
        return None
    return _tombstone(cache_key, note)


def _write(backend: MetadataBackend, notes: dict[str, Any]) -> None:
    try:
        backend.write_notes(_KIND, notes)
        if _is_time_to_trim(backend, len(notes)):
            _trim(backend)
    except BackendUnavailableError:
        return


_written: WeakKeyDictionary[MetadataBackend, int] = WeakKeyDictionary()
"""How many were written since the last trim."""


def _is_time_to_trim(backend: MetadataBackend, written: int) -> bool:
    """Whether `TRIM_EVERY` were written since the last time.

    The count begins anywhere, so that processes too short to write that many trim, too:
    as often, taken together.
    """
    so_far = _written.get(backend)
    if so_far is None:
        so_far = int.from_bytes(os.urandom(2), "big") % TRIM_EVERY
    so_far += written
    _written[backend] = so_far % TRIM_EVERY
    return so_far >= TRIM_EVERY


def _trim(backend: MetadataBackend) -> None:
    notes = backend.read_notes(_KIND)
    if len(notes) <= KEPT:
        return
    by_age = sorted(notes, key=lambda name: _time_of(notes[name]))
    backend.write_notes(_KIND, dict.fromkeys(by_age[: len(notes) - KEPT]))


def _time_of(note: object) -> float:
    # What nobody can read goes first.
    return number_of(note[1]) if isinstance(note, list) and len(note) == 5 else 0.0


def _tombstone(cache_key: str, note: object) -> Tombstone | None:
    """None where the store holds something else under our name."""
    if not isinstance(note, list) or len(note) != 5 or note[0] not in get_args(Why):
        return None
    why, at, function, stored_bytes, reason = note
    size = int(number_of(stored_bytes))
    return Tombstone(cache_key, why, number_of(at), str(function), size, str(reason))
