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
    "iter_keys",
    "namespaces_of",
    "touch_batch",
]

_PAGE = 256
"""Entries that are read at a time, so that a listing's memory is flat."""


def iter_keys(engine: Engine, filters: Mapping[str, Any], where: object) -> Iterator[str]:
    """The cache keys of what filters, and a condition of SQLAlchemy, select; oldest first."""
    if where is None:
        return engine.backend.query_meta(**filters)
    return engine.backend.query_where(Filter.parse(filters), where)


def iter_entries(
    engine: Engine, filters: Mapping[str, Any], where: object, all_namespaces: bool
) -> Iterator[Entry]:
    """The entries that the filters select, without payloads, streamed.

    What the filters mean is checked before the first is asked for.
    """
    selected = Filter.parse(filters)

    def of(one: Engine) -> Iterator[Entry]:
        in_store = selected.conditions and "query" in one.backend.capabilities
        if where is not None or in_store:
            return _found(one, selected, iter_keys(one, filters, where))
        return _listed(selected, one.backend.iter_entry_summaries())

    if all_namespaces:
        return chain.from_iterable(map(of, namespaces_of(engine, all_namespaces)))
    return of(engine)


def _listed(selected: Filter, summaries: Iterator[dict[str, Any]]) -> Iterator[Entry]:
    from cacheness.entry import build_entry

    for summary in filter(selected.matches, summaries) if selected.conditions else summaries:
        yield build_entry(**summary)


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


def delete_matching(
    engine: Engine, filters: Mapping[str, Any], where: object, progress: Progress
) -> int:
    """Remove what the filters select, in one transaction, and its blobs."""
    engine.check_writable()
    selected = _restricting(filters, where, "delete_matching")
    if where is None:
        return engine.let_go(engine.backend.remove_where(selected), "invalidate", progress)
    removed = engine.backend.remove_generations(_generations(engine, selected, where))
    return engine.let_go(removed, "invalidate", progress)


def _generations(engine: Engine, selected: Filter, where: object) -> dict[str, int]:
    """The generations that fulfil a condition.

    It is asked twice, as it gives keys alone: of what it still selects after the entry was
    read, the generation that was read does, or is gone.
    """
    seen: dict[str, int] = {}
    keys = engine.backend.query_where(selected, where)
    while page := list(islice(keys, _PAGE)):
        for key, entry in engine.backend.get_entries(page).items():
            seen[key] = entry.generation
    still = engine.backend.query_where(selected, where)
    return {key: seen[key] for key in still if key in seen}


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
    removed = engine.backend.remove_generations(chosen) if chosen else []
    return engine.let_go(removed, "invalidate", progress)


def touch_batch(
    engine: Engine, filters: Mapping[str, Any], where: object, progress: Progress
) -> int:
    """Have the age of what the filters select start now, in one transaction."""
    engine.check_writable()
    selected = _restricting(filters, where, "touch_batch")
    with reporting(progress, None, "renewing") as advance:
        if where is not None:
            keys = list(engine.backend.query_where(selected, where))
            selected = Filter.parse({**filters, "entry__cache_key__in": keys})
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


def _restricting(filters: Mapping[str, Any], where: object, method: str) -> Filter:
    """The filter, which must not select everything."""
    selected = Filter.parse(filters)
    if not selected.conditions and where is None:
        raise TypeError(
            f"{method}() without any filter would be about every entry: say which, or call "
            "clear() to remove them all"
        )
    return selected
