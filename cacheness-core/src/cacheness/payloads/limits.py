# SPDX-License-Identifier: MIT
"""How much memory a payload may ask for before any of it is taken."""

from __future__ import annotations

import os

__all__ = ["check_declared", "memory_left"]

_UNASKED = 64 << 20
"""Up to this size nobody looks: finding out what is left takes 20 µs."""


def check_declared(size: int) -> None:
    """Refuse a size that a payload states and that this machine has no memory for.

    A few bytes can truly decompress to any number of them, so what they state is
    compared with what is left before it is believed.

    Raises:
        ValueError: It is more than there is.
    """
    if size <= _UNASKED:
        return
    left = memory_left()
    if size > left:
        raise ValueError(f"it takes {size} bytes of memory, and there are {left}")


def memory_left() -> int:
    """The bytes of memory that can be had, as far as the system tells; else 2**40."""
    try:
        with open("/proc/meminfo", "rb") as file:
            for line in file:
                if line.startswith(b"MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 40
