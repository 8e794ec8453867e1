# SPDX-License-Identifier: MIT
"""Remembers what the code digests of a cached function rested on, once for all its entries."""

from __future__ import annotations

from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Any

from cacheness.errors import CachenessError
from cacheness.noted import number_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cacheness.backends.base import MetadataBackend
    from cacheness.keys.code import CodeDigest

__all__ = ["MOST_DIGESTS", "MOST_PARTS", "CodeNote", "known_code", "note_code", "noted"]

MOST_DIGESTS = 32
"""Of a function, the newest that stay."""
MOST_PARTS = 2000
"""Of a digest; what is beyond has one digest in common."""


@dataclass(frozen=True, slots=True)
class CodeNote:
    """What one code digest rests on."""

    parts: dict[str, str]
    """As `CodeDigest.parts` gives them."""
    files: dict[str, str]
    """As `CodeDigest.files` gives them."""
    at: float
    """When it was noted."""


def note_code(
    backend: MetadataBackend, function: str, digest: str, code: CodeDigest, secret: Collection[str]
) -> None:
    """Remember the parts of the function's present code, unless the store has them.

    Entries name the digest, so a function's parts are kept once and not a thousand times.
    A store that can't be written at the moment costs the explanation and nothing else.
    """
    try:
        known = backend.read_notes(_kind(function))
        if digest in known:
            return
        note = noted(code, function, secret)
        kept = {"at": note.at, "parts": note.parts, "files": note.files}
        by_age = sorted(known, key=lambda name: _time_of(known[name]))
        gone = by_age[: max(0, len(known) + 1 - MOST_DIGESTS)]
        backend.write_notes(_kind(function), {digest: kept, **dict.fromkeys(gone)})
    except (CachenessError, OSError):
        return


def known_code(backend: MetadataBackend, function: str) -> dict[str, CodeNote]:
    """What is remembered of a function's code digests, by digest."""
    found = {}
    for digest, note in backend.read_notes(_kind(function)).items():
        if isinstance(note, dict) and isinstance(note.get("parts"), dict):
            files = note.get("files")
            parts = _texts(note["parts"])
            found[digest] = CodeNote(parts, _texts(files), _time_of(note))
    return found


def noted(code: CodeDigest, function: str, secret: Collection[str] = ()) -> CodeNote:
    """What is remembered of a code digest as it is now: nothing of a secret's default."""
    hidden = {f"default {function}.{name}" for name in secret}
    parts = {label: part for label, part in code.parts().items() if label not in hidden}
    files = {label: file for label, file in code.files().items() if label in parts}
    if len(parts) > MOST_PARTS:
        from blake3 import blake3

        rest = sorted(parts)[MOST_PARTS:]
        text = "\n".join(f"{label}\t{parts[label]}" for label in rest)
        for label in rest:
            del parts[label]
            files.pop(label, None)
        parts["more parts"] = blake3(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return CodeNote(parts, files, time())


def _kind(function: str) -> str:
    return f"code of {function}"


def _texts(of: object) -> dict[str, str]:
    """The texts of a JSON object; nothing where the store holds something else."""
    pairs: Mapping[Any, Any] = of if isinstance(of, dict) else {}
    return {str(name): text for name, text in pairs.items() if isinstance(text, str)}


def _time_of(note: object) -> float:
    return number_of(note.get("at")) if isinstance(note, dict) else 0.0
