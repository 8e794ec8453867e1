# SPDX-License-Identifier: MIT
"""The canonical bytes of values that have no tag of their own in the encoding."""

from __future__ import annotations

import copyreg
import sys
from types import FunctionType

from cacheness.errors import CannotHandleError, UnhashableParameterError
from cacheness.keys.encoding import Memo, Unstable, encode, named
from cacheness.keys.hashing import Stream
from cacheness.keys.libraries import library_encoder
from cacheness.keys.origin import is_own
from cacheness.keys.parts import attributes, class_label, class_part
from cacheness.keys.standard import encode_function, standard_encoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    Encoder: TypeAlias = Callable[[Any, Memo], bytes]

__all__ = ["encode_other", "is_stable"]

_MOST_TYPES = 2048
_LAZY: dict[type, frozenset[str]] = {}
_NO_VALUE = "has an identity in this process but no value that another could see"


def encode_other(value: Any, memo: Memo) -> bytes:
    """The encoding of a value whose type is none of the encoding's own.

    In this order: the covered types of the standard library, ``__cacheness_key__``, a
    handler's ``fingerprint``, known libraries, and last the class with its reduced state.

    Raises:
        Unstable: It has no value, only an identity.
    """
    kind = type(value)
    encoder = standard_encoder(kind)
    if encoder is not None:
        return encoder(value, memo)
    own_key = getattr(kind, "__cacheness_key__", None)
    if own_key is not None:
        return named("key", encode(class_label(kind)), encode(own_key(value), memo))
    return (
        _by_handler(value, kind) or _by_library(value, kind, memo) or _by_state(value, kind, memo)
    )


def is_stable(value: object) -> bool:
    """Whether the value can be part of a key."""
    try:
        encode(value)
    except (Unstable, RecursionError):
        return False
    return True


def _by_handler(value: object, kind: type) -> bytes | None:
    from cacheness.plugins.registry import fingerprinter

    feed = fingerprinter(value)
    if feed is None:
        return None
    stream = Stream()
    stream.update(encode(class_label(kind)))
    try:
        feed(value, stream.update)
    except (CannotHandleError, UnhashableParameterError) as refusal:
        raise Unstable(kind, str(refusal)) from None
    return b"h#" + stream.digest()


def _by_library(value: object, kind: type, memo: Memo) -> bytes | None:
    encoder = library_encoder(kind)
    return None if encoder is None else encoder(value, memo)


def _by_state(value: Any, kind: type, memo: Memo) -> bytes:
    _refuse_identities(kind)
    if callable(value) and hasattr(value, "__wrapped__") and hasattr(kind, "__get__"):
        return encode_function(value, memo)
    if not _has_own_reduction(kind):
        if hasattr(kind, "__dataclass_fields__"):
            return named("dataclass", class_part(kind, memo), attributes(_fields(value), memo))
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            fields = dict(zip(kind._fields, value, strict=True))  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue, reportCallIssue]  # as issubclass told
            return named("namedtuple", class_part(kind, memo), attributes(fields, memo))
        if issubclass(kind, (set, frozenset)):
            elements = b"".join(sorted([encode(element, memo) for element in value]))  # pyright: ignore[reportGeneralTypeIssues]  # as issubclass told
            state = attributes(getattr(value, "__dict__", {}), memo)
            return named("instance", class_part(kind, memo), encode(elements), state)
    return _reduced(value, kind, memo)


def _refuse_identities(kind: type) -> None:
    if kind is object:
        raise Unstable(kind, _NO_VALUE)
    if kind.__module__ in ("builtins", "itertools") and hasattr(kind, "__next__"):
        raise Unstable(kind, "is an iterator, which a hit would not consume; pass a list")


def _has_own_reduction(kind: type) -> bool:
    for base in kind.__mro__:
        if base in (object, tuple, set, frozenset) or base.__module__ == "typing":
            continue
        for name in ("__reduce__", "__reduce_ex__", "__getstate__"):
            method = vars(base).get(name)
            if method is not None and getattr(method, "__module__", None) != "dataclasses":
                return True
    return False


def _fields(value: Any) -> dict[str, Any]:
    # Attributes that are no fields count as well: a method may use them.
    state = _without_lazy(type(value), getattr(value, "__dict__", {}))
    for name, field in type(value).__dataclass_fields__.items():
        if field._field_type.name == "_FIELD" and name not in state and hasattr(value, name):
            state[name] = getattr(value, name)
    return state


def _reduced(value: Any, kind: type, memo: Memo) -> bytes:
    form = _reduce(value, kind)
    if isinstance(form, str):
        module = getattr(value, "__module__", None) or kind.__module__
        return named("global", encode(class_label(kind)), encode(f"{module}.{form}"))
    func, args, state, elements, pairs = (*form, None, None, None)[:5]
    head = _constructor(func, args, kind, memo)
    if type(state) is dict:
        state = _without_lazy(kind, state)
    parts = [_state(state, memo)]
    if elements is not None:
        parts.append(encode(list(elements), memo))
    if pairs is not None:
        parts.append(encode(list(pairs) if _is_ordered(kind) else dict(pairs), memo))
    return named("instance", head, *parts)


def _reduce(value: Any, kind: type) -> Any:
    reducer = copyreg.dispatch_table.get(kind)
    try:
        form = value.__reduce_ex__(4) if reducer is None else reducer(value)
    except (Unstable, RecursionError):
        raise
    except Exception as error:  # a class's own hooks may raise anything
        raise Unstable(kind, f"{_NO_VALUE} ({error})") from error
    if not isinstance(form, (str, tuple)):
        raise Unstable(kind, f"is reduced to a {type(form).__name__}, which pickle forbids too")
    return form


def _constructor(func: Any, args: Any, kind: type, memo: Memo) -> bytes:
    if getattr(func, "__name__", "") == "__newobj__":
        return class_part(args[0], memo) + encode(tuple(args[1:]), memo)
    if getattr(func, "__name__", "") == "__newobj_ex__":
        return class_part(args[0], memo) + encode((tuple(args[1]), args[2]), memo)
    if func is kind:
        return class_part(kind, memo) + encode(tuple(args), memo)
    # The library's function that rebuilds: its name, for an upgrade of the library does
    # not make another value.
    name = f"{getattr(func, '__module__', '')}.{getattr(func, '__qualname__', repr(type(func)))}"
    code = memo.refer(func) if isinstance(func, FunctionType) and is_own(func) else b""
    return encode(name) + code + class_part(kind, memo) + encode(tuple(args), memo)


def _state(state: Any, memo: Memo) -> bytes:
    if type(state) is dict:
        return attributes(state, memo)
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict:
        return (
            attributes({**(state[0] or {}), **state[1]}, memo)
            if (state[0] is None or type(state[0]) is dict)
            else encode(state, memo)
        )
    return encode(state, memo)


def _is_ordered(kind: type) -> bool:
    from collections import OrderedDict

    return issubclass(kind, OrderedDict)


def _without_lazy(kind: type, state: dict[Any, Any]) -> dict[Any, Any]:
    # What functools.cached_property has left in the instance follows from the rest, and
    # would make another value of an object that was only looked at.
    lazy = _LAZY.get(kind)
    if lazy is None:
        lazy = frozenset(_cached_properties(kind))
        if len(_LAZY) >= _MOST_TYPES:
            _LAZY.clear()
        _LAZY[kind] = lazy
    return {name: each for name, each in state.items() if name not in lazy}


def _cached_properties(kind: type) -> Iterator[str]:
    functools = sys.modules.get("functools")
    if functools is not None:
        for base in kind.__mro__:
            for name, attribute in vars(base).items():
                if isinstance(attribute, functools.cached_property):
                    yield name
