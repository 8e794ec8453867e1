# SPDX-License-Identifier: MIT
"""An entry as commands show it: to programs, in a table, and whole."""

from __future__ import annotations

from dataclasses import fields
from time import time
from typing import Any

from cacheness.cli.text import ago, date, duration, pairs, shortened, size
from cacheness.entry import Entry

__all__ = ["COLUMNS", "QUERY_COLUMNS", "as_data", "facts", "query_row", "row", "state"]

COLUMNS = ("key", "value", ">size", ">hits", "stored", "of", "state")
QUERY_COLUMNS = ("key", "parameters", "value", ">size", "stored")


def as_data(entry: Entry) -> dict[str, Any]:
    """All that is recorded of an entry but its payload, and its state, as JSON has it."""
    data = {of.name: getattr(entry, of.name) for of in fields(entry) if of.name != "inline"}
    return {**data, "tags": list(entry.tags), "state": state(entry)}


def state(entry: Entry) -> str:
    """In a word: ``fresh``, ``pinned``, ``stale`` or ``expired``."""
    now = time()
    if entry.expires_at is not None and entry.expires_at <= now:
        return "stale" if (entry.stale_until or 0.0) > now else "expired"
    return "pinned" if entry.pinned else "fresh"


def row(entry: Entry) -> tuple[str, ...]:
    """The cells of `COLUMNS`."""
    return (
        shortened(entry.cache_key, 40),
        shortened(entry.summary or entry.object_type, 40),
        size(entry.stored_bytes),
        f"{entry.hits:,}",
        ago(entry.created_at),
        shortened(entry.function or entry.prefix, 40),
        state(entry),
    )


def query_row(entry: Entry) -> tuple[str, ...]:
    """The cells of `QUERY_COLUMNS`."""
    return (
        shortened(entry.cache_key, 40),
        pairs(entry.params),
        shortened(entry.summary or entry.object_type, 40),
        size(entry.stored_bytes),
        ago(entry.created_at),
    )


def facts(entry: Entry) -> list[tuple[str, object]]:
    """All about one entry, name and value, for people."""
    sizes = size(entry.stored_bytes)
    if entry.logical_bytes != entry.stored_bytes:
        sizes += f", {size(entry.logical_bytes)} before {entry.compressor}"
    plugin = f" of {entry.distribution}" if entry.distribution else ""
    return [
        ("key", entry.cache_key),
        ("namespace", entry.namespace),
        ("state", state(entry)),
        ("value", " ".join(filter(None, (entry.object_type, entry.summary)))),
        ("size", sizes),
        ("parameters", pairs(entry.params, 2000)),
        ("prefix", entry.prefix),
        ("tags", ", ".join(entry.tags)),
        ("description", entry.description),
        ("custom metadata", pairs(entry.custom_metadata, 2000)),
        ("function", entry.function),
        ("code digest", entry.code_digest),
        ("took", duration(entry.cost_seconds)),
        ("stored", _moment(entry.created_at)),
        ("age counts from", _moment(entry.renewed_at)),
        ("hits", f"{entry.hits:,}"),
        ("last read", _moment(entry.accessed_at) if entry.hits else "never"),
        ("expires", _moment(entry.expires_at) or "never"),
        ("stale until", _moment(entry.stale_until)),
        ("handler", f"{entry.handler} {entry.handler_version}{plugin}"),
        ("format", pairs(entry.metadata, 2000)),
        ("compressor", entry.compressor),
        ("checksum", entry.checksum),
        ("signed by key", entry.signature.partition(":")[0] if entry.signature else "none"),
        ("payload", entry.blob or "in the entry itself"),
        ("blob store", entry.blob_store),
        ("generation", entry.generation),
    ]


def _moment(at: float | None) -> str:
    return f"{date(at)} ({ago(at)})" if at is not None else ""
