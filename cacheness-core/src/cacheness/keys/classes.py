# SPDX-License-Identifier: MIT
"""What of a class counts as its code, apart from what Python and its decorators generate."""

from __future__ import annotations

import sys
import types

from cacheness.keys.origin import is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["annotation_text", "class_attributes", "field_annotations", "fields_of"]

_GENERATED_FILES = ("<attrs generated", "<namedtuple", "<frozen")
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_FLAGS = ("init", "repr", "hash", "compare", "kw_only")
_PARAMETERS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")


def class_attributes(cls: type) -> Iterator[tuple[str, Any]]:
    """The attributes of a class body that count, by name.

    Left out is what differs between Python versions or runs: docstrings, ``__module__``
    and their like, slots' descriptors, and what Python and decorators generate from the
    fields, which are counted themselves.
    """
    members = vars(cls).get("_member_map_")
    for name, value in sorted(vars(cls).items()):
        special = name.startswith("__") and name.endswith("__")
        if isinstance(value, _SLOTS) or name.startswith("_abc_"):
            continue
        if type(value).__name__ == "_tuplegetter" or _is_generated(cls, value):
            continue
        if (special or members is not None) and not _is_own_method(value):
            continue
        yield name, value


def field_annotations(cls: type) -> list[tuple[str, str]]:
    """The annotated fields of a class body, each with its annotation as text."""
    if sys.version_info >= (3, 14):
        import annotationlib

        found = annotationlib.get_annotations(cls, format=annotationlib.Format.FORWARDREF)
    else:
        found = vars(cls).get("__annotations__", {})
    return [(name, annotation_text(annotation)) for name, annotation in found.items()]


def annotation_text(annotation: Any) -> str:
    """An annotation as text that does not depend on how a Python version shows it."""
    if annotation is None or annotation is type(None):
        return "None"
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, (list, tuple)):
        return f"[{', '.join(map(annotation_text, annotation))}]"
    origin = getattr(annotation, "__origin__", None)
    arguments = getattr(annotation, "__args__", None)
    if arguments and (isinstance(annotation, types.UnionType) or _names_union(origin)):
        return " | ".join(map(annotation_text, arguments))
    if origin is not None and arguments:
        metadata = getattr(annotation, "__metadata__", ())
        inside = ", ".join([*map(annotation_text, arguments), *map(_plain, metadata)])
        return f"{annotation_text(origin)}[{inside}]"
    forward = getattr(annotation, "__forward_arg__", None)
    if isinstance(forward, str):
        return forward
    if isinstance(annotation, type):
        return f"{annotation.__module__}.{annotation.__qualname__}"
    return getattr(annotation, "__name__", None) or _plain(annotation)


def fields_of(cls: type) -> list[tuple[str, list[Any]]]:
    """What a dataclass, an attrs class or a pydantic model says of each of its fields.

    Each name with settings, defaults and functions, to be encoded one by one.
    """
    found: list[tuple[str, list[Any]]] = []
    if "__dataclass_fields__" in vars(cls):
        parameters = getattr(cls, "__dataclass_params__", None)
        found.append(("", [getattr(parameters, name, None) for name in _PARAMETERS]))
        for name, field in getattr(cls, "__dataclass_fields__").items():  # noqa: B009 - mypy knows no such attribute
            flags = [getattr(field, flag) for flag in _FLAGS]
            found.append((name, [*flags, _given(field.default), _given(field.default_factory)]))
    elif "__attrs_attrs__" in vars(cls):
        for field in vars(cls)["__attrs_attrs__"]:
            default = getattr(field.default, "factory", field.default)
            found.append((field.name, [_given(default), field.validator, field.converter]))
    elif "__pydantic_fields__" in vars(cls):
        for name, field in vars(cls)["__pydantic_fields__"].items():
            rules = [_plain(rule) for rule in field.metadata]
            found.append((name, [_given(field.default), field.default_factory, rules]))
    return found


def _is_own_method(value: Any) -> bool:
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, property):
        return any(map(_is_own_method, (value.fget, value.fset, value.fdel)))
    return callable(value) and (
        hasattr(value, "__wrapped__") or (isinstance(value, types.FunctionType) and is_own(value))
    )


def _is_generated(cls: type, value: Any) -> bool:
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if not isinstance(value, types.FunctionType):
        return False
    code = value.__code__
    if code.co_qualname.startswith("__create_fn__"):
        return True
    if code.co_filename.startswith(_GENERATED_FILES):
        return True
    home = str(value.__globals__.get("__name__", ""))
    # A dataclass's __repr__, wrapped; a named tuple's __new__, evaluated from text.
    return home in ("dataclasses", "reprlib") or (
        issubclass(cls, tuple) and home.startswith("namedtuple_")
    )


def _names_union(origin: Any) -> bool:
    typing = sys.modules.get("typing")
    return typing is not None and origin is typing.Union


def _given(default: Any) -> Any:
    """A default, or what stands for none in the three libraries."""
    name = type(default).__name__
    if name in ("_MISSING_TYPE", "PydanticUndefinedType") or repr(default) == "NOTHING":
        return ...
    return default


def _plain(value: Any) -> str:
    """A value's own text where that holds no address, else its type."""
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text
