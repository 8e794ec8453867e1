# SPDX-License-Identifier: MIT
"""Follows code through all that it names in its project, and digests what it meets."""

from __future__ import annotations

import sys
import types
from functools import partial

from blake3 import blake3

from cacheness.keys.encoding import PART_BYTES, Memo, Unstable, encode, exact_bytes, named
from cacheness.keys.guards import Guards
from cacheness.keys.naming import function_name, public_name, type_name
from cacheness.keys.origin import home_module, is_own, module_origin, origin_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeGuard

    from cacheness.keys.definitions import Definitions
    from cacheness.keys.origin import Origin

__all__ = ["NOTHING", "Walk", "is_class", "is_module", "order_calls_only", "short"]

NOTHING = encode("")
"""What stands for code that does not count."""


class Walk:
    """One pass over a piece of code and, transitively, the project's code that it names.

    Each function, class and module that it meets is a node, numbered in the order in
    which it is met, so that circles are no trouble and no address or name of a file
    counts.

    Args:
        definitions: Where definitions come from.
        state: Labels of names that the code changes itself, so far as they are known.
    """

    def __init__(self, definitions: Definitions, state: Iterable[str] = ()) -> None:
        self.definitions = definitions
        self.guards = Guards()
        """What has to stay as it is for the digest to hold."""
        self.parts: dict[str, str] = {}
        """What the digest rests on: a label, ``"function pkg.mod:helper"``, and a short
        digest; of a ``"distribution numpy"`` its version."""
        self.files: dict[str, str] = {}
        """The file, and line, of each function, class and module among the labels."""
        self.not_followed: dict[str, str] = {}
        """What the code names and the digest does not cover, each with the reason."""
        self.state = set(state)
        """Labels of names that the code changes itself."""
        self._numbers: dict[int | str, int] = {}
        self._nodes: list[Any] = []
        self._followed: set[str] = set()

    def digest(self, roots: list[object]) -> str:
        """The digest of these pieces of code with all that they name: 32 hex characters.

        Raises:
            UnhashableParameterError: A closure value has no stable fingerprint.
            Unstable: A root has none.
        """
        entries = [self._root(root) for root in roots]
        visited = 0
        while visited < len(self._nodes):
            entries.append(self._visit(self._nodes[visited]))
            visited += 1
        self.guards.freeze()
        return blake3(b"".join(entries)).digest(16).hex()

    def _root(self, root: object) -> bytes:
        found = self.reference(root)
        if found is None:
            found = encode(root, self.memo())
            self.label("listed", type_name(type(root)).removeprefix("builtins."), short(found))
        return found

    def is_settled(self) -> bool:
        """Whether nothing was followed by value that later turned out to be state."""
        return self._followed.isdisjoint(self.state)

    def memo(self) -> Memo:
        """A memo in which code is encoded as references to nodes of this walk."""
        return _WalkMemo(self)

    def label(self, kind: str, name: str, digest: str) -> str:
        """Note a part under a label of its own, shared by those that are the same; give that."""
        label, count = f"{kind} {name}", 1
        digest = digest[: 2 * PART_BYTES]
        while self.parts.get(label, digest) != digest:
            count += 1
            label = f"{kind} {name} #{count}"
        self.parts[label] = digest
        return label

    def watch(self, value: object, encoded: bytes) -> None:
        """Have a value that can change looked at again at each call."""
        from cacheness.keys.constants import constancy, is_plain

        def again() -> bytes:
            try:
                return encode(value, self.memo())
            except (Unstable, RecursionError):
                return b""

        verdict = constancy(value)
        if verdict == "fixed":
            return
        if verdict == "mutable" and is_plain(value):
            self.guards.value(partial(exact_bytes, value), exact_bytes(value))
        else:
            self.guards.value(again, encoded)

    # --- what a value is --------------------------------------------------------------

    def reference(self, value: Any) -> bytes | None:
        """The encoding of a piece of code as it is named from another; None if it is none."""
        kind = type(value)
        if issubclass(kind, types.FunctionType):
            own = origin_of(value).own
            return self._node(id(value), value) if own else self._library(value)
        if is_class(value):
            origin = origin_of(value)
            if origin.own:
                return self._node(id(value), value)
            return self._named_library(public_name(value), origin)
        if is_module(value):
            return self.module(value.__name__, getattr(value, "__file__", None))
        if issubclass(kind, types.MethodType):
            return self.reference(value.__func__)
        if issubclass(kind, (classmethod, staticmethod)):
            return self._parts_of(encode(kind.__name__), [value.__func__])
        if issubclass(kind, property):
            return self._parts_of(encode("property"), [value.fget, value.fset, value.fdel])
        if _is_partial(kind):
            return self._partial(value)
        if not callable(value):
            return None
        if attribute(value, "__wrapped__") is not None:
            return self._wrapper(value)
        return self._library(value) if type(attribute(value, "__name__")) is str else None

    def module(self, name: str, file: str | None) -> bytes:
        """A module as a whole, whether it is loaded or not."""
        origin = module_origin(name, file)
        if not origin.own:
            return self._named_library(name, origin)
        if file is None:
            self.not_followed[f"module {name}"] = "has no file"
            return NOTHING
        return self._node(name, _ModuleFile(name, file))

    def value(self, label: str, value: object) -> bytes | None:
        """A global or a class attribute, encoded where it counts; None where it does not."""
        found = self.reference(value)
        if found is not None:
            self._note_name(label, value, found)
            return found
        if label in self.state:
            self.not_followed[label] = "changed by the code itself"
            return None
        from cacheness.keys.constants import constancy

        kind = constancy(value)
        if kind is None:
            self._note_unfollowed(label, value)
            return None
        try:
            found = encode(value, self.memo())
        except Unstable as error:
            self.not_followed[label] = f"a {error.kind.__qualname__} {error.reason}"
            return None
        self._followed.add(label)
        self.parts[f"constant {label}"] = short(found)
        if kind == "mutable":
            self.watch(value, found)
        return found

    def _library(self, value: Any) -> bytes:
        """Code that is not the project's, with what it wraps of the project's."""
        home = home_module(value) or ""
        origin = origin_of(value)
        inner = [getattr(value, "__wrapped__", None)]
        if home.partition(".")[0] != "cacheness":
            inner.extend(_contents(value))
            if hasattr(value, "registry") and hasattr(value, "dispatch"):
                inner.extend(value.registry.values())
        if origin.own:
            self.not_followed[f"{home}.{value.__name__}"] = "compiled code of unknown version"
        head = self._named_library(public_name(value, home), origin)
        return self._parts_of(head, [part for part in inner if _is_followed(part)])

    def _wrapper(self, value: Any) -> bytes:
        """A callable object that wraps a function, such as what ``lru_cache`` gives."""
        origin = origin_of(type(value))
        if not origin.own:
            head = self._named_library(public_name(type(value)), origin)
            return self._parts_of(head, [value.__wrapped__])
        copied = ("__wrapped__", "__doc__", "__module__", "__name__", "__qualname__")
        state = {
            name: part
            for name, part in getattr(value, "__dict__", {}).items()
            if name not in copied
        }
        head = self._parts_of(encode("wrapper"), [type(value), value.__wrapped__])
        return head + self._state_of(f"the state of {function_name(value)}", state)

    def _partial(self, value: Any) -> bytes:
        head = self._parts_of(encode("partial"), [value.func])
        label = f"the arguments of a partial of {function_name(value.func)}"
        return head + self._state_of(label, (value.args, value.keywords))

    def _state_of(self, label: str, state: object) -> bytes:
        try:
            return encode(state, self.memo())
        except (Unstable, RecursionError):
            self.not_followed[label] = "holds something without a stable value"
            return NOTHING

    def _parts_of(self, head: bytes, parts: list[Any]) -> bytes:
        return named("parts", head, *[self.reference(part) or NOTHING for part in parts])

    def _named_library(self, name: str, origin: Origin) -> bytes:
        if name.startswith(("typing.", "types.", "cacheness.", "cacheness_")):
            # Made for annotations, mostly, and different in each Python; and our own
            # wrappers, which are no part of what they wrap.
            return NOTHING
        if origin.distribution:
            self.parts[f"distribution {origin.distribution}"] = origin.version
        parts = (name, origin.distribution, origin.version)
        return named("library", *[encode(part) for part in parts])

    def _note_name(self, label: str, value: Any, found: bytes) -> None:
        """Say what a name stands for where no other part does: code that is not the project's."""
        if found == NOTHING or is_module(value) or issubclass(type(value), types.MethodType):
            return
        if isinstance(value, (types.FunctionType, type)):
            if not is_own(value) and (name := public_name(value, home_module(value))):
                self._note_library_name(label, name)
        elif isinstance(value, property):  # which has a name from Python 3.13 on
            self._note_library_name(label, type_name(type(value)))
        elif type(attribute(value, "__name__")) is str and not hasattr(value, "__wrapped__"):
            self._note_library_name(label, public_name(value, home_module(value)))
        else:
            self._note_library_name(label, type_name(type(value)))

    def _note_library_name(self, label: str, name: str) -> None:
        if not name.startswith(("cacheness.", "cacheness_")):
            self.parts[f"name {label}"] = name

    def _note_unfollowed(self, label: str, value: Any) -> None:
        kind = type(value)
        home = kind.__module__
        if home in ("typing", "types", "logging") or order_calls_only(value):
            return
        size = f" of {len(value)}" if kind in (list, dict, set, tuple) else ""
        self.not_followed[label] = f"a {type_name(kind).removeprefix('builtins.')}{size}"

    # --- nodes ------------------------------------------------------------------------

    def _node(self, identity: int | str, code: object) -> bytes:
        number = self._numbers.get(identity)
        if number is None:
            number = self._numbers[identity] = len(self._nodes)
            self._nodes.append(code)
        return named("node", encode(number))

    def _visit(self, code: Any) -> bytes:
        if isinstance(code, types.FunctionType):
            from cacheness.keys.walk_function import visit_function

            return visit_function(self, code)
        if isinstance(code, _ModuleFile):
            from cacheness.keys.walk_module import visit_module

            return visit_module(self, code.name, code.file)
        from cacheness.keys.walk_class import visit_class

        return visit_class(self, code)


class _WalkMemo(Memo):
    __slots__ = ("_walk",)

    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self._walk = walk

    def refer(self, code: object) -> bytes:
        return self._walk.reference(code) or NOTHING


class _ModuleFile:
    """A module of the project, by its file."""

    __slots__ = ("file", "name")

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self.file = file


def short(encoded: bytes) -> str:
    """The short digest under which a part is remembered."""
    return blake3(encoded).digest(PART_BYTES).hex()


def order_calls_only(value: object) -> bool:
    """Whether the value is a lock or its like: it orders calls and changes no result."""
    home = type(value).__module__
    return home in ("_thread", "threading", "multiprocessing.synchronize", "asyncio.locks")


def is_module(value: object) -> TypeGuard[types.ModuleType]:
    """Whether it is a module, without asking a proxy what it stands for, as isinstance does."""
    return issubclass(type(value), types.ModuleType)


def is_class(value: object) -> TypeGuard[type]:
    """Whether it is a class, by the same rule."""
    return issubclass(type(value), type)


def attribute(value: object, name: str) -> Any:
    """An attribute, or None where there is none or asking fails."""
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - a proxy of a request or a session raises what it likes
        return None


def _is_partial(kind: type) -> bool:
    functools = sys.modules.get("functools")
    if functools is None:
        return False
    return issubclass(kind, (functools.partial, functools.partialmethod))


def _contents(value: Any) -> list[Any]:
    found = []
    for cell in getattr(value, "__closure__", None) or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return found


def _is_followed(part: Any) -> bool:
    """Whether what library code holds is code of the project, or wraps some."""
    if isinstance(part, (types.FunctionType, type)) and is_own(part):
        return True
    return callable(part) and attribute(part, "__wrapped__") is not None
