# SPDX-License-Identifier: MIT
"""Commands that change entries: rm, touch, pin, clear."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cacheness.cli.command import Call
from cacheness.cli.mistakes import DONE, FOUND, MistakeError
from cacheness.cli.options import Function, Prefix, Tags, Yes
from cacheness.cli.selection import find_entry, parse_filters, split_names
from cacheness.cli.text import entries, size
from cacheness.config import parse_ttl
from cacheness.core import UnifiedCache
from cacheness.entry import Entry
from cacheness.outcomes import UNSET

__all__ = ["clear", "pin", "rm", "touch"]

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY|NAME=VALUE]...",
        help="Cache keys or beginnings of them, or filters as in query; a key with an '=' in it "
        "is the filter entry__cache_key=KEY.",
        show_default=False,
    ),
]


def rm(
    call: Call,
    names: Names = None,
    prefix: Prefix = None,
    tag: Tags = None,
    function: Function = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    yes: Yes = False,
) -> int:
    """Remove entries and their payloads, once you have confirmed it."""
    screen = call.screen
    with call.target.open(read_only=dry_run) as cache:
        found = _named(cache, names, prefix, tag, function)
        total = sum(entry.stored_bytes for entry in found)
        what = f"{_entries(found)} ({size(total)})"
        data: dict[str, Any] = {
            "removed": 0,
            "stored_bytes": total,
            "keys": [entry.cache_key for entry in found],
        }
        if not found:
            screen.result(data, lambda: screen.note("no entries"))
            return FOUND
        if dry_run:
            screen.result(data, lambda: screen.line(f"would remove {what}"))
            return DONE
        screen.confirm(f"Remove {what}?", yes=yes)
        with screen.progress("removing") as progress:
            chosen = {entry.cache_key: entry.generation for entry in found}
            gone = cache.engine.backend.remove_generations(chosen)
            removed = cache.engine.let_go(gone, "invalidate", progress)
    data["removed"] = removed
    part = "" if removed == len(found) else f"{removed:,} of "
    screen.result(data, lambda: screen.line(f"removed {part}{what}"))
    return DONE


def touch(
    call: Call,
    names: Names = None,
    prefix: Prefix = None,
    tag: Tags = None,
    function: Function = None,
    ttl: Annotated[
        str | None,
        typer.Option(help="A new time to live, such as 36h; 'never' is for ever."),
    ] = None,
) -> int:
    """Have the age of entries start now; what has expired stays expired."""
    lasting: Any = UNSET if ttl is None else parse_ttl(None if ttl == "never" else ttl)
    with call.target.open(read_only=False) as cache:
        found = _named(cache, names, prefix, tag, function)
        touched = sum(cache.touch(entry.cache_key, ttl_seconds=lasting) for entry in found)
    call.screen.result(
        {"touched": touched}, lambda: call.screen.line(f"renewed {entries(touched)}")
    )
    return DONE if touched else FOUND


def pin(
    call: Call,
    names: Names = None,
    prefix: Prefix = None,
    tag: Tags = None,
    function: Function = None,
    off: Annotated[bool, typer.Option("--off", help="Let eviction remove them again.")] = False,
) -> int:
    """Have eviction pass entries over."""
    with call.target.open(read_only=False) as cache:
        found = _named(cache, names, prefix, tag, function)
        done = sum(
            cache.engine.backend.update_fields(
                entry.cache_key, {"pinned": not off}, if_generation=entry.generation
            )
            for entry in found
        )
    verb = "unpinned" if off else "pinned"
    call.screen.result({verb: done}, lambda: call.screen.line(f"{verb} {entries(done)}"))
    return DONE if done else FOUND


def clear(
    call: Call,
    prefix: Prefix = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", help="Those of other users of the store, too.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Remove every entry of the namespace, or of one prefix, once you have confirmed it."""
    screen = call.screen
    with call.target.open(read_only=False) as cache:
        whose = "of all namespaces" if all_namespaces else "of this namespace"
        which = "every entry" if prefix is None else f"every entry with the prefix {prefix!r}"
        screen.confirm(f"Remove {which} {whose} of {_place(cache)}?", yes=yes)
        with screen.progress("removing") as progress:
            removed = cache.clear(prefix, all_namespaces=all_namespaces, progress=progress)
    screen.result({"removed": removed}, lambda: screen.line(f"removed {entries(removed)}"))


def _named(
    cache: UnifiedCache,
    names: list[str] | None,
    prefix: str | None,
    tags: list[str] | None,
    function: str | None,
) -> list[Entry]:
    """The entries of these keys, or those that the filters select."""
    keys, pairs = split_names(names)
    filters = parse_filters(cache, pairs, prefix, tags, function)
    if keys and filters:
        raise MistakeError("give either keys or filters, not both")
    if filters:
        return list(cache.entries(**filters))
    if not keys:
        raise MistakeError("say which entries: by key, by NAME=VALUE, --prefix, --tag, --function")
    found = [find_entry(cache, key) for key in keys]
    return list({entry.cache_key: entry for entry in found}.values())


def _entries(found: list[Entry]) -> str:
    return f"the entry {found[0].cache_key}" if len(found) == 1 else entries(len(found))


def _place(cache: UnifiedCache) -> str:
    config = cache.config
    name = f", namespace {config.namespace!r}" if config.namespace else ""
    return f"{config.cache_dir} ({config.metadata_backend}{name})"
