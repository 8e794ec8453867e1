# SPDX-License-Identifier: MIT
"""Tells objects that they were inherited by a forked child."""

from __future__ import annotations

import os
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


def _after_fork() -> None:
    for owner in list(_owners):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
