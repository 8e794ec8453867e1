# SPDX-License-Identifier: MIT
"""A payload that was made before it was known to be too large for the short way."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["Dumped"]


class Dumped(NamedTuple):
    """What ``dumps_plain`` of a handler made of a value, for whoever encodes it."""

    loaded: LoadedHandler
    payload: bytes
