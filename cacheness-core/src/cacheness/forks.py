# SPDX-License-Identifier: MIT
"""Tells objects that they were inherited by a forked child, and keeps forks out of imports."""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from time import monotonic, sleep
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class SupportsFork(Protocol):
        """Holds something that a child must not share with its parent."""

        def after_fork(self) -> None:
            """Let go of it; called in the child, in its only thread."""


__all__ = ["renew_in_child"]

_owners: WeakSet[SupportsFork] = WeakSet()


def renew_in_child(owner: SupportsFork) -> None:
    """Have ``owner.after_fork()`` called in every child that is forked while it lives."""
    _owners.add(owner)


_LONGEST_WAIT = 5.0
"""Seconds that a fork waits for imports, at most."""
_PAUSE = 0.001


def _before_fork() -> None:
    """Wait for the imports of other threads, of which this package makes some at first use.

    Python does not release a module's lock in a child: whoever imports the module there would
    wait for a thread that the child does not have.
    """
    deadline = monotonic() + _LONGEST_WAIT
    while _is_imported_elsewhere() and monotonic() < deadline:
        sleep(_PAUSE)


def _is_imported_elsewhere() -> bool:
    """Whether another thread is importing a module of this package, or of Python's own.

    One of the user's may be a whole program, which ends when the process does.
    """
    locks = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
    for name, reference in list(locks.items()):
        package = name.partition(".")[0]
        if package.startswith("cacheness") or package in sys.stdlib_module_names:
            owner = getattr(reference(), "owner", None)
            if owner not in (None, get_ident()):
                return True
    return False


def _after_fork() -> None:
    for owner in list(_owners):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
