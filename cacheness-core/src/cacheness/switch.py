# SPDX-License-Identifier: MIT
"""Whether the caches of the process are off; `disabling` turns them off."""

from __future__ import annotations

import os

__all__ = ["is_off", "turn_off", "turn_on"]

_depth = int(os.environ.get("CACHENESS_DISABLE", "").strip().lower() in {"1", "true", "yes", "on"})


def is_off() -> bool:
    """[hot] Whether every get is a miss and every put does nothing at the moment."""
    return _depth > 0


def turn_off() -> None:
    """Turn them off, once more."""
    global _depth
    _depth += 1


def turn_on() -> None:
    """Take back one `turn_off`."""
    global _depth
    _depth -= 1
