# SPDX-License-Identifier: MIT
"""What is written of a tar is what the standard library writes and reads."""

import io
import tarfile

import pytest

from cacheness.payloads.tar import BLOCK, END, tar_member


def header(name, size):
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("name", ["", "000001.npy", "ä.json", "x" * 100])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 8**11 - 1, 8**11, 1 << 40])
def test_a_header_is_that_of_the_standard_library(name, size):
    assert next(iter(tar_member(name, (), size))) == header(name, size)


def test_a_long_name_is_cut_so_that_each_header_is_one_block():
    first = next(iter(tar_member("é" * 51 + "x" * 200, (), 5)))

    assert len(first) == BLOCK
    assert tarfile.TarInfo.frombuf(first, "utf-8", "strict").name == "é" * 50


def test_members_are_read_back():
    members = {"a.npy": b"x" * 700, "b": b"", "c.json": b"{}" * 256}
    whole = b"".join(
        b"".join(tar_member(name, (payload[:100], payload[100:]), len(payload)))
        for name, payload in members.items()
    )

    with tarfile.open(fileobj=io.BytesIO(whole + END)) as tar:
        found = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert found == members
