# SPDX-License-Identifier: MIT
"""Signs entries and tells whether a signature holds."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from hmac import compare_digest, digest
from stat import S_ISREG
from time import time

from cacheness.errors import ConfigError, SecurityWarning, warn
from cacheness.forks import ForkedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal, TypeAlias

    from cacheness.config import CacheConfig
    from cacheness.entry import Entry

    Verdict: TypeAlias = Literal["good", "missing", "foreign", "wrong"]

__all__ = ["KEY_BYTES", "Signer", "message_of", "signed_message"]

KEY_BYTES = 32
"""The size of a key that cacheness makes."""
_GRACE = 3600.0

HOW_TO_SHARE = (
    "to share entries between users, give both the same CACHENESS_SIGNING_KEY "
    "(or signing_key=), at least 16 secret bytes"
)


def signed_message(
    namespace: str,
    cache_key: str,
    generation: int,
    handler: str,
    handler_version: int,
    compressor: str,
    distribution: str,
    metadata: Mapping[str, Any],
    checksum: str,
) -> bytes:
    """What an entry's signature is made over: each field with its length in front."""
    fields = (
        "cacheness entry 1",
        namespace,
        cache_key,
        str(generation),
        handler,
        str(handler_version),
        compressor,
        distribution,
        _canonical(metadata),
        checksum,
    )
    encoded = [field.encode("utf-8", "surrogatepass") for field in fields]
    return b"".join(b"%d:%b" % (len(field), field) for field in encoded)


def message_of(entry: Entry) -> bytes:
    """What the entry's signature has to be made over."""
    return signed_message(
        entry.namespace,
        entry.cache_key,
        entry.generation,
        entry.handler,
        entry.handler_version,
        entry.compressor,
        entry.distribution,
        entry.metadata,
        entry.checksum,
    )


def _canonical(metadata: Mapping[str, Any]) -> str:
    """The same text for equal metadata, whichever backend gave them back."""
    if not metadata:
        return "{}"
    import json

    return json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class Signer:
    """Holds the keys of one cache: one to sign with, others that are still believed."""

    def __init__(self, config: CacheConfig, *, shared: bool) -> None:
        self._config = config
        self._shared = shared
        self._keys: dict[str, bytes] | None = None
        self._own: str | None = None
        self._unavailable = ""

    def sign(self, message: bytes) -> str | None:
        """``key id:hex``, or None where there is no key (after one warning).

        Raises:
            ConfigError: The store is shared, and no key was given.
        """
        keys = self._load()
        if self._own is None:
            if self._shared:
                raise ConfigError(self._unavailable)
            return None
        return f"{self._own}:{digest(keys[self._own], message, 'sha256').hex()}"

    def verdict(self, signature: str | None, message: bytes) -> Verdict:
        """Whether the signature holds, and if not, what is the matter with it."""
        if signature is None:
            return "missing"
        key_id, _, mac = signature.partition(":")
        key = self._load().get(key_id)
        if key is None:
            return "foreign"
        # As bytes: of text it takes ASCII alone, and this may be anything.
        found = mac.encode("utf-8", "surrogatepass")
        good = compare_digest(digest(key, message, "sha256").hex().encode(), found)
        return "good" if good else "wrong"

    def _load(self) -> dict[str, bytes]:
        keys = self._keys
        if keys is None:
            own = self._config.signing_key or self._user_key()
            keys = {_key_id(key): key for key in self._config.old_signing_keys}
            if own is not None:
                self._own = _key_id(own)
                keys[self._own] = own
            self._keys = keys
        return keys

    def _user_key(self) -> bytes | None:
        if self._shared or self._config.permissions == "group":
            self._unavailable = (
                "what only pickle (or a plugin's code) can keep needs an explicit signing key "
                f"in a cache that others share: {HOW_TO_SHARE}"
            )
            if not self._shared:
                warn(
                    f"{self._unavailable}; until then it is neither stored nor read",
                    SecurityWarning,
                )
            return None
        try:
            return load_user_key(make=not self._config.read_only)
        except ForkedError:
            raise
        except (OSError, ValueError) as error:
            self._unavailable = f"there is no signing key: {error}"
            warn(
                f"{self._unavailable}; what only pickle (or a plugin's code) can keep is "
                "neither stored nor read: mend that, or set CACHENESS_SIGNING_KEY",
                SecurityWarning,
            )
            return None


def _key_id(key: bytes) -> str:
    return sha256(b"cacheness signing key id\0" + key).hexdigest()[:16]


def user_key_path() -> str:
    """Where the user's own key lies: outside every cache directory."""
    from platformdirs import user_data_dir

    return os.path.join(user_data_dir("cacheness", appauthor=False), "signing.key")


def load_user_key(*, make: bool) -> bytes:
    """The user's key; made at first need, by whichever process is first.

    Raises:
        OSError: It can't be read or made.
        ValueError: The file is not the user's own, is open to others, or holds no key.
    """
    path = user_key_path()
    if make:
        _remove_leftovers(os.path.dirname(path), os.path.basename(path))
    try:
        return _read_key(path)
    except FileNotFoundError:
        if not make:
            raise
    from cacheness.disk.durable import make_parents
    from cacheness.payloads.layout import write_new_file

    directory = os.path.dirname(path)
    make_parents(directory, durable=True)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    write_new_file(path, os.urandom(KEY_BYTES).hex().encode() + b"\n", 0o600)
    _keep_name(directory)
    return _read_key(path)


def _remove_leftovers(directory: str, key: str) -> None:
    """Remove what those left who were killed as they made a key: it holds one, too.

    To make a key takes milliseconds; what is an hour old is nobody's any more, on whatever
    machine that shares the user's home.
    """
    from cacheness.disk.folder import Folder

    with suppress(OSError), Folder(os.path.realpath(directory)) as folder:
        for name in folder.names():
            if name.startswith(f"{key}.") and name.endswith(".tmp"):
                status = folder.status(name)
                if S_ISREG(status.st_mode) and time() - status.st_mtime > _GRACE:
                    folder.unlink(name)


def _keep_name(directory: str) -> None:
    """Have a new key outlive a power loss: what it signed may be on another disk already."""
    from cacheness.disk.durable import sync_directory

    try:
        sync_directory(directory)
        sync_directory(os.path.dirname(directory))
    except OSError:
        return  # some network file systems have no such thing


def _read_key(path: str) -> bytes:
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    )
    try:
        found = os.fstat(descriptor)
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise ValueError(f"{path} belongs to another user (uid {found.st_uid})")
        if os.name == "posix" and found.st_mode & 0o077:
            raise ValueError(f"{path} is open to other users: chmod 600 {path}")
        text = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) < 16:
        raise ValueError(f"{path} holds no key; remove it to have one made")
    return key
