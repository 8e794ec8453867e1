# SPDX-License-Identifier: MIT
"""Checks one by one what a cache needs of its machine."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING, Literal

from cacheness.cli.installed import installed
from cacheness.cli.text import duration, size
from cacheness.disk.filesystem import network_type
from cacheness.errors import CachenessError
from cacheness.payloads.layout import FORMAT
from cacheness.switch import is_off

if TYPE_CHECKING:
    from cacheness.cli.options import Target
    from cacheness.config import CacheConfig

__all__ = [
    "Finding",
    "check_all",
    "check_clock",
    "check_directory",
    "check_file_system",
    "check_format",
    "check_key",
    "check_space",
]

_SKEW = 2.0
"""Seconds by which two clocks may differ before times to live are off noticeably."""
_SCARCE = 512 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    about: str
    """What was checked."""
    verdict: Literal["ok", "warning", "problem"]
    """Whether it is as it should be."""
    found: str
    """What it is like."""
    advice: str = ""
    """What to do, where something is to be done."""


def check_all(target: Target) -> list[Finding]:
    """All checks, in the order in which they build on each other."""
    config = target.config(read_only=True)
    findings = list(_check_switch())
    if os.path.isdir(config.cache_dir):
        findings += [
            check_directory(config),
            check_format(config.cache_dir),
            check_space(config),
            check_file_system(config.cache_dir, config.metadata_backend),
            check_clock(config.cache_dir),
        ]
    findings += [_check_store(target), check_key(config)]
    return findings + list(_check_plugins())


def check_directory(config: CacheConfig) -> Finding:
    """Whether this user can write to the directory, and others can't."""
    path, about = config.cache_dir, "directory"
    found = os.stat(path)
    mode = stat.S_IMODE(found.st_mode)
    like = f"{path}, mode {mode:04o}"
    if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
        like += f", of uid {found.st_uid}"
    if not os.access(path, os.R_OK | os.X_OK):
        return Finding(about, "problem", like, "it can't be read: ask its owner for the right")
    if not os.access(path, os.W_OK):
        return Finding(about, "warning", like, "only read_only=True works here")
    open_to = mode & (0o007 if config.permissions == "group" else 0o077)
    if os.name == "posix" and open_to:
        kept = "770" if config.permissions == "group" else "700"
        return Finding(about, "warning", f"{like}: others can look into it", f"chmod {kept} {path}")
    return Finding(about, "ok", like)


def check_format(directory: str) -> Finding:
    """Whether the layout of the directory is one that this version knows."""
    about, marker = "format", os.path.join(directory, "cacheness.json")
    try:
        with open(marker, "rb") as file:
            version = json.loads(file.read(4096))["format"]
    except FileNotFoundError:
        return Finding(about, "warning", f"{directory} holds no cache", "name another by --dir")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Finding(about, "problem", f"{marker} can't be read: {error}", "restore it")
    if not isinstance(version, int) or version > FORMAT:
        return Finding(
            about,
            "problem",
            f"version {version!r}, and this cacheness knows up to {FORMAT}",
            "upgrade cacheness-core",
        )
    return Finding(about, "ok", f"version {version}")


def check_space(config: CacheConfig) -> Finding:
    """Whether the disk has room for the next put."""
    about, usage = "disk space", shutil.disk_usage(config.cache_dir)
    least = config.min_free
    if least is None:
        least = min(usage.total // 100, _SCARCE)
    like = f"{size(usage.free)} free of {size(usage.total)}"
    if usage.free < least:
        return Finding(
            about,
            "problem",
            f"{like}, and {size(least)} are to stay free: nothing can be stored",
            "make room, or run: cacheness gc",
        )
    if usage.free < 2 * least:
        return Finding(about, "warning", like, f"puts end at {size(least)}: make room")
    return Finding(about, "ok", like)


def check_file_system(
    directory: str, backend: str, mounts: str = "/proc/self/mountinfo"
) -> Finding:
    """Whether other machines may share the file system, which SQLite's WAL can't take."""
    about, kind = "file system", network_type(directory, mounts)
    if kind is None:
        return Finding(about, "ok", "local")
    advice = "single flight is best effort here; use metadata_backend='postgres' to share a cache"
    if backend == "sqlite":
        advice = f"SQLite works without its WAL here, more slowly; {advice}"
    return Finding(about, "warning", f"a network file system ({kind})", advice)


def check_clock(directory: str, now: float | None = None) -> Finding:
    """Whether the file system and this process agree about the time.

    Args:
        directory: Where a file is made, and gone at once.
        now: The process's time; its clock's, where not given.
    """
    about = "clock"
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0")
            file.flush()
            written_at = os.fstat(file.fileno()).st_mtime
    except OSError as error:
        return Finding(about, "ok", f"not compared, as no file can be made here ({error.strerror})")
    skew = written_at - (time() if now is None else now)
    if abs(skew) <= _SKEW:
        return Finding(about, "ok", "agrees with the file system's")
    late = "ahead of" if skew > 0 else "behind"
    return Finding(
        about,
        "problem",
        f"the file system's is {duration(abs(skew))} {late} this machine's",
        "set both by NTP: times to live and the age of orphans are measured by them",
    )


def check_key(config: CacheConfig) -> Finding:
    """Whether there is a key to sign with, and nobody else's to read."""
    from cacheness.payloads.signing import load_user_key, user_key_path

    about = "signing key"
    if config.signing == "off":
        return Finding(about, "ok", "not needed, as signing is off")
    if config.signing_key is not None:
        return Finding(about, "ok", "given by the configuration")
    if config.permissions == "group":
        return Finding(
            about,
            "warning",
            "none, and a group's cache needs an explicit one for what only pickle can keep",
            "give all the same CACHENESS_SIGNING_KEY",
        )
    path = user_key_path()
    try:
        load_user_key(make=False)
    except FileNotFoundError:
        return Finding(about, "ok", f"none yet; {path} is made at first need")
    except (OSError, ValueError) as error:
        return Finding(about, "problem", str(error), "mend that, or set CACHENESS_SIGNING_KEY")
    return Finding(about, "ok", path)


def _check_switch() -> Iterator[Finding]:
    if is_off():
        yield Finding(
            "CACHENESS_DISABLE",
            "warning",
            "set: every get is a miss, and every put nothing",
            "unset it",
        )


def _check_store(target: Target) -> Finding:
    about = "store"
    try:
        with target.open() as cache:
            config, backend = cache.config, cache.engine.backend
            entries, stored = backend.count(), backend.total_size()
    except (CachenessError, OSError) as error:
        return Finding(about, "problem", str(error))
    return Finding(about, "ok", f"{config.metadata_backend}, {entries:,} entries, {size(stored)}")


def _check_plugins() -> Iterator[Finding]:
    found = installed(load=True)
    for failure in found.failures:
        yield Finding("plugin", "problem", failure, "upgrade or remove it")
    for one in found.provided:
        if one.failure and one.distribution == "cacheness-core":
            yield Finding(
                f"{one.kind} {one.name}",
                "ok",
                f"not usable here ({one.failure})",
                'pip install "cacheness-core[codecs]", if you need it',
            )
        elif one.failure:
            yield Finding(f"{one.kind} {one.name} of {one.distribution}", "problem", one.failure)
    yield Finding("plugins", "ok", ", ".join(found.plugins) or "none installed")
