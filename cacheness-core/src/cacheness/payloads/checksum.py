# SPDX-License-Identifier: MIT
"""Checksums of stored payloads: ``algorithm:hex``."""

from __future__ import annotations

from xxhash import xxh3_128, xxh3_128_hexdigest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    from cacheness.handlers.protocols import Buffer

    class Hasher(Protocol):
        """The part of a hash object that is used here."""

        def update(self, data: Buffer, /) -> object: ...
        def hexdigest(self) -> str: ...


__all__ = ["ALGORITHMS", "FAST", "Checksum", "checksum_of", "taken_in"]

_APART = 16 << 20
"""From this size a buffer is worth a thread for its checksum."""
FAST = "xxh3-128:"
"""How the checksums that find accidents begin."""
_STRONG = "blake3:"
ALGORITHMS = (FAST, _STRONG)
"""How all that are known begin."""


class Checksum:
    """Takes the checksum of a payload piece by piece.

    Args:
        algorithm: ``"xxh3-128"``, which finds accidents (14 GB/s), or ``"blake3"``, which
            a signature can rest on (2.5 GB/s); or a stored checksum, for its algorithm.

    Raises:
        ValueError: It is neither.
    """

    __slots__ = ("_hasher", "_prefix")

    def __init__(self, algorithm: str) -> None:
        self._prefix = f"{algorithm.partition(':')[0]}:"
        self._hasher: Hasher
        if self._prefix == FAST:
            self._hasher = xxh3_128()
        elif self._prefix == _STRONG:
            from blake3 import blake3

            self._hasher = blake3()
        else:
            raise ValueError(f"unknown checksum algorithm {algorithm!r}")

    def update(self, piece: Buffer) -> None:
        """Take in the next piece."""
        self._hasher.update(piece)

    def text(self) -> str:
        """``algorithm:hex`` of all pieces so far."""
        return self._prefix + self._hasher.hexdigest()


def taken_in(pieces: Iterable[memoryview], checksum: Checksum, size: int) -> Iterator[memoryview]:
    """The same pieces of ``size`` bytes, each taken in by the checksum by the time all were given.

    Each just before it is given, and where they are many bytes by another thread, in the time
    in which the caller writes it or the next one is read. Both let go of the interpreter.
    """
    if size >= _APART:
        from cacheness.payloads.apart import updating_apart

        with updating_apart(checksum.update) as update:
            yield from _updated(pieces, update)
    else:
        yield from _updated(pieces, checksum.update)


def _updated(
    pieces: Iterable[memoryview], update: Callable[[Buffer], object]
) -> Iterator[memoryview]:
    for piece in pieces:
        update(piece)
        yield piece


def checksum_of(payload: Buffer, algorithm: str) -> str:
    """The checksum of a payload that is whole in memory; arguments as `Checksum`."""
    if algorithm.startswith("xxh3-128"):
        return FAST + xxh3_128_hexdigest(payload)
    checksum = Checksum(algorithm)
    checksum.update(payload)
    return checksum.text()
