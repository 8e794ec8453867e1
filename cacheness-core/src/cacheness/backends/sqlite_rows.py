# SPDX-License-Identifier: MIT
"""How an entry becomes a row of the SQLite file, and a row an entry."""

from __future__ import annotations

import json
from math import log2
from operator import attrgetter

import orjson

from cacheness.backends.sqlite_schema import COLUMNS
from cacheness.worth import COST_HALF_LIFE, ENTRY_WEIGHT, UNKNOWN_COST, cost_rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cacheness.backends.plain_entry import PlainEntry
    from cacheness.entry import Entry

# Every statement is made of the column names of this package; values are always bound.
# ruff: noqa: S608

__all__ = [
    "ALWAYS",
    "DETAILS",
    "EXPIRING",
    "RECORD",
    "REMOVED",
    "RENEW",
    "WIDTH",
    "described",
    "details_of",
    "displaced_rows",
    "entry_of",
    "insert_statement",
    "load_object",
    "plain_row",
    "put_statement",
    "renewed_at",
    "row_of",
    "summary_of",
]

_RECORD = tuple(name for name in COLUMNS if name not in ("worth", "inline"))
RECORD = ", ".join(_RECORD)
"""The columns that an entry without its payload is made of, see `entry_of`."""
WIDTH = len(_RECORD)

REMOVED = "cache_key, handler, stored_bytes, blob, blob_store"
"""The columns of `Removed`."""
_REMAINS = ("prefix", "blob", "blob_store")
"""The columns of `Remains`."""

RENEW = (
    "UPDATE entries SET worth = worth + (? - accessed_at), accessed_at = ?, "
    "renewed_at = ?, expires_at = ? + ttl_seconds, "
    "stale_until = ? + ttl_seconds + (stale_until - expires_at)"
)
"""An entry's worth is its last access, shifted by what it costs. The values: `renewed_at`."""

DETAILS: dict[str, Any] = {
    "description": "",
    "params": {},
    "object_type": "",
    "summary": "",
    "code_digest": None,
    "key_parts": {},
    "tags": (),
    "custom_metadata": {},
}
"""Fields that stand in the JSON object ``details``, where they are not these defaults."""

_DETAIL_TYPES = {
    name: list if of == () else str if of is None else type(of) for name, of in DETAILS.items()
}
_sound_types: set[tuple[type, ...]] = set()
"""Of the rows that were found to be as they should be, see `sqlite_sound`."""

_BLANK = dict.fromkeys(_RECORD) | DETAILS
_MAPPING_DETAILS = tuple(name for name, of in DETAILS.items() if of == {})

ALWAYS = (
    "namespace",
    "cache_key",
    "generation",
    "handler",
    "checksum",
    "stored_bytes",
    "logical_bytes",
    "renewed_at",
    "distribution",
    "created_at",
    "accessed_at",
    "worth",
    "details",
    "inline",
)
EXPIRING = (*ALWAYS, "expires_at", "ttl_seconds")
"""The columns of a row of `plain_row`, where it has a time to live; else ``ALWAYS``."""
_always_of = attrgetter(*ALWAYS[:-3])
_OPTIONAL = (
    "handler_version",
    "compressor",
    "signature",
    "expires_at",
    "metadata",
    "blob",
    "blob_store",
    "prefix",
    "ttl_seconds",
    "stale_until",
    "pinned",
    "hits",
    "cost_seconds",
    "function",
)
_DEFAULTS: tuple[Any, ...] = (
    1,
    "none",
    None,
    None,
    {},
    None,
    None,
    "",
    None,
    None,
    False,
    0,
    None,
    None,
)
"""What the optional columns hold where they are left out of the statement."""
_optional_of = attrgetter(*_OPTIONAL)


def row_of(entry: Entry) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """[hot] An entry as the columns that are not left at their defaults, and their values.

    `sqlite3` takes 0.5 µs to bind a None, or anything else that is no str, int or float,
    so that a row of all 28 columns would cost 9 µs more than the 14 of a plain entry.
    """
    always = _always_of(entry)
    optional = _optional_of(entry)
    values = (*always, _worth(entry), _dump(_details(entry)), entry.inline)
    if optional == _DEFAULTS:
        return ALWAYS, values
    names, more = [], []
    for name, value, default in zip(_OPTIONAL, optional, _DEFAULTS, strict=True):
        if value != default:
            names.append(name)
            more.append(_dump(value) if name == "metadata" else value)
    return ALWAYS + tuple(names), values + tuple(more)


def plain_row(plain: PlainEntry) -> tuple[str, tuple[Any, ...]]:
    """[hot] The statement that puts the row of `PlainEntry.entry`, and its values.

    Takes 2 µs, where `row_of` with the entry takes 9. Of the row that it replaces the
    statement hands out `Remains`.
    """
    (
        namespace,
        key,
        generation,
        handler,
        checksum,
        payload,
        distribution,
        now,
        ttl,
        params,
        object_type,
        summary,
        details,
    ) = plain
    size = len(payload)
    if details is None:
        fields: dict[str, Any] = {"object_type": object_type, "summary": summary}
        details = _dump({**fields, "params": params} if params else fields)
    values = (
        namespace,
        key,
        generation,
        handler,
        checksum,
        size,
        size,
        now,
        distribution,
        now,
        now,
        now + COST_HALF_LIFE * log2(UNKNOWN_COST / (size + ENTRY_WEIGHT)),  # `cost_rank`
        details,
        bytearray(payload),  # `sqlite3` looks for an adapter of what is bytes, for 0.3 µs
    )
    if ttl is None:
        return _PUT_PLAIN, values
    return _PUT_EXPIRING, (*values, now + ttl, ttl)


def described(entry: Entry) -> dict[str, Any]:
    """Every column of an entry but its namespace and its payload, with its value."""
    names, values = row_of(entry)
    row = dict(zip(_OPTIONAL, _DEFAULTS, strict=True)) | {"metadata": None}
    row |= dict(zip(names, values, strict=True))
    del row["namespace"], row["inline"]
    return row


def renewed_at(now: float) -> tuple[float, ...]:
    """The values of `RENEW`: numbered placeholders count as named, which Python gives up."""
    return (now, now, now, now, now)


_put_statements: dict[tuple[tuple[str, ...], tuple[str, ...]], str] = {}


def put_statement(names: tuple[str, ...], handed: tuple[str, ...] = _RECORD) -> str:
    """[hot] The statement that puts a row of these columns in the place of what is there.

    Where there was something, it calls the function ``displaced`` with each column of the
    old row that is to be ``handed`` out, usually those of `RECORD`, see `displaced_rows`.
    That function gives NULL, so `coalesce` calls it for one after the other, and comes to
    the new generation.
    """
    try:
        return _put_statements[names, handed]
    except KeyError:
        replaced = [name for name in COLUMNS if name not in ("namespace", "cache_key")]
        old = ", ".join(f"displaced(entries.{name})" for name in handed)
        changes = [
            f"generation = coalesce({old}, excluded.generation)"
            if name == "generation"
            else f"{name} = excluded.{name}"
            for name in replaced
        ]
        statement = (
            f"{_insert(names)} ON CONFLICT (cache_key, namespace) "
            f"DO UPDATE SET {', '.join(changes)}"
        )
        return _put_statements.setdefault((names, handed), statement)


def displaced_rows(columns: Sequence[Any]) -> list[Sequence[Any]]:
    """The rows that put statements displaced, of the columns that they handed out."""
    return [columns[start : start + WIDTH] for start in range(0, len(columns), WIDTH)]


def insert_statement(names: tuple[str, ...]) -> str:
    """The statement that adds a row of these columns, unless its key is there."""
    return f"{_insert(names)} ON CONFLICT (cache_key, namespace) DO NOTHING"


def _insert(names: tuple[str, ...]) -> str:
    return f"INSERT INTO entries ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"


def summary_of(row: Sequence[Any]) -> dict[str, Any]:
    """The columns of `RECORD` as a flat dict of `Entry`'s fields."""
    if tuple(map(type, row)) not in _sound_types:
        from cacheness.backends.sqlite_sound import sound_row

        row = sound_row(row, _RECORD, _sound_types)
    summary = _BLANK.copy()  # which has room for all of it
    summary.update(zip(_RECORD, row, strict=True))
    details = summary.pop("details")
    metadata = summary["metadata"]
    summary["metadata"] = load_object(metadata) if metadata else {}
    summary["pinned"] = bool(summary["pinned"])
    kept = details_of(details) if details else {}
    summary |= kept
    for name in _MAPPING_DETAILS:
        if name not in kept:
            summary[name] = {}
    if "tags" in kept:
        summary["tags"] = tuple(kept["tags"])
    return summary


def entry_of(row: Sequence[Any], inline: bytes | None = None) -> Entry:
    """The columns of `RECORD`, and a payload, as an entry."""
    from cacheness.entry import build_entry

    if inline is not None and type(inline) is not bytes:
        inline = b""  # which no checksum matches
    return build_entry(inline=inline, **summary_of(row))


def details_of(text: str) -> dict[str, Any]:
    """[hot] The fields that ``details`` says, of which some may be the work of a stranger."""
    kept = load_object(text)
    for name, value in kept.items():
        if type(value) is not _DETAIL_TYPES.get(name):
            return {name: value for name, value in kept.items() if _is_sound(name, value)}
    if "tags" in kept and not all(type(tag) is str for tag in kept["tags"]):
        del kept["tags"]
    return kept


def _is_sound(name: str, value: object) -> bool:
    return type(value) is _DETAIL_TYPES.get(name) and name != "tags"


def _worth(entry: Entry) -> float:
    return cost_rank(entry.cost_seconds, entry.stored_bytes, entry.hits, entry.accessed_at)


def _details(entry: Entry) -> dict[str, Any]:
    """[hot] The fields in `DETAILS` that are not at their defaults."""
    fields: dict[str, Any] = {}
    if entry.code_digest is not None:
        fields["code_digest"] = entry.code_digest  # first, as in `sqlite_later.DIGEST_FIRST`
    if entry.params:
        fields["params"] = entry.params
    if entry.object_type:
        fields["object_type"] = entry.object_type
    if entry.summary:
        fields["summary"] = entry.summary
    if entry.description:
        fields["description"] = entry.description
    if entry.key_parts:
        fields["key_parts"] = entry.key_parts
    if entry.tags:
        fields["tags"] = entry.tags
    if entry.custom_metadata:
        fields["custom_metadata"] = entry.custom_metadata
    return fields


def _dump(value: Any) -> str:
    """JSON text; the standard library's, after a space, where orjson can't keep the value."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return " " + json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def _load(text: str) -> Any:
    """[hot] What `_dump` was given: orjson would make floats of large integers."""
    return json.loads(text) if text.startswith(" ") else orjson.loads(text)


def load_object(text: str) -> dict[str, Any]:
    """[hot] As `_load`; an empty one where the text is none of `_dump`'s."""
    try:
        loaded = _load(text)
    except (ValueError, RecursionError):
        return {}
    return loaded if type(loaded) is dict else {}


_PUT_PLAIN = put_statement(ALWAYS, _REMAINS)
_PUT_EXPIRING = put_statement(EXPIRING, _REMAINS)
