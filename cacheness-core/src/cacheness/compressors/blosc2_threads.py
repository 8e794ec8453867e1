# SPDX-License-Identifier: MIT
"""How many threads the Blosc2 library may use in this process."""

from __future__ import annotations

import os

__all__ = ["thread_count"]

_forked = False


def thread_count() -> int:
    """All cores; one in a forked child.

    C-Blosc2 keeps its threads between calls. A child inherits the locks that they wait at, and
    not them: once in a hundred times it hangs as soon as it needs more threads than its own.
    """
    if _forked:
        return 1
    import blosc2

    count: int = blosc2.nthreads
    return count


def _in_child() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
