# SPDX-License-Identifier: MIT
"""What a whole module adds to a walk: its source, read without importing it, and its imports."""

from __future__ import annotations

import sys
import types

from cacheness.keys.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec
    from types import FunctionType, ModuleType

    from cacheness.keys.walk import Walk

__all__ = ["module_member", "visit_imports", "visit_module"]


def visit_module(walk: Walk, name: str, file: str) -> bytes:
    """The entry of a module's node."""
    if not file.endswith(".py"):
        walk.not_followed[f"module {name}"] = "compiled code of unknown version"
        return encode("module")
    loaded = sys.modules.get(name)
    functions = [] if loaded is None else _functions(loaded)
    definition = walk.definitions.of_module(file, functions)
    walk.files[walk.label("module", name, definition.digest)] = file
    is_package = file.replace("\\", "/").endswith("/__init__.py")
    package = name if is_package else name.rpartition(".")[0]
    imports = visit_imports(walk, definition.imports, package)
    return b"".join([encode("module"), encode(definition.digest), *imports])


def visit_imports(walk: Walk, imports: Iterable[str], package: str | None) -> list[bytes]:
    """The modules that code imports when it runs, each encoded as a reference.

    They count whole, and by their files: whether one is loaded already changes nothing.
    """
    found = []
    for text in imports:
        for name in _names(text, package):
            file = _find_file(name)
            if file is not None:
                found += [encode(name), walk.module(name, file)]
            elif name.partition(".")[0] not in sys.stdlib_module_names:
                walk.not_followed[f"module {name}"] = "has no file"
    return found


def module_member(module: ModuleType, name: str) -> tuple[object] | None:
    """An attribute of a module, or a submodule that is loaded; None if there is neither."""
    if name in vars(module):
        return (vars(module)[name],)
    submodule = sys.modules.get(f"{module.__name__}.{name}")
    if submodule is not None:
        return (submodule,)
    if "__getattr__" not in vars(module):
        return None
    try:
        return (getattr(module, name),)
    except AttributeError:
        return None


def _functions(module: ModuleType) -> list[FunctionType]:
    """The functions that a module defines, those in its classes too."""
    found: list[FunctionType] = []
    for value in vars(module).values():
        inner = vars(value).values() if isinstance(value, type) else (value,)
        found += [
            part
            for part in inner
            if isinstance(part, types.FunctionType)
            and part.__globals__ is vars(module)
            and part.__code__.co_filename == module.__file__
        ]
    return found


def _names(text: str, package: str | None) -> Iterator[str]:
    """The full names of the modules that one import may load."""
    dots, module, members = text.split(":")
    level = int(dots)
    if level:
        parts = (package or "").split(".")
        base = ".".join(parts[: len(parts) - level + 1])
        module = ".".join(filter(None, (base, module)))
    if not module:
        return
    yield module
    for member in filter(None, members.split(",")):
        # What is imported from a package may be a module of it.
        if member != "*" and _find_file(f"{module}.{member}") is not None:
            yield f"{module}.{member}"


def _find_file(name: str) -> str | None:
    """The file of a module, found without importing it or its parents."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, "__file__", None)
    path: list[str] | None = None
    spec: ModuleSpec | None = None
    steps = name.split(".")
    for length in range(1, len(steps) + 1):
        spec = _find_spec(".".join(steps[:length]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
        if not path and length < len(steps):
            return None
    return spec.origin if spec is not None and spec.has_location else None


def _find_spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = None if find is None else find(name, path)
        if spec is not None:
            return spec
    return None
