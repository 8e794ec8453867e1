# SPDX-License-Identifier: MIT
"""Whether the caches of the process are off; `disabling` turns them off."""

from __future__ import annotations

import os

__all__ = ["is_off", "off", "turn_off", "turn_on"]


class _Off:
    __slots__ = ("depth",)

    depth: int


off = _Off()
"""Its ``depth`` is how often they were turned off: more than 0 is off. Small gets and puts look
at it, which costs them less than a call of `is_off`."""
off.depth = int(
    os.environ.get("CACHENESS_DISABLE", "").strip().lower() in {"1", "true", "yes", "on"}
)


def is_off() -> bool:
    """Whether every get is a miss and every put does nothing at the moment."""
    return off.depth > 0


def turn_off() -> None:
    """Turn them off, once more."""
    off.depth += 1


def turn_on() -> None:
    """Take back one `turn_off`."""
    off.depth -= 1
