# SPDX-License-Identifier: MIT
"""What one function adds to a walk: its form, defaults, closure, and the names it uses."""

from __future__ import annotations

import types
from functools import partial

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import Unstable, encode
from cacheness.keys.naming import function_name, module_name, type_name
from cacheness.keys.origin import home_module, is_own
from cacheness.keys.walk import NOTHING, is_class, is_module, order_calls_only, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CellType, FunctionType
    from typing import Any, TypeAlias

    from cacheness.keys.definition import Definition
    from cacheness.keys.walk import Walk

    Found: TypeAlias = tuple[str, object, list[str]]

__all__ = ["visit_function"]

PLACES = frozenset(
    {
        "__builtins__",
        "__cached__",
        "__class__",
        "__debug__",
        "__file__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    }
)
"""Globals that say where a module is, which is no part of what its code does."""


def visit_function(walk: Walk, fn: FunctionType) -> bytes:
    """The entry of a function's node."""
    return _Visit(walk, fn).entry()


class _Visit:
    def __init__(self, walk: Walk, fn: FunctionType) -> None:
        self.walk = walk
        self.fn = fn
        self.name = function_name(fn)
        self.place = module_name(home_module(fn) or "", fn.__globals__)
        self.cells: dict[str, CellType] = dict(
            zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
        )

    def entry(self) -> bytes:
        fn, walk = self.fn, self.walk
        walk.guards.function(fn)
        definition = walk.definitions.of_function(fn)
        self.file = _file_and_line(fn, definition)
        walk.files[walk.label("function", self._own_name(), definition.digest)] = self.file
        pieces = [encode("function"), encode(definition.digest)]
        pieces += self._defaults(definition)
        pieces += self._closure(definition)
        pieces += self._names(definition)
        if hasattr(fn, "__wrapped__"):
            pieces.append(walk.reference(fn.__wrapped__) or NOTHING)  # pyright: ignore[reportFunctionMemberAccess]  # hasattr has looked
        if definition.imports:
            from cacheness.keys.walk_module import visit_imports

            pieces += visit_imports(walk, definition.imports, fn.__globals__.get("__package__"))
        return b"".join(pieces)

    def _own_name(self) -> str:
        """The function's name; of a wrapper, which bears that of what it wraps, its code's."""
        if hasattr(self.fn, "__wrapped__"):
            return f"{self.place}:{self.fn.__code__.co_qualname}"
        return self.name

    def _defaults(self, definition: Definition) -> list[bytes]:
        code = self.fn.__code__
        values = self.fn.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(values) : code.co_argcount]
        keywords = sorted((self.fn.__kwdefaults__ or {}).items())
        pieces = []
        for name, value in [*zip(names, values, strict=True), *keywords]:
            label = f"default {self.name}.{name}"
            if name in definition.changed:
                self.walk.not_followed[label] = "changed by the code itself"
            else:
                pieces += [encode(name), self._default(label, value)]
        return pieces

    def _default(self, label: str, value: object) -> bytes:
        found = self.walk.reference(value)
        if found is not None:
            return found
        try:
            found = encode(value, self.walk.memo())
        except (Unstable, RecursionError):
            # A sentinel such as object(): that it is the default is all there is to it.
            self.walk.not_followed[label] = f"a {type_name(type(value))} without a stable value"
            return NOTHING
        self.walk.parts[label] = short(found)
        return found

    def _closure(self, definition: Definition) -> list[bytes]:
        pieces = []
        for name, cell in self.cells.items():
            if not _fill(cell):
                self.walk.guards.value(partial(_fill, cell), b"")
                continue
            value = cell.cell_contents
            self.walk.guards.cell(cell)
            if name in definition.writes:
                label = f"closure {self.name}.{name}"
                self.walk.not_followed[label] = "changed by the code itself"
            elif name == "__class__":
                # Only super() needs it, and that reaches the bases.
                bases = [self.walk.reference(base) or NOTHING for base in value.__bases__]
                pieces += [encode(name), *bases]
            elif not is_module(value):
                pieces += [encode(name), self._closure_value(name, value)]
        return pieces

    def _closure_value(self, name: str, value: object) -> bytes:
        found = self.walk.reference(value)
        if found is not None:
            return found
        label = f"closure {self.name}.{name}"
        if order_calls_only(value):
            self.walk.not_followed[label] = f"a {type_name(type(value))}"
            return NOTHING
        try:
            found = encode(value, self.walk.memo())
        except (Unstable, RecursionError) as error:
            raise self._closure_error(name, value, error) from None
        self.walk.files[self.walk.label("closure", f"{self.name}.{name}", short(found))] = self.file
        self.walk.watch(value, found)
        return found

    def _closure_error(
        self, name: str, value: object, error: Exception
    ) -> UnhashableParameterError:
        reason = (
            f"a {error.kind.__qualname__} {error.reason}"
            if isinstance(error, Unstable)
            else "it contains itself or is nested too deeply"
        )
        return UnhashableParameterError(
            f"the closure of {self.name} holds {name!r} of type {type_name(type(value))}, which "
            f"can't be part of a key: {reason}. Pass it as an argument and leave that out "
            f"(ignore=...), give its class a method __cacheness_key__(self), register a handler "
            f"with `fingerprint`, or leave the code out of the key (code='off', version=...)"
        )

    def _names(self, definition: Definition) -> list[bytes]:
        for dotted in definition.writes:
            located = self._locate(dotted)
            if located is not None:
                label, value, rest = located
                owner = type_name(value) if is_class(value) else label
                self.walk.state.add(".".join([owner, *rest]))
        pieces = []
        for dotted in definition.names:
            located = self._locate(dotted)
            found = None if located is None else self.walk.value(*located[:2])
            if found is not None:
                pieces += [encode(dotted), found]
        return pieces

    def _locate(self, dotted: str) -> Found | None:
        """What a dotted name stands for: its label, the value, and the attributes left."""
        base, *steps = dotted.split(".")
        namespace = self.fn.__globals__
        if base in self.cells:
            cell = self.cells[base]
            # Other values of the closure count as a whole.
            if not _fill(cell) or not isinstance(cell.cell_contents, types.ModuleType):
                return None
            return self._through_modules(f"{self.place}.{base}", cell.cell_contents, steps)
        if base in PLACES:
            return None
        if base in namespace:
            self.walk.guards.name(namespace, base)
            return self._through_modules(f"{self.place}.{base}", namespace[base], steps)
        self.walk.guards.absent(namespace, base)
        fn: Any = self.fn  # some of typeshed's functions lack `__builtins__`
        if base not in fn.__builtins__:
            self._note_missing(f"{self.place}.{base}")
        return None

    def _through_modules(self, label: str, value: object, steps: list[str]) -> Found | None:
        while is_module(value) and steps:
            if not is_own(value):
                return label, value, []
            step = steps.pop(0)
            if step in PLACES:
                return None
            label = f"{module_name(value.__name__)}.{step}"
            from cacheness.keys.walk_module import module_member

            member = module_member(value, step)
            if step in vars(value):
                self.walk.guards.name(vars(value), step)
            else:
                self.walk.guards.absent(vars(value), step)
            if member is None:
                self._note_missing(label)
                return None
            value = member[0]
        return label, value, steps

    def _note_missing(self, label: str) -> None:
        self.walk.not_followed[label] = "not defined when the digest was made"


def _file_and_line(fn: FunctionType, definition: Definition) -> str:
    place = f"{fn.__code__.co_filename}:{fn.__code__.co_firstlineno}"
    if definition.origin == "source":
        return place
    return f"{place} (as bytecode: the source is missing, or not what runs)"


def _fill(cell: CellType) -> bytes:
    """Whether a cell is filled, as bytes."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return b""
    return b"filled"
