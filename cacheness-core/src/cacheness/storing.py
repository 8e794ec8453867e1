# SPDX-License-Identifier: MIT
"""Tells, to what is being pickled, that the pickle is to be stored."""

from __future__ import annotations

from _thread import _local

__all__ = ["SecretError", "Storing", "is_storing"]

_here = _local()


class SecretError(Exception):
    """An object holds a secret, and that is not to lie in a cache."""


class Storing:
    """While it is entered, what this thread pickles goes into a cache."""

    __slots__ = ()

    def __enter__(self) -> None:
        _here.depth = getattr(_here, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        _here.depth -= 1


def is_storing() -> bool:
    """Whether what this thread pickles goes into a cache, and not to another process."""
    return bool(getattr(_here, "depth", 0))
