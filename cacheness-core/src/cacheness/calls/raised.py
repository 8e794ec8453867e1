# SPDX-License-Identifier: MIT
"""Exceptions that a cached function raised: stored, and raised again."""

from __future__ import annotations

import pickle

from cacheness.calls.base import Miss
from cacheness.errors import CachenessError, SerializationError
from cacheness.outcomes import KEPT, MISS, UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.calls.base import Calls

__all__ = ["after_error", "key_of_raised", "read_raised"]


def key_of_raised(key: str) -> str:
    """The key under which the exception of a call is stored.

    A key of its own, so that a plain hit need not ask whether it is an exception, and a
    function that returns exceptions is told from one that raises them.
    """
    return f"{key}-raised"


def read_raised(calls: Calls, key: str) -> Exception | None:
    """The exception that is stored for a call, with a note that it is an old one."""
    key = key_of_raised(key)
    try:
        if calls.engine.backend.find(key) is None:
            return None  # and no miss that counts: the result's own was counted
        error = calls.engine.reader.read(key, None, UNSET, None)
    except (CachenessError, OSError) as failure:
        calls.unread(key, failure)
        return None
    if error is MISS or error is KEPT or not isinstance(error, calls.options.exceptions):
        return None
    calls.hits += 1
    error.add_note(f"(raised by an earlier call of {calls.name} and kept by its cache)")
    return error


def after_error(
    calls: Calls, key: str, params: dict[str, Any], error: Exception, cost: float
) -> Any:
    """Deal with what the function raised: keep it, or give the stale result instead.

    Returns:
        The stale result, or a `Miss` where the error is to be raised.
    """
    if calls.options.stale_on_error:
        from cacheness.calls.stale import read_stale

        stale = read_stale(calls, key, calls.options.kept_after_expiry)
        if stale.__class__ is not Miss:
            calls.say(
                f"{calls.name} raised {type(error).__name__} ({error}) when its expired result "
                "was to be computed anew; the expired one was given"
            )
            return stale
    if isinstance(error, calls.options.exceptions):
        _keep(calls, key, params, error, cost)
    return Miss(key, keep=False)


def _keep(calls: Calls, key: str, params: dict[str, Any], error: Exception, cost: float) -> None:
    ttl = calls.options.exceptions_ttl
    if ttl is UNSET:
        ttl = calls.options.ttl_seconds
    try:
        calls.store(key_of_raised(key), params, _as_it_comes_back(error), cost, ttl, "pickle")
    except (CachenessError, OSError) as failure:
        failure.__suppress_context__ = True
        calls.failed_after(failure)


def _as_it_comes_back(error: Exception) -> Exception:
    """The exception, if pickle gives it back: many with arguments of their own it does not."""
    try:
        back = pickle.loads(pickle.dumps(error))
    except Exception as failure:  # noqa: BLE001  # its own methods raise what they like
        raise SerializationError(
            f"a {type(error).__qualname__} does not come back from pickle: {failure}"
        ) from None
    if type(back) is not type(error):
        raise SerializationError(f"a {type(error).__qualname__} comes back as another type")
    kept: Exception = back
    return kept
