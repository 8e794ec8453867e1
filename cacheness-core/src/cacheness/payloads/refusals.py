# SPDX-License-Identifier: MIT
"""Why an entry is not read."""

from __future__ import annotations

import sys

from cacheness.errors import PluginNotInstalledError, SignatureError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.payloads.signing import Verdict

__all__ = [
    "OWN_DISTRIBUTIONS",
    "BadSignatureError",
    "UndecodableError",
    "ends_the_caller",
    "not_installed",
]


class BadSignatureError(SignatureError):
    """A `SignatureError` with what is the matter: missing, foreign or wrong."""

    def __init__(self, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


class UndecodableError(Exception):
    """The payload is what was stored, but its handler can't read it here; has a cause."""


def ends_the_caller(error: BaseException) -> bool:
    """Whether an exception is no failure of a handler, but asks its caller's caller to stop.

    A library's own may derive from `BaseException`, too: a panic in Rust, as of polars, does.
    """
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        return True
    # Nobody can have been cancelled where asyncio was never imported.
    asyncio = sys.modules.get("asyncio.exceptions")
    return asyncio is not None and isinstance(error, asyncio.CancelledError)


def not_installed(
    cache_key: str, handler: str, distribution: str, *, trusted: bool
) -> PluginNotInstalledError:
    """The error for an entry whose handler is missing.

    Args:
        cache_key: The entry.
        handler: The handler's name, as the entry says.
        distribution: Where it came from, as the entry says.
        trusted: Whether the entry's signature holds, so that a stranger's distribution
            may be put after ``pip install``: an unsigned entry could name anything.
    """
    where = f"entry {cache_key} was stored by the handler {handler!r}"
    if not distribution:
        return PluginNotInstalledError(
            f"{where}, which a process registered with register_handler: "
            "import the module that does so first"
        )
    if distribution in OWN_DISTRIBUTIONS or (trusted and _is_distribution_name(distribution)):
        return PluginNotInstalledError(
            f"{where} of {distribution}, which is not installed: pip install {distribution}"
        )
    return PluginNotInstalledError(f"{where} of a plugin that is not installed here")


def _is_distribution_name(name: str) -> bool:
    from re import ASCII, fullmatch

    return fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", name, ASCII) is not None


OWN_DISTRIBUTIONS = frozenset(
    {"cacheness-core", "cacheness-pandas", "cacheness-tensorflow", "cacheness-postgres"}
)
"""What this project publishes, named here for that message alone."""
