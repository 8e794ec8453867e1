# SPDX-License-Identifier: MIT
"""Entries of known keys that are made one after the other, as the store takes them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cacheness.backends.plain_entry import PlainEntry

__all__ = ["InOrder"]


class InOrder:
    """The entries of a batch whose values are at hand, for a backend that `works_apart`.

    Making them runs no code of the caller's, and has no effect, so that it may be done while
    locks are held, and again where a transaction is. What making one raises ends the batch.

    Args:
        keys: Their cache keys: ascending, none twice.
        make: Makes the entry of a key.
    """

    __slots__ = ("_make", "keys")

    def __init__(self, keys: Sequence[str], make: Callable[[str], PlainEntry]) -> None:
        self.keys = keys
        self._make = make

    def __iter__(self) -> Iterator[PlainEntry]:
        """Make them, in the order of the keys, anew each time."""
        return map(self._make, self.keys)
