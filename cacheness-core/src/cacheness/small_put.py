# SPDX-License-Identifier: MIT
"""The short way of a small value to the store, where nothing about it is unusual."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

from cacheness.backends.plain_entry import PlainEntry
from cacheness.compressors.auto import SMALLEST
from cacheness.generations import new_generation
from cacheness.keys.summary import summarise_params
from cacheness.payloads.checksum import FAST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["SmallPut"]

_LARGEST = {"auto": SMALLEST - 1, "none": 1 << 62}
"""The largest payload that a compressor leaves as it is without a look."""


class SmallPut:
    """Stores values that one handler makes bytes of, and nothing else has a say in.

    It is `Engine.store` with what is always the same left out, and writes the same row:
    half of a small put was spent in making objects that say "as usual".

    Args:
        engine: The way for everything else.
    """

    __slots__ = ("_engine", "_handlers", "_largest", "_ttl")

    def __init__(self, engine: Engine) -> None:
        config, registry = engine.config, engine.registry
        self._engine = engine
        self._handlers = registry.candidates
        self._ttl = config.default_ttl_seconds
        self._largest = min(_LARGEST.get(config.compressor, -1), config.inline_bytes)
        if config.signing == "all" or "inline" not in engine.backend.capabilities:
            self._largest = -1
        if config.max_size is not None:
            self._largest = min(self._largest, config.max_size)

    def store(self, key: str, obj: object, params: Mapping[str, object] | None) -> bool:
        """[hot] Store a value of which nothing but its name was said.

        Takes 35 µs, of which SQLite's statement is 18 to 25, where `Engine.store` takes 54.

        Returns:
            False where it needs more than this; nothing was done then.
        """
        entry = self.plain_entry(key, obj, params, self._ttl)
        if entry is None:
            return False
        other = self._engine.backend.put_plain(entry)
        self._engine.writer.stored(key, entry.handler, len(entry.payload), other)
        return True

    def plain_entry(
        self,
        key: str,
        obj: object,
        params: Mapping[str, object] | None,
        ttl_seconds: float | None,
        secret: Collection[str] = (),
    ) -> PlainEntry | None:
        """[hot] The entry of a value of which its name and its time to live alone were said.

        Takes 5 µs, half of it to see what JSON keeps.

        Returns:
            None where it needs more than this; nothing was done then.
        """
        plain = self._plain(obj)
        if plain is None:
            return None
        loaded, payload = plain
        of = type(obj)
        return PlainEntry(
            self._engine.config.namespace,
            key,
            new_generation(),
            loaded.name,
            FAST + xxh3_128_hexdigest(payload),
            payload,
            loaded.distribution,
            time(),
            ttl_seconds,
            summarise_params(params, secret) if params else {},
            f"{of.__module__}.{of.__qualname__}",
            loaded.describe(obj) if loaded.describe else of.__name__,
        )

    def entry(self, key: str, obj: object, details: Mapping[str, Any]) -> Entry | None:
        """[hot] The entry of a value with the details of its caller, as `Writer.prepare` makes it.

        Takes 9 µs, where that takes 25.

        Returns:
            None where it needs more than this; nothing was done then.
        """
        plain = self.plain_entry(key, obj, None, details["ttl_seconds"])
        return None if plain is None else plain.entry(**details)

    def _plain(self, obj: object) -> tuple[LoadedHandler, bytes] | None:
        """[hot] The handler that takes the value, and all of its payload; None if unusual."""
        loaded = self._handlers(type(obj))[0]
        engine = self._engine
        if loaded.dumps_plain is None or loaded.name in engine.config.handler_options:
            return None
        try:
            payload = loaded.dumps_plain(obj) if loaded.handler.can_handle(obj) else None
        except Exception:  # noqa: BLE001  # the long way tells of what an author's code raises
            return None
        if payload is None:
            return None
        size = len(payload)
        if size > self._largest or not engine.upkeep().goes_unnoticed(size):
            return None
        return loaded, payload
