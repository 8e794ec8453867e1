# SPDX-License-Identifier: MIT
"""The shortcuts of `UnifiedCache.get` and `put`, for calls that give nothing but a name.

Python takes 1 µs to give a dozen keywords their defaults, and to tell from them what are
parameters, as it compares each with all: a fifth of a hit. So most calls go by a function of few
keywords, which leaves to the method itself, with its signature, whatever says more.
"""

from __future__ import annotations

from functools import wraps

from cacheness.keys.encoding import params_key, scalars_key
from cacheness.naming import RESERVED, checked_key
from cacheness.outcomes import KEPT, MISS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from cacheness.core import UnifiedCache

    Method = TypeVar("Method", bound=Callable[..., Any])

__all__ = ["shortcut_get", "shortcut_put"]


def shortcut_get(at_length: Method) -> Method:
    """Have a `get` by a name alone go straight to the reader; any other goes at length."""

    @wraps(at_length)
    def get(
        self: UnifiedCache,
        /,
        cache_key: str | None = None,
        *,
        default: Any = None,
        **fields: object,
    ) -> Any:
        if fields:
            if cache_key is not None or not RESERVED.isdisjoint(fields):
                return at_length(self, cache_key, default=default, **fields)
            key = scalars_key(fields) or params_key(fields)
        elif cache_key is not None:
            key = checked_key(cache_key)
        else:
            return at_length(self, default=default)
        value = self.engine.reader.read_by_key(key)
        return default if value is MISS or value is KEPT else value

    return get  # type: ignore[return-value]  # it takes what that takes


def shortcut_put(at_length: Method) -> Method:
    """Have a `put` under a name alone go straight to the writer; any other goes at length."""

    @wraps(at_length)
    def put(
        self: UnifiedCache, obj: object, /, cache_key: str | None = None, **fields: object
    ) -> Any:
        if fields:
            if cache_key is not None or not RESERVED.isdisjoint(fields):
                return at_length(self, obj, cache_key, **fields)
            scalars = scalars_key(fields)
            key = scalars or params_key(fields)
        elif cache_key is not None:
            key, scalars = checked_key(cache_key), None
        else:
            return at_length(self, obj)
        writer = self.engine.made_writer or self.engine.writer
        writer.put(key, obj, fields or None, scalars is not None)
        return key

    return put  # type: ignore[return-value]  # it takes what that takes
