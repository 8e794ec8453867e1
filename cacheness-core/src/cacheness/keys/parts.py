# SPDX-License-Identifier: MIT
"""The pieces that the encodings of classes and instances share."""

from __future__ import annotations

from cacheness.keys.encoding import Memo, Unstable, encode, named
from cacheness.keys.naming import public_name, type_name
from cacheness.keys.origin import is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["attributes", "class_label", "class_part"]

_MOST_TYPES = 2048
_LABELS: dict[type, str] = {}


def class_part(kind: type, memo: Memo) -> bytes:
    """A class as part of its instance: its name, and its code where that is the project's."""
    return encode(class_label(kind)) + memo.refer(kind)


def class_label(kind: type) -> str:
    """The class's path: its public one where an installed library defines it."""
    label = _LABELS.get(kind)
    if label is None:
        label = type_name(kind) if is_own(kind) else public_name(kind)
        if len(_LABELS) >= _MOST_TYPES:
            _LABELS.clear()
        _LABELS[kind] = label
    return label


def attributes(state: dict[Any, Any], memo: Memo) -> bytes:
    """The encoding of a mapping of attributes; an error inside says at which one."""
    pairs = []
    for name, each in state.items():
        try:
            pairs.append((encode(name, memo), encode(each, memo)))
        except Unstable as error:
            error.trail.append(f".{name}" if isinstance(name, str) else f"[{name!r:.40}]")
            raise
    pairs.sort()
    body = b"".join([part for pair in pairs for part in pair])
    return named("attributes", body) if body else named("attributes")
