# SPDX-License-Identifier: MIT
"""What `cache_explain` answers, as data that prints well."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.explaining.differences import Difference

__all__ = ["Explanation", "NearCall", "duration", "size"]

Verdict: TypeAlias = Literal["hit", "miss", "stale"]

_MOST_SHOWN = 12


@dataclass(frozen=True, slots=True)
class NearCall:
    """A stored call of the same function, and what differs."""

    cache_key: str
    """Its key."""
    age_seconds: float
    """How many seconds ago it was stored."""
    stored_bytes: int
    """The bytes of its payload in the store."""
    differences: tuple[Difference, ...]
    """What differs from the explained call."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call of a cached function would be answered from the cache, or not."""

    verdict: Verdict
    """``stale`` is a hit past its time to live that is served while it is refreshed."""
    function: str
    """``module:qualname``."""
    call: str
    """The call in short, with nothing of its secret arguments."""
    cache_key: str
    """The key of the call."""
    reason: str
    """What decided, in a sentence."""
    stored_calls: int
    """How many calls of the function are stored."""
    age_seconds: float | None = None
    """How many seconds ago the entry of this key was stored; None where there is none."""
    stored_bytes: int | None = None
    """The bytes of its payload in the store."""
    cost_seconds: float | None = None
    """The seconds that computing it took, as the call was measured that stored it."""
    hits: int | None = None
    """How often it was read, as far as that was written."""
    expires_in: float | None = None
    """Seconds until it expires, negative once it has; None is never."""
    nearest: tuple[NearCall, ...] = ()
    """On a miss, the stored calls that differ least; three at most."""
    not_followed: dict[str, str] | None = None
    """What the code names and the key does not cover, each with the reason; see docs/KEYS.md."""
    notes: tuple[str, ...] = ()
    """What else there is to know."""

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON-able data."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.verdict.upper()}: {self.reason}", *self._near()]
        lines += [f"  Note: {note}" for note in self.notes]
        if self.not_followed:
            lines.append("  Not part of the key:")
            lines += [f"    {name}: {why}" for name, why in _first(self.not_followed.items())]
        return "\n".join(lines)

    def _near(self) -> Iterator[str]:
        for near in self.nearest:
            age, stored = duration(near.age_seconds), size(near.stored_bytes)
            yield f"  {near.cache_key[:12]}…, stored {age} ago, {stored}, differs in:"
            for difference in _first(near.differences):
                yield f"    {difference}"

    def _repr_html_(self) -> str:
        from html import escape

        head, *lines = str(self).split("\n")
        verdict, _, reason = head.partition(": ")
        body = f"<pre>{escape(chr(10).join(lines))}</pre>" if lines else ""
        title = f"<p><strong>{escape(verdict)}</strong>: {escape(reason)}</p>"
        return f'<div class="cacheness-explanation">{title}{body}</div>'


def duration(seconds: float) -> str:
    """A time span, in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{1000 * max(seconds, 0.0):.0f} ms"


def size(stored_bytes: float) -> str:
    """A number of bytes, in its largest unit."""
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if stored_bytes >= length:
            return f"{stored_bytes / length:.1f} {unit}"
    return f"{stored_bytes:.0f} bytes"


def _first(given: Any) -> Iterator[Any]:
    """The first of many, and how many there are more."""
    every = list(given)
    yield from every[:_MOST_SHOWN]
    if len(every) > _MOST_SHOWN:
        more = f"… {len(every) - _MOST_SHOWN} more"
        yield ("…", more) if isinstance(every[0], tuple) else more
