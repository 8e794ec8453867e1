# SPDX-License-Identifier: MIT
"""What differs between a stored call and another one, each difference by its name."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import part_digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cacheness.explaining.codenotes import CodeNote

__all__ = ["SECRET", "Difference", "code_differences", "key_differences", "short_text"]

PartKind: TypeAlias = Literal[
    "default",
    "closure",
    "constant",
    "function",
    "class",
    "module",
    "name",
    "listed",
    "distribution",
]
"""What a part of a code digest is of; its label begins with it."""

Kind: TypeAlias = Literal["argument", "type", PartKind, "version", "key_prefix", "code"]

SECRET = "(secret)"  # noqa: S105  # what is shown instead of one
_LONGEST = 60
_ABSENT = object()

_SENTENCES: dict[str, str] = {
    "argument": "argument {name}: {old} → {new}",
    "type": "argument {name}: {old} and {new} are equal, but of different types",
    "default": "default {name}: {old} → {new}",
    "name": "name {name}: stood for {old}, now for {new}",
    "distribution": "distribution {name}: {old} → {new}",
    "version": "version= of the decorator: {old} → {new}",
    "key_prefix": "key_prefix= of the decorator: {old} → {new}",
    "code": "code of {name}: digest {old} → {new}",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a stored call differs from the one that is explained."""

    kind: Kind
    """``type`` is an argument that is equal and of another type; ``name`` what a name of a
    library stands for; ``listed`` what ``code=[…]`` names; ``code`` the code as a whole,
    where nobody knows which part."""
    name: str
    """The parameter, or the part of the code: ``pkg.mod:helper``, ``pkg.mod.RATE``."""
    old: str | None
    """What the stored call has, in short: a value, a version, or a digest; None for nothing."""
    new: str | None
    """What the explained call has."""
    file: str = ""
    """The file, with the line where it is known."""

    def __str__(self) -> str:
        where = f" ({self.file})" if self.file else ""
        if self.old is None or self.new is None:
            kind = self.kind if self.kind != "type" else "argument"
            return f"{kind} {self.name}: {'new' if self.old is None else 'gone'}{where}"
        if self.new == SECRET:
            return f"argument {self.name}: another value {SECRET}"
        sentence = _SENTENCES.get(self.kind)
        if sentence is None or (self.kind == "default" and ":" in self.name):
            sentence = "{kind} {name} changed"
        told = sentence.format(kind=self.kind, name=self.name, old=self.old, new=self.new)
        return f"{told}{where}"


def key_differences(
    old_parts: Mapping[str, Any],
    old_params: Mapping[str, Any],
    new_parts: Mapping[str, Any],
    new_params: Mapping[str, Any],
    values: Mapping[str, object],
    secret: tuple[str, ...] = (),
) -> list[Difference]:
    """What differs but for the code.

    Args:
        old_parts: `Entry.key_parts` of the stored call.
        old_params: `Entry.params` of it.
        new_parts: What `key_parts` gives for the explained call.
        new_params: What `summarise_params` gives for it.
        values: Its parameters themselves.
        secret: The names of those that are secret.
    """
    found = []
    for kind in ("key_prefix", "version"):
        old, new = old_parts.get(kind, _ABSENT), new_parts.get(kind, _ABSENT)
        if old is not new and (type(old) is not type(new) or old != new):
            found.append(Difference(kind, kind, _option(old), _option(new)))
    before, now = old_parts.get("arguments", {}), new_parts.get("arguments", {})
    left = set(old_parts.get("defaults", ())) & set(new_parts.get("defaults", ()))
    for name in dict.fromkeys((*now, *before)):
        if name in secret or before.get(name) == now.get(name):
            continue
        old = old_params.get(name, _ABSENT) if name in before else _ABSENT
        new = new_params.get(name, _ABSENT) if name in now else _ABSENT
        if name in left:
            found.append(Difference("default", name, _shown(old), _shown(new)))
        else:
            found.append(_argument(name, old, new, before.get(name), values.get(name)))
    if not found and secret and old_parts.get("params") != new_parts.get("params"):
        # Of secrets there is no digest; but all others are equal, and the whole is not.
        found += [Difference("argument", name, SECRET, SECRET) for name in secret if name in values]
    return found


def code_differences(
    old: CodeNote | None, new: CodeNote | None, function: str, digests: tuple[str, str]
) -> list[Difference]:
    """What differs in the code of two calls of a function, part by part.

    Args:
        old: What is remembered of the stored call's code, if anything.
        new: The code as it is now; None where it does not count any more.
        function: The function's name.
        digests: The two code digests.
    """
    if digests[0] == digests[1]:
        return []
    whole = Difference("code", function, digests[0][:12] or "off", digests[1][:12] or "off")
    if old is None or new is None:
        return [whole]
    labels = [
        label
        for label in dict.fromkeys((*new.parts, *old.parts))
        if old.parts.get(label) != new.parts.get(label)
    ]
    return [_part(label, old, new) for label in labels] or [whole]


def short_text(value: object) -> str:
    """A parameter as an entry records it, on a part of a line, with its type."""
    if isinstance(value, str) and ", digest " in value:
        return value
    text = repr(value)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    return text if value is None else f"{text} ({type(value).__name__})"


def _argument(name: str, old: object, new: object, digest: str | None, value: object) -> Difference:
    if old is not _ABSENT and new is not _ABSENT:
        if _looks_equal(old, new):
            return Difference("type", name, _shown(old), _shown(new))
        for twin in _twins(value):
            if _digest_of(twin) == digest:
                return Difference("type", name, _typed(old, twin), _typed(new, value))
    return Difference("argument", name, _shown(old), _shown(new))


def _looks_equal(old: object, new: object) -> bool:
    """Whether two recorded parameters, whose digests differ, are equal to the eye."""
    if isinstance(old, str) and isinstance(new, str):
        return False
    return bool(old == new) or str(old) == str(new)


def _twins(value: Any) -> Iterator[object]:
    """Values that equal this one, or look like it, and are of another type."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        yield value.item()
        value = value.item()
    kind = type(value)
    if kind in (bool, int, float):
        yield from (make(value) for make in (int, bool, str) if make(value) == value)
        yield str(value)
        try:
            yield float(value)
        except OverflowError:
            return
        if numpy is not None and kind is not bool and -(2**63) <= value < 2**63:
            yield from (numpy.int64(value), numpy.float64(value), numpy.float32(value))
    elif kind is str:
        from pathlib import Path

        yield from (Path(value), value.encode("utf-8", "surrogatepass"))
        for make in (int, float):
            try:
                yield make(value)
            except ValueError:
                continue
        yield {"True": True, "False": False, "None": None}.get(value, value)
    elif kind in (list, tuple, set, frozenset):
        yield from (make(value) for make in (list, tuple))
        if kind in (set, frozenset):
            yield from (set(value), frozenset(value))
    elif isinstance(value, os.PathLike):
        yield os.fspath(value)


def _digest_of(value: object) -> str | None:
    try:
        return part_digests({"x": value})["x"]
    except UnhashableParameterError:
        return None


def _part(label: str, old: CodeNote, new: CodeNote) -> Difference:
    kind, _, name = label.partition(" ")
    file = new.files.get(label) or old.files.get(label) or ""
    before, now = old.parts.get(label), new.parts.get(label)
    if kind not in _KINDS:
        return Difference("code", label, before, now, file)
    if kind == "default":
        function = f"function {name.rpartition('.')[0]}"
        file = new.files.get(function) or old.files.get(function) or ""
    elif kind == "constant":
        file = _place_of_constant(name)
    found: Any = kind
    return Difference(found, name, before, now, file)


_KINDS = frozenset(get_args(PartKind))


def _place_of_constant(name: str) -> str:
    """The file of a module's constant, with its line where it is assigned there."""
    module, steps = name, []
    while module and module not in sys.modules:
        module, _, step = module.rpartition(".")
        steps.append(step)
    file = getattr(sys.modules.get(module), "__file__", None)
    if not isinstance(file, str):
        return ""
    wanted = steps[0] if steps else name.rpartition(".")[2]
    try:
        with open(file, encoding="utf-8") as opened:
            for number, line in enumerate(opened, 1):
                head = line.strip().partition("=")
                if head[1] and head[0].partition(":")[0].strip() == wanted:
                    return f"{file}:{number}"
    except (OSError, ValueError):
        return file
    return file


def _option(value: object) -> str | None:
    return "not given" if value is _ABSENT else short_text(value)


def _shown(value: object) -> str | None:
    return None if value is _ABSENT else short_text(value)


def _typed(recorded: object, value: object) -> str:
    """A recorded parameter with the type of the value that it was recorded of."""
    text = short_text(recorded)
    kind = type(value).__name__
    return text if kind in text else f"{text} ({kind})"
