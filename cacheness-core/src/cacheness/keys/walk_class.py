# SPDX-License-Identifier: MIT
"""What one class adds to a walk: its bases, fields, attributes and methods, as they run."""

from __future__ import annotations

import sys

from cacheness.keys.classes import class_attributes, field_annotations, fields_of
from cacheness.keys.encoding import Unstable, encode
from cacheness.keys.naming import type_name
from cacheness.keys.origin import is_own
from cacheness.keys.walk import NOTHING, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.keys.walk import Walk

__all__ = ["visit_class"]


def visit_class(walk: Walk, cls: type) -> bytes:
    """The entry of a class's node.

    Taken from the class as it stands in memory: a class body leaves no code behind that
    a source could be compared with.
    """
    name = type_name(cls)
    shape = [encode(cls.__name__), encode(field_annotations(cls))]
    shape += [_settings(walk, name, field, given) for field, given in fields_of(cls)]
    shape.append(_members(walk, cls))
    relatives = [walk.reference(base) or NOTHING for base in cls.__bases__]
    if is_own(type(cls)):
        relatives.append(walk.reference(type(cls)) or NOTHING)
    attributes = []
    for attribute, value in class_attributes(cls):
        walk.guards.name(vars(cls), attribute)
        found = _attribute(walk, f"{name}.{attribute}", value)
        if found is not None:
            attributes += [encode(attribute), found]
    count = len(vars(cls))
    walk.guards.value(lambda: b"" if len(vars(cls)) == count else b"more", b"")
    named = encode([type_name(base) for base in cls.__bases__])
    walk.files[walk.label("class", name, short(b"".join([*shape, named])))] = _file(cls)
    return b"".join([encode("class"), *shape, *relatives, *attributes])


def _file(cls: type) -> str:
    """The class's file, with the line in a Python that remembers it."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    line = vars(cls).get("__firstlineno__")
    return f"{file}:{line}" if line else file


def _attribute(walk: Walk, label: str, value: Any) -> bytes | None:
    if hasattr(type(value), "__get__") and callable(getattr(value, "func", None)):
        # A cached_property and its like.
        value = value.func
    found = walk.value(label, value)
    if found is not None:
        return found
    # A descriptor of the project's: what it does counts, if not what it holds.
    return walk.reference(type(value)) if is_own(type(value)) else None


def _settings(walk: Walk, name: str, field: str, given: list[Any]) -> bytes:
    """One field of a dataclass or its like: settings, default, and the functions it names."""
    pieces = [encode(field)]
    for value in given:
        found = walk.reference(value)
        if found is None:
            try:
                found = encode(value, walk.memo())
            except (Unstable, RecursionError):
                walk.not_followed[f"{name}.{field}"] = f"a {type_name(type(value))} as default"
                found = NOTHING
        pieces.append(found)
    return b"".join(pieces)


def _members(walk: Walk, cls: type) -> bytes:
    """The members of an enum, by name and value."""
    enum = sys.modules.get("enum")
    if enum is None or not issubclass(cls, enum.Enum):
        return NOTHING
    pieces = []
    for name, member in vars(cls)["_member_map_"].items():
        pieces.append(encode(name))
        try:
            pieces.append(encode(member.value, walk.memo()))
        except (Unstable, RecursionError):
            pieces.append(NOTHING)
    return b"".join(pieces)
