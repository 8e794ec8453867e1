# SPDX-License-Identifier: MIT
"""The code digest: what a function does, with all of its project that it names."""

from __future__ import annotations

import os
from _thread import RLock

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import Unstable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, TypeAlias

    from cacheness.keys.definitions import DigestStore
    from cacheness.keys.walk import Walk

    Follow: TypeAlias = Literal["auto", "off"]

__all__ = ["CodeDigest", "code_digest", "object_digest", "remember_in"]

OFF = ""
"""The digest of code that does not count."""

_lock = RLock()
_MOST_OBJECTS = 1024
_store: DigestStore | None = None
_digests: dict[int, tuple[Any, CodeDigest]] = {}


def remember_in(store: DigestStore | None) -> None:
    """Say where this process remembers the definitions of code, so that the next parses nothing.

    Holds for all digests made without a store of their own; the last one that is named
    wins, which is harmless: a definition is the same in any store.
    """
    global _store
    _store = store


def code_digest(
    fn: Callable[..., Any], *, follow: Follow = "auto", extra: Sequence[object] = ()
) -> str:
    """The digest of a function's code: 32 hex characters, or ``""`` with ``follow="off"``.

    The same for the same source in every process, on every machine and Python version;
    see `CodeDigest` for what it covers and for digests that are asked for repeatedly.

    Raises:
        UnhashableParameterError: A closure value has no stable fingerprint.
    """
    return CodeDigest(fn, follow=follow, extra=extra).current()


class CodeDigest:
    """A function's code digest, kept as long as nothing that it rests on is replaced.

    It covers the function's form without comments, docstrings, annotations and layout;
    its defaults and closure values; the project's own functions, classes and modules
    that it names, and theirs in turn; constants and small containers of them by value;
    and of installed distributions their versions. docs/KEYS.md tells what it can't.

    Args:
        fn: The function, or any callable.
        follow: ``"off"`` leaves all code out but ``extra``.
        extra: Further functions, classes, modules or values that count.
        store: Where definitions are remembered; by default what `remember_in` named.

    Example:
        >>> digest = CodeDigest(lambda x: x + 1)
        >>> digest.current() == digest.current()
        True
    """

    __slots__ = ("_current", "_fn", "_roots", "_store")

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        follow: Follow = "auto",
        extra: Sequence[object] = (),
        store: DigestStore | None = None,
    ) -> None:
        self._fn = fn
        self._roots: list[object] = [*([] if follow == "off" else [fn]), *extra]
        self._store = store
        self._current: tuple[str, Walk] | None = None

    def current(self) -> str:
        """The digest of the code as it is now.

        Hot path: after the first time, identity checks of what the code rests on,
        about 1 µs for a function with some helpers. Safe for threads.

        Raises:
            UnhashableParameterError: A closure value has no stable fingerprint.
        """
        current = self._current
        if current is not None and current[1].guards.hold():
            return current[0]
        return self._renewed()[0]

    def parts(self) -> dict[str, str]:
        """What the digest rests on, each with a short digest; a JSON object for an entry.

        The labels begin with the kind: ``"function pkg.mod:helper"``, ``"class …"``,
        ``"module …"``, ``"constant pkg.mod.RATE"``, ``"default pkg.mod:helper.x"``,
        ``"closure …"``, ``"listed …"`` (by ``extra``), ``"distribution numpy"``, whose value
        is the version, and ``"name pkg.mod.use"``, whose value says what of a library it
        stands for.
        """
        return dict(self._walk().parts)

    def files(self) -> dict[str, str]:
        """The file, with the line, of each label of a function, class or module."""
        return dict(self._walk().files)

    def not_followed(self) -> dict[str, str]:
        """What the code names and the digest does not cover: a name, and why."""
        return dict(self._walk().not_followed)

    def _walk(self) -> Walk:
        current = self._current
        if current is not None and current[1].guards.hold():
            return current[1]
        return self._renewed()[1]

    def _renewed(self) -> tuple[str, Walk]:
        with _lock:
            self._current = found = self._walked()
            return found

    def _walked(self) -> tuple[str, Walk]:
        from cacheness.keys.definitions import Definitions
        from cacheness.keys.walk import Walk

        store = _store if self._store is None else self._store
        definitions = Definitions(_store_name(self._fn), store)
        walk = Walk(definitions)
        digest = self._digest(walk)
        while not walk.is_settled():
            # A later function changes what an earlier one was taken to read as a constant.
            walk = Walk(definitions, walk.state)
            digest = self._digest(walk)
        definitions.save()
        return digest, walk

    def _digest(self, walk: Walk) -> str:
        if not self._roots:
            walk.guards.freeze()
            return OFF
        try:
            return walk.digest(self._roots)
        except Unstable as error:
            raise UnhashableParameterError(
                f"what code=[...] of {_store_name(self._fn)} lists can't be part of a key: "
                f"a {error.kind.__qualname__} {error.reason}; list functions, classes, modules "
                f"or plain values"
            ) from None


def object_digest(code: Any) -> str:
    """The digest of a function, class or module that is part of a value.

    Empty for classes and modules that are not the project's: these count by name.
    """
    known = _digests.get(id(code))
    if known is not None:
        return known[1].current()
    from types import ModuleType

    from cacheness.keys.origin import is_own

    if isinstance(code, (type, ModuleType)) and not is_own(code):
        return OFF
    digest = CodeDigest(code)  # pyright: ignore[reportArgumentType]  # classes and modules, too
    if getattr(code, "__closure__", None) is None:
        # Not those with closures: a digest keeps alive what it rests on.
        if len(_digests) >= _MOST_OBJECTS:
            _digests.clear()
        _digests[id(code)] = (code, digest)
    return digest.current()


def _forget_lock() -> None:
    global _lock
    _lock = RLock()


if hasattr(os, "register_at_fork"):
    # Another thread of the parent may have held it.
    os.register_at_fork(after_in_child=_forget_lock)


def _store_name(code: Any) -> str:
    from types import ModuleType

    from cacheness.keys.naming import function_name

    return code.__name__ if isinstance(code, ModuleType) else function_name(code)
