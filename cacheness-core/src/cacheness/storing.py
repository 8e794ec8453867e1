# SPDX-License-Identifier: MIT
"""Tells, to what is being pickled, that the pickle is to be stored."""

from __future__ import annotations

from _thread import _local

__all__ = ["SecretError", "is_storing", "mark_of_this_thread"]

_here = _local()


class SecretError(Exception):
    """An object holds a secret, and that is not to lie in a cache."""


class _Mark:
    """Whether what one thread pickles goes into a cache."""

    __slots__ = ("depth",)

    def __init__(self) -> None:
        self.depth = 0


def mark_of_this_thread() -> _Mark:
    """This thread's mark; while its ``depth`` is not zero, what is pickled is stored.

    Whoever raises it sets it back to what it was in a `finally`: an interrupt may come in place
    of a context's ``__exit__``, but not of that, and a mark that stayed would refuse to send a
    cache with a key to any worker process.
    """
    try:
        mark: _Mark = _here.mark
    except AttributeError:
        mark = _here.mark = _Mark()
    return mark


def is_storing() -> bool:
    """Whether what this thread pickles goes into a cache, and not to another process."""
    return mark_of_this_thread().depth > 0
