# SPDX-License-Identifier: MIT
"""Keeps a forked child from the files that its parent is in the middle of.

Both share the place in a file that was open at the fork: whoever reads or writes moves the
other's. So in the child such a file's descriptor leads nowhere.
"""

from __future__ import annotations

import os
from _thread import get_ident
from contextlib import contextmanager, suppress
from weakref import ref

from cacheness import forks
from cacheness.errors import CachenessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedRandom
    from typing import Any, Protocol

    class SupportsClosed(Protocol):
        """An open file."""

        @property
        def closed(self) -> bool: ...


__all__ = ["apart", "nameless_file", "note", "telling_of_forks"]


def nameless_file(directory: str | None = None) -> BufferedRandom:
    """A new file without a name, which leads nowhere in every child forked while it is open.

    Args:
        directory: Where its bytes are kept; None is where the system keeps temporary files.

    Raises:
        OSError: It can't be made.
        ForkedError: This is a child that was forked before the file was known.
    """
    from tempfile import TemporaryFile

    begun = forks.number
    file = TemporaryFile(dir=directory)  # noqa: SIM115  # the caller closes it
    note(file.fileno(), ref(file))
    forks.check(begun)
    return file


def note(number: int, opened: ref[Any]) -> None:
    """Have a descriptor lead nowhere in every child that is forked before it is ``closed``.

    A child that is forked before this knows nothing of it, so the caller looks whether it is
    one after this, and not only before.
    """
    _files[number] = opened


@contextmanager
def apart(path: str, begun: int) -> Iterator[None]:
    """Let others read or write a file, by descriptors that nobody here knows.

    In a child that their thread forks meanwhile those lead nowhere.

    Args:
        path: The file.
        begun: What `forks.number` was before anybody could know the path.

    Raises:
        ForkedError: In such a child, unless the body raises.
    """
    key = object()
    _paths[key] = get_ident(), path
    try:
        forks.check(begun)
        yield
    finally:
        _paths.pop(key, None)
    forks.check(begun)


@contextmanager
def telling_of_forks() -> Iterator[None]:
    """Say in a child that it is one, whatever it was that did not work there."""
    begun = forks.number
    try:
        yield
    except (CachenessError, OSError, ValueError):
        forks.check(begun)
        raise
    forks.check(begun)


_files: dict[int, ref[SupportsClosed]] = {}
"""By number, who opened last what bears it."""
_paths: dict[object, tuple[int, str]] = {}
"""Those in use, with the thread of the user."""


def _after_fork() -> None:
    for number, opened in _files.items():
        file = opened()
        if file is not None and not file.closed:
            forks.lead_nowhere(number)
    for thread, path in _paths.values():
        if thread == get_ident():  # another one's user is not in this process
            _lead_nowhere(path)
    _files.clear()
    _paths.clear()


def _lead_nowhere(path: str) -> None:
    with suppress(OSError):
        wanted = os.stat(path)
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):
                if os.path.samestat(os.fstat(int(name)), wanted):
                    forks.lead_nowhere(int(name))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
