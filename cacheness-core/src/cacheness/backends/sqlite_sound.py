# SPDX-License-Identifier: MIT
"""Takes a row for what it can be, where its columns are of other types than ours.

A column of SQLite holds a value of any type. Damage to the file changes types, and so may
whoever writes to it. What a row says is then worth nothing, but it must not fail who reads
the others, or be an error of Python's to who reads this one.
"""

from __future__ import annotations

from cacheness.backends.sqlite_schema import COLUMNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["sound_row"]

_TYPES: dict[str, tuple[type, ...]] = {
    "TEXT": (str,),
    "INTEGER": (int,),
    "REAL": (float, int),
    "BLOB": (bytes,),
}
_INSTEAD: dict[str, Any] = {"TEXT": "", "INTEGER": 0, "REAL": 0.0, "BLOB": b""}
"""What stands for a value of another type: a checksum that nothing has, a time that is over."""
_NONE_INSTEAD = frozenset(("signature", "metadata", "blob", "blob_store", "function"))
_NO_GENERATION = -1
_MOST = 512


def sound_row(
    row: Sequence[Any], names: Sequence[str], sound: set[tuple[type, ...]]
) -> Sequence[Any]:
    """The row, or another with something else in the place of what is of a wrong type.

    Args:
        row: Its columns.
        names: Their names.
        sound: The types of rows that are as they should be; those of this one are added.
    """
    found = [_sound(name, value) for name, value in zip(names, row, strict=True)]
    if all(value is mended for value, mended in zip(row, found, strict=True)):
        if len(sound) >= _MOST:
            sound.clear()
        sound.add(tuple(map(type, row)))
        return row
    return found


def _sound(name: str, value: Any) -> Any:
    kind, *more = COLUMNS[name].split()
    if (value is None and not more) or isinstance(value, _TYPES[kind]):
        return value
    if name == "generation":
        return _NO_GENERATION
    return None if name in _NONE_INSTEAD else _INSTEAD[kind]
