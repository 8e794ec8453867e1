# SPDX-License-Identifier: MIT
"""Connections that are open, until their cache is closed, the interpreter ends, or after a fork."""

from __future__ import annotations

import atexit
import os
import sys

from cacheness.backends.statements import Alone, let_parent_go_on, statements_of_this_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from cacheness.backends.statements import Statements

__all__ = ["Held", "close_all"]

_left: list[tuple[str, Held]] = []
"""Connections that were in use when their cache was closed, with their files."""


class Held:
    """A connection, the mark of its thread, and the cursors of it that are not in use."""

    __slots__ = ("connection", "cursors", "inside")

    def __init__(
        self, connection: sqlite3.Connection, inside: Statements, cursors: list[sqlite3.Cursor]
    ) -> None:
        self.connection = connection
        self.inside = inside
        self.cursors = cursors


def close_all(path: str, connections: dict[int, Held]) -> None:
    """Close them, but for those that are still in use: these are closed another time."""
    if not connections:
        return
    with Alone():
        while connections:
            _left.append((path, connections.popitem()[1]))
        _close_left()


def _close_left() -> None:
    mine = statements_of_this_thread()
    for left in list(_left):
        held = left[1]
        if held.inside is mine or not held.inside.depth:
            _left.remove(left)
            held.connection.close()


def _after_fork() -> None:
    """In a child, after each `Connections.after_fork`."""
    try:
        while _left:
            from cacheness.backends.sqlite_inherited import close_inherited

            path, held = _left.pop()
            close_inherited(path, [held])
        if inherited := sys.modules.get("cacheness.backends.sqlite_inherited"):
            inherited.close_rest()
    finally:
        let_parent_go_on()


atexit.register(_close_left)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
