# SPDX-License-Identifier: MIT
"""Removes what older code of a function left behind."""

from __future__ import annotations

from cacheness.errors import BackendUnavailableError
from cacheness.noted import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict, TypeGuard

    from cacheness.backends.base import MetadataBackend
    from cacheness.entry import Entry

    class Versions(TypedDict):
        """What is noted of a function."""

        seen: dict[str, float]
        """Code digest → when a result of it was stored first."""
        swept: float
        """When this function's entries were looked through last."""


__all__ = ["Superseded"]

_KIND = "code versions"
_SWEEPS = 10
"""In one time to live a function's entries are looked through so many times at most."""
_VERSIONS = 32
"""The newest versions of a function that are remembered."""


class Superseded:
    """Decides, when a function's result is stored, whether older ones of it are to go.

    An entry goes when newer code of its function has been storing results for
    ``ttl_seconds``, and the entry itself has been neither stored nor read for as long. So
    of two versions that are used in turns both stay, and an edit that is taken back within
    that time finds everything again. Pinned entries stay.

    Args:
        backend: Where the entries are recorded.
        ttl_seconds: The time.
    """

    def __init__(self, backend: MetadataBackend, ttl_seconds: float) -> None:
        self._backend = backend
        self._ttl = ttl_seconds
        self._known: dict[str, Any] | None = None

    def is_due(self, function: str, code_digest: str, now: float) -> bool:
        """Note that this code stored a result; whether it is time to `sweep`.

        A store that can't be read or written at the moment leaves things as they are.
        """
        try:
            versions = self._versions(function)
            seen = versions["seen"]
            if code_digest not in seen:
                seen[code_digest] = now
                for oldest in sorted(seen, key=lambda digest: seen[digest])[:-_VERSIONS]:
                    del seen[oldest]
                self._backend.write_notes(_KIND, {function: versions})
            since = seen.get(code_digest, now)
            return now >= max(since + self._ttl, versions["swept"] + self._ttl / _SWEEPS)
        except BackendUnavailableError:
            return False

    def sweep(self, function: str, code_digest: str, now: float) -> list[Entry]:
        """Remove this function's entries of other code that nobody used; give them."""
        from cacheness.filters import Filter

        versions = self._versions(function)
        versions["swept"] = now
        try:
            self._backend.write_notes(_KIND, {function: versions})
            return self._backend.delete_where(
                Filter.parse(
                    {
                        "entry__function": function,
                        "entry__code_digest__ne": code_digest,
                        "entry__accessed_at__lt": now - self._ttl,
                        "entry__pinned": False,
                    }
                )
            )
        except BackendUnavailableError:
            return []

    def _versions(self, function: str) -> Versions:
        """What is noted of the function, read once for all functions."""
        if self._known is None:
            self._known = self._backend.read_notes(_KIND)
        noted = self._known.get(function)
        if _is_sound(noted):
            return noted
        fresh: Versions = {"seen": {}, "swept": 0.0}
        self._known[function] = fresh
        return fresh


def _is_sound(noted: object) -> TypeGuard[Versions]:
    """Whether the note is one of ours."""
    return (
        isinstance(noted, dict)
        and isinstance(noted.get("seen"), dict)
        and all(is_number(at) for at in noted["seen"].values())
        and is_number(noted.get("swept"))
    )
