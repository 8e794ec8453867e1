# SPDX-License-Identifier: MIT
"""The optional capabilities of a handler, each a protocol that the core uses when present."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from cacheness.handlers.base import HandlerContext

__all__ = [
    "Buffer",
    "SupportsBuffers",
    "SupportsDescribe",
    "SupportsFingerprint",
    "SupportsMap",
    "SupportsOpen",
    "Update",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""A C-contiguous buffer of bytes."""

Update: TypeAlias = Callable[[Buffer], object]
"""Feeds bytes to the hasher."""


class SupportsBuffers(Protocol):
    """The in-memory path: small values never touch a file, large ones are never copied."""

    def dumps(self, obj: Any, context: HandlerContext) -> tuple[Iterable[Buffer], dict[str, Any]]:
        """Give the payload's buffers in order, and the metadata.

        The buffers may be a generator: it is consumed once, while the payload is
        written, so that a large value is never whole in memory a second time.
        """
        ...

    def loads(
        self, buffer: memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> Any:
        """Read the payload from a contiguous ``buffer`` of unsigned bytes.

        Where ``buffer.readonly`` is false it belongs to the result alone, which may
        keep it and write to it; where it is true the bytes are shared and have to be
        copied into anything mutable. A large buffer starts on a page.
        """
        ...


class SupportsFingerprint(Protocol):
    """Feeds an object's identity to a hasher, for use in keys."""

    def fingerprint(self, obj: Any, update: Update) -> None:
        """Feed all that makes two objects different, and nothing else.

        Equal objects feed equal bytes in every process and on every machine. Feed
        type, shape and dtype before the data, each with its length, so that two
        different objects never feed the same bytes.
        """
        ...


class SupportsOpen(Protocol):
    """A lazy or memory-mapped view of a stored payload."""

    def open(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        """Give a read-only view whose cost does not grow with the payload."""
        ...


class SupportsMap(Protocol):
    """A read-only view that is of the object's own type, for ``get(mmap=True)``.

    Without it, ``open`` serves that too.
    """

    def map(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        """Give the object over the memory-mapped file, without a copy where that can be."""
        ...


class SupportsDescribe(Protocol):
    """A line for listings."""

    def describe(self, obj: Any) -> str:
        """Say in one line what the object is: ``float64 (1000, 50)``. Never its contents."""
        ...
