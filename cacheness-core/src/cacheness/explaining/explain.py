# SPDX-License-Identifier: MIT
"""Finds out why a call of a cached function would be answered from the cache, or not."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Literal

from cacheness.backends.shapes import stored_payload
from cacheness.errors import CachenessError, PluginNotInstalledError
from cacheness.explaining.codenotes import known_code, noted
from cacheness.explaining.differences import (
    SECRET,
    Difference,
    code_differences,
    key_differences,
    short_text,
)
from cacheness.explaining.explanation import Explanation, NearCall, duration, size
from cacheness.payloads.refusals import BadSignatureError, UndecodableError
from cacheness.switch import is_off

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.core import UnifiedCache
    from cacheness.entry import Entry
    from cacheness.keys.code import CodeDigest
    from cacheness.keys.record import RecordedParams

__all__ = ["Call", "explain"]

_TRIES = 8
"""How often it looks again where an entry is replaced while it looks."""

_MOST_NEAR = 3
_MOST_COMPARED = 1000
"""The newest calls of a function that are looked at."""
_PAGE = 50
"""How many are in memory at once, with their payloads."""
_MOST_NAMESPACES = 16
"""Others that are looked into for the same key."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a cached function, as far as its key goes."""

    function: str
    """``module:qualname``."""
    cache_key: str
    """Its key."""
    params: RecordedParams
    """What the key is made of."""
    code: CodeDigest | None
    """Where the digest is from."""
    secret: tuple[str, ...] = ()
    """Parameters of which nothing is shown."""
    prefix: str = ""
    """The label of the function's entries."""
    way: Literal["read", "mapped", "lazy"] = "read"
    """How a call reads its entry."""
    also: tuple[str, ...] = ()
    """Further keys of the call: of an exception that it raised."""
    stale_seconds: float = 0.0
    """How long an expired result is served while it is refreshed."""


def explain(cache: UnifiedCache, call: Call) -> Explanation:
    """Why the call would be a hit or a miss; changes nothing in the cache.

    Raises:
        BackendUnavailableError: The store can't be read at the moment.
    """
    return _Explainer(cache, call).explanation()


class _Explainer:
    def __init__(self, cache: UnifiedCache, call: Call) -> None:
        self._cache = cache
        self._call = call
        self._backend = cache.engine.backend
        self._now = time()
        self._keys = list(self._backend.query_meta(entry__function=call.function))

    def explanation(self) -> Explanation:
        entry, fault = self._found(self._call.cache_key)
        if entry is None:
            fault = self._why_gone()
        if entry is not None and not fault and not self._is_expired(entry):
            return self._made("hit", self._hit_reason(entry), entry)
        raised = self._raised()
        if raised is not None:
            return self._made("hit", self._hit_reason(raised, "raised an exception, which"), raised)
        if entry is None or fault:
            return self._miss(fault, entry)
        told = f"{self._name()} {self._expiry(entry)}"
        left = self._stale_for(entry)
        if left > 0:
            served = f"its value is served for another {duration(left)}"
            return self._made("stale", f"{told}; {served} while it is refreshed.", entry)
        return self._miss(f"{told}.", entry)

    def _raised(self) -> Entry | None:
        """The exception that is raised again, which is asked for where there is no result."""
        for key in self._call.also:
            entry, fault = self._found(key)
            if entry is not None and not self._is_expired(entry) and not fault:
                return entry
        return None

    def _found(self, key: str) -> tuple[Entry | None, str]:
        """The entry, and why it would not be read; anew where a replace overtook the look."""
        entry = self._backend.get_entry(key)
        for _ in range(_TRIES):
            if entry is None:
                break
            fault = self._fault(entry)
            again = self._backend.get_entry(key) if fault else entry
            if again is not None and again.generation == entry.generation:
                return entry, fault
            entry = again
        return entry, ""

    def _is_expired(self, entry: Entry) -> bool:
        return entry.expires_at is not None and self._now >= entry.expires_at

    def _stale_for(self, entry: Entry) -> float:
        """For how many seconds the expired entry is still served."""
        if entry.expires_at is None or entry.stale_until is None:
            return 0.0
        return min(entry.expires_at + self._call.stale_seconds, entry.stale_until) - self._now

    # --- what is there --------------------------------------------------------------------

    def _hit_reason(self, entry: Entry, what: str = "") -> str:
        told = [size(entry.stored_bytes), f"stored {duration(self._now - entry.created_at)} ago"]
        if entry.cost_seconds is not None:
            told.append(f"computed in {duration(entry.cost_seconds)}")
        told.append(f"read {entry.hits} times" if entry.hits != 1 else "read once")
        if entry.expires_at is not None:
            told.append(f"expires in {duration(entry.expires_at - self._now)}")
        return f"{self._name()} {what and f'{what} '}is stored: {', '.join(told)}."

    def _fault(self, entry: Entry) -> str:
        """Why the entry, though it is there, would not be read; empty where it would."""
        if is_off():
            return f"{self._name()} is stored, but caching is switched off."
        # To tell why is no reason to import the library that the value, or a part of it, is of.
        of_imported = entry.object_type.partition(".")[0] in sys.modules
        way = self._call.way if of_imported and entry.handler != "container" else "intact"
        error = self._cache.engine.reader.fault(entry.cache_key, stored_payload(entry), way)
        if error is None:
            return ""
        if isinstance(error, FileNotFoundError):
            return f"{self._name()} is stored, but its blob {entry.blob} is missing."
        if isinstance(error, UndecodableError):
            cause = error.__cause__
            why = f"{type(cause).__name__}: {cause}"
            return f"{self._name()} is stored, but {entry.handler!r} can't decode it here ({why})."
        kept = isinstance(error, PluginNotInstalledError) or (
            isinstance(error, BadSignatureError) and error.verdict != "wrong"
        )
        fate = "it would be computed and not stored" if kept else "it would be computed anew"
        return f"{self._name()} is stored, but can't be read, so that {fate}: {error}."

    def _expiry(self, entry: Entry) -> str:
        ago = duration(self._now - (entry.expires_at or self._now))
        lived = "" if entry.ttl_seconds is None else duration(entry.ttl_seconds)
        return f"was stored, and expired {ago} ago{lived and f' (time to live {lived})'}"

    # --- what is not ----------------------------------------------------------------------

    def _why_gone(self) -> str:
        """What became of an entry of this key; empty where nobody knows of one."""
        from cacheness.upkeep.tombstones import find

        tombstone = find(self._backend, self._call.cache_key)
        if tombstone is None:
            return ""
        ago = duration(self._now - tombstone.at)
        stored = size(tombstone.stored_bytes)
        why = {
            "evicted": f"was evicted {ago} ago to make room ({stored})",
            "expired": f"expired, and was removed {ago} ago ({stored})",
            "invalidated": f"was invalidated {ago} ago",
            "quarantined": f"was damaged and put into quarantine {ago} ago",
            "superseded": f"was removed {ago} ago as the result of older code ({stored})",
        }[tombstone.why]
        return f"{self._name()} {why}{tombstone.reason and f': {tombstone.reason}'}."

    def _miss(self, reason: str, entry: Entry | None) -> Explanation:
        nearest = () if entry is not None else self._nearest()
        return self._made("miss", reason or self._no_entry(nearest), entry, nearest)

    def _no_entry(self, nearest: tuple[NearCall, ...]) -> str:
        function = self._call.function.partition(":")[2]
        if not nearest:
            return f"no call of `{function}` is stored here."
        near, *_ = nearest
        calls = len(self._keys)
        which = "the only stored call" if calls == 1 else f"the nearest of {calls} stored calls"
        ago = f"stored {duration(near.age_seconds)} ago"
        if not near.differences:
            return f"{self._name()} is not stored; {which} has the same parts, {ago}."
        first, *more = near.differences
        if more:
            things = f"differs in {len(more) + 1} things"
            return f"{self._name()} is not stored; {which} {things}, {ago}."
        if first.kind == "type":
            told = f"which is equal, but of another type than {first.old} of {which}"
            return f"`{function}` was called with {first.name}={first.new}, {told}, {ago}."
        if first.kind == "argument" and first.old and first.new and first.new != SECRET:
            called = f"`{function}` was called with {first.name}={first.new}"
            return f"{called}; {which} has {first.name}={first.old}, {ago}."
        return f"{self._name()} is not stored; {which} differs in {first}, {ago}."

    def _nearest(self) -> tuple[NearCall, ...]:
        code = (
            None
            if self._call.code is None
            else noted(self._call.code, self._call.function, self._call.secret)
        )
        known = known_code(self._backend, self._call.function)
        of_code: dict[str, list[Difference]] = {}
        found = []
        for entry in self._newest():
            old = entry.code_digest or ""
            if old not in of_code:
                digests = (old, self._call.params.digest)
                of_code[old] = code_differences(known.get(old), code, self._call.function, digests)
            differences = self._differences(entry, of_code[old])
            age = self._now - entry.created_at
            found.append(NearCall(entry.cache_key, age, entry.stored_bytes, differences))
        found.sort(key=lambda near: (len(near.differences), near.age_seconds))
        return tuple(found[:_MOST_NEAR])

    def _newest(self) -> Iterator[Entry]:
        keys = self._keys[-_MOST_COMPARED:]
        for start in range(0, len(keys), _PAGE):
            yield from self._backend.get_entries(keys[start : start + _PAGE]).values()

    def _differences(self, entry: Entry, of_code: list[Difference]) -> tuple[Difference, ...]:
        call = self._call
        found = key_differences(
            entry.key_parts,
            entry.params,
            call.params.parts,
            call.params.summary,
            call.params,
            call.secret,
        )
        # A changed default is told with its values; that it is part of the code is no more.
        told = {f"{call.function}.{one.name}" for one in found if one.kind == "default"}
        found += [one for one in of_code if one.kind != "default" or one.name not in told]
        return tuple(found)

    # --- the answer -----------------------------------------------------------------------

    def _made(
        self,
        verdict: Literal["hit", "miss", "stale"],
        reason: str,
        entry: Entry | None,
        nearest: tuple[NearCall, ...] = (),
    ) -> Explanation:
        expires_at = None if entry is None else entry.expires_at
        return Explanation(
            verdict=verdict,
            function=self._call.function,
            call=self._text(),
            cache_key=self._call.cache_key,
            reason=reason,
            stored_calls=len(self._keys),
            age_seconds=None if entry is None else self._now - entry.created_at,
            stored_bytes=None if entry is None else entry.stored_bytes,
            cost_seconds=None if entry is None else entry.cost_seconds,
            hits=None if entry is None else entry.hits,
            expires_in=None if expires_at is None else expires_at - self._now,
            nearest=nearest,
            not_followed={} if self._call.code is None else self._call.code.not_followed(),
            notes=tuple(self._notes(verdict, entry)),
        )

    def _name(self) -> str:
        return f"`{self._text()}`"

    def _text(self) -> str:
        shown = [f"{name}={_argument(value)}" for name, value in self._call.params.summary.items()]
        shown += [f"{name}={SECRET}" for name in self._call.secret if name in self._call.params]
        return f"{self._call.function.partition(':')[2]}({', '.join(shown)})"

    def _notes(self, verdict: str, entry: Entry | None) -> Iterator[str]:
        config = self._cache.config
        if is_off():
            yield "caching is switched off (CACHENESS_DISABLE or `disabled`)"
        if config.read_only:
            yield "the cache is read-only: what is computed is not stored"
        if self._call.code is None:
            yield "the code does not count (code='off')"
        if entry is not None and entry.prefix != self._call.prefix:
            yield f"its prefix is {entry.prefix!r}, a label that makes no difference"
        if verdict == "miss":
            yield from self._renamed()
            yield from self._elsewhere()

    def _renamed(self) -> Iterator[str]:
        """Another function of the same code that has stored this very call."""
        call = self._call
        if not call.params.digest:
            return
        filters = {"entry__code_digest": call.params.digest, "entry__function__ne": call.function}
        keys = list(self._backend.query_meta(**filters))[-_PAGE:]
        for entry in self._backend.get_entries(keys).values():
            if entry.key_parts.get("params") == call.params.parts["params"]:
                yield f"{entry.function}, which has the same code, has stored this call"

    def _elsewhere(self) -> Iterator[str]:
        """Other namespaces of the store that have an entry of this key."""
        from cacheness.core import UnifiedCache

        config = self._cache.config
        others = [name for name in self._backend.namespaces() if name != config.namespace]
        for namespace in others[:_MOST_NAMESPACES]:
            try:
                there = config.replace(namespace=namespace, memory_bytes=0, read_only=True)
                with UnifiedCache(there) as other:
                    found = other.engine.backend.find(self._call.cache_key)
            except (CachenessError, OSError):
                continue
            if found is not None:
                yield f"the namespace {namespace!r} has an entry of this key"


def _argument(value: object) -> str:
    text = short_text(value)
    return text.rpartition(" (")[0] if text.endswith(")") else text
