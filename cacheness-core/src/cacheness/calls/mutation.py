# SPDX-License-Identifier: MIT
"""Finds out whether a call changed its arguments."""

from __future__ import annotations

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import part_digests

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.calls.base import Calls

__all__ = ["MutationCheck"]


class MutationCheck:
    """Fingerprints the arguments that count before a call, and again after it.

    A hit changes nothing, so a function that is called for what it does to its arguments
    does not do it then.
    """

    def __init__(self, calls: Calls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._calls = calls
        self._arguments = calls.binding.bind()(*args, **kwargs)
        self._before = {name: self._digest(name) for name in self._arguments}

    def compare(self) -> None:
        """Warn of what differs from before."""
        changed = [name for name, before in self._before.items() if self._digest(name) != before]
        if changed:
            what = f"argument{'s' if len(changed) > 1 else ''} {', '.join(map(repr, changed))}"
            self._calls.say(
                f"{self._calls.name} changed its {what}, which a call that is answered from the "
                "cache does not: let it work on a copy"
            )

    def _digest(self, name: str) -> str:
        try:
            return part_digests({name: self._arguments[name]})[name]
        except UnhashableParameterError:
            return ""
