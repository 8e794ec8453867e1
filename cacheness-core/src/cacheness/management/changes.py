# SPDX-License-Identifier: MIT
"""Changes or takes one entry that stands.

Each looks at the entry, and then changes or removes that generation only: where another
thread or process replaced it meanwhile, the look is taken again; where it was removed, it
stays removed.
"""

from __future__ import annotations

from dataclasses import replace
from time import time

from cacheness.disk.unrecorded import check_own, seen_to
from cacheness.entry import renewal
from cacheness.outcomes import MISS, UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cacheness.engine import Engine
    from cacheness.entry import Entry

__all__ = ["pop", "remove", "touch", "update_data", "update_entry"]

_OF_THE_PAYLOAD = (
    "generation",
    "handler",
    "handler_version",
    "metadata",
    "object_type",
    "summary",
    "compressor",
    "stored_bytes",
    "logical_bytes",
    "checksum",
    "signature",
    "inline",
    "blob",
    "blob_store",
    "created_at",
    "distribution",
)
"""The fields that come with a value; the others are what its caller says of it."""
_TRIES = 8
"""How often an expiry is corrected, so that a busy entry holds nobody up."""


def pop(
    engine: Engine,
    key: str,
    prefix: str | None,
    age: float | None,
    options: Mapping[str, Any] | None,
) -> Any:
    """Read an entry and remove it; of several that do so at once, one gets it."""
    engine.check_writable()
    while True:
        value, entry = engine.reader.read_entry(key, prefix, age, options)
        if entry is None:
            return MISS
        removed = engine.backend.delete_entry(key, if_generation=entry.generation)
        if removed is not None:
            engine.dispose((removed,), "invalidate")
            return value


def update_data(
    engine: Engine,
    key: str,
    obj: object,
    prefix: str | None,
    changes: dict[str, Any],
    ttl_seconds: float | None,
    handler: str | None,
    compressor: str | None,
    options: Mapping[str, Any] | None,
) -> bool:
    """Give an entry another value, of an age that starts now."""
    engine.check_writable()
    old = engine.reader.standing(key, prefix, UNSET)
    if old is None:
        return False
    new = engine.writer.prepare(key, obj, {"ttl_seconds": None}, handler, compressor, options)
    if new is None:
        return False
    payload = {name: getattr(new, name) for name in _OF_THE_PAYLOAD}
    try:
        while old is not None:
            if old.generation == new.generation:
                break  # a child that went on with this very call was first
            renewal = _renewal(old, new.renewed_at, ttl_seconds)
            check_own(new.blob)
            if engine.backend.update_fields(
                key, {**changes, **payload, **renewal}, if_generation=old.generation
            ):
                break
            old = engine.reader.standing(key, prefix, UNSET)
        check_own(new.blob)
    except BaseException:
        engine.writer.withdraw((new,))
        raise
    if old is None:
        engine.discard(new)
        return False
    seen_to(new.blob)
    if old.generation != new.generation:
        engine.discard(old)
    _settle(engine, key, new.generation)
    engine.tell("put", key, new.handler, new.stored_bytes)
    engine.upkeep().make_room(new.stored_bytes)
    return True


def update_entry(
    engine: Engine,
    key: str,
    prefix: str | None,
    changes: dict[str, Any],
    ttl_seconds: float | None,
) -> bool:
    """Change what is recorded of an entry; its age stays, also under another time to live."""
    engine.check_writable()
    while (old := engine.reader.standing(key, prefix, UNSET)) is not None:
        renewal = {} if ttl_seconds is UNSET else _renewal(old, UNSET, ttl_seconds)
        if _change(engine, old, {**changes, **renewal}):
            return True
    return False


def touch(engine: Engine, key: str, prefix: str | None, ttl_seconds: float | None) -> bool:
    """Have an entry's age start now."""
    engine.check_writable()
    while (old := engine.reader.standing(key, prefix, UNSET)) is not None:
        now = time()
        if _change(engine, old, {"accessed_at": now, **_renewal(old, now, ttl_seconds)}):
            return True
    return False


def remove(engine: Engine, key: str, prefix: str | None) -> bool:
    """Remove an entry and its payload."""
    engine.check_writable()
    if prefix is None:
        gone = engine.backend.remove_entry(key)
        if gone is None:
            return False
        _, handler, stored_bytes, blob, store = gone
        engine.discard_blob(blob, store)
        engine.tell("invalidate", key, handler, stored_bytes)
        return True
    entry = engine.backend.get_entry(key)
    if entry is None or entry.prefix != prefix:
        return False
    removed = engine.backend.delete_entry(key, if_generation=entry.generation)
    return removed is not None and engine.dispose((removed,), "invalidate") == 1


def _change(engine: Engine, old: Entry, changes: dict[str, Any]) -> bool:
    """Change that generation; False where it is no more."""
    if not changes:
        return True
    done = engine.backend.update_fields(old.cache_key, changes, if_generation=old.generation)
    if done and "expires_at" in changes:
        _settle(engine, old.cache_key, old.generation)
    return done


def _renewal(old: Entry, renewed_at: float, ttl_seconds: float | None) -> dict[str, Any]:
    """What another age or time to live makes of an entry; `UNSET` keeps its own.

    Only what is given is set, since another thread may set the other at this moment.
    """
    changes: dict[str, Any] = {}
    if renewed_at is not UNSET:
        changes["renewed_at"] = renewed_at
    if ttl_seconds is not UNSET:
        changes["ttl_seconds"] = ttl_seconds
    changed = replace(old, **changes)
    return changes | _expiry(changed)


def _expiry(entry: Entry) -> dict[str, float | None]:
    return renewal(
        entry.renewed_at,
        entry.ttl_seconds,
        expires_at=entry.expires_at,
        stale_until=entry.stale_until,
    )


def _settle(engine: Engine, key: str, generation: int) -> None:
    """Make the expiry what age and time to live say.

    Of two changes at once, one of the age and one of the time to live, each computes the
    expiry with what it saw; whichever comes last sees both here.
    """
    for _ in range(_TRIES):
        entry = engine.backend.get_entry(key)
        if entry is None or entry.generation != generation:
            return
        expiry = _expiry(entry)
        if _same_time(entry.expires_at, expiry["expires_at"]):
            return
        engine.backend.update_fields(key, expiry, if_generation=generation)


def _same_time(one: float | None, other: float | None) -> bool:
    """Equal but for what a store loses that counts from another clock."""
    if one is None or other is None:
        return one is other
    return abs(one - other) < 1e-5
