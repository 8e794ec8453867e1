# SPDX-License-Identifier: MIT
"""A child that goes on with what its parent did long ago."""

import os
import signal

from cacheness import BackendUnavailableError
from cacheness.integrity.integrity import verify_integrity

LARGE = bytes(100_000)
PATIENCE = 20
"""Seconds after which somebody hangs; it takes hundredths."""


class GoingOn:
    """Forks at the first call of a method; the child goes on with it once it is told to.

    Args:
        monkeypatch: Takes it back after the test.
        owner: What has the method.
        name: The method's.
        after: Whether it forks when the method has come to its end.
        within: Another owner and method, of which the call is a part.
        child_first: Whether the parent waits for the child instead.
    """

    def __init__(self, monkeypatch, owner, name, *, after=False, within=None, child_first=False):
        self.child = None
        self._first = child_first
        self._code = None
        self._told, self._tell = os.pipe()
        self._waits = within is None
        inner = getattr(owner, name)

        def fork(*arguments, **options):
            if not self._waits:
                return inner(*arguments, **options)
            self._waits = False
            if not after:
                self._fork()
            given = inner(*arguments, **options)
            if after:
                self._fork()
            return given

        monkeypatch.setattr(owner, name, fork)
        if within is not None:
            outer = getattr(*within)

            def begin(*arguments, **options):
                self._waits = self.child is None
                return outer(*arguments, **options)

            monkeypatch.setattr(*within, begin)

    def _fork(self):
        self.child = os.fork()
        if self.child == 0:
            signal.alarm(PATIENCE)
            os.close(self._tell)
            os.read(self._told, 1)
        elif self._first:
            self._code = self._waited_for()

    def refuses(self, change):
        """Whether the child is told that the change is its parent's, which came to its end."""
        refused = False
        try:
            change()
        except BackendUnavailableError as error:
            refused = "forked" in str(error)
            if self.child:
                raise
        finally:
            if self.child == 0:
                os._exit(0 if refused else 1)
        return refused

    def ended(self):
        """How the child ends that is told to go on."""
        return self._waited_for() if self._code is None else self._code

    def _waited_for(self):
        os.close(self._tell)
        _, status = os.waitpid(self.child, 0)
        os.close(self._told)
        return os.waitstatus_to_exitcode(status)


def leaves_all_well(cache, going_on, change, new, *, gone=False):
    """Make sure that a child which goes on after its parent leaves what that stored meanwhile.

    Args:
        cache: The parent's.
        going_on: Forks in the middle of the change.
        change: Stores a value as ``own``.
        new: The value.
        gone: Whether the parent then removes it, instead of replacing it.
    """
    going_on.refuses(change)
    assert cache.get("own") == new
    if gone:
        cache.invalidate("own")
    else:
        cache.put(LARGE, "own")
    assert going_on.ended() == 0
    assert cache.get("own") == (None if gone else LARGE)
    assert verify_integrity(cache.engine, grace=-1).counts == {}
