# SPDX-License-Identifier: MIT
"""Names classes of namedtuples and dataclasses, and finds and fills them again."""

from __future__ import annotations

import sys

from cacheness.errors import CannotHandleError, SerializationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "class_name",
    "field_names",
    "find_class",
    "is_dataclass",
    "is_namedtuple",
    "new_dataclass",
    "state_of",
]


def is_namedtuple(kind: type) -> bool:
    """Whether it is a class of namedtuples."""
    return issubclass(kind, tuple) and type(getattr(kind, "_fields", None)) is tuple


def is_dataclass(kind: type) -> bool:
    """Whether it is a dataclass or inherits from one."""
    return hasattr(kind, "__dataclass_fields__")


def field_names(kind: type) -> list[str]:
    """The names of a namedtuple's or a dataclass's fields."""
    if is_namedtuple(kind):
        return [str(name) for name in kind._fields]  # type: ignore[attr-defined]  # it is one
    return list(kind.__dataclass_fields__)  # type: ignore[attr-defined]  # or this


def class_name(kind: type) -> str:
    """Name a class as ``module:qualname``.

    Raises:
        CannotHandleError: Importing that name would not give this class.
    """
    module, qualname = kind.__module__, kind.__qualname__
    found: Any = sys.modules.get(module)
    for attribute in qualname.split("."):
        found = getattr(found, attribute, None)
    if found is not kind:
        raise CannotHandleError(f"{module}.{qualname} can't be imported by its name")
    return f"{module}:{qualname}"


def find_class(name: str, fields: list[str]) -> type:
    """Import the class that `class_name` named. Only of a payload whose signature verified.

    Raises:
        SerializationError: It is gone, or no longer has these fields.
    """
    import importlib

    module, _, qualname = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in qualname.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SerializationError(f"{module}.{qualname} can't be imported: {error}") from error
    if not isinstance(found, type) or not (is_namedtuple(found) or is_dataclass(found)):
        raise SerializationError(f"{module}.{qualname} is no namedtuple or dataclass any more")
    if field_names(found) != fields:
        raise SerializationError(
            f"{module}.{qualname} was stored with the fields {', '.join(fields) or 'none'} and "
            f"now has {', '.join(field_names(found)) or 'none'}"
        )
    return found


def state_of(obj: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a dataclass instance holds: its ``__dict__``, and its slots that are set.

    Raises:
        CannotHandleError: Its class says itself how it is pickled, or it holds more than
            attributes.
    """
    kind = type(obj)
    if _pickles_itself(kind):
        raise CannotHandleError(f"{kind.__qualname__} has pickling methods of its own")
    try:
        object.__new__(kind)  # fails for what inherits from dict, Exception and the like
        state: Any = object.__getstate__(obj)
    except TypeError as error:
        raise CannotHandleError(f"{kind.__qualname__} holds more than attributes") from error
    attributes, slots = state if type(state) is tuple else (state, None)
    if not all(type(name) is str for name in attributes or ()):
        raise CannotHandleError(f"a {kind.__qualname__} with attributes whose names are no str")
    return attributes or {}, slots or {}


def _pickles_itself(kind: type) -> bool:
    for name in ("__reduce_ex__", "__reduce__"):
        if getattr(kind, name) is not getattr(object, name):
            return True
    if hasattr(kind, "__getnewargs__") or hasattr(kind, "__getnewargs_ex__"):
        return True
    for name in ("__getstate__", "__setstate__"):
        method = getattr(kind, name, None)
        # A frozen dataclass with slots is given these by `dataclasses`; they do no more.
        own = method is not getattr(object, name, None)
        if own and getattr(method, "__module__", None) != "dataclasses":
            return True
    return False


def new_dataclass(kind: type, attributes: dict[str, Any], slots: dict[str, Any]) -> object:
    """Make an instance that holds this and nothing else, without calling its methods.

    Raises:
        ValueError: The class has no such attributes.
    """
    try:
        obj: object = object.__new__(kind)
        if attributes:
            obj.__dict__.update(attributes)
        for name, value in slots.items():
            object.__setattr__(obj, name, value)
    except (TypeError, AttributeError) as error:
        raise ValueError(f"not what a {kind.__qualname__} holds: {error}") from error
    return obj
