# SPDX-License-Identifier: MIT
"""What is installed that a cache could use, and what failed to load."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from cacheness.errors import PluginWarning
from cacheness.plugins.discovery import find_entry_points
from cacheness.plugins.registry import registry_for
from cacheness.plugins.tables import HOOKS, load_target

__all__ = ["Installed", "Provided", "installed"]


@dataclass(frozen=True, slots=True)
class Provided:
    """One handler, backend or compressor."""

    kind: str
    """``handler``, ``metadata backend``, ``blob backend`` or ``compressor``."""
    name: str
    """What entries and options call it."""
    distribution: str
    """Who provides it; empty for this process."""
    types: tuple[str, ...]
    """Of a handler, the types that it is for; none is for any."""
    priority: int | None
    """Of a handler, when it is asked."""
    failure: str = ""
    """Why it can't be loaded, where that was tried and failed."""


@dataclass(frozen=True, slots=True)
class Installed:
    """All that is installed."""

    plugins: tuple[str, ...]
    """Entry points, as ``distribution:name``."""
    provided: tuple[Provided, ...]
    """What they provide, and the core."""
    failures: tuple[str, ...]
    """What discovery said of those that were left out."""


def installed(*, load: bool) -> Installed:
    """Discover what there is, and with ``load`` import each target, heavy libraries included."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        tables = registry_for().discovered()
    failures = tuple(str(one.message) for one in caught if issubclass(one.category, PluginWarning))
    provided = [
        Provided(
            HOOKS[hook],
            spec.name,
            table.distributions[spec.name],
            tuple(getattr(spec, "types", ())),
            getattr(spec, "priority", None),
            _failure_of(spec.target) if load else "",
        )
        for hook, table in tables.items()
        for spec in table.specs.values()
    ]
    points = dict.fromkeys(point.plugin_name for point in find_entry_points())
    return Installed(tuple(points), tuple(provided), failures)


def _failure_of(target: object) -> str:
    try:
        load_target(target)
    except Exception as error:  # noqa: BLE001  # whatever an author's module raises is told
        return f"{type(error).__name__}: {error}"
    return ""
