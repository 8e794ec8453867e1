# SPDX-License-Identifier: MIT
"""What is made in a SQLite file only once somebody needs it, and how it is known again."""

from __future__ import annotations

import re
from datetime import datetime

from cacheness.backends.sqlite_indexes import INDEXES

# Every statement is made of names that were checked when the model was registered.
# ruff: noqa: S608

__all__ = ["KINDS", "is_made_later", "record_table", "record_triggers"]

KINDS: dict[type, str] = {
    str: "TEXT",
    int: "INTEGER",
    float: "REAL",
    bool: "BOOLEAN",
    bytes: "BLOB",
    datetime: "DATETIME",
}
"""The type of a record's column, by that of the field."""

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
    if statement in _INDEXES or _OF_SQLITE.fullmatch(statement):
        return True
    if found := _TRIGGER.match(statement):
        return statement in record_triggers(found[1])
    found = _TABLE.match(statement)
    return found is not None and _COLUMN.sub("", statement) == record_table(found[1], "")
