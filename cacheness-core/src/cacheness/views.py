# SPDX-License-Identifier: MIT
"""How a cache and its entries look in a notebook."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.engine import Engine
    from cacheness.entry import Entry

__all__ = ["cache_as_html", "entry_as_html"]

_LONGEST = 200
"""Characters of a value that are shown."""


def entry_as_html(entry: Entry) -> str:
    """An entry as a table of what is recorded of it, without what is not."""
    rows: list[tuple[str, Any]] = [
        ("key", entry.cache_key),
        ("namespace", entry.namespace),
        ("value", " ".join(filter(None, (entry.object_type, entry.summary)))),
        ("size", _size_of(entry)),
        ("parameters", _pairs(entry.params)),
        ("prefix", entry.prefix),
        ("description", entry.description),
        ("tags", ", ".join(entry.tags)),
        ("custom metadata", _pairs(entry.custom_metadata)),
        ("function", entry.function),
        ("stored", _time(entry.created_at)),
        ("last read", _time(entry.accessed_at) if entry.hits else None),
        ("hits", entry.hits),
        ("expires", _time(entry.expires_at)),
        ("took", None if entry.cost_seconds is None else f"{entry.cost_seconds:g} s"),
        ("pinned", "yes" if entry.pinned else None),
        ("signed", "yes" if entry.signature else None),
        ("file", entry.blob),
    ]
    return _table("Entry", [(name, value) for name, value in rows if value not in (None, "")])


def cache_as_html(engine: Engine) -> str:
    """A cache as a table of where it is and how much is in it."""
    config = engine.config
    rows: list[tuple[str, Any]] = [
        ("directory", config.cache_dir),
        ("backend", config.metadata_backend),
    ]
    if config.namespace:
        rows.append(("namespace", config.namespace))
    if config.read_only:
        rows.append(("read-only", "yes"))
    rows += [("closed", "yes")] if engine.closed else _contents(engine)
    return _table("UnifiedCache", rows)


def _contents(engine: Engine) -> list[tuple[str, Any]]:
    from cacheness.errors import BackendUnavailableError

    try:
        count, size = engine.backend.count(), engine.backend.total_size()
    except BackendUnavailableError as error:
        return [("entries", f"out of reach: {error}")]
    bound = engine.config.max_size
    return [
        ("entries", f"{count:,}"),
        ("size", _bytes(size) + (f" of at most {_bytes(bound)}" if bound else "")),
    ]


def _table(title: str, rows: list[tuple[str, Any]]) -> str:
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(_shortened(str(value)))}</td></tr>'
        for name, value in rows
    )
    return f"<table><caption>{escape(title)}</caption><tbody>{cells}</tbody></table>"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _size_of(entry: Entry) -> str:
    text = _bytes(entry.stored_bytes)
    if entry.logical_bytes != entry.stored_bytes:
        text += f", {_bytes(entry.logical_bytes)} before {entry.compressor}"
    return text


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:,.4g} TiB"


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{at:g} s after 1970"
