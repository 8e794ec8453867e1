# SPDX-License-Identifier: MIT
"""Sizes, times and names as people read them in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time
from typing import Any

__all__ = ["ago", "date", "duration", "entries", "pairs", "printable", "shortened", "size"]

_STEPS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (0.001, "ms"))


def printable(text: str) -> str:
    """One line without what a terminal would act on: line ends, escapes, marks of direction."""
    return "".join(
        character if character.isprintable() else _escaped(character) for character in text
    )


def _escaped(character: str) -> str:
    if character in "\n\t":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def shortened(text: str, longest: int = 60) -> str:
    """The text, or its beginning where it is long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def size(count: float) -> str:
    """A number of bytes: ``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float | None) -> str:
    """A span of time in its largest unit: ``3.5 h``; empty for None."""
    if seconds is None:
        return ""
    for length, unit in _STEPS:
        if abs(seconds) >= length:
            return f"{seconds / length:.3g} {unit}"
    return "0 s" if seconds == 0 else f"{seconds * 1e6:.3g} µs"


def ago(at: float | None) -> str:
    """How long ago something was, or is to come."""
    if at is None:
        return ""
    passed = time() - at
    if abs(passed) < 1:
        return "now"
    whole = duration(float(round(abs(passed))))
    return f"{whole} ago" if passed > 0 else f"in {whole}"


def date(at: float | None) -> str:
    """A time of day in the user's own zone, to the second; empty for None."""
    if at is None:
        return ""
    try:
        return f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S %z}"
    except (OverflowError, ValueError, OSError):
        return f"{at:g} s after 1970"


def entries(count: int) -> str:
    """A number of them: ``1 entry``, ``2,000 entries``."""
    return "1 entry" if count == 1 else f"{count:,} entries"


def pairs(values: dict[str, Any], longest: int = 60) -> str:
    """Parameters as they are written in a call, as far as there is room."""
    return shortened(", ".join(f"{name}={value!r}" for name, value in values.items()), longest)
