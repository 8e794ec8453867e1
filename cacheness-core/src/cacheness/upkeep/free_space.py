# SPDX-License-Identifier: MIT
"""Leaves ``min_free`` bytes of the disk to others."""

from __future__ import annotations

import os
from time import time

from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ENTRY_BYTES", "FreeSpace"]

_PART = 0.01
_MOST = 512 << 20
"""By default so much of the disk is left free, and no more than so many bytes."""
_LOOK_AFTER = 1.0
"""Seconds after which a small put looks at the disk again,"""
_LOOK_AFTER_BYTES = 8 << 20
"""or after so many bytes of small payloads."""
_ROUNDS = 4
ENTRY_BYTES = 512
"""What an entry takes beside its payload, roughly."""


class FreeSpace:
    """Looks at the disks that a cache grows on, before and after a payload is written.

    Small payloads, which live in their entries, are seldom a reason to look: after a look that
    found enough it is quiet for a second, or 8 MiB. A payload with a file of its own is always
    one: once it is written the disk tells what it left.

    Args:
        directories: Gives what the cache writes to; some may not be there yet.
        min_free: The bytes to leave; None is 1 % of the disk, at most 512 MiB.
        inline_bytes: Up to this size a payload is small.
        evict: Removes entries of so many bytes, and gives how many it removed; None where
            the cache has no bounds, so that nothing may be removed for a put.
    """

    def __init__(
        self,
        directories: Callable[[], Iterable[str]],
        min_free: int | None,
        inline_bytes: int,
        evict: Callable[[int], int] | None,
    ) -> None:
        self._directories = directories
        self._min_free = min_free
        self._inline_bytes = inline_bytes
        self._evict = evict
        self.quiet_bytes = 0
        """What entries may take yet before the disk is looked at,"""
        self.quiet_from = self.quiet_until = 0.0
        """and from when to when, in epoch seconds: a clock that is set back to before ends it."""

    def before(self, key: str, obj: object) -> None:
        """See that there is space for a value of that size, where it tells one.

        Raises:
            BackendUnavailableError: Less than is to be left is free already, and nothing
                may be evicted.
        """
        if self._evict is None:
            if self._is_due():
                self._look(key, 0)
            return
        size = _size_of(obj)
        if size > self._inline_bytes:
            missing = self._missing() + size
            if missing > 0:
                self._evict(missing)

    def after(self, key: str, stored_bytes: int, *, own_file: bool) -> None:
        """See what the payload, which is written, left on the disk.

        Raises:
            BackendUnavailableError: Too little, and eviction did not help or is not allowed.
        """
        self.quiet_bytes -= stored_bytes + ENTRY_BYTES
        if own_file:
            self._look(key, stored_bytes, rounds=_ROUNDS)
        elif self._is_due():
            self._look(key, stored_bytes)

    def _is_due(self) -> bool:
        return self.quiet_bytes < 0 or not self.quiet_from <= time() < self.quiet_until

    def _look(self, key: str, stored_bytes: int, rounds: int = 0) -> None:
        if self.quiet_until:
            self._be_quiet()  # the others need not look meanwhile, as it was not short
        missing = self._missing()
        if missing <= 0:
            self._be_quiet()
            return
        self.quiet_until = 0.0  # where it is short, each put looks
        if self._evict is None or not self._make_room(self._evict, missing, stored_bytes, rounds):
            raise BackendUnavailableError(self._message(key, stored_bytes))

    def _be_quiet(self) -> None:
        self.quiet_from = time()
        self.quiet_until = self.quiet_from + _LOOK_AFTER
        self.quiet_bytes = _LOOK_AFTER_BYTES

    def _make_room(
        self, evict: Callable[[int], int], missing: int, stored_bytes: int, rounds: int
    ) -> bool:
        """Evict what is missing; whether that was enough."""
        if not rounds:
            # What is removed leaves its place within the file of entries to this one.
            return evict(max(1, stored_bytes)) > 0
        for _ in range(rounds):
            if not evict(missing):
                return False
            missing = self._missing()
            if missing <= 0:
                return True
        return False

    def _missing(self) -> int:
        """The bytes that are missing on the fullest disk; none or less where all is well."""
        return max((self._bound(whole) - free for _, free, whole in self._disks()), default=0)

    def _bound(self, whole: int) -> int:
        return min(int(whole * _PART), _MOST) if self._min_free is None else self._min_free

    def _disks(self) -> list[tuple[str, int, int]]:
        """Directory, free bytes and all bytes of each disk that tells them."""
        found = []
        for path in self._directories():
            try:
                found.append((path, *_space(path)))
            except OSError:
                continue  # whatever is the matter with it, the write will tell
        return found

    def _message(self, key: str, stored_bytes: int) -> str:
        path, free, whole = max(self._disks(), key=lambda disk: self._bound(disk[2]) - disk[1])
        left = f"this put of {_readable(stored_bytes)} would leave " if stored_bytes else ""
        way = "set min_free= to less" if self._evict else "set max_size=, or min_free= to less"
        return (
            f"entry {key} is not stored: {left}{_readable(free)} free on the disk of {path}, and "
            f"min_free asks for {_readable(self._bound(whole))}; free some space, or {way}"
        )


def _space(path: str) -> tuple[int, int]:
    """Free bytes and all bytes of the disk that holds the path, or will."""
    while not os.path.exists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    if hasattr(os, "statvfs"):
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    import shutil

    usage = shutil.disk_usage(path)
    return usage.free, usage.total


def _size_of(obj: object) -> int:
    """The bytes of an array, or of a frame, or of bytes; 0 where the value doesn't tell."""
    size = len(obj) if isinstance(obj, (bytes, bytearray)) else getattr(obj, "nbytes", 0)
    return int(size) if isinstance(size, int) else 0


def _readable(size: int) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024  # type: ignore[assignment]  # shown, no longer counted
    return f"{size:.1f} TiB"
