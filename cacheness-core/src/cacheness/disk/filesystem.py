# SPDX-License-Identifier: MIT
"""Tells whether a directory lies on a file system that other machines share."""

from __future__ import annotations

import os
import sys

__all__ = ["network_type"]

_NETWORK = frozenset(
    [
        "9p",
        "afpfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "mmfs",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "prl_fs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "vmhgfs",
        "webdav",
    ]
)
"""Where SQLite's shared memory is not shared: on another machine, or outside of a guest."""
_NETWORK_FUSE = frozenset(
    [
        "ceph",
        "cephfs",
        "davfs2",
        "gcsfuse",
        "glusterfs",
        "goofys",
        "gvfsd-fuse",
        "juicefs",
        "moosefs",
        "mfs",
        "rclone",
        "s3fs",
        "seaweedfs",
        "smbnetfs",
        "sshfs",
        "vmhgfs-fuse",
    ]
)
"""What comes after ``fuse.`` for those that are served by a program."""

_MOUNTS = "/proc/self/mountinfo"


def network_type(directory: str, mounts: str = _MOUNTS) -> str | None:
    """The type of the network file system that a directory lies on; None for a local one.

    On Linux a directory on a block device costs one ``stat``; else the mount table is read.
    Where neither tells (another system, a table that can't be read) it counts as local.

    Args:
        directory: An existing directory.
        mounts: The mount table, in the form of ``/proc/self/mountinfo``.
    """
    if sys.platform == "darwin":
        return _of_mount_command(directory)
    if not sys.platform.startswith("linux"):
        return None
    try:
        device = os.stat(directory).st_dev
        # A file system without a device of its own has the major number zero.
        if os.major(device) != 0:
            return None
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            return _in_table(file.read(), f"{os.major(device)}:{os.minor(device)}", directory)
    except OSError:
        return None


def _in_table(table: str, device: str, directory: str) -> str | None:
    """Look a directory up by its device, else by the mount point that it lies below."""
    path = os.path.realpath(directory)
    longest, below = -1, ""
    for line in table.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        of = right.split(" ", 1)[0]
        if fields[2] == device:
            return _if_network(of)
        point = _unescaped(fields[4])
        if len(point) > longest and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            longest, below = len(point), of
    return _if_network(below)


def _unescaped(point: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, character)
    return point


def _if_network(of: str) -> str | None:
    kind, _, served = of.partition(".")
    return of if kind in _NETWORK or (kind == "fuse" and served in _NETWORK_FUSE) else None


def _of_mount_command(directory: str) -> str | None:
    """On macOS: ask ``/sbin/mount``, whose lines end in ``(type, options)``."""
    import subprocess

    path = os.path.realpath(directory)
    try:
        table = subprocess.run(
            ["/sbin/mount"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    longest, found = -1, ""
    for line in table.splitlines():
        before, _, options = line.rpartition(" (")
        point = before.partition(" on ")[2]
        if len(point) > longest and f"{path}/".startswith(f"{point.rstrip('/')}/"):
            longest, found = len(point), options.partition(",")[0].rstrip(")")
    return _if_network(found)
