# SPDX-License-Identifier: MIT
"""Judges an entry by its record alone: may it be read here, and does its signature hold?"""

from __future__ import annotations

from cacheness.errors import ConfigError, HandlerNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.payloads.signing import Signer, Verdict
    from cacheness.plugins.registry import LoadedHandler, Registry

__all__ = ["Vetting"]


class Vetting:
    """Judges entries with the handlers, the options and the keys of one cache."""

    def __init__(self, engine: Engine) -> None:
        self._registry: Registry = engine.registry
        self._signing = engine.config.signing
        self._signer = engine.signer
        self._compressors: dict[str, str] = {}

    def verdict(self, entry: Entry) -> Verdict:
        """Whether the signature holds under a key that is held, as a read would find."""
        if entry.signature is None:
            return "missing"
        if not entry.checksum.startswith("blake3:"):
            return "wrong"
        from cacheness.payloads.signing import message_of

        signer: Signer = self._signer()
        return signer.verdict(entry.signature, message_of(entry))

    def needs_signature(self, entry: Entry) -> bool | None:
        """Whether a read here asks for one; None where a plugin had to be imported to tell."""
        if self._signing != "auto":
            return self._signing == "all"
        known = self._known(entry.handler)
        return None if isinstance(known, bool) else not known.data_only

    def runs_code(self, entry: Entry) -> bool:
        """Whether reading the entry's bytes may run code of theirs, as far as its handler says.

        What can't be judged, since the handler is missing here, may.
        """
        try:
            return not self._registry.handler(entry.handler).data_only
        except (HandlerNotFoundError, ImportError, AttributeError):
            return True

    def unreadable(self, entry: Entry) -> str:
        """Why the entry can't be read here although it is intact; empty where it can."""
        known = self._known(entry.handler)
        if known is False:
            return f"its handler {entry.handler!r} is not installed"
        if not isinstance(known, bool) and entry.handler_version > known.version:
            return (
                f"version {entry.handler_version} of the handler {entry.handler!r} wrote it, "
                f"here is {known.version}"
            )
        return self._missing_compressor(entry.compressor)

    def _known(self, name: str) -> LoadedHandler | bool:
        try:
            return self._registry.known_handler(name)
        except (ImportError, AttributeError):
            return True

    def _missing_compressor(self, name: str) -> str:
        found = self._compressors.get(name)
        if found is None:
            try:
                self._registry.compressor(name)
                found = ""
            except ConfigError as error:
                found = f"it was compressed with {name!r}, which is not here: {error}"
            self._compressors[name] = found
        return found
