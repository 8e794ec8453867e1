# SPDX-License-Identifier: MIT
"""Finds the entries that a command's arguments mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import typer

from cacheness.cli.mistakes import FOUND, MistakeError, complain
from cacheness.cli.options import parse_pairs
from cacheness.core import UnifiedCache
from cacheness.entry import Entry
from cacheness.filters import Filter

__all__ = ["ORDERS", "find_entry", "ordered", "parse_filters", "split_names"]

ORDERS = {
    "key": "cache_key",
    "size": "stored_bytes",
    "hits": "hits",
    "created": "created_at",
    "read": "accessed_at",
    "cost": "cost_seconds",
    "expires": "expires_at",
    "function": "function",
    "prefix": "prefix",
    "handler": "handler",
}
"""What ``--sort`` takes, and the field of an entry that it means."""


def parse_filters(
    cache: UnifiedCache,
    pairs: Sequence[str] | None,
    prefix: str | None,
    tags: Sequence[str] | None,
    function: str | None,
) -> dict[str, Any]:
    """What the arguments select, as `UnifiedCache.entries` takes it.

    Raises:
        MistakeError: A filter means nothing.
    """
    filters = parse_pairs(list(pairs or ()))
    shorthand: dict[str, Any] = {"prefix": prefix, "tags": list(tags or ()) or None}
    if function is not None:
        shorthand["entry__function__in"] = _functions(cache, function)
    for name, value in shorthand.items():
        if value is not None:
            if name in filters:
                raise MistakeError(f"{name} is given twice, and only one value can hold")
            filters[name] = value
    try:
        Filter.parse(filters)
    except TypeError as error:
        raise MistakeError(str(error)) from None
    return filters


def _functions(cache: UnifiedCache, name: str) -> list[str]:
    """The functions of that name: the one, or those of all modules where none is named."""
    if ":" in name:
        return [name]
    known = {entry.function for entry in cache.entries() if entry.function}
    return sorted(one for one in known if one.partition(":")[2] == name) or [name]


def split_names(arguments: Iterable[str] | None) -> tuple[list[str], list[str]]:
    """Arguments that are cache keys, and those that are filters, which have an ``=``."""
    keys: list[str] = []
    pairs: list[str] = []
    for argument in arguments or ():
        (pairs if "=" in argument else keys).append(argument)
    return keys, pairs


def find_entry(cache: UnifiedCache, name: str) -> Entry:
    """The entry of that key, or the only one whose key begins so; expired or not.

    Raises:
        Exit: There is none, or there are several.
    """
    entry = cache.engine.backend.get_entry(name) if name else None
    if entry is not None:
        return entry
    found = []
    for one in cache.entries(entry__cache_key__startswith=name):
        found.append(one.cache_key)
        if len(found) > 1:
            raise MistakeError(f"several keys begin with {name!r}: {found[0]}, {found[1]}, …")
    entry = cache.engine.backend.get_entry(found[0]) if found else None
    if entry is None:
        complain(f"no entry has the key {name!r}, or one that begins so")
        raise typer.Exit(FOUND)
    return entry


def ordered(entries: Iterable[Entry], sort: str) -> list[Entry]:
    """The entries by one of `ORDERS`, descending after a minus; what has no value comes last.

    Raises:
        MistakeError: There is no such order.
    """
    name = sort.removeprefix("-")
    if name not in ORDERS:
        raise MistakeError(f"--sort {sort}: give one of {', '.join(ORDERS)}, or -size and so on")
    field = ORDERS[name]
    entries = sorted(entries, key=lambda entry: entry.cache_key)
    known = [entry for entry in entries if getattr(entry, field) is not None]
    known.sort(key=lambda entry: getattr(entry, field), reverse=sort.startswith("-"))
    return known + [entry for entry in entries if getattr(entry, field) is None]
