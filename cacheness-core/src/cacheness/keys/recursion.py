# SPDX-License-Identifier: MIT
"""Tells why encoding a value ran out of stack: a circle, or mere depth."""

from __future__ import annotations

from cacheness.errors import UnhashableParameterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["recursion_error"]


def recursion_error(name: str, value: object) -> Exception:
    """The error to raise for a parameter whose encoding raised `RecursionError`."""
    circle = _find_circle(value)
    if circle is not None:
        return UnhashableParameterError(
            f"parameter {name!r} of type {type(value).__name__} can't be part of a key: it "
            f"contains itself ({name}{circle} leads back to where it started). Pass the data "
            f"without the back reference, leave the parameter out (ignore=({name!r},)), make "
            f"the key yourself (key=...), or give the class a method __cacheness_key__(self)"
        )
    return RecursionError(
        f"parameter {name!r} is nested too deeply for the stack that is left; pass it in a "
        f"flatter form, or raise sys.setrecursionlimit"
    )


def _find_circle(value: object) -> str | None:
    """The path from the value to something that contains it, or None; without recursion."""
    path: list[str] = []
    active = {id(value)}
    done: set[int] = set()
    stack: list[tuple[object, Iterator[tuple[str, object]]]] = [(value, _children(value))]
    while stack:
        holder, children = stack[-1]
        for step, child in children:
            if id(child) in active:
                return "".join([*path, step])
            if id(child) not in done and not isinstance(child, (str, bytes, int, float, type)):
                active.add(id(child))
                path.append(step)
                stack.append((child, _children(child)))
                break
        else:
            stack.pop()
            active.discard(id(holder))
            done.add(id(holder))
            if path:
                path.pop()
    return None


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, (list, tuple, set, frozenset)):
        for index, element in enumerate(value):
            yield f"[{index}]", element
    elif isinstance(value, dict):
        for key, element in value.items():
            yield f"[{key!r:.40}]", element
    for name, element in list(getattr(value, "__dict__", {}).items()):
        yield f".{name}", element
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, slot):
                yield f".{slot}", getattr(value, slot)
