# SPDX-License-Identifier: MIT
"""A log of changes that threads, processes and forks share, with what it amounts to now."""

from __future__ import annotations

import os
from _thread import RLock, get_ident
from contextlib import contextmanager

from cacheness import forks
from cacheness.backends.journal import Journal, encode_line
from cacheness.backends.replay import Replay, first_operation, inline_of
from cacheness.backends.table import detached
from cacheness.disk.locks import FileLocks
from cacheness.errors import (
    BackendUnavailableError,
    CacheClosedError,
    CorruptionWarning,
    ReadOnlyError,
    warn,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cacheness.backends.base import BackendContext
    from cacheness.backends.journal import Operation
    from cacheness.backends.replay import Line, Space
    from cacheness.entry import Entry

__all__ = ["SharedLog"]

_NAME = "metadata.jsonl"
_SLACK = 1 << 20
"""The log is compacted when it holds this many bytes more of the past than of the present."""


class SharedLog:
    """``metadata.jsonl`` of a cache's directory, as one namespace of it sees it.

    Args:
        context: The cache's directory, namespace and configuration.

    Raises:
        ConfigError: The directory can't be used, or the log is of a newer format.
    """

    def __init__(self, context: BackendContext) -> None:
        config = context.config
        self._context = context
        self._namespace = context.namespace
        self._timeout = config.lock_timeout
        self._read_only = config.read_only
        self.directory = context.make_directory()
        self._journal = Journal(
            os.path.join(self.directory, _NAME),
            0o660 if config.permissions == "group" else 0o600,
            durable=config.durability == "fsync",
            read_only=config.read_only,
        )
        self._locks = FileLocks(self.directory, permissions=config.permissions)
        self._writers: set[int] = set()
        """The threads that write or wait for their turn to."""
        self._reader: int | None = None
        """The thread that looks at the state at the moment."""
        self._mutex = RLock()
        self._state = Replay()
        self._version = 0
        self._compact_from = 0
        self._warned = False
        self._closed = False
        with self.reading():
            pass
        forks.renew_in_child(self)

    @contextmanager
    def reading(self) -> Iterator[Space]:
        """The namespace as it is now, to this thread alone."""
        with self._mutex:
            try:
                with self._caught_up(settled=False) as space:
                    yield space
            except OSError as error:
                raise self._unavailable(error) from error

    @contextmanager
    def writing(self) -> Iterator[tuple[Space, list[Operation]]]:
        """The namespace as it is now, to this thread of all processes alone.

        The operations that the body appends to the list are written when it ends, all of
        them or none.
        """
        if self._read_only:
            raise ReadOnlyError(f"{self._journal.path} was opened with read_only=True")
        if not os.path.isdir(self.directory):
            self._context.make_directory()
        thread = get_ident()
        if thread in self._writers or thread == self._reader:
            raise BackendUnavailableError(
                f"{self._journal.path} is in use by this very thread; a signal handler or a "
                "finaliser can't write to it in between: let it try again later"
            )
        begun = forks.number
        operations: list[Operation] = []
        lock = self._locks.hold(_NAME, timeout=self._timeout)
        try:
            self._writers.add(thread)
            lock.__enter__()
            with self._mutex, self._caught_up(settled=True) as space:
                forks.check(begun)
                yield space, operations
                self._write(operations, begun)
            # Other threads may read on while this one waits for the disk.
            if operations:
                self._journal.sync(begun)
        except forks.ForkedError:
            raise
        except OSError as error:
            raise self._unavailable(error) from error
        finally:
            try:
                lock.release()
            except BaseException:
                lock.release()  # an interrupt may have come before its first line
                raise
            finally:
                self._writers.discard(thread)

    def whole(self, space: Space, cache_key: str) -> Entry | None:
        """The entry with its payload; the caller is reading or writing."""
        entry = space.table.get(cache_key)
        if entry is None:
            return None
        return detached(entry, inline=self.inline(space.lines[cache_key]))

    def inline(self, line: Line) -> bytes | None:
        """The payload that a line holds."""
        return inline_of(self._journal.read_line(line.place)) if line.inline else None

    def version(self) -> int:
        """Another number after every change, by whomever."""
        with self.reading():
            return self._version

    def spaces(self) -> dict[str, Space]:
        """What there is of each namespace; the caller is reading."""
        return dict(self._state.spaces)

    def damage(self) -> str | None:
        """What is wrong with the log, in a sentence."""
        with self.reading():
            damaged = self._journal.damaged
        if not damaged:
            return None
        return f"{self._journal.path} holds {damaged} damaged lines, which count for nothing"

    def mend(self) -> None:
        """Replace the log by one of what stands, whole lines only."""
        begun = forks.number
        with self.writing():
            if self._journal.end > self._state.live_bytes:
                self._compact(begun)
            self._journal.damaged = 0

    def close(self) -> None:
        """Let go of the file; closing twice is allowed."""
        with self._mutex:
            self._closed = True
            self._journal.close()
            self._state = Replay()
        self._locks.close()

    def after_fork(self) -> None:
        """In a child: begin anew, since a thread of the parent may have been at work."""
        self._mutex = RLock()
        self._writers = set()
        self._reader = None
        self._journal.close()
        self._state = Replay()

    # --- reading ------------------------------------------------------------------------

    @contextmanager
    def _caught_up(self, *, settled: bool) -> Iterator[Space]:
        """The namespace as it is now; the caller holds the mutex.

        A signal handler or a finaliser that reads while its thread is in here sees what
        there is: nothing is moved under the feet of whom it interrupted.
        """
        if self._reader is not None:
            yield self._state.space(self._namespace)
            return
        self._reader = get_ident()
        try:
            self._catch_up(settled=settled)
            yield self._state.space(self._namespace)
        finally:
            self._reader = None

    def _catch_up(self, *, settled: bool) -> None:
        """Read what was written since; ``settled`` as in `Journal.read_new`."""
        if self._closed:
            raise CacheClosedError("the cache is closed")
        journal, begun = self._journal, forks.number
        if not journal.changed():
            return
        try:
            if journal.restarted():
                self._state = Replay()
            for operation, place in journal.read_new(settled=settled):
                if forks.number != begun:
                    break  # the state is the child's, which has nothing of its parent's
                if not self._state.apply(operation, place):
                    journal.damaged += 1
            forks.check(begun)
        except BaseException:
            journal.close()
            self._state = Replay()
            raise
        self._version += 1
        if journal.damaged and not self._warned:
            self._warned = True
            warn(
                f"{journal.path} holds {journal.damaged} damaged lines; what they recorded is "
                "lost, the rest is read",
                CorruptionWarning,
            )

    # --- writing ------------------------------------------------------------------------

    def _write(self, operations: list[Operation], begun: int) -> None:
        if not operations:
            return
        for operation in operations[:-1]:
            operation["more"] = True
        if len(operations) > 1:
            operations[-1]["of"] = len(operations)
        if self._journal.end == 0:
            operations.insert(0, first_operation())
        lines = [encode_line(operation) for operation in operations]
        places = self._journal.append(lines, begun)
        try:
            forks.check(begun)
            for operation, place in zip(operations, places, strict=True):
                self._state.apply(operation, place)
            forks.check(begun)
        except BaseException:  # a signal handler's: what was appended is read anew
            self._journal.close()
            self._state = Replay()
            raise
        self._version += 1
        if self._journal.end > max(2 * self._state.live_bytes + _SLACK, self._compact_from):
            self._compact(begun)

    def _compact(self, begun: int) -> None:
        """Replace the log by a shorter one; where that fails, try again at twice the length."""
        self._compact_from = 2 * self._journal.end
        moved: list[Line | None] = []

        def lines() -> Iterator[bytes]:
            for raw, line in self._state.compacted(self._journal.read_line):
                moved.append(line)
                yield raw

        try:
            places = self._journal.replace(lines(), begun)
        except forks.ForkedError:
            raise
        except OSError:
            return
        self._state.moved(moved, places)
        self._compact_from = 0

    def _unavailable(self, error: OSError) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"{self._journal.path} can't be used: {error.strerror or error}"
        )
