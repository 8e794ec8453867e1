# SPDX-License-Identifier: MIT
"""Marks for what is no value: a miss, and an option that was not given."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["KEPT", "MISS", "OVERTAKEN", "UNSET"]

MISS: Any = object()
"""What a read gives where there is nothing to give."""
KEPT: Any = object()
"""A miss whose entry is another's, and must not be replaced by whoever computes."""
OVERTAKEN: Any = object()
"""What a read of one generation gives where another replaced it meanwhile."""
UNSET: Any = object()
"""An option that was not given."""
