# SPDX-License-Identifier: MIT
"""The server's clock, as a distance from this machine's."""

from __future__ import annotations

import time

__all__ = ["ServerClock"]

_STEP = 0.25
"""Distances are multiples of this, in seconds. Adding one to a time of this century and
taking it away again gives the very same float, so that entries round trip exactly; clocks
that NTP keeps together count as one."""

_DRIFT = 0.1
"""By how much the wall clock may leave the monotonic one before we measure again."""


class ServerClock:
    """Turns this machine's times into the server's, by a distance measured at connecting.

    Entries hold times of the server's clock, so that machines whose clocks disagree by
    hours agree on what has expired to within an eighth of a second and half a round trip.
    """

    __slots__ = ("_phase", "distance")

    def __init__(self) -> None:
        self.distance = 0.0
        """What to add to a local time for the server's, in seconds."""
        self._phase: float | None = None

    def learn(self, server_time: float, before: float, after: float) -> None:
        """Take the server's time, read between two readings of ours."""
        now = time.time()
        self._phase = now - time.monotonic()
        self.distance = round((server_time - (before + after) / 2) / _STEP) * _STEP

    def is_doubtful(self) -> bool:
        """Whether this machine's clock was set, or slept, since the distance was measured."""
        phase = self._phase
        return phase is None or abs(time.time() - time.monotonic() - phase) > _DRIFT
