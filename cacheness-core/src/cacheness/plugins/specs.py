# SPDX-License-Identifier: MIT
"""What a plugin returns from its hooks: specs that name what it provides without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["BackendSpec", "CompressorSpec", "HandlerSpec"]


@dataclass(frozen=True, slots=True)
class HandlerSpec:
    """Names a type handler.

    Example:
        >>> HandlerSpec("frame", "my_plugin.frame:FrameHandler", types=("pandas.DataFrame",))
    """

    name: str
    """The name that entries remember; unique among all plugins."""
    target: Any
    """A `Handler` class or instance, or ``"package.module:attribute"``, imported at first use."""
    types: tuple[str, ...] = ()
    """Public import paths of the types it takes, subclasses included; none means that every
    object is shown to `Handler.can_handle`. A path is looked up only in modules that are
    imported already, so naming a type costs nothing."""
    priority: int = 0
    """Higher is asked first; equal ones go by name. The core's own lie between 10 and 50,
    its fallback, pickle, at -1000."""


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """Names a metadata backend or a blob backend."""

    name: str
    """What ``metadata_backend=`` or ``blob_backend=`` selects it by."""
    target: Any
    """A class, or ``"package.module:attribute"``, called as ``target(context, **options)``."""


@dataclass(frozen=True, slots=True)
class CompressorSpec:
    """Names a compressor."""

    name: str
    """What ``compressor=`` selects it by, and what entries remember."""
    target: Any
    """A `Compressor` class or instance, or ``"package.module:attribute"``."""
