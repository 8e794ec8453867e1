# SPDX-License-Identifier: MIT
"""A network file system is recognised by its type."""

import os

import pytest

from cacheness.disk.filesystem import _in_table, network_type

LINE = "36 25 0:{minor} / {point} rw,noatime shared:1 - {of} server:/export rw,vers=4.2"


def table(*mounts):
    """A mount table in the kernel's form: (minor device number, mount point, type)."""
    lines = [LINE.format(minor=minor, point=point, of=of) for minor, point, of in mounts]
    return "\n".join(["27 1 254:0 / /boot rw - ext4 /dev/vda rw", *lines, ""])


@pytest.mark.parametrize(
    "of", ["nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "9p", "fuse.sshfs", "fuse.s3fs"]
)
def test_a_directory_on_a_network_file_system_is_recognised_by_its_device(of):
    mounts = table((50, "/", "overlay"), (51, "/mnt/share", of))

    assert _in_table(mounts, "0:51", "/mnt/share/team/cache") == of


@pytest.mark.parametrize("of", ["overlay", "tmpfs", "btrfs", "zfs", "fuse.ntfs-3g", "fuseblk"])
def test_a_local_file_system_is_none(of):
    assert _in_table(table((50, "/", of)), "0:50", "/home/me/.cacheness") is None


def test_a_device_that_no_line_names_is_looked_up_by_the_longest_mount_point(tmp_path):
    mounts = table((50, "/", "overlay"), (51, tmp_path, "nfs4"), (52, tmp_path / "x", "tmpfs"))

    assert _in_table(mounts, "0:99", os.fspath(tmp_path / "cache")) == "nfs4"
    assert _in_table(mounts, "0:99", os.fspath(tmp_path / "x" / "cache")) is None
    assert _in_table(mounts, "0:99", "/elsewhere") is None


def test_a_mount_point_with_a_space_is_found(tmp_path):
    point = tmp_path / "my share"
    mounts = table((51, os.fspath(point).replace(" ", "\\040"), "cifs"))

    assert _in_table(mounts, "0:99", os.fspath(point / "cache")) == "cifs"


def test_the_real_table_says_that_the_temporary_directory_is_local(tmp_path):
    assert network_type(os.fspath(tmp_path)) is None


def test_a_table_that_cannot_be_read_or_understood_counts_as_local(tmp_path):
    nonsense = tmp_path / "mounts"
    nonsense.write_bytes(b"\xff\xfe no - table\n\n - \n")

    assert network_type("/proc", os.fspath(nonsense)) is None
    assert network_type("/proc", os.fspath(tmp_path / "missing")) is None
    assert network_type(os.fspath(tmp_path / "missing")) is None


@pytest.mark.skipif(not os.path.exists("/proc"), reason="only Linux has such a table")
def test_a_directory_without_a_device_is_looked_up_in_the_given_table(tmp_path):
    device = os.stat("/proc").st_dev
    faked = tmp_path / "mounts"
    faked.write_text(table((os.minor(device), "/proc", "nfs")))

    assert network_type("/proc", os.fspath(faked)) == "nfs"
