# SPDX-License-Identifier: MIT
"""Whether the log is read by anybody, asked without importing `logging`."""

from __future__ import annotations

import sys
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["is_logged"]

_DEBUG = 10


def _ask() -> bool:
    global is_logged
    make: Any = getattr(sys.modules.get("logging"), "getLogger", None)
    if make is None:
        return False  # nobody has imported it, or another thread is in the middle of that
    is_logged = partial(make("cacheness").isEnabledFor, _DEBUG)
    return bool(is_logged())


is_logged: Callable[[], bool] = _ask
"""[hot] Whether somebody imported `logging` and listens to our logger at DEBUG. To be called as
the module's, since it is our logger's own method from the first time on that there is one."""
