# SPDX-License-Identifier: MIT
"""The members of a tar."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cacheness.handlers.protocols import Buffer

__all__ = ["BLOCK", "END", "tar_member"]

BLOCK = 512
"""The bytes of a header; members begin at multiples of it."""
END = bytes(2 * BLOCK)
"""What comes after the last member."""

_NAME, _SIZE, _SUM = slice(0, 100), slice(124, 136), slice(148, 156)
"""Where those fields are in a header."""
_LARGEST = 8**11 - 1
"""A larger size does not fit into its field as digits."""
_blank = b""


def tar_member(name: str, buffers: Iterable[Buffer], size: int) -> Iterator[Buffer]:
    """The bytes of one member: its header, its payload of ``size`` bytes, zeros up to a block.

    The header is one block, for which a name of more than 100 bytes is cut.
    """
    yield _header(name, size)
    yield from buffers
    yield bytes(-size % BLOCK)


def _header(name: str, size: int) -> bytes:
    """What `tarfile` makes, which takes it 20 µs, of the one that it made first: 4 µs."""
    global _blank
    encoded = name.encode()[:100]
    if not _blank:
        _blank = _made_by_tarfile("", 0)
    if size > _LARGEST:
        return _made_by_tarfile(encoded.decode(errors="ignore"), size)
    header = bytearray(_blank)
    header[_NAME] = encoded.ljust(100, b"\0")
    header[_SIZE] = b"%011o\0" % size
    header[_SUM] = b" " * 8  # as which it counts itself
    header[_SUM] = b"%06o\0 " % sum(header)
    return bytes(header)


def _made_by_tarfile(name: str, size: int) -> bytes:
    from tarfile import GNU_FORMAT, TarInfo

    info = TarInfo(name)
    info.size = size
    info.mode = 0o600
    return info.tobuf(GNU_FORMAT)
