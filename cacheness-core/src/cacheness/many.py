# SPDX-License-Identifier: MIT
"""What a cache does with many of its entries at once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.engine import Engine
    from cacheness.stats import CacheStats

__all__ = ["ManyEntries"]


class ManyEntries:
    """The half of `UnifiedCache` that is about more than one entry."""

    engine: Engine

    def clear(self, prefix: str | None = None) -> int:
        """Remove every entry of this namespace, or of one prefix; give their number."""
        return self.engine.clear({} if prefix is None else {"prefix": prefix})

    def stats(self) -> CacheStats:
        """What this namespace holds, and what it was good for, by all that used it."""
        from cacheness.stats import gather

        self.engine.flush()
        return gather(self.engine.backend)

    def __len__(self) -> int:
        return self.engine.backend.count()

    def __iter__(self) -> Iterator[str]:
        return self.engine.backend.iter_keys()
