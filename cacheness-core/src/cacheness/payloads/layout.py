# SPDX-License-Identifier: MIT
"""Makes and recognises a cache directory."""

from __future__ import annotations

import os
from errno import ELOOP, EMLINK
from stat import S_ISREG
from time import sleep

from cacheness import forks
from cacheness.errors import BackendUnavailableError, CachenessError, ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.config import CacheConfig
    from cacheness.disk.folder import Folder

__all__ = [
    "FORMAT",
    "file_mode",
    "make_directory",
    "make_subdirectory",
    "store_id",
    "write_file_in",
    "write_new_file",
]

FORMAT = 1
"""The version of the layout; a directory of a newer one is refused."""

_STORE_ID = "store-id"
_MARKER = "cacheness.json"
_MARKER_TEXT = b'{"format": %d}\n' % FORMAT
_TAG_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This directory is a cache made by cacheness; backups may leave it out.\n"
)
_IGNORE_TEXT = b"*\n"


def file_mode(config: CacheConfig) -> int:
    """The mode of the cache's files."""
    return 0o660 if config.permissions == "group" else 0o600


def _directory_mode(config: CacheConfig) -> int:
    return 0o2770 if config.permissions == "group" else 0o700


def make_directory(directory: str, config: CacheConfig) -> None:
    """Make the cache directory where there is none, or check the one that is there.

    Raises:
        ConfigError: It can't be made or used, is of a newer format, or is an implicit
            ``./.cacheness`` that belongs to another user.
    """
    try:
        marker = _read_file(f"{directory}/{_MARKER}", 4096)
    except FileNotFoundError:
        marker = b""
    except OSError as error:
        raise _unusable(directory, error) from error
    if config.implicit_dir:
        _check_owner(directory)
    if marker and marker != _MARKER_TEXT:
        _check_format(directory, marker)
    if not marker and config.read_only:
        raise ConfigError(f"cache_dir={directory!r} holds no cache, and read_only=True makes none")
    try:
        if not marker:
            _fill(directory, config)
        if config.durability == "fsync" and not config.read_only:
            _settle(directory)
    except OSError as error:
        raise _unusable(directory, error) from error


def _fill(directory: str, config: CacheConfig) -> None:
    """Write the marker last, so that a directory that has one is complete."""
    if not os.path.isdir(directory):
        from cacheness.disk.durable import make_parents

        make_parents(directory, durable=config.durability == "fsync")
        make_subdirectory(directory, config)
    for name, text in (
        ("CACHEDIR.TAG", _TAG_TEXT),
        (".gitignore", _IGNORE_TEXT),
        (_MARKER, _MARKER_TEXT),
    ):
        write_new_file(f"{directory}/{name}", text, file_mode(config), sync=name == _MARKER)


def _settle(directory: str) -> None:
    """Wait for the directory's name, and those in it, to be on the disk.

    At each opening: whoever made them may not have waited.
    """
    from cacheness.disk.durable import sync_directory

    sync_directory(os.path.dirname(directory))
    sync_directory(directory)


def store_id(directory: str, config: CacheConfig) -> str:
    """The random id of what is recorded in the cache's directory.

    It is made by who asks first; empty where there is none and ``read_only=True`` makes none.

    Raises:
        BackendUnavailableError: It can't be read or made.
    """
    path = f"{directory}/{_STORE_ID}"
    try:
        if not config.read_only and not os.path.lexists(path):
            make_directory(directory, config)
            write_new_file(path, os.urandom(16).hex().encode(), file_mode(config))
        for _ in range(50):
            found = _read_file(path, 64)
            # The store of blobs is told it, so it may be nothing else that somebody put here.
            if len(found) == 32 and found.isalnum():
                return found.decode("ascii")
            sleep(0.01)  # without hard links, it is written in place by who made it first
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BackendUnavailableError(f"{path} can't be read: {error}") from error
    raise BackendUnavailableError(f"{path} is damaged: remove it, and another will be made")


def make_subdirectory(path: str, config: CacheConfig) -> None:
    """Make a directory with the cache's mode, whatever the umask; one may be there already.

    Whoever writes to it opens it as a `Folder`, which is no link.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    if config.permissions == "group":
        from cacheness.disk.folder import Folder

        # Somebody may have put a link in its place by now.
        with Folder(path) as made:
            made.set_mode(_directory_mode(config))


def write_new_file(path: str, text: bytes, mode: int, *, sync: bool = True) -> bool:
    """As `write_file_in`, where the user has named the directory, be it by a link."""
    from cacheness.disk.folder import Folder

    with Folder(os.path.realpath(os.path.dirname(path))) as folder:
        return write_file_in(folder, os.path.basename(path), text, mode, sync=sync)


def write_file_in(folder: Folder, name: str, text: bytes, mode: int, *, sync: bool = True) -> bool:
    """Write a whole file at once where there is none; False where there is one.

    Many processes may do so at the same time: one of them wins, and nobody ever sees a
    half-written file; with ``sync`` not even after a power loss.
    """
    begun = forks.number
    temporary = f"{name}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    remove = folder.unlinking(temporary)
    try:
        with folder.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as opened:
            if hasattr(os, "fchmod"):
                os.fchmod(opened.number, mode)
            os.write(opened.number, text)
            if sync:
                os.fsync(opened.number)
        return _link(folder, temporary, name, text, mode)
    finally:
        try:  # an interrupt could keep a function in Python from beginning
            if forks.number == begun:
                remove()
        except FileNotFoundError:
            pass


def _link(folder: Folder, temporary: str, name: str, text: bytes, mode: int) -> bool:
    try:
        folder.link(temporary, name)
    except FileExistsError:
        return False
    except (OSError, AttributeError):
        # A file system without hard links: the first to create the name wins.
        try:
            with folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as opened:
                os.write(opened.number, text)
        except FileExistsError:
            return False
    return True


def _read_file(path: str, most: int) -> bytes:
    """The first bytes of a file; of nothing else that somebody may have put in its place."""
    with open(path, "rb", opener=_open_at_once) as file:
        if not S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no file, but a pipe or a device: remove it")
        return file.read(most)


def _open_at_once(path: str, flags: int) -> int:
    """Without a wait for the other end of a pipe, and not by a link to a file elsewhere."""
    try:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if error.errno in (ELOOP, EMLINK):
            raise OSError(f"{path} is a link: remove it") from error
        raise


def _check_owner(directory: str) -> None:
    try:
        owner = os.stat(directory).st_uid
    except OSError:
        return
    if hasattr(os, "geteuid") and owner != os.geteuid():
        raise ConfigError(
            f"{directory} belongs to another user (uid {owner}) and was not named by you; "
            f"if you trust it, say cache_dir={directory!r} or set CACHENESS_CACHE_DIR"
        )


def _check_format(directory: str, marker: bytes) -> None:
    import json

    try:
        found = json.loads(marker)["format"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"cache_dir={directory!r}: its {_MARKER} is damaged; it should say "
            f"{_MARKER_TEXT.decode().strip()}"
        ) from None
    if not isinstance(found, int) or found > FORMAT:
        raise ConfigError(
            f"cache_dir={directory!r} has the format {found!r}, this cacheness knows up to "
            f"{FORMAT}: upgrade cacheness-core, or name another directory"
        )


def _unusable(directory: str, error: OSError) -> CachenessError:
    if isinstance(error, forks.ForkedError):
        return error
    return ConfigError(
        f"cache_dir={directory!r} can't be used ({error.strerror or error}); "
        "name a directory that you may write to, or pass read_only=True"
    )
