# SPDX-License-Identifier: MIT
"""The indexes of a SQLite file that are made when somebody first needs them.

Each costs every put a page more to write, a sixth of all it costs, so that a cache which
nobody queries by a field, or bounds by a policy, has none of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cacheness.backends.sqlite_connections import Connections

__all__ = ["INDEXES", "POLICIES", "make_indexes"]

INDEXES = {
    "prefix": "entries_by_prefix ON entries (namespace, prefix) WHERE prefix != ''",
    "function": "entries_by_function ON entries (namespace, function) WHERE function IS NOT NULL",
    "created_at": "entries_by_age ON entries (namespace, created_at, cache_key, pinned)",
    "accessed_at": "entries_by_access ON entries (namespace, accessed_at, cache_key, pinned)",
    "hits": "entries_by_hits ON entries (namespace, hits, accessed_at, cache_key, pinned)",
    "stored_bytes": "entries_by_size ON entries (namespace, stored_bytes)",
    "worth": "entries_by_worth ON entries (namespace, worth, cache_key, pinned)",
}
"""By the field that they find entries by."""

POLICIES = {
    "lru": ("accessed_at", "cache_key"),
    "lfu": ("hits", "accessed_at", "cache_key"),
    "fifo": ("created_at", "cache_key"),
    "cost": ("worth", "cache_key"),
}
"""What each policy evicts by; the first one has an index. As `filters.eviction_order`."""

_MANY = 2000
"""Entries from which an index is worth it."""


def make_indexes(connections: Connections, fields: Iterable[str]) -> None:
    """Make the indexes of these fields, if there are many entries and nobody is in the way."""
    wanted = set(fields) - connections.indexed
    if not wanted or not connections.may_begin():
        return
    (largest,) = connections.row("SELECT max(id) FROM entries", ())
    if (largest or 0) < _MANY:
        return
    from cacheness.errors import BackendUnavailableError

    try:
        with connections.transaction(pages=0, timeout=0) as execute:
            for field in wanted:
                execute(f"CREATE INDEX IF NOT EXISTS {INDEXES[field]}")
    except BackendUnavailableError:
        return  # another time: what is asked for is found all the same
    connections.indexed |= wanted
