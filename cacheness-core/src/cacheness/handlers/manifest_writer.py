# SPDX-License-Identifier: MIT
"""Turns a container into the JSON manifest that `ContainerHandler` describes."""

from __future__ import annotations

from itertools import chain
from math import isfinite

from cacheness.errors import CannotHandleError
from cacheness.handlers.classes import (
    class_name,
    field_names,
    is_dataclass,
    is_namedtuple,
    state_of,
)
from cacheness.handlers.json_check import check_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from cacheness.handlers.base import HandlerContext

__all__ = ["write_manifest"]

_SCALARS = frozenset({str, int, float, bool, type(None)})
_MOST_PLAIN_VALUES = 10_000
_LONG = 64
_MANY_PARTS = 1000
_SMALL_PART = 1024
_LARGE = 1 << 30
_64_BITS = range(-(1 << 63), 1 << 64)


def write_manifest(
    root: object, context: HandlerContext, pickled: list[object], *, spell_all: bool = False
) -> dict[str, Any]:
    """Describe a container, handing its leaves to ``context.put_part``.

    Args:
        root: The container.
        context: Of the put.
        pickled: Is filled with the leaves that only pickle keeps, and is then one part.
        spell_all: Look at each integer and string whether JSON keeps it, and spell out
            those that it does not.

    Raises:
        CannotHandleError: It has a cycle or what can't be described, or pickle keeps it
            as well and faster.
    """
    try:
        return _Writer(context, pickled, spell_all=spell_all, whole=not spell_all).write(root)
    except _SharedError:
        return _Writer(context, pickled, spell_all=spell_all, whole=False).write(root)


class _SharedError(Exception):
    """A list or dict occurs both inside of one that was taken whole and elsewhere."""


class _Open:
    """A container whose values are being described."""

    __slots__ = ("children", "node", "obj", "values")

    def __init__(self, obj: object, node: dict[str, Any], children: Iterable[object]) -> None:
        self.obj = obj
        self.node = node
        self.children: Iterator[object] = iter(children)
        self.values: list[Any] = []


class _Writer:
    """Walks with a stack of its own, since containers may be nested as deeply as one likes."""

    def __init__(
        self, context: HandlerContext, pickled: list[object], *, spell_all: bool, whole: bool
    ) -> None:
        pickled.clear()
        self._context = context
        self._spell_all = spell_all
        self._nodes: list[dict[str, Any]] = []
        # Numbers of the nodes of finished containers, None of open ones, by id. The ids stay
        # theirs, since the root holds all of them; states of dataclasses are held here.
        self._numbers: dict[int, int | None] = {}
        self._held: list[object] = []
        # Of long lists and dicts that JSON keeps the manifest holds the value itself, which
        # is ten times faster than nodes. `_inside` has the ids of the containers in them.
        self._whole = whole
        self._inside: set[int] = set()
        self._values = 0
        self._parts = 0
        self._part_bytes = 0
        self._pickled: dict[int, int] = {}
        self._pickled_leaves = pickled
        self._names_class = False

    def write(self, root: object) -> dict[str, Any]:
        described = self._walk(root)
        self._decide()
        manifest: dict[str, Any] = {"root": described, "nodes": self._nodes}
        if self._pickled_leaves:
            # All in one part, so that what they share they share again.
            manifest["pickled"] = self._context.put_part(self._pickled_leaves)
        return manifest

    def _decide(self) -> None:
        context = self._context
        if self._pickled_leaves and not context.allow_pickle:
            kinds = sorted({type(leaf).__qualname__ for leaf in self._pickled_leaves})
            raise CannotHandleError(f"allow_pickle=False, and only pickle keeps {', '.join(kinds)}")
        if context.allow_pickle:
            plain = not (self._names_class or self._pickled_leaves)
            if not self._parts and not (plain and self._values <= _MOST_PLAIN_VALUES):
                raise CannotHandleError("nothing in it that pickle does not keep as well")
            if self._parts > _MANY_PARTS and self._part_bytes < self._parts * _SMALL_PART:
                raise CannotHandleError("many small parts, which pickle keeps faster together")
        if self._names_class:
            context.require_signature()

    # --- the walk -----------------------------------------------------------------------

    def _walk(self, root: object) -> Any:
        stack = [self._open(root)]
        while True:
            top = stack[-1]
            for child in top.children:
                described = self._described(child)
                if described is None:
                    stack.append(self._open(child))
                    break
                top.values.append(described[0])
            else:
                reference = self._close(stack.pop())
                if not stack:
                    return reference
                stack[-1].values.append(reference)

    def _described(self, child: object) -> tuple[Any] | None:
        """A value's description in a tuple; None for a container that was not met yet."""
        kind = type(child)
        if kind in _SCALARS:
            return (self._scalar(child),)
        if kind is dict or kind is list or kind is tuple or self._is_structure(child):
            number = self._numbers.get(id(child), -1)
            if number is None:
                raise CannotHandleError("a container that contains itself")
            if number < 0 and self._whole:
                number = self._taken_whole(child)
            return None if number < 0 else (["node", number],)
        return (self._leaf(child),)

    def _taken_whole(self, child: object) -> int:
        """The number of the node that holds it as JSON, or -1 where that can't be."""
        if id(child) in self._inside:
            raise _SharedError
        kind = type(child)
        if (kind is not list and kind is not dict) or len(child) < _LONG:  # type: ignore[arg-type]
            return -1
        try:
            ids = check_json(child)
        except CannotHandleError:
            return -1
        if not (ids.isdisjoint(self._inside) and ids.isdisjoint(self._numbers)):
            raise _SharedError
        self._inside |= ids
        self._values += len(child) + len(ids)  # type: ignore[arg-type]  # as above
        number = self._numbers[id(child)] = len(self._nodes)
        self._nodes.append({"json": child})
        return number

    def _is_structure(self, child: object) -> bool:
        kind = type(child)
        if not (is_namedtuple(kind) or is_dataclass(kind)):
            return False
        # A handler of this very class goes first.
        return self._context.part_handler(child) in ("container", "pickle")

    def _open(self, obj: object) -> _Open:
        self._numbers[id(obj)] = None
        kind = type(obj)
        if kind is list or kind is tuple:
            return self._open_sequence(obj, {kind.__name__: None})  # type: ignore[arg-type]
        if kind is dict:
            return self._open_dict(obj)  # type: ignore[arg-type]  # by the line above
        self._names_class = True
        node: dict[str, Any] = {"class": class_name(kind), "fields": field_names(kind)}
        if is_namedtuple(kind):
            if getattr(obj, "__dict__", None):
                raise CannotHandleError(f"a {kind.__qualname__} with attributes beside its fields")
            return self._open_sequence(obj, node | {"namedtuple": None})  # type: ignore[arg-type]
        attributes, slots = state_of(obj)
        self._held.append((attributes, slots))
        node |= {"dataclass": None, "attributes": list(attributes), "slots": list(slots)}
        self._values += len(attributes) + len(slots)
        return _Open(obj, node, chain(attributes.values(), slots.values()))

    def _open_sequence(self, obj: list[Any] | tuple[Any, ...], node: dict[str, Any]) -> _Open:
        self._values += len(obj) + 1
        opened = _Open(obj, node, obj)
        self._take_scalars(opened, obj)
        return opened

    def _open_dict(self, obj: dict[Any, Any]) -> _Open:
        self._values += 2 * len(obj) + 1
        keys = list(obj)
        if not all(_is_key(key) for key in keys):
            raise CannotHandleError(
                "a dict with keys that are no numbers, strings or tuples of them"
            )
        opened = _Open(obj, {"dict": None}, chain(keys, obj.values()))
        self._take_scalars(opened, [*keys, *obj.values()])
        return opened

    def _take_scalars(self, opened: _Open, values: Iterable[Any]) -> None:
        """Describe all values at once where they are numbers, strings and None: 20 times faster."""
        kinds = set(map(type, values))
        if self._spell_all or not kinds <= _SCALARS:
            return
        opened.children = iter(())
        if float in kinds:
            opened.values = [
                v if type(v) is not float or isfinite(v) else _spelled_float(v) for v in values
            ]
        else:
            opened.values = list(values)

    def _close(self, opened: _Open) -> list[Any]:
        node, values = opened.node, opened.values
        if "dict" in node:
            half = len(values) // 2
            node["dict"], node["values"] = values[:half], values[half:]
        else:
            kind = next(key for key, value in node.items() if value is None)
            node[kind] = values
        number = self._numbers[id(opened.obj)] = len(self._nodes)
        self._nodes.append(node)
        return ["node", number]

    # --- leaves -------------------------------------------------------------------------

    def _scalar(self, value: Any) -> Any:
        kind = type(value)
        if kind is float and not isfinite(value):
            return _spelled_float(value)
        if not self._spell_all:
            return value
        if kind is int and value not in _64_BITS:
            return ["int", hex(value)]
        if kind is str:
            try:
                value.encode()
            except UnicodeEncodeError:
                return ["str", value.encode("utf-8", "surrogatepass").hex()]
        return value

    def _leaf(self, leaf: object) -> list[Any]:
        name = self._context.part_handler(leaf)
        if name in ("pickle", ""):
            number = self._pickled.setdefault(id(leaf), len(self._pickled_leaves))
            if number == len(self._pickled_leaves):
                self._pickled_leaves.append(leaf)
            return ["pickled", number]
        self._parts += 1
        self._part_bytes += _size(leaf)
        return ["part", self._context.put_part(leaf)]


def _is_key(key: object) -> bool:
    kind = type(key)
    if kind is tuple:
        return _SCALARS.issuperset(map(type, key))  # type: ignore[call-overload]  # a tuple
    return kind in _SCALARS


def _spelled_float(value: float) -> list[str]:
    """By its bits: NaNs differ in theirs."""
    from struct import pack

    return ["float", pack(">d", value).hex()]


def _size(leaf: object) -> int:
    if type(leaf) is bytes or type(leaf) is bytearray:
        return len(leaf)
    size = getattr(leaf, "nbytes", _LARGE)
    return size if type(size) is int else _LARGE
