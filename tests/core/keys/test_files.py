# SPDX-License-Identifier: MIT
"""`FileContent` counts by what a file or a directory tree holds."""

from __future__ import annotations

import os

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import encode, params_key
from cacheness.keys.files import FileContent


def tree(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return FileContent(folder)


@given(content=st.binary(max_size=100))
def test_a_file_counts_by_its_bytes(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("file") / "x"
    path.write_bytes(content)

    assert FileContent(path).digest() == blake3(content).digest()


@pytest.mark.parametrize("size", [0, 1, 4 << 20, (4 << 20) + 1, (9 << 20) + 7])
def test_a_file_of_any_size_is_read_whole(tmp_path, size):
    content = os.urandom(1 << 10) * (size // 1024 + 1)
    (tmp_path / "x").write_bytes(content[:size])

    assert FileContent(tmp_path / "x").digest() == blake3(content[:size]).digest()


def test_the_path_and_the_times_do_not_count(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("same")
    os.utime(tmp_path / "a", (1, 1))

    keys = {params_key({"file": FileContent(tmp_path / name)}) for name in ("a", "b")}

    assert len(keys) == 1


def test_a_changed_file_is_seen_at_once(tmp_path):
    content = FileContent(tmp_path / "x")
    (tmp_path / "x").write_text("one")
    before = params_key({"file": content})
    when = (tmp_path / "x").stat().st_mtime_ns

    (tmp_path / "x").write_text("two")
    os.utime(tmp_path / "x", ns=(when, when))

    assert params_key({"file": content}) != before


BASE = {"a.txt": b"1", "sub/b.txt": b"2"}

OTHER_TREES = {
    "content": {"a.txt": b"1", "sub/b.txt": b"3"},
    "name": {"a.txt": b"1", "sub/c.txt": b"2"},
    "folder": {"a.txt": b"1", "sup/b.txt": b"2"},
    "one more": {**BASE, "c.txt": b""},
    "one less": {"a.txt": b"1"},
    "moved up": {"a.txt": b"1", "b.txt": b"2"},
    "swapped": {"a.txt": b"2", "sub/b.txt": b"1"},
}


@pytest.mark.parametrize("other", OTHER_TREES)
def test_names_and_contents_of_a_tree_count(tmp_path, other):
    base = tree(tmp_path / "base", BASE)
    same = tree(tmp_path / "same", dict(reversed(BASE.items())))
    changed = tree(tmp_path / "other", OTHER_TREES[other])

    assert encode(base) == encode(same)
    assert encode(base) != encode(changed)


def test_an_empty_directory_counts(tmp_path):
    before = tree(tmp_path / "t", BASE).digest()

    (tmp_path / "t" / "empty").mkdir()

    assert FileContent(tmp_path / "t").digest() != before


def test_links_count_as_what_they_point_at(tmp_path):
    plain = tree(tmp_path / "plain", BASE)
    linked = tree(tmp_path / "linked", {"a.txt": b"1"})
    (tmp_path / "linked" / "sub").symlink_to(tmp_path / "plain" / "sub")

    assert linked.digest() == plain.digest()


def test_a_link_to_a_directory_that_contains_it_is_refused(tmp_path):
    content = tree(tmp_path / "t", BASE)
    (tmp_path / "t" / "sub" / "up").symlink_to(tmp_path / "t")

    with pytest.raises(UnhashableParameterError, match="'data'.*a link to a directory"):
        params_key({"data": content})


def test_what_is_neither_file_nor_directory_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UnhashableParameterError, match="neither a file nor a directory"):
        params_key({"x": FileContent(tmp_path / "pipe")})


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        params_key({"x": FileContent(tmp_path / "nothing")})


def test_it_can_be_opened_as_it_is(tmp_path):
    (tmp_path / "x").write_text("text")

    with open(FileContent(tmp_path / "x")) as file:
        assert file.read() == "text"


def test_a_path_counts_by_its_text(tmp_path):
    (tmp_path / "x").write_text("one")
    before = params_key({"x": tmp_path / "x"})

    (tmp_path / "x").write_text("two")

    assert params_key({"x": tmp_path / "x"}) == before
    assert params_key({"x": FileContent(tmp_path / "x")}) != before
