# SPDX-License-Identifier: MIT
"""Whether the log is read by anybody, asked without importing `logging`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["is_logged"]


_is_enabled: Callable[[int], bool] | None = None
"""Our logger's method of that name, once somebody imported `logging`."""


def is_logged() -> bool:
    """[hot] Whether somebody imported `logging` and listens to our logger at DEBUG."""
    if _is_enabled is None and not ("logging" in sys.modules and _found()):
        return False
    enabled: bool = _is_enabled(10)  # type: ignore[misc]  # which `_found` has set
    return enabled


def _found() -> bool:
    """Whether there is our logger, for whom to ask from now on."""
    global _is_enabled
    make = getattr(sys.modules.get("logging"), "getLogger", None)
    if make is None:
        return False  # another thread is in the middle of that import
    _is_enabled = make("cacheness").isEnabledFor
    return True
