# SPDX-License-Identifier: MIT
"""The blobs that no entry names yet, which a forked child leaves to its parent."""

from __future__ import annotations

import os

from cacheness import forks

__all__ = ["check_own", "is_inherited", "new_blob_name", "seen_to"]


def new_blob_name(extension: str) -> str:
    """A name that nothing bears yet, for this process to write and record; see `seen_to`."""
    begun = forks.number
    digits = os.urandom(16).hex()
    name = f"{digits[:2]}/{digits}{extension}"
    _unrecorded[name] = begun
    return name


def is_inherited(name: str) -> bool:
    """Whether a parent of this process was about to record the blob as it was forked.

    To write, record or remove it is up to the parent then.
    """
    return _unrecorded.get(name, forks.number) != forks.number


def check_own(*names: str | None) -> None:
    """Refuse to go on with a blob that is the parent's.

    Raises:
        ForkedError: One is.
    """
    for name in names:
        if name is not None and _unrecorded.get(name, forks.number) != forks.number:
            raise forks.ForkedError


def seen_to(*names: str | None) -> None:
    """Take note that entries name these blobs, or that they are gone."""
    for name in names:
        if name is not None:
            _unrecorded.pop(name, None)


_unrecorded: dict[str, int] = {}
"""The blobs that no entry names yet, each with the `forks.number` of who is to see to it."""
