# SPDX-License-Identifier: MIT
"""Mutual exclusion by name between the threads and processes that share a directory."""

from __future__ import annotations

import os
import stat
import sys
from _thread import RLock, allocate_lock
from time import monotonic, sleep

from cacheness.errors import BackendUnavailableError
from cacheness.forks import ForkedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import TypeAlias

    LockName: TypeAlias = str | tuple[str, str]
    """Any name, or a namespace and a cache key."""

__all__ = ["FileLock", "FileLocks", "Mutexes"]

_FIRST_WAIT = 0.000_2
_LONGEST_WAIT = 0.005
"""Seconds between two tries for a lock that another process holds: a lock is free again
within a few milliseconds of its release, at the price of 200 tries a second."""
_PATIENT_WAIT = 0.025
"""The same after a second of waiting, where a few milliseconds more don't matter."""


class FileLocks:
    """Locks by name in one directory, kept in one file whatever the number of names.

    A lock is a record lock on one byte of ``locks/keys.lock``, at an offset that is a hash
    of the name, together with a mutex for the threads of this process. The operating
    system releases it when its holder dies. A forked child holds none of its parent's
    locks.

    Nothing else may open ``locks/keys.lock``: closing any descriptor of a file drops all
    record locks that the process has on it.

    Args:
        directory: The cache's directory, which exists; ``locks/`` is made in it.
        permissions: Who else may take these locks: ``"private"``, nobody, or
            ``"group"``, the directory's group.

    Example:
        >>> locks = FileLocks("/tmp/cache")
        >>> with locks.hold("compaction", timeout=10):
        ...     pass
    """

    __slots__ = ("_site",)

    def __init__(self, directory: str, *, permissions: str = "private") -> None:
        self._site = _Site(os.path.join(directory, "locks"), for_group=permissions == "group")

    def hold(self, name: LockName, *, timeout: float | None = None) -> FileLock:
        """Give a context manager that holds the lock of this name while it lasts.

        A thread that holds a lock waits for itself if it asks for it a second time.

        Args:
            name: Any text, or ``(namespace, cache_key)`` for the lock of an entry.
            timeout: Seconds to wait; None is for ever, zero tries once.

        Raises:
            BackendUnavailableError: Entering it waited in vain, or the lock file can't be
                used.
        """
        return FileLock(self._site, name, timeout)

    def close(self) -> None:
        """Release the lock file; locks that are still held stay held.

        Who waits for a lock meanwhile still gets it; after it, the file is open only while a
        lock is held.
        """
        self._site.close()


class FileLock:
    """One name's lock, held at most once at a time; made by `FileLocks.hold`."""

    __slots__ = ("_file", "_mutex", "_name", "_offset", "_site", "_timeout")

    def __init__(self, site: _Site, name: LockName, timeout: float | None) -> None:
        self._site = site
        self._name = name
        self._timeout = timeout
        self._offset = _offset(name)
        self._file: _LockFile | None = None
        self._mutex: _Mutex | None = None

    def acquire(self, timeout: float | None = None) -> bool:
        """Take the lock, waiting up to ``timeout`` seconds (None: for ever); False in vain.

        Raises:
            BackendUnavailableError: The lock file can't be used.
        """
        deadline = None if timeout is None else monotonic() + timeout
        try:
            while True:
                file = self._site.enter()
                taken = False
                try:
                    taken = file.acquire(self._offset, deadline)
                    if not taken:
                        return False
                    file.check()
                    # Where the directory was removed and made again meanwhile, a lock on
                    # the old file excludes nobody.
                    if file.identity == _identity(self._site.path):
                        self._mutex = file.mutex(self._offset)
                        self._file = file
                        return True
                finally:
                    if self._file is None:
                        _give_back(file, self._offset, taken=taken)
        except ForkedError:
            raise
        except OSError as error:
            raise BackendUnavailableError(
                f"the lock file {self._site.path} can't be used: {error.strerror or error}"
            ) from error

    def release(self) -> None:
        """Give the lock up; does nothing in a child that was forked while it was held.

        Where an interrupt kept it from its end, it may be called again.
        """
        file = self._file
        if file is not None and file.fork == _fork:
            mutex = self._mutex
            if mutex is not None:
                file.unlock(self._offset)
                # No interrupt comes between these two.
                self._mutex = None
                mutex.lock.release()
            self._file = None
            file.end(self._offset)
        self._file = None

    def __enter__(self) -> None:
        if not self.acquire(self._timeout):
            raise BackendUnavailableError(
                f"waited {self._timeout:g} s for the lock of {_described(self._name)} in "
                f"{self._site.path}, which is held elsewhere; try again, or raise lock_timeout"
            )

    def __exit__(self, *_: object) -> None:
        self.release()


class Mutexes:
    """Mutexes by name for the threads of one process; a name that nobody uses costs nothing."""

    __slots__ = ("_by_name", "_guard")

    def __init__(self) -> None:
        self._guard = RLock()  # a signal handler may come in between
        self._by_name: dict[Hashable, _Mutex] = {}

    def acquire(self, name: Hashable, timeout: float | None = None) -> bool:
        """Take the mutex of this name, waiting up to ``timeout`` seconds; False in vain."""
        with self._guard:
            mutex = self._by_name.setdefault(name, _Mutex())
            mutex.users += 1
        taken: list[bool] = []
        try:
            # Taken and noted by one call of C: an interrupt comes before both or after both.
            taken.extend(map(mutex.lock.acquire, (True,), (_for_acquire(timeout),)))
        except BaseException:
            if taken == [True]:
                mutex.lock.release()
            self._leave(name, mutex)
            raise
        if taken == [True]:
            return True
        self._leave(name, mutex)
        return False

    def release(self, name: Hashable) -> None:
        """Give up the mutex of this name."""
        mutex = self._by_name[name]
        mutex.lock.release()
        self._leave(name, mutex)

    def held(self, name: Hashable) -> _Mutex:
        """The mutex of this name, which the caller holds."""
        return self._by_name[name]

    def end(self, name: Hashable) -> None:
        """Note that the caller has given it up."""
        self._leave(name, self._by_name[name])

    def _leave(self, name: Hashable, mutex: _Mutex) -> None:
        with self._guard:
            mutex.users -= 1
            if not mutex.users:
                del self._by_name[name]


class _Mutex:
    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = allocate_lock()
        self.users = 0


class _Site:
    """Where a directory's lock file is, and the open file, once there was need of it."""

    __slots__ = ("_closed", "_directory", "_file", "_for_group", "path")

    def __init__(self, directory: str, *, for_group: bool) -> None:
        self._directory = directory
        self._for_group = for_group
        self._file: _LockFile | None = None
        self._closed = False
        self.path = os.path.join(directory, "keys.lock")

    def enter(self) -> _LockFile:
        """The file that the path names now, to be left after use."""
        with _files_guard:
            file = self._file
            if file is None or file.fork != _fork or file.identity != _identity(self.path):
                self._forget()
                file = _open_file(self._directory, self.path, for_group=self._for_group)
                if not self._closed:
                    file.users += 1
                    self._file = file
            file.users += 1
            return file

    def close(self) -> None:
        with _files_guard:
            self._closed = True
            self._forget()

    def _forget(self) -> None:
        file, self._file = self._file, None
        if file is not None and file.fork == _fork:
            file.drop()


class _LockFile:
    """The one descriptor that this process has of a lock file."""

    __slots__ = ("_descriptor", "_mutexes", "fork", "identity", "users")

    def __init__(self, descriptor: int, identity: tuple[int, int]) -> None:
        self._descriptor = descriptor
        self._mutexes = Mutexes()
        self.fork = _fork
        self.identity = identity
        self.users = 0

    def acquire(self, offset: int, deadline: float | None) -> bool:
        if not self._mutexes.acquire(offset, _left(deadline)):
            return False
        locked = False
        try:
            locked = self._wait(offset, deadline)
        finally:
            if not locked:
                self.release(offset)  # both: an interrupt may have come after the file's was taken
        return locked

    def _wait(self, offset: int, deadline: float | None) -> bool:
        wait, longest = _FIRST_WAIT, _LONGEST_WAIT
        patient = monotonic() + 1.0
        self.check()
        while not _try_lock(self._descriptor, offset):
            left = _left(deadline)
            if left is not None and left <= 0:
                return False
            # Jitter keeps waiters from trying in step.
            pause = wait * (0.5 + os.urandom(1)[0] / 256)
            sleep(pause if left is None else min(pause, left))
            if wait == _LONGEST_WAIT and monotonic() > patient:
                longest = _PATIENT_WAIT
            wait = min(2 * wait, longest)
            self.check()
        return True

    def check(self) -> None:
        """Refuse to go on in a child that was forked meanwhile, to which this is closed."""
        if self.fork != _fork:
            raise ForkedError

    def release(self, offset: int) -> None:
        if self.fork != _fork:
            return
        try:
            _unlock(self._descriptor, offset)
        finally:
            self._mutexes.release(offset)

    def mutex(self, offset: int) -> _Mutex:
        """What a thread holds beside the lock of the file."""
        return self._mutexes.held(offset)

    def unlock(self, offset: int) -> None:
        """Give up the lock of the file alone; it may be called again."""
        _unlock(self._descriptor, offset)

    def end(self, offset: int) -> None:
        """What follows when both were given up."""
        self._mutexes.end(offset)
        self.leave()

    def leave(self) -> None:
        with _files_guard:
            self.drop()

    def drop(self) -> None:
        """Close the file with its last user: only then is no lock lost by closing."""
        self.users -= 1
        if not self.users and self.fork == _fork:
            del _files[self.identity]
            os.close(self._descriptor)

    def abandon(self) -> None:
        """Close a parent's descriptor in its child, which drops none of the parent's locks."""
        os.close(self._descriptor)


def _give_back(file: _LockFile, offset: int, *, taken: bool) -> None:
    try:
        if taken:
            file.release(offset)
    finally:
        file.leave()


_files: dict[tuple[int, int], _LockFile] = {}
"""By device and inode: two paths of one file must share its descriptor."""
_files_guard = RLock()
_fork = 0
"""How many forks lie between this process and the one that imported the module."""


def _open_file(directory: str, path: str, *, for_group: bool) -> _LockFile:
    """The process's lock file of that path; the caller holds the guard."""
    known = _identity(path)
    file = None if known is None else _files.get(known)
    if file is not None:
        return file
    descriptor = _open(directory, path, for_group=for_group)
    try:
        status = os.fstat(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(0, "it is no regular file")
    identity = status.st_dev, status.st_ino
    # A known file that moved here between the two looks keeps this descriptor as well:
    # closing it would drop the locks that are held through the other.
    return _files.setdefault(identity, _LockFile(descriptor, identity))


def _open(directory: str, path: str, *, for_group: bool) -> int:
    from cacheness.disk.folder import Folder

    try:
        folder = Folder(directory)
    except FileNotFoundError:
        _make_directory(directory, for_group=for_group)
        folder = Folder(directory)
    with folder:
        opened = folder.open(os.path.basename(path), os.O_RDWR | os.O_CREAT, 0o600)
        descriptor = opened.keep()
    if for_group and sys.platform != "win32":
        status = os.fstat(descriptor)
        # With another name it may be any file of the user's.
        own = status.st_uid == os.geteuid() and status.st_nlink == 1
        if own and stat.S_IMODE(status.st_mode) != 0o660:
            os.fchmod(descriptor, 0o660)
    return descriptor


def _make_directory(directory: str, *, for_group: bool) -> None:
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        return
    if for_group:
        from cacheness.disk.folder import Folder

        # Somebody may have put a link in its place by now.
        with Folder(directory) as made:
            made.set_mode(0o2770)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _for_acquire(timeout: float | None) -> float:
    """A timeout as a mutex takes it: -1 is for ever, and so are six weeks."""
    return -1 if timeout is None or timeout > 4e6 else max(0.0, timeout)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else deadline - monotonic()


def _offset(name: LockName) -> int:
    """62 bits, so that two names of one cache practically never share a byte."""
    from blake3 import blake3

    hasher = blake3()
    for part in (name,) if isinstance(name, str) else name:
        encoded = part.encode("utf-8", "surrogatepass")
        hasher.update(b"%d:" % len(encoded) + encoded)
    return int.from_bytes(hasher.digest(length=8), "big") >> 2


def _described(name: LockName) -> str:
    if isinstance(name, str):
        return repr(name)
    namespace, cache_key = name
    return f"entry {cache_key!r}" + (f" (namespace {namespace!r})" if namespace else "")


if sys.platform == "win32":
    import msvcrt

    _seeking = allocate_lock()

    def _try_lock(descriptor: int, offset: int) -> bool:
        with _seeking:
            os.lseek(descriptor, offset, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                return False
        return True

    def _unlock(descriptor: int, offset: int) -> None:
        with _seeking:
            os.lseek(descriptor, offset, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(descriptor: int, offset: int) -> bool:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(descriptor: int, offset: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)

    def _after_fork() -> None:
        """Forget the parent's locks, and the mutexes of threads that the child does not have."""
        global _files, _files_guard, _fork
        inherited, _files, _files_guard, _fork = _files, {}, RLock(), _fork + 1
        for file in inherited.values():
            file.abandon()

    os.register_at_fork(after_in_child=_after_fork)
