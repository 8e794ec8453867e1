# SPDX-License-Identifier: MIT
"""Has names survive a power loss: a file that is on the disk is lost without its name."""

from __future__ import annotations

import os
import sys

from cacheness.disk.descriptor import Descriptor

__all__ = ["make_parents", "sync_directory"]


def sync_directory(path: str) -> None:
    """Wait for the names in a directory to be on the disk; Windows does so by itself."""
    if sys.platform == "win32":
        return
    with Descriptor(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as opened:
        os.fsync(opened.number)


def make_parents(path: str, *, durable: bool) -> None:
    """Make the directories above a path, and wait for them to be on the disk if asked to."""
    missing = []
    above = os.path.dirname(path)
    while not os.path.isdir(above) and os.path.dirname(above) != above:
        missing.append(above)
        above = os.path.dirname(above)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if durable:
        for made in missing:
            sync_directory(os.path.dirname(made))
