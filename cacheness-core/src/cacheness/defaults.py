# SPDX-License-Identifier: MIT
"""The cache that `cached` uses where none is named."""

from __future__ import annotations

import os
from _thread import RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Unpack

    from cacheness.config import CacheConfig, Options
    from cacheness.core import UnifiedCache

__all__ = ["configure", "default_cache"]

_lock = RLock()
_config: CacheConfig | None = None
_cache: UnifiedCache | None = None


def configure(
    config: CacheConfig | str | os.PathLike[str] | None = None,
    /,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[Options],
) -> None:
    """Set the options of the default cache, for calls of cached functions from now on.

    Args:
        config: The directory, or a whole `CacheConfig`.
        cache_dir: The directory, by name.
        options: Every field of `CacheConfig` as a keyword.

    Raises:
        ConfigError: An option can't work.

    Example:
        >>> cacheness.configure(cache_dir="~/.cache/thesis", max_size="20GB")
    """
    global _config, _cache
    from cacheness.config import as_config

    made = as_config(config, cache_dir, options)
    with _lock:
        replaced, _cache, _config = _cache, None, made
    if replaced is not None:
        replaced.close()


def default_cache() -> UnifiedCache:
    """The default cache, opened at first need: ``./.cacheness`` unless configured."""
    global _cache
    cache = _cache
    if cache is None:
        from cacheness.core import UnifiedCache

        with _lock:
            if _cache is None:
                _cache = UnifiedCache(_config)
            cache = _cache
    return cache


def _renew_lock() -> None:
    global _lock
    _lock = RLock()


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it.
    os.register_at_fork(after_in_child=_renew_lock)
