# SPDX-License-Identifier: MIT
"""How much memory a payload may ask for before any of it is taken."""

from __future__ import annotations

import os

__all__ = ["check_declared", "memory_left"]

_UNASKED = 64 << 20
"""For so many bytes nobody looks: finding out what is left takes 20 µs."""

_stated = 0
"""The bytes that were stated since somebody looked: a payload may have many parts."""


def check_declared(size: int) -> None:
    """Refuse a size that a payload states and that this machine has no memory for.

    A few bytes can truly decompress to any number of them, so what they state is
    compared with what is left before it is believed.

    Raises:
        ValueError: It is more than there is.
    """
    global _stated
    _stated += max(0, size)
    if _stated <= _UNASKED:
        return
    _stated = 0
    left = memory_left()
    needed = max(size, 2 * _UNASKED)  # what follows may be as much before anybody looks again
    if needed > left:
        raise ValueError(f"it takes {needed} bytes of memory, and there are {left}")


def memory_left() -> int:
    """The bytes of memory that can be had, as far as the system tells; else 2**40."""
    return min(_of_machine(), _of_group(), _of_process())


_NO_LIMIT = 1 << 40


def _of_machine() -> int:
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
        return _NO_LIMIT


def _of_group() -> int:
    """What a container may have at most; how much of it is taken can mostly be had back."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, "rb") as file:
                return int(file.read(64))
        except (OSError, ValueError):  # there is no such file, or it says "max"
            continue
    return _NO_LIMIT


def _of_process() -> int:
    """What is left of the addresses that ``ulimit -v`` gives."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return _NO_LIMIT
        with open("/proc/self/statm", "rb") as file:
            taken = int(file.read(64).split()[0]) * os.sysconf("SC_PAGE_SIZE")
        return max(0, limit - taken)
    except (ImportError, OSError, ValueError):
        return _NO_LIMIT
