# SPDX-License-Identifier: MIT
"""Commands that look: info, ls, query, show, stats."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from cacheness.cli import views
from cacheness.cli.command import Call
from cacheness.cli.mistakes import DONE, FOUND, MistakeError
from cacheness.cli.options import Filters, Function, Prefix, Tags
from cacheness.cli.selection import find_entry, ordered, parse_filters
from cacheness.cli.text import duration, shortened, size
from cacheness.entry import Entry

__all__ = ["info", "ls", "query", "show", "stats"]

_SHOWN = 100
"""Entries that people are shown where they give no limit."""
_BEST = 10
"""Functions, prefixes, … that `stats` shows people."""

Sort = Annotated[
    str,
    typer.Option(
        help="By key, size, hits, created, read, cost, expires, function, prefix or handler; "
        "with a minus in front the largest first."
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=0,
        help=f"Show so many at most; 0 is all. Else {_SHOWN}, or all for --json and --keys.",
        show_default=False,
    ),
]
Keys = Annotated[bool, typer.Option("--keys", "-k", help="Print the cache keys alone.")]


def info(call: Call) -> None:
    """Say where the cache is, and how much is in it."""
    with call.target.open() as cache:
        config, backend = cache.config, cache.engine.backend
        free = None
        if os.path.isdir(config.cache_dir):
            free = shutil.disk_usage(config.cache_dir).free
        data: dict[str, Any] = {
            "directory": config.cache_dir,
            "backend": config.metadata_backend,
            "namespace": config.namespace,
            "namespaces": backend.namespaces(),
            "entries": backend.count(),
            "stored_bytes": backend.total_size(),
            "max_size": config.max_size,
            "max_entries": config.max_entries,
            "policy": config.policy,
            "compressor": config.compressor,
            "signing": config.signing,
            "permissions": config.permissions,
            "free_bytes": free,
        }
    bound = f" of at most {size(data['max_size'])}" if data["max_size"] else ""
    others = [name for name in data["namespaces"] if name != data["namespace"]]
    call.screen.result(
        data,
        lambda: call.screen.facts(
            [
                ("directory", data["directory"]),
                ("backend", data["backend"]),
                ("namespace", data["namespace"]),
                ("entries", f"{data['entries']:,}"),
                ("size", size(data["stored_bytes"]) + bound),
                ("free on the disk", None if free is None else size(free)),
                ("other namespaces", ", ".join(repr(name) for name in others)),
            ]
        ),
    )


def ls(
    call: Call,
    filters: Filters = None,
    prefix: Prefix = None,
    tag: Tags = None,
    function: Function = None,
    sort: Sort = "-created",
    limit: Limit = None,
    keys: Keys = False,
) -> None:
    """List entries, the newest first."""
    with call.target.open() as cache:
        selected = parse_filters(cache, filters, prefix, tag, function)
        found = ordered(cache.entries(**selected), sort)
    _print(call, found, limit, keys, views.COLUMNS, views.row)


def query(
    call: Call,
    filters: Filters = None,
    prefix: Prefix = None,
    tag: Tags = None,
    function: Function = None,
    sort: Sort = "created",
    limit: Limit = None,
    keys: Keys = False,
) -> int:
    """Find entries by their parameters, and show those.

    Exits with 1 where there are none, so that a script can ask whether there are.
    """
    with call.target.open() as cache:
        selected = parse_filters(cache, filters, prefix, tag, function)
        if not selected:
            raise MistakeError("query needs a filter, such as lr__gte=0.1; ls shows all entries")
        found = ordered(cache.entries(**selected), sort)
    _print(call, found, limit, keys, views.QUERY_COLUMNS, views.query_row)
    return DONE if found else FOUND


def show(
    call: Call,
    key: Annotated[str, typer.Argument(help="A cache key, or the beginning of one.")],
) -> None:
    """Show all that is recorded of one entry."""
    with call.target.open() as cache:
        entry = find_entry(cache, key)
        data = views.as_data(entry)
        if entry.blob is not None and cache.engine.blobs().directory is not None:
            data["path"] = os.path.join(str(cache.engine.blobs().directory), entry.blob)
    rows = [*views.facts(entry), ("file", data.get("path"))]
    call.screen.result(data, lambda: call.screen.facts(rows))


def stats(call: Call) -> None:
    """Show what the cache holds, and what it was good for."""
    with call.target.open() as cache:
        found = cache.stats()

    def tell() -> None:
        screen = call.screen
        screen.facts(
            [
                ("entries", f"{found.entries:,}"),
                ("size", f"{size(found.stored_bytes)} ({size(found.logical_bytes)} uncompressed)"),
                ("superseded", size(found.superseded_bytes)),
                ("expired, pinned", f"{found.expired:,}, {found.pinned:,}"),
                ("reads", f"{found.hits:,} hits, {found.misses:,} misses ({found.hit_rate:.1%})"),
                ("time saved", duration(found.seconds_saved)),
            ]
        )
        for title in ("functions", "prefixes", "handlers", "days"):
            usages = getattr(found, title)
            best = sorted(usages.items(), reverse=True)
            if title != "days":
                best.sort(key=lambda of: (-of[1].seconds_saved, -of[1].hits, of[0]))
            if best:
                screen.line("")
                screen.table(
                    (title, ">entries", ">size", ">hits", ">misses", ">saved"),
                    [
                        (
                            shortened(name, 50),
                            f"{of.entries:,}",
                            size(of.stored_bytes),
                            f"{of.hits:,}",
                            f"{of.misses:,}",
                            duration(of.seconds_saved),
                        )
                        for name, of in best[:_BEST]
                    ],
                )

    call.screen.result(found.as_dict(), tell)


def _print(
    call: Call,
    found: list[Entry],
    limit: int | None,
    keys: bool,
    columns: tuple[str, ...],
    row: Any,
) -> None:
    screen = call.screen
    if limit is None and not keys and not screen.as_json:
        limit = _SHOWN
    shown = found[:limit] if limit else found

    def tell() -> None:
        if keys:
            _lines(call, (entry.cache_key for entry in shown))
        elif shown:
            screen.table(columns, map(row, shown))
        left = len(found) - len(shown)
        if left and not keys:
            screen.note(f"{left:,} more of {len(found):,}; --limit 0 shows all")
        elif not found and not keys:
            screen.note("no entries")

    data: list[Any] = [entry.cache_key if keys else views.as_data(entry) for entry in shown]
    screen.result(data, tell)


def _lines(call: Call, lines: Iterable[str]) -> None:
    for line in lines:
        call.screen.line(line)
