# SPDX-License-Identifier: MIT
"""Makes a container of the JSON manifest that `ContainerHandler` describes."""

from __future__ import annotations

from cacheness.errors import SerializationError
from cacheness.handlers.classes import find_class, is_namedtuple, new_dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.handlers.base import HandlerContext

__all__ = ["read_manifest"]


def read_manifest(manifest: Any, context: HandlerContext) -> Any:
    """Make the container anew. Nodes refer to earlier ones only, so one pass does it.

    Raises:
        ValueError: It is no such manifest.
        SignatureError: It names a class or a pickle, and the payload is not verified.
        SerializationError: A class that it names is gone or has changed.
    """
    try:
        return _Reader(manifest, context).read()
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not the manifest of a container: {error!r}") from error


class _Reader:
    def __init__(self, manifest: Any, context: HandlerContext) -> None:
        self._manifest = manifest
        self._context = context
        self._made: list[Any] = []
        self._classes: dict[tuple[str, ...], type] = {}
        self._pickled: list[Any] | None = None

    def read(self) -> Any:
        for node in self._manifest["nodes"]:
            self._made.append(self._make(node))
        return self._value(self._manifest["root"])

    def _make(self, node: dict[str, Any]) -> Any:
        if "json" in node:
            return node["json"]
        if "dict" in node:
            keys, values = self._values(node["dict"]), self._values(node["values"])
            return dict(zip(keys, values, strict=True))
        if "list" in node:
            return self._values(node["list"])
        if "tuple" in node:
            return tuple(self._values(node["tuple"]))
        kind = self._class(node["class"], node["fields"])
        if "namedtuple" in node:
            return self._namedtuple(kind, self._values(node["namedtuple"]))
        attributes, slots = node["attributes"], node["slots"]
        values = self._values(node["dataclass"])
        if is_namedtuple(kind) or len(values) != len(attributes) + len(slots):
            raise ValueError("a dataclass with more or fewer values than it has names for them")
        middle = len(attributes)
        return new_dataclass(
            kind,
            dict(zip(attributes, values[:middle], strict=True)),
            dict(zip(slots, values[middle:], strict=True)),
        )

    def _namedtuple(self, kind: type, values: list[Any]) -> Any:
        if not is_namedtuple(kind):
            raise ValueError(f"{kind.__qualname__} is no namedtuple")
        return tuple.__new__(kind, values)

    def _class(self, name: str, fields: list[str]) -> type:
        # Before anything of the name is imported, for that runs code.
        self._context.require_verified(f"the class {str(name)[:200]}")
        known = (name, *fields)
        if known not in self._classes:
            self._classes[known] = find_class(name, fields)
        return self._classes[known]

    def _values(self, described: list[Any]) -> list[Any]:
        if type(described) is not list:
            raise ValueError("a node of a container that holds no list")
        if list not in set(map(type, described)):
            return described  # fresh from the decoder, and nobody else's
        return [self._value(d) if type(d) is list else d for d in described]

    def _value(self, described: Any) -> Any:
        if type(described) is not list:
            return described
        tag, value = described
        if tag == "node":
            return self._node(value)
        if tag == "part":
            return self._context.get_part(value)
        if tag == "pickled":
            return self._pickled_leaf(value)
        if tag == "float":
            from struct import error, unpack

            try:
                return unpack(">d", bytes.fromhex(value))[0]
            except error as cause:
                raise ValueError("a float that is not 8 bytes") from cause
        if tag == "int":
            return int(value, 16)
        if tag == "str":
            return bytes.fromhex(value).decode("utf-8", "surrogatepass")
        raise ValueError(f"a value of an unknown kind: {str(tag)[:50]!r}")

    def _node(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self._made):
            raise ValueError("a container that refers to a node after it")
        return self._made[number]

    def _pickled_leaf(self, number: Any) -> Any:
        if self._pickled is None:
            leaves = self._context.get_part(self._manifest["pickled"])
            if type(leaves) is not list:
                raise SerializationError("the pickled leaves of a container are no list")
            self._pickled = leaves
        if type(number) is not int or not 0 <= number < len(self._pickled):
            raise ValueError("a container that refers to a leaf that is not there")
        return self._pickled[number]
