# SPDX-License-Identifier: MIT
"""What a log of changes to entries amounts to."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from dataclasses import fields

from cacheness.backends.journal import decode_line, encode_line
from cacheness.backends.table import (
    EntryTable,
    detached,
    json_copy,
    merge_notes,
    renewed,
    with_hits,
)
from cacheness.entry import Entry
from cacheness.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from cacheness.backends.journal import Operation, Place

__all__ = [
    "Line",
    "Replay",
    "Space",
    "checked_fields",
    "delete_operation",
    "first_operation",
    "hits_operation",
    "inline_of",
    "note_operation",
    "put_operation",
    "set_operation",
    "touch_operation",
]

FORMAT = 1
"""The version of the log; a newer one is refused."""


class Line:
    """Where the line lies that an entry was put with, and what to read it for."""

    __slots__ = ("changed", "inline", "place")

    def __init__(self, place: Place, *, inline: bool) -> None:
        self.place = place
        self.inline = inline
        """Whether it holds the payload, which is not kept in memory."""
        self.changed = False
        """Whether a shorter log needs another line: later ones changed the entry, or this
        one belongs to a group."""


class Space:
    """The state of one namespace."""

    __slots__ = ("lines", "note_bytes", "notes", "table")

    def __init__(self) -> None:
        self.table = EntryTable()
        """The entries, without their payloads."""
        self.lines: dict[str, Line] = {}
        """The line of every entry, by cache key."""
        self.notes: dict[str, dict[str, Any]] = {}
        """The side tables, by kind."""
        self.note_bytes: dict[tuple[str, str], float] = {}
        """Of each note, by kind and name, its part of the line that wrote it."""


class Replay:
    """The state of all namespaces after some lines of a log."""

    __slots__ = ("live_bytes", "spaces")

    def __init__(self) -> None:
        self.spaces: dict[str, Space] = {}
        self.live_bytes: float = 0
        """The size of the lines that entries and notes were put with and that still stand."""

    def space(self, namespace: str) -> Space:
        """The state of a namespace, made where there is none."""
        try:
            return self.spaces[namespace]
        except KeyError:
            return self.spaces.setdefault(namespace, Space())

    def apply(self, operation: Operation, place: Place) -> bool:
        """Change the state as the line says; False, and no change, where it makes no sense.

        Raises:
            ConfigError: The log is of a newer format.
        """
        try:
            _APPLY[operation["op"]](self, operation, place)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            if isinstance(error, ConfigError):
                raise
            return False
        return True

    # --- compaction ---------------------------------------------------------------------

    def compacted(self, read: Callable[[Place], bytes]) -> Iterator[tuple[bytes, Line | None]]:
        """The lines of a shorter log that amounts to the same.

        Args:
            read: Gives a line of the present log.

        Returns:
            Each line, and what is to learn its new place, if anything.
        """
        yield encode_line(first_operation()), None
        for namespace, space in self.spaces.items():
            for entry in space.table:
                line = space.lines[entry.cache_key]
                raw = read(line.place)
                if line.changed:
                    inline = inline_of(raw) if line.inline else None
                    raw = encode_line(put_operation(entry, inline))
                yield raw, line
            for kind, notes in space.notes.items():
                yield encode_line(note_operation(namespace, kind, notes)), None

    def moved(self, lines: Iterable[Line | None], places: Iterable[Place]) -> None:
        """Take note of where the lines of `compacted` came to lie."""
        self.live_bytes = sum(sum(space.note_bytes.values()) for space in self.spaces.values())
        for line, place in zip(lines, places, strict=True):
            if line is not None:
                line.place, line.changed = place, False
                self.live_bytes += place[1]

    # --- one operation each -------------------------------------------------------------

    def _space_of(self, operation: Operation) -> Space:
        (namespace,) = _names([operation["ns"]])
        return self.space(namespace)

    def _check_format(self, operation: Operation, _: Place) -> None:
        found = operation["format"]
        if not isinstance(found, int) or found > FORMAT:
            raise ConfigError(
                f"the log of entries has the format {found!r}, this cacheness knows up to "
                f"{FORMAT}: upgrade cacheness-core, or name another directory"
            )

    def _put(self, operation: Operation, place: Place) -> None:
        stated = dict(operation["entry"])
        inline = stated.pop("inline", None) is not None
        if "tags" in stated:
            stated["tags"] = tuple(stated["tags"])
        entry = Entry(**checked_fields(stated))
        space = self.space(entry.namespace)
        # A signal handler that reads in between finds no entry rather than half of one.
        space.table.remove(entry.cache_key)
        self._drop_line(space, entry.cache_key)
        space.lines[entry.cache_key] = line = Line(place, inline=inline)
        line.changed = "more" in operation or "of" in operation
        self.live_bytes += place[1]
        space.table.put(entry)

    def _set(self, operation: Operation, _: Place) -> None:
        space = self._space_of(operation)
        changes = checked_fields(operation["changes"])
        entry = space.table.get(operation["key"])
        if entry is not None:
            self._change(space, detached(entry, **changes))

    def _add_hits(self, operation: Operation, _: Place) -> None:
        space = self._space_of(operation)
        counted = [(key, int(n), float(at)) for key, (n, at) in operation["hits"].items()]
        for cache_key, count, accessed_at in counted:
            entry = space.table.get(cache_key)
            if entry is not None:
                self._change(space, with_hits(entry, count, accessed_at))

    def _touch(self, operation: Operation, _: Place) -> None:
        space = self._space_of(operation)
        now = float(operation["at"])
        for cache_key in _names(operation["keys"]):
            entry = space.table.get(cache_key)
            if entry is not None:
                self._change(space, renewed(entry, now))

    def _delete(self, operation: Operation, _: Place) -> None:
        space = self._space_of(operation)
        for cache_key in _names(operation["keys"]):
            space.table.remove(cache_key)
            self._drop_line(space, cache_key)

    def _note(self, operation: Operation, place: Place) -> None:
        space = self._space_of(operation)
        (kind,) = _names([operation["kind"]])
        notes = dict(operation["notes"])
        merge_notes(space.notes.setdefault(kind, {}), notes)
        for name, value in notes.items():
            self.live_bytes -= space.note_bytes.pop((kind, name), 0)
            if value is not None:
                space.note_bytes[kind, name] = part = place[1] / len(notes)
                self.live_bytes += part

    def _change(self, space: Space, entry: Entry) -> None:
        space.table.put(entry)
        space.lines[entry.cache_key].changed = True

    def _drop_line(self, space: Space, cache_key: str) -> None:
        line = space.lines.pop(cache_key, None)
        if line is not None:
            self.live_bytes -= line.place[1]


_APPLY: dict[str, Callable[[Replay, Operation, Place], None]] = {
    "log": Replay._check_format,
    "put": Replay._put,
    "set": Replay._set,
    "hits": Replay._add_hits,
    "touch": Replay._touch,
    "delete": Replay._delete,
    "note": Replay._note,
}


# --- operations -----------------------------------------------------------------------------


def first_operation() -> Operation:
    """The first line of a log."""
    return {"op": "log", "format": FORMAT}


def put_operation(entry: Entry, inline: bytes | None) -> Operation:
    """Put an entry with this payload; what is as by default is left out.

    Raises:
        TypeError: A field is of another type than `Entry` says.
    """
    stated = {
        name: json_copy(value)
        for name, default in _DEFAULTS.items()
        if (value := getattr(entry, name)) != default
    }
    checked_fields(stated)
    if inline is not None:
        stated["inline"] = b2a_base64(inline, newline=False).decode()
    return {"op": "put", "entry": stated}


def set_operation(namespace: str, cache_key: str, changes: Mapping[str, Any]) -> Operation:
    """Set fields of an entry, any but its identity and its payload.

    Raises:
        TypeError: There is no such field, or it is of another type than `Entry` says.
    """
    return {
        "op": "set",
        "ns": namespace,
        "key": cache_key,
        "changes": checked_fields(dict(changes)),
    }


def hits_operation(namespace: str, hits: Mapping[str, tuple[int, float]]) -> Operation:
    """Add to the hits of entries."""
    return {"op": "hits", "ns": namespace, "hits": dict(hits)}


def touch_operation(namespace: str, cache_keys: list[str], now: float) -> Operation:
    """Renew entries."""
    return {"op": "touch", "ns": namespace, "at": now, "keys": cache_keys}


def delete_operation(namespace: str, cache_keys: list[str]) -> Operation:
    """Remove entries."""
    return {"op": "delete", "ns": namespace, "keys": cache_keys}


def note_operation(namespace: str, kind: str, notes: Mapping[str, Any]) -> Operation:
    """Merge into a side table."""
    return {"op": "note", "ns": namespace, "kind": kind, "notes": dict(notes)}


def inline_of(line: bytes) -> bytes:
    """The payload in the line of a put.

    Of a line that was damaged since it was read first it is empty, which no checksum
    matches, so that the reader of the entry finds out.
    """
    operation = decode_line(line)
    try:
        return b"" if operation is None else a2b_base64(operation["entry"]["inline"])
    except (KeyError, TypeError, ValueError):
        return b""


# --- fields ---------------------------------------------------------------------------------

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "bool": (bool,),
    "dict[str, Any]": (dict,),
    "tuple[str, ...]": (tuple, list),
}
"""By the annotations of `Entry`."""
_FIELD_TYPES = {of.name: _TYPES[str(of.type)] for of in fields(Entry) if of.name != "inline"}
_UNSET = object()
_DEFAULTS: dict[str, Any] = {"namespace": _UNSET, "cache_key": _UNSET, "generation": _UNSET}
_DEFAULTS.update(
    {
        name: value
        for name in _FIELD_TYPES
        if name not in _DEFAULTS
        for value in [getattr(Entry("", "", 0), name)]
    }
)


def checked_fields(stated: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entry without its payload, if each is one and of its type.

    Raises:
        TypeError: There is no such field, or it is of another type than `Entry` says.
    """
    for name, value in stated.items():
        types = _FIELD_TYPES.get(name)
        if types is None:
            raise TypeError(f"an entry has no field {name!r} to set")
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise TypeError(f"{name}={value!r} is of another type than an entry's {name}")
    return stated


def _names(values: Iterable[object]) -> list[str]:
    names = []
    for value in values:
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is no name")
        names.append(value)
    return names
