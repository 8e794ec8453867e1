# SPDX-License-Identifier: MIT
"""What a compressor is."""

from __future__ import annotations

from abc import ABC, abstractmethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.handlers.protocols import Buffer

__all__ = ["Compressor"]


class Compressor(ABC):
    """A byte codec. The core hands over chunks of a few MiB; one instance serves all threads.

    Where the codec has a standard file format, each compressed chunk should be a whole
    frame of it, since the stored file is the chunks one after the other.
    """

    name: str = ""
    """The registered name, stored with every entry that uses it."""
    extension: str = ""
    """What is appended to a compressed file's name, for people and tools."""

    @abstractmethod
    def compress(self, buffer: Buffer, *, typesize: int = 1) -> Buffer:
        """Compress one chunk.

        Args:
            buffer: Contiguous bytes.
            typesize: The size of the numbers in it, for codecs that shuffle bytes.
        """

    @abstractmethod
    def decompress(self, buffer: Buffer, *, max_size: int) -> Buffer:
        """Decompress one chunk.

        Args:
            buffer: What `compress` gave.
            max_size: The size that the chunk may have at most, in bytes.

        Raises:
            ValueError: The bytes are no such chunk, or it would be larger than ``max_size``.
                Nothing larger than ``max_size`` may be allocated on the way.
        """

    def choose(self, sample: Buffer, *, size: int, typesize: int = 1) -> Compressor:
        """The compressor to use for a payload; itself, except for ``"auto"``, which measures.

        Args:
            sample: Some contiguous bytes of the payload.
            size: The payload's whole size in bytes.
            typesize: As in `compress`.
        """
        return self
