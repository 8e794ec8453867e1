# SPDX-License-Identifier: MIT
"""Whether the log is read by anybody, asked without importing `logging`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["is_logged"]


def is_logged() -> bool:
    """[hot] Whether somebody imported `logging` and listens to our logger at DEBUG."""
    logging = sys.modules.get("logging")
    if logging is None:
        return False
    if not _logger:
        _logger.append(logging.getLogger("cacheness"))
    enabled: bool = _logger[0].isEnabledFor(10)
    return enabled


_logger: list[Any] = []
