# SPDX-License-Identifier: MIT
"""Tells who goes on in a forked child that it is one, and keeps forks out of imports."""

from __future__ import annotations

import _imp
import os
import sys
from _thread import get_ident
from time import monotonic, sleep
from weakref import WeakSet

from cacheness.errors import BackendUnavailableError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Protocol

    class SupportsFork(Protocol):
        """Holds something that a child must not share with its parent."""

        def after_fork(self) -> None:
            """Let go of it; called in the child, in its only thread."""


__all__ = ["ForkedError", "check", "lead_nowhere", "number", "renew_in_child"]

number = 0
"""How many forks lie between this process and the one that imported the module.

Who is in the middle of something compares it with what it was at the beginning, right before
each call of the operating system: where a signal handler forked, a child goes on with a call
that is its parent's, and so are its files. No handler comes between comparing and calling.
"""


class ForkedError(BackendUnavailableError, OSError):
    """A child goes on with a call that its parent is in the middle of, too."""

    def __init__(self) -> None:
        super().__init__(
            "this process was forked in the middle of the call, which is its parent's to end: "
            "make the call again"
        )


def check(begun: int) -> None:
    """Make sure that this is the process in which ``number`` was ``begun``.

    Raises:
        ForkedError: It is a child of that.
    """
    if number != begun:
        raise ForkedError


def lead_nowhere(descriptor: int) -> None:
    """Have a descriptor that a child shares with its parent lead to no file any more.

    What a buffer still holds is written to it without an error, and nothing can be read.
    """
    flags = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0)
    try:
        nowhere = os.open(os.devnull, flags)
    except OSError:  # there are too many
        os.close(descriptor)
        nowhere = os.open(os.devnull, flags)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor, inheritable=False)
        os.close(nowhere)


_owners: WeakSet[SupportsFork] = WeakSet()


def renew_in_child(owner: SupportsFork) -> None:
    """Have ``owner.after_fork()`` called in every child that is forked while it lives."""
    _owners.add(owner)


_LONGEST_WAIT, _SHORT_WAIT = 5.0, 0.1
"""Seconds that a fork waits for imports, at most: for our own and Python's, and for others."""
_PAUSE = 0.001
_LIBRARIES = {"blake3", "orjson", "platformdirs", "pluggy", "xxhash"}
"""Those that every cache uses at first need. In a child nobody can tell any more who asked for an
import, and it has to know which of them are begun anew."""
_import_locks: dict[str, Any] = getattr(sys.modules.get("_frozen_importlib"), "_module_locks", {})
"""Python's own: by the name of a module that is being imported, a weak reference to its lock."""


def _before_fork() -> None:
    """Wait for the imports of other threads, of which this package makes some at first use."""
    begun = monotonic()
    sleep(0)  # so that this thread goes on to the fork itself before it is another's turn
    while (names := _imported_elsewhere()) or _imp.lock_held():
        longest = _LONGEST_WAIT if any(names.values()) else _SHORT_WAIT
        if monotonic() - begun >= longest:
            break
        sleep(_PAUSE)


def _imported_elsewhere() -> dict[str, bool]:
    """The modules that other threads are importing, and whether those do nothing but that.

    One of the user's may be a whole program; one that this package asked for is none.
    """
    found = {}
    for name, lock in list(_import_locks.items()):
        owner = getattr(lock(), "owner", None)
        if owner not in (None, get_ident()):
            found[name] = _is_quick(name) or _is_asked_for(name, sys._current_frames().get(owner))
    return found


def _is_quick(module: str) -> bool:
    first = module.partition(".")[0]
    return first.startswith("cacheness") or first in _LIBRARIES or first in sys.stdlib_module_names


def _is_asked_for(module: str, frame: FrameType | None) -> bool:
    """Whether this package began the import that a thread is in the middle of."""
    while frame is not None and not (
        frame.f_code.co_name == "_find_and_load" and frame.f_locals.get("name") == module
    ):
        frame = frame.f_back
    while frame is not None and _name_of(frame).startswith(("importlib", "_frozen_importlib")):
        frame = frame.f_back
    return frame is not None and _name_of(frame).startswith("cacheness")


def _name_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _after_fork() -> None:
    global number
    number += 1
    _give_up_imports()
    errors = []
    for owner in list(_owners):
        try:
            owner.after_fork()
        except Exception as error:  # noqa: BLE001  # a lock that stays locked would be worse
            errors.append(error)
    if errors:
        raise errors[0]


def _give_up_imports() -> None:
    """Begin those anew that a thread began right before the fork.

    Python does not release a module's lock in a child: whoever imports the module there would
    wait for a thread that the child does not have.
    """
    for name, is_quick in _imported_elsewhere().items():
        _import_locks.pop(name, None)
        is_begun = getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False)
        if is_begun and is_quick:
            del sys.modules[name]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
