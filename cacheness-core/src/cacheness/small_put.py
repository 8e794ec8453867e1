# SPDX-License-Identifier: MIT
"""The short way of a small value to the store, where nothing about it is unusual."""

from __future__ import annotations

import sys
from time import time
from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

from cacheness.backends.plain_entry import PlainEntry
from cacheness.compressors.auto import SMALLEST
from cacheness.generations import new_generation
from cacheness.keys.summary import as_recorded, summarise_params
from cacheness.payloads.checksum import FAST
from cacheness.payloads.dumped import Dumped
from cacheness.upkeep.free_space import ENTRY_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any, TypeAlias

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.plugins.registry import LoadedHandler

    _Recipe: TypeAlias = tuple[
        object,
        int,
        LoadedHandler,
        Callable[[Any], bool] | None,
        Callable[[Any], bytes | None] | None,
        Callable[[Any], str] | None,
        str,
        str,
        str,
    ]

__all__ = ["SmallPut"]

_LARGEST = {"auto": SMALLEST - 1, "none": 1 << 62}
"""The largest payload that a compressor leaves as it is without a look."""


class SmallPut:
    """Makes the entries of values that one handler makes bytes of, and nothing else has a say in.

    Args:
        engine: Whose entries they are.
    """

    __slots__ = (
        "_largest",
        "_namespace",
        "_options",
        "_recipes",
        "_registry",
        "_space",
        "upkeep",
    )

    def __init__(self, engine: Engine) -> None:
        config = engine.config
        self._registry = engine.registry
        self.upkeep = engine.upkeep()
        """What looks after the store at each put."""
        self._space = self.upkeep.space
        self._namespace, self._options = config.namespace, config.handler_options
        self._recipes: dict[type, _Recipe] = {}
        self._largest = min(_LARGEST.get(config.compressor, -1), config.inline_bytes)
        if config.signing == "all" or "inline" not in engine.backend.capabilities:
            self._largest = -1
        if config.max_size is not None:
            self._largest = min(self._largest, config.max_size)

    def plain_entry(
        self,
        key: str,
        obj: object,
        params: Mapping[str, object] | None,
        ttl_seconds: float | None,
        secret: Collection[str] = (),
        are_scalars: bool = False,
    ) -> PlainEntry | Dumped | None:
        """[hot] The entry of a value of which its name and its time to live alone were said.

        Takes 2.5 µs in a loop of its own, three times that between two statements. It keeps
        ``params`` as they are, so that they have to belong to nobody else; ``are_scalars`` says
        that all of them were found to be such.

        Returns:
            Where it needs more than this, its payload if that was made and is too large, so
            that nobody makes it again, else None; nothing was done then.
        """
        of = type(obj)
        recipe = self._recipes.get(of)
        if (
            recipe is None
            or recipe[0] is not self._registry.by_type
            or recipe[1] != len(sys.modules)
        ):
            recipe = self._recipes[of] = self._recipe(of, obj)
        _, _, loaded, takes, dumps, describe, handler, distribution, object_type = recipe
        if dumps is None:
            return None
        try:
            payload = dumps(obj) if takes is None or takes(obj) else None
        except Exception:  # noqa: BLE001  # the long way tells of what an author's code raises
            return None
        if payload is None:
            return None
        size = len(payload)
        if size > self._largest:
            return Dumped(loaded, payload)
        space, now = self._space, time()
        if space.quiet_bytes < 0 or not space.quiet_from <= now < space.quiet_until:
            return None
        space.quiet_bytes -= size + ENTRY_BYTES
        summary, details = describe(obj) if describe else of.__name__, None
        if params:
            said = {"object_type": object_type, "summary": summary, "params": params}
            if secret or (details := as_recorded(said, are_scalars)) is None:
                params = summarise_params(params, secret)
        # As `PlainEntry(…)` does it, but for a call of a function in Python.
        return tuple.__new__(
            PlainEntry,
            (
                self._namespace,
                key,
                new_generation(),
                handler,
                FAST + xxh3_128_hexdigest(payload),
                payload,
                distribution,
                now,
                ttl_seconds,
                params or {},
                object_type,
                summary,
                details,
            ),
        )

    def _recipe(self, of: type, obj: object) -> _Recipe:
        """What there is to be known of entries of a type, which hangs on the type alone.

        It holds until a handler comes or goes, or a module is imported: see
        `Registry.candidates`.
        """
        handlers, imported = self._registry.by_type, len(sys.modules)
        loaded = self._registry.candidates(of)[0]
        takes: Callable[[Any], bool] | None = loaded.handler.can_handle
        dumps = None if loaded.name in self._options else loaded.dumps_plain
        if loaded.decides_by_type:
            dumps = dumps if _is_taken(loaded, obj) else None
            takes = None
        return (
            handlers,
            imported,
            loaded,
            takes,
            dumps,
            loaded.describe,
            loaded.name,
            loaded.distribution,
            f"{of.__module__}.{of.__qualname__}",
        )

    def entry(self, key: str, obj: object, details: Mapping[str, Any]) -> Entry | Dumped | None:
        """[hot] The entry of a value with the details of its caller, as `Writer.prepare` makes it.

        Takes 9 µs, where that takes 25.

        Returns:
            Where it needs more than this, the same as `plain_entry`.
        """
        plain = self.plain_entry(key, obj, None, details["ttl_seconds"])
        return plain.entry(**details) if isinstance(plain, PlainEntry) else plain


def _is_taken(loaded: LoadedHandler, obj: object) -> bool:
    try:
        return loaded.handler.can_handle(obj)
    except Exception:  # noqa: BLE001  # as above
        return False
