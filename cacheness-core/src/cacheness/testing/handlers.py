# SPDX-License-Identifier: MIT
"""The suite for type handlers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cacheness.testing.handler_keeping import KeepingPromises
from cacheness.testing.handler_keys import KeyPromises
from cacheness.testing.handler_reading import ReadingPromises
from cacheness.testing.plugin import PluginPromises

if TYPE_CHECKING:
    from cacheness.handlers.base import Handler

__all__ = ["HandlerContract"]


class HandlerContract(KeepingPromises, ReadingPromises, KeyPromises, PluginPromises):
    """Everything that cacheness relies on in a type handler.

    Subclass it in a test file, set `handler`, and override `objects` with a hypothesis
    strategy for what the handler keeps. `refused`, `equal` and `changed` make it stricter.

    Example:
        >>> class TestFractionHandler(HandlerContract):
        ...     handler = "fraction"
        ...
        ...     def objects(self):
        ...         return hypothesis.strategies.fractions()
        ...
        ...     def refused(self):
        ...         return [1, 0.5, "1/2"]
    """

    hook = "cacheness_handlers"

    def provided(self) -> str | type[Handler]:
        return self.handler
