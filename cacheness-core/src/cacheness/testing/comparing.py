# SPDX-License-Identifier: MIT
"""Compares what may be large, of which nobody wants to see every difference."""

from __future__ import annotations

__all__ = ["same"]


def same(one: object, other: object) -> bool:
    """Whether they are equal; for use in an ``assert``.

    Where a CI service is at work pytest shows the whole difference of two sides of ``==``,
    which takes it hours for megabytes.
    """
    return one == other
