# SPDX-License-Identifier: MIT
"""Turns all caches of the process off, for tests and debugging."""

from __future__ import annotations

import os
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["disabled", "is_off"]

_depth = int(os.environ.get("CACHENESS_DISABLE", "").strip().lower() in {"1", "true", "yes", "on"})


def is_off() -> bool:
    """Whether every get is a miss and every put does nothing at the moment."""
    return _depth > 0


@contextmanager
def disabled() -> Iterator[None]:
    """Within it, in every thread of the process, a get is a miss and a put does nothing.

    Example:
        >>> with cacheness.disabled():
        ...     model = train(data)  # computed, whatever is stored
    """
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
