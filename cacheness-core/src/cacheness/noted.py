# SPDX-License-Identifier: MIT
"""Takes numbers from notes in a store, which anybody may have written."""

from __future__ import annotations

__all__ = ["is_number", "number_of"]

_MOST = float(1 << 63)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is one to count with: finite, and no larger than anything that we note."""
    return (type(value) is float or type(value) is int) and -_MOST < value < _MOST


def number_of(value: object) -> float:
    """The number; 0.0 where it is none."""
    return float(value) if is_number(value) else 0.0
