# SPDX-License-Identifier: MIT
"""What is made in a SQLite file only once somebody needs it, and how it is known again."""

from __future__ import annotations

import re
from datetime import datetime

from cacheness.backends.sqlite_indexes import INDEXES

# Every statement is made of names that were checked when the model was registered.
# ruff: noqa: S608

__all__ = [
    "DIGEST_FIRST",
    "GROUP",
    "KINDS",
    "SUMS",
    "group_of",
    "is_made_later",
    "record_table",
    "record_triggers",
]

KINDS: dict[type, str] = {
    str: "TEXT",
    int: "INTEGER",
    float: "REAL",
    bool: "BOOLEAN",
    bytes: "BLOB",
    datetime: "DATETIME",
}
"""The type of a record's column, by that of the field."""

GROUP = "function, digest, prefix, handler, day, pinned"
"""What statistics tell entries apart by, the columns of ``sums``."""

DIGEST_FIRST = '{"code_digest":"'
"""How ``details`` begins where there is a digest, but for spaces, see `sqlite_rows`."""


def group_of(row: str, *, named: bool = False) -> str:
    """The same of a row of ``entries``: none is NULL, also where somebody wrote nonsense.

    Args:
        row: What stands before its columns: ``old.``, say.
        named: Whether each is named as in `GROUP`.
    """
    # SQLite 3.40 lets no trigger of a file that it does not trust call its functions for JSON.
    rest = f"substr(ltrim({row}details), {len(DIGEST_FIRST) + 1})"
    digest = f"substr({rest}, 1, instr({rest}, char(34)) - 1)"
    has_digest = f"substr(ltrim({row}details), 1, {len(DIGEST_FIRST)}) = '{DIGEST_FIRST}'"
    values = (
        f"coalesce({row}function, '')",
        f"coalesce(CASE WHEN {has_digest} THEN {digest} END, '')",
        f"{row}prefix",
        f"{row}handler",
        f"CAST({row}created_at / 86400 AS INTEGER)",
        f"{row}pinned <> 0",
    )
    if not named:
        return ", ".join(values)
    names = GROUP.split(", ")
    return ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))


_SUBTRACT = (
    "UPDATE sums SET entries = entries - 1, stored = stored - old.stored_bytes, "
    "logical = logical - old.logical_bytes "
    f"WHERE namespace = old.namespace AND ({GROUP}) = ({group_of('old.')}); "
)
_ADD = (
    f"INSERT INTO sums SELECT new.namespace, {group_of('new.')}, 1, new.stored_bytes, "
    f"new.logical_bytes, new.created_at WHERE true ON CONFLICT (namespace, {GROUP}) DO UPDATE SET "
    "entries = entries + 1, stored = stored + excluded.stored, "
    "logical = logical + excluded.logical, newest = max(newest, excluded.newest); "
)
_IS_SUMMED = "WHEN old.id <= (SELECT last_id FROM summed) BEGIN "

SUMS = (
    (
        "CREATE TABLE IF NOT EXISTS sums (namespace TEXT NOT NULL, function TEXT NOT NULL, "
        "digest TEXT NOT NULL, prefix TEXT NOT NULL, handler TEXT NOT NULL, day INTEGER NOT NULL, "
        "pinned INTEGER NOT NULL, entries INTEGER, stored INTEGER, logical INTEGER, newest REAL, "
        f"PRIMARY KEY (namespace, {GROUP})) WITHOUT ROWID"
    ),
    "CREATE TABLE IF NOT EXISTS summed (last_id INTEGER NOT NULL PRIMARY KEY)",
    "INSERT INTO summed SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM summed)",
    (
        f"CREATE TRIGGER IF NOT EXISTS sum_gone AFTER DELETE ON entries {_IS_SUMMED}{_SUBTRACT}"
        "UPDATE summed SET last_id = coalesce((SELECT max(id) FROM entries "
        "WHERE id < old.id), 0) WHERE last_id = old.id; END"
    ),
    (
        "CREATE TRIGGER IF NOT EXISTS sum_changed AFTER UPDATE OF function, details, prefix, "
        "handler, created_at, pinned, stored_bytes, logical_bytes ON entries "
        f"{_IS_SUMMED}{_SUBTRACT}{_ADD}END"
    ),
)
"""See `sqlite_sums`."""

_SUMS = {statement.replace(" IF NOT EXISTS", "") for statement in SUMS}
_INDEXES = {f"CREATE INDEX {index}" for index in INDEXES.values()}
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TABLE = re.compile(rf'CREATE TABLE "({_NAME})"')
_TRIGGER = re.compile(rf'CREATE TRIGGER "({_NAME})_(?:gone|put|replaced)" ')
_COLUMN = re.compile(rf', "{_NAME}" (?:{"|".join(KINDS.values())})(?: NOT NULL)?(?=,)')
_OF_SQLITE = re.compile(r"CREATE TABLE sqlite_stat[14]\([a-z,]+\)")
"""What ``ANALYZE`` makes."""


def record_table(table: str, columns: str) -> str:
    """The statement that makes a table of records, with its own columns as written there."""
    return (
        f'CREATE TABLE "{table}" (namespace TEXT NOT NULL, cache_key TEXT NOT NULL, '
        f"generation INTEGER NOT NULL{columns}, PRIMARY KEY (namespace, cache_key), "
        "FOREIGN KEY (namespace, cache_key) REFERENCES entries (namespace, cache_key) "
        "ON DELETE CASCADE)"
    )


def record_triggers(table: str) -> list[str]:
    """Whatever puts an entry anew, or removes it, removes the record of the one before."""
    removal = f'BEGIN DELETE FROM "{table}" WHERE namespace = {{0}}.namespace AND cache_key = '
    gone = removal.format("OLD") + "OLD.cache_key; END"
    replaced = removal.format("NEW") + "NEW.cache_key AND generation <> NEW.generation; END"
    return [
        f'CREATE TRIGGER "{table}_gone" AFTER DELETE ON entries {gone}',
        f'CREATE TRIGGER "{table}_put" AFTER INSERT ON entries {replaced}',
        f'CREATE TRIGGER "{table}_replaced" AFTER UPDATE OF generation ON entries {replaced}',
    ]


def is_made_later(statement: object) -> bool:
    """Whether a statement that a file keeps is one of these."""
    if not isinstance(statement, str):
        return False
    if statement in _INDEXES or statement in _SUMS or _OF_SQLITE.fullmatch(statement):
        return True
    if found := _TRIGGER.match(statement):
        return statement in record_triggers(found[1])
    found = _TABLE.match(statement)
    return found is not None and _COLUMN.sub("", statement) == record_table(found[1], "")
