# SPDX-License-Identifier: MIT
"""The names under which functions and classes count, the same in every process."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["function_name", "module_name", "namespace_of", "public_name", "type_name"]

_MAIN = ("__main__", "__mp_main__")


def function_name(fn: Callable[..., Any]) -> str:
    """``module:qualname``, with ``__main__`` under the name an import would give it.

    A script, its worker processes (``__mp_main__``) and an import of the same file
    agree. Where there is no file, in a notebook or a REPL, it stays ``__main__``.

    Example:
        >>> from textwrap import dedent
        >>> function_name(dedent)
        'textwrap:dedent'
    """
    if not hasattr(fn, "__qualname__") and hasattr(fn, "func"):
        fn = fn.func  # pyright: ignore[reportFunctionMemberAccess]  # hasattr has looked
    qualname = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    module = getattr(fn, "__module__", None) or type(fn).__module__
    return f"{module_name(module, namespace_of(fn))}:{qualname}"


def type_name(cls: type) -> str:
    """``module.qualname`` of a class, with ``__main__`` named as in `function_name`."""
    return f"{module_name(cls.__module__, namespace_of(cls))}.{cls.__qualname__}"


def public_name(thing: Any, home: str | None = None) -> str:
    """The shortest path that gives this: ``pandas.DataFrame``, wherever it is defined.

    For classes and functions of libraries, which move them between private modules.

    Args:
        thing: The class or function.
        home: The module that defines it, where ``__module__`` does not say.
    """
    name = getattr(thing, "__qualname__", None) or thing.__name__
    home = home or thing.__module__
    parts = home.split(".")  # pyright: ignore[reportOptionalMemberAccess]  # a library's class or function has a module
    for length in range(1, len(parts)):
        path = ".".join(parts[:length])
        if getattr(sys.modules.get(path), name, None) is thing:
            return f"{path}.{name}"
    return f"{module_name(home)}.{name}"  # pyright: ignore[reportArgumentType]  # a library's class or function has a module


def module_name(name: str, namespace: Mapping[str, Any] | None = None) -> str:
    """The module's name; of a main module the one under which it would be imported.

    Args:
        name: What ``__module__`` says.
        namespace: The globals of the function, where they are at hand: while a worker
            process loads its main module, ``sys.modules`` may hold another one.
    """
    if name not in _MAIN:
        return name
    if namespace is None or namespace.get("__name__") != name:
        namespace = vars(sys.modules[name]) if name in sys.modules else {}
    spec_name = getattr(namespace.get("__spec__"), "name", None)
    if isinstance(spec_name, str) and spec_name not in _MAIN:
        return spec_name
    file = namespace.get("__file__")
    if not isinstance(file, str):
        return "__main__"
    return os.path.splitext(os.path.basename(file))[0]


def namespace_of(code: Any) -> Mapping[str, Any] | None:
    """The globals of a function, or of a class's methods where the main module defines it.

    A class that was sent to another process by value has no module there, but its
    methods still know the file that they came from.
    """
    if not isinstance(code, type):
        return getattr(code, "__globals__", None)
    module = code.__module__
    if module not in _MAIN:
        return None
    for attribute in vars(code).values():
        function = getattr(attribute, "__func__", None) or getattr(attribute, "fget", attribute)
        namespace = getattr(function, "__globals__", None)
        if isinstance(namespace, dict) and namespace.get("__name__") == module:
            return namespace
    return None
