# SPDX-License-Identifier: MIT
"""Keeps the results of a function's older code, after an edit that changes no result."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from time import time
from typing import TYPE_CHECKING, Any, TypeGuard

from cacheness.entry import Entry
from cacheness.errors import ConfigError, HandlerNotFoundError, SignatureError
from cacheness.explaining.codenotes import known_code, note_code, noted
from cacheness.explaining.differences import Difference, code_differences
from cacheness.explaining.explanation import duration, size
from cacheness.generations import new_generation
from cacheness.payloads.signing import message_of
from cacheness.switch import is_off

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cacheness.core import UnifiedCache
    from cacheness.keys.code import CodeDigest
    from cacheness.keys.encoding import FunctionKey

__all__ = ["Adoption", "OldCode", "Present", "adopt"]

OFF = "off"
"""What stands for the digest of code that did not count."""

_UNSIGNED = "needs a signature, and has none that holds here"
_ANOTHER = "stored with another version= or key_prefix=, or its record was changed"
_TAKEN = "already stored by the present code"


@dataclass(frozen=True, slots=True)
class OldCode:
    """An older code of a function, of which there are results."""

    digest: str
    """Its code digest; ``"off"`` where the code did not count."""
    stored_calls: int
    """How many results there are."""
    stored_bytes: int
    """The bytes of their payloads in the store."""
    age_seconds: float
    """How many seconds ago the newest was stored."""
    differences: tuple[Difference, ...]
    """What was edited since."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """What `cache_adopt` found and did."""

    function: str
    """``module:qualname``."""
    digest: str
    """The digest of the code as it is now; ``"off"`` where it does not count."""
    candidates: tuple[OldCode, ...]
    """The older codes that have results, newest first."""
    adopted: str | None = None
    """The digest of which the results were kept; None where nothing was done."""
    moved: int = 0
    """How many results bear the present code's key now."""
    left: dict[str, int] = field(default_factory=dict)
    """How many results were left as they were, by the reason."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        name = self.function.partition(":")[2]
        if self.adopted is not None:
            yield (
                f"ADOPTED: {self.moved} stored calls of `{name}` from the code "
                f"{self.adopted[:12]} are those of the present code {self.digest[:12]} now."
            )
        elif not self.candidates:
            yield f"NOTHING TO ADOPT: no call of `{name}` is stored by another code."
        else:
            yield (
                f"NOTHING ADOPTED: calls of `{name}` are stored by {len(self.candidates)} other "
                f"codes; name one, such as cache_adopt({self.candidates[0].digest[:12]!r})."
            )
        for reason, count in self.left.items():
            yield f"  Left: {count} ({reason})"
        for old in self.candidates:
            yield (
                f"  {old.digest[:12]}: {old.stored_calls} calls, {size(old.stored_bytes)}, the "
                f"newest stored {duration(old.age_seconds)} ago; edited since:"
            )
            for difference in old.differences:
                yield f"    {difference}"

    def _repr_html_(self) -> str:
        from html import escape

        return f'<pre class="cacheness-adoption">{escape(str(self))}</pre>'


@dataclass(frozen=True, slots=True)
class Present:
    """A cached function as it is now."""

    function: str
    """``module:qualname``."""
    function_key: FunctionKey
    """What makes its keys."""
    digest: str
    """The digest of its code; empty where that does not count."""
    code: CodeDigest | None
    """Where the digest is from."""
    secret: tuple[str, ...] = ()
    """Parameters of which nothing is shown."""


def adopt(cache: UnifiedCache, present: Present, from_digest: str | None = None) -> Adoption:
    """Name the results of an older code anew, as those of the present one.

    In one transaction, and without touching a payload. A result that the present code has
    stored itself is never replaced. Without ``from_digest``, only where there are results
    of one older code.

    Raises:
        ConfigError: There are no results of that code, or it is no digest.
        ReadOnlyError: The cache is read-only.
    """
    if from_digest is not None and not isinstance(from_digest, str):
        raise ConfigError(
            f"from_digest={from_digest!r} is no digest: give a str, or its beginning, as "
            "cache_adopt() lists them"
        )
    by_digest: dict[str, list[Entry]] = {}
    for summary in cache.engine.backend.iter_entry_summaries():
        if summary["function"] == present.function:
            entry = Entry(**summary)
            by_digest.setdefault(entry.code_digest or OFF, []).append(entry)
    now = present.digest or OFF
    by_digest.pop(now, None)
    candidates = _candidates(cache, present, by_digest)
    chosen = _chosen(present, candidates, from_digest)
    if chosen is None or is_off():
        return Adoption(present.function, now, candidates)
    cache.engine.check_writable()
    moved, left = _move(cache, present, by_digest[chosen])
    return Adoption(present.function, now, candidates, chosen, moved, left)


def _candidates(
    cache: UnifiedCache, present: Present, by_digest: Mapping[str, list[Entry]]
) -> tuple[OldCode, ...]:
    known = known_code(cache.engine.backend, present.function)
    code = None
    if present.code is not None:
        code = noted(present.code, present.function, present.secret)
    now = time()
    found = []
    for digest, entries in by_digest.items():
        old = "" if digest == OFF else digest
        differences = code_differences(
            known.get(old), code, present.function, (old, present.digest)
        )
        stored_bytes = sum(entry.stored_bytes for entry in entries)
        age = now - max(entry.created_at for entry in entries)
        found.append(OldCode(digest, len(entries), stored_bytes, age, tuple(differences)))
    return tuple(sorted(found, key=lambda old: old.age_seconds))


def _chosen(
    present: Present, candidates: tuple[OldCode, ...], from_digest: str | None
) -> str | None:
    if from_digest is None:
        return candidates[0].digest if len(candidates) == 1 else None
    meant = [old.digest for old in candidates if from_digest and old.digest.startswith(from_digest)]
    if len(meant) == 1:
        return meant[0]
    there = ", ".join(old.digest for old in candidates) or "none"
    what = "of several codes" if meant else "of no such code"
    raise ConfigError(
        f"from_digest={from_digest!r}: results of {present.function} are {what}; there are: {there}"
    )


def _move(
    cache: UnifiedCache, present: Present, entries: list[Entry]
) -> tuple[int, dict[str, int]]:
    left: Counter[str] = Counter()
    renames = []
    for entry in entries:
        changes = _changes(cache, present, entry)
        if isinstance(changes, str):
            left[changes] += 1
        else:
            renames.append((entry.cache_key, entry.generation, changes))
    cache.engine.flush()
    moved = len(cache.engine.backend.rename_entries(renames))
    if len(renames) > moved:
        left[_TAKEN] += len(renames) - moved
    if moved and present.code is not None:
        note_code(
            cache.engine.backend,
            present.function,
            present.digest,
            present.code,
            present.secret,
        )
    return moved, dict(left)


def _changes(cache: UnifiedCache, present: Present, entry: Entry) -> dict[str, Any] | str:
    """What the entry becomes, or the reason for which it stays as it is."""
    if entry.expires_at is not None and time() >= entry.expires_at:
        return "expired"
    params = entry.key_parts.get("params")
    # What an entry says of its parameters is not signed: that its own key follows from it
    # is what keeps a signed result from being passed off as that of another call.
    if not _is_digest(params):
        return _ANOTHER
    own = present.function_key.rekeyed(entry.code_digest or "", params)
    # An exception that the call raised bears the call's key with a suffix.
    suffix = entry.cache_key.removeprefix(own)
    if suffix == entry.cache_key or (suffix and not suffix.startswith("-")):
        return _ANOTHER
    cache_key = present.function_key.rekeyed(present.digest, params) + suffix
    generation = new_generation()
    try:
        if entry.signature is None and _needs_signature(cache, entry):
            return _UNSIGNED
        signature = _resigned(cache, entry, cache_key, generation)
    except SignatureError:
        return _UNSIGNED
    except HandlerNotFoundError:
        return f"its handler {entry.handler!r} is not installed"
    return {
        "cache_key": cache_key,
        "generation": generation,
        "signature": signature,
        "code_digest": present.digest or None,
    }


def _needs_signature(cache: UnifiedCache, entry: Entry) -> bool:
    signing = cache.engine.config.signing
    if signing == "auto":
        return not cache.engine.registry.handler(entry.handler).data_only
    return signing == "all"


def _resigned(cache: UnifiedCache, entry: Entry, cache_key: str, generation: int) -> str | None:
    """The signature of an entry under another key and generation; None where it has none.

    Only what verifies is signed, so that nobody has an entry signed that he planted.
    """
    if entry.signature is None:
        return None
    signer = cache.engine.signer()
    verdict = signer.verdict(entry.signature, message_of(entry))
    if verdict != "good" or not entry.checksum.startswith("blake3:"):
        raise SignatureError(f"entry {entry.cache_key} has a signature that does not hold here")
    moved = replace(entry, cache_key=cache_key, generation=generation)
    signature = signer.sign(message_of(moved))
    if signature is None:
        raise SignatureError(f"entry {entry.cache_key} is signed, and there is no key for it")
    return signature


def _is_digest(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
