# SPDX-License-Identifier: MIT
"""What the hooks gave, by name; a name that is taken is reported."""

from __future__ import annotations

import sys

from cacheness.errors import PluginWarning, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["HOOKS", "Table", "load_target", "report"]

HOOKS = {
    "cacheness_handlers": "handler",
    "cacheness_metadata_backends": "metadata backend",
    "cacheness_blob_backends": "blob backend",
    "cacheness_compressors": "compressor",
}
"""Each hook that returns specs, and what it calls them."""


def load_target(target: Any) -> Any:
    """The object that a spec's target is or names.

    Raises:
        ImportError, AttributeError: There is none.
    """
    if not isinstance(target, str):
        return target
    module, _, path = target.partition(":")
    __import__(module)  # `importlib` itself takes a short process 0.6 ms
    found: Any = sys.modules[module]
    for name in filter(None, path.split(".")):
        found = getattr(found, name)
    return found


class Table:
    """The specs of one hook by name, each with the distribution that it came from."""

    __slots__ = ("distributions", "kind", "specs")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.specs: dict[str, Any] = {}
        self.distributions: dict[str, str] = {}

    def add(self, plugin: str, distribution: str, spec: Any) -> None:
        """Take a spec in, or report why not."""
        if spec.name in self.specs:
            holder = self.distributions[spec.name] or "this process"
            reason = f"{holder} already has the {self.kind} {spec.name!r}; choose another name"
            report(plugin, f"the {self.kind} hook", reason)
            return
        self.specs[spec.name] = spec
        self.distributions[spec.name] = distribution


def report(plugin: str, where: str, reason: str) -> None:
    """Tell the user that a plugin, or one thing of it, is left out."""
    warn(f"plugin {plugin} was skipped at {where}: {reason}", PluginWarning)
