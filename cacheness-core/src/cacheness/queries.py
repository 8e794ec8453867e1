# SPDX-License-Identifier: MIT
"""Finds entries by what is recorded of them, and changes or removes what was found."""

from __future__ import annotations

from itertools import chain, islice
from time import time

from cacheness.filters import Filter
from cacheness.progress import reporting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.progress import Progress

__all__ = [
    "cleanup_expired",
    "delete_matching",
    "delete_where",
    "iter_entries",
    "namespaces_of",
    "touch_batch",
]

_PAGE = 256
"""Entries that are read at a time, so that a listing's memory is flat."""


def iter_entries(
    engine: Engine, filters: Mapping[str, Any], all_namespaces: bool
) -> Iterator[Entry]:
    """The entries that the filters select, without payloads, streamed.

    What the filters mean is checked before the first is asked for.
    """
    selected = Filter.parse(filters)
    if all_namespaces:
        return chain.from_iterable(
            _entries_of(one, selected, filters) for one in namespaces_of(engine, all_namespaces)
        )
    return _entries_of(engine, selected, filters)


def _entries_of(engine: Engine, selected: Filter, filters: Mapping[str, Any]) -> Iterator[Entry]:
    if selected.conditions and "query" in engine.backend.capabilities:
        return _found(engine, selected, engine.backend.query_meta(**filters))
    return _listed(selected, engine.backend.iter_entry_summaries())


def _listed(selected: Filter, summaries: Iterator[dict[str, Any]]) -> Iterator[Entry]:
    from cacheness.entry import Entry

    for summary in summaries:
        if selected.matches(summary):
            yield Entry(**summary)


def _found(engine: Engine, selected: Filter, keys: Iterator[str]) -> Iterator[Entry]:
    """The entries of these keys, as far as they still are what was asked for."""
    from cacheness.entry import Entry, build_entry

    names = [name for name in Entry.__slots__ if name != "inline"]
    while page := list(islice(keys, _PAGE)):
        entries = engine.backend.get_entries(page)
        for entry in filter(None, map(entries.get, page)):
            summary = {name: getattr(entry, name) for name in names}
            if selected.matches(summary):
                yield build_entry(**summary)


def delete_matching(engine: Engine, filters: Mapping[str, Any], progress: Progress) -> int:
    """Remove what the filters select, in one transaction, and its blobs."""
    engine.check_writable()
    removed = engine.backend.delete_where(_restricting(filters, "delete_matching"))
    return engine.dispose(removed, "invalidate", progress)


def delete_where(
    engine: Engine, predicate: Callable[[Mapping[str, Any]], object], progress: Progress
) -> int:
    """Remove the entries whose summary the predicate accepts.

    Those that were replaced after the predicate saw them stay.
    """
    if not callable(predicate):
        raise TypeError(
            f"delete_where takes a function of an entry summary, not a "
            f"{type(predicate).__name__}; delete_matching takes filters"
        )
    engine.check_writable()
    chosen = {
        summary["cache_key"]: summary["generation"]
        for summary in engine.backend.iter_entry_summaries()
        if predicate(summary)
    }
    removed = engine.backend.delete_generations(chosen) if chosen else []
    return engine.dispose(removed, "invalidate", progress)


def touch_batch(engine: Engine, filters: Mapping[str, Any], progress: Progress) -> int:
    """Have the age of what the filters select start now, in one transaction."""
    engine.check_writable()
    selected = _restricting(filters, "touch_batch")
    with reporting(progress, None, "renewing") as advance:
        touched = engine.backend.touch_entries(selected, now=time())
        advance(touched)
    return touched


def cleanup_expired(engine: Engine, progress: Progress) -> int:
    """Remove what has expired, in one step that looks at the expiry again, and its blobs."""
    engine.check_writable()
    return engine.dispose(engine.backend.delete_expired(time()), "expire", progress)


def namespaces_of(engine: Engine, all_namespaces: bool) -> Iterator[Engine]:
    """The engine itself and, where asked, one for every other namespace that has entries.

    Each of the others is closed when the next is asked for.
    """
    others = engine.backend.namespaces() if all_namespaces else ()
    yield engine
    for name in others:
        if name == engine.config.namespace:
            continue
        config = engine.config.replace(cache_dir=engine.config.cache_dir, namespace=name)
        other = type(engine)(config)
        try:
            yield other
        finally:
            other.close()


def _restricting(filters: Mapping[str, Any], method: str) -> Filter:
    """The filter, which must not select everything."""
    selected = Filter.parse(filters)
    if not selected.conditions:
        raise TypeError(
            f"{method}() without any filter would be about every entry: say which, or call "
            "clear() to remove them all"
        )
    return selected
