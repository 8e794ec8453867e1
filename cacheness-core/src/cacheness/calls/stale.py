# SPDX-License-Identifier: MIT
"""Results that have expired: served for a while, and computed anew behind the caller's back."""

from __future__ import annotations

from _thread import allocate_lock
from time import time

from cacheness.backends.shapes import stored_payload
from cacheness.calls.base import Miss
from cacheness.errors import CachenessError
from cacheness.forks import renew_in_child
from cacheness.outcomes import KEPT, MISS, OVERTAKEN, UNSET
from cacheness.switch import is_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.calls.base import Calls
    from cacheness.calls.plain import PlainCalls

__all__ = ["Refreshing", "read_stale", "refresh_behind", "refreshing"]


def read_stale(calls: Calls, key: str, window: float) -> Any:
    """The result of an entry that expired at most ``window`` seconds ago, or a `Miss`."""
    nothing = Miss(key, keep=True)
    try:
        entry = None if is_off() else calls.engine.backend.get_entry(key)
        if entry is None or entry.expires_at is None or entry.stale_until is None:
            return nothing
        now = time()
        if not entry.expires_at <= now < min(entry.expires_at + window, entry.stale_until):
            return nothing
        stored = stored_payload(entry)
        undated = (*stored[:6], None, *stored[7:])
        value = calls.engine.reader.read(key, None, UNSET, None, way=calls.way, first=undated)
    except (CachenessError, OSError) as error:
        calls.unread(key, error)
        return nothing
    if value is OVERTAKEN:  # by one that was computed meanwhile
        return calls.read(key)
    if value is MISS or value is KEPT:
        return nothing
    calls.hits += 1
    return value


def refresh_behind(
    calls: PlainCalls, key: str, params: dict[str, Any], args: tuple[Any, ...], kwargs: Any
) -> None:
    """Compute a call anew in a thread, unless that is being done.

    The interpreter waits for the thread at its exit, as it does for any.
    """
    if not refreshing.begin(calls, key):
        return
    from contextvars import copy_context
    from threading import Thread

    context = copy_context()
    arguments = (calls, key, params, args, kwargs)
    thread = Thread(target=context.run, args=(_refresh, *arguments), name="cacheness-refresh")
    try:
        thread.start()
    except RuntimeError:  # the interpreter is shutting down
        refreshing.end(calls, key)


def _refresh(
    calls: PlainCalls, key: str, params: dict[str, Any], args: tuple[Any, ...], kwargs: Any
) -> None:
    try:
        held = calls.engine.flights.try_hold(key)
        if held is None:
            return
        with held:
            # Whoever led before may have stored it since.
            if not calls.engine.reader.stands(key):
                calls.compute(Miss(key, keep=True), params, args, kwargs)
    except Exception as error:  # noqa: BLE001  # nobody waits for it: it is told and that's all
        calls.say_once(
            "refresh",
            f"{calls.name} could not be refreshed ({type(error).__name__}: {error}); its stale "
            "result is served until its time is over (said once)",
        )
    finally:
        refreshing.end(calls, key)


class Refreshing:
    """The calls that are being refreshed by this process."""

    def __init__(self) -> None:
        renew_in_child(self)
        self.after_fork()

    def after_fork(self) -> None:
        """In a child nothing is: threads are not inherited."""
        self._lock = allocate_lock()
        self._calls: set[tuple[int, str]] = set()

    def begin(self, calls: Calls, key: str) -> bool:
        """Note a refresh; False where there is one."""
        with self._lock:
            if (id(calls), key) in self._calls:
                return False
            self._calls.add((id(calls), key))
            return True

    def end(self, calls: Calls, key: str) -> None:
        """The refresh is over."""
        with self._lock:
            self._calls.discard((id(calls), key))


refreshing = Refreshing()
