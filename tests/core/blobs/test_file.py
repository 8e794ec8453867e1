# SPDX-License-Identifier: MIT
"""Blob files are whole or not there, and nothing is reached through a link."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

import cacheness
from cacheness.backends.base import BackendContext
from cacheness.blobs.file import FileBlobBackend
from cacheness.config import CacheConfig
from cacheness.errors import BackendUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "ab/" + "0" * 32 + ".npy"


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


def open_store(directory: str, path: str | None = None, **options: Any) -> FileBlobBackend:
    config = CacheConfig(cache_dir=directory, **options)
    return FileBlobBackend(BackendContext(directory, "", config), path=path)


def files(directory: str) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(folder, name), directory)
        for folder, _, names in os.walk(directory)
        for name in names
    )


def test_nothing_is_made_before_the_first_write(directory: str) -> None:
    store = open_store(directory)

    assert not store.exists(NAME)
    assert list(store.iter_blobs()) == []
    with pytest.raises(BackendUnavailableError, match="blobs is not there"):
        store.read(NAME)
    assert not os.path.exists(directory)


def test_a_blob_is_a_file_of_its_name(directory: str) -> None:
    store = open_store(directory)
    store.write(NAME, [b"bytes"])

    assert files(f"{directory}/blobs") == [NAME, "store-id"]
    with open(f"{directory}/blobs/{NAME}", "rb") as file:
        assert file.read() == b"bytes"


def test_a_write_that_fails_leaves_nothing(directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(directory)
    store.write(NAME.replace("0", "1"), [b"another"])
    before = files(directory)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            store.write(NAME, [b"x" * 100_000])
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda *_, **__: full(0, b""))
        with pytest.raises(OSError, match="No space left"):
            store.write(NAME, [b"x" * 100_000])

    assert files(directory) == before


def test_a_killed_writer_leaves_no_blob_and_its_leftover_is_found_later(directory: str) -> None:
    script = (
        "import os, sys\n"
        "from cacheness.backends.base import BackendContext\n"
        "from cacheness.blobs.file import FileBlobBackend\n"
        "from cacheness.config import CacheConfig\n"
        "config = CacheConfig(cache_dir=sys.argv[1])\n"
        "store = FileBlobBackend(BackendContext(sys.argv[1], '', config))\n"
        "def source():\n"
        "    yield b'x' * 3_000_000\n"
        "    os.kill(os.getpid(), 9)\n"
        "store.write(sys.argv[2], source())\n"
    )
    subprocess.run([sys.executable, "-c", script, directory, NAME], check=False)
    store = open_store(directory)

    assert not store.exists(NAME)
    assert list(store.iter_blobs()) == []
    assert list(store.iter_leftovers()) == [], "it may still be written"
    ((name, size, _),) = store.iter_leftovers(older_than=-1)
    assert (name[:4], size) == ("ab/.", 3_000_000)
    os.utime(f"{directory}/blobs/{name}", (0, 0))
    assert store.remove_leftovers() == 0, "its date is old, but it was changed just now"
    assert store.remove_leftovers(older_than=-1) == 3_000_000
    assert files(f"{directory}/blobs") == ["store-id"]


def test_a_staged_file_is_renamed_not_copied(directory: str) -> None:
    store = open_store(directory)
    staged = store.stage(NAME)
    with open(staged, "wb") as file:
        file.write(b"handler")
        inode = os.fstat(file.fileno()).st_ino
    assert sys.platform != "linux" or os.path.samefile(
        os.path.dirname(staged), f"{directory}/blobs/ab"
    )

    store.adopt(staged, NAME)

    assert os.stat(f"{directory}/blobs/{NAME}").st_ino == inode


@pytest.mark.skipif(sys.platform != "linux", reason="only there a path leads to an open directory")
def test_a_staged_file_comes_where_it_was_staged_whatever_lies_there_by_then(
    directory: str, tmp_path: Path
) -> None:
    store, outside = open_store(directory), tmp_path / "outside"
    outside.mkdir()
    before = len(os.listdir("/dev/fd"))
    staged = store.stage(NAME)
    os.rename(f"{directory}/blobs/ab", f"{directory}/blobs/aside")
    os.symlink(outside, f"{directory}/blobs/ab")

    subprocess.run(["touch", staged], check=True)
    with pytest.raises(OSError, match=r".+"):
        store.adopt(staged, NAME)

    assert os.listdir(outside) == []
    assert os.listdir(f"{directory}/blobs/aside") == [os.path.basename(staged)]
    os.unlink(staged)
    del staged
    assert len(os.listdir("/dev/fd")) == before


def test_a_staged_file_on_another_disk_is_copied(
    directory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(directory)
    elsewhere = tmp_path / "staged.npy"
    elsewhere.write_bytes(b"handler")
    replace = os.replace

    def over_disks(source: str, target: str, **folders: Any) -> None:
        if source == str(elsewhere):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        replace(source, target, **folders)

    monkeypatch.setattr(os, "replace", over_disks)

    assert store.adopt(str(elsewhere), NAME) == 7
    assert store.read(NAME) == b"handler"
    assert not elsewhere.exists()


PLANTS: list[Callable[[str], object]] = [
    os.mkfifo,
    os.mkdir,
    lambda path: os.symlink("/etc/hostname", path),
    lambda path: os.symlink("/nowhere", path),
    lambda path: os.symlink(path, path),
]


@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_planted_in_the_place_of_a_blob_is_no_blob(
    directory: str, plant: Callable[[str], object]
) -> None:
    store = open_store(directory)
    store.write(NAME, [b"x"])
    os.unlink(f"{directory}/blobs/{NAME}")
    plant(f"{directory}/blobs/{NAME}")

    assert not store.exists(NAME)
    assert list(store.iter_blobs()) == []
    with pytest.raises(FileNotFoundError):
        store.read(NAME)
    with pytest.raises(FileNotFoundError):
        list(store.read_into(NAME, memoryview(bytearray(100))))
    with pytest.raises(FileNotFoundError), store.local_path(NAME):
        pass


@pytest.mark.parametrize("folder", ["blobs", "blobs/ab"])
def test_no_folder_is_entered_through_a_link(directory: str, folder: str, tmp_path: Path) -> None:
    store = open_store(directory)
    store.write(NAME, [b"x"])
    path = f"{directory}/{folder}"
    os.rename(path, tmp_path / "moved")
    os.symlink(tmp_path / "moved", path)

    for attempt in (
        lambda: store.read(NAME),
        lambda: store.write(NAME, [b"y"]),
        lambda: store.delete(NAME),
        lambda: store.exists(NAME),
        lambda: store.stage(NAME),
    ):
        with pytest.raises(OSError, match=r".+") as refused:
            attempt()
        assert not isinstance(refused.value, FileNotFoundError), "its blobs are not missing"


def test_a_store_that_is_gone_is_out_of_reach_and_its_blobs_not_missing(
    directory: str, tmp_path: Path
) -> None:
    store = open_store(directory)
    store.write(NAME, [b"x"])
    store_id = store.store_id
    os.rename(f"{directory}/blobs", tmp_path / "unmounted")
    os.mkdir(f"{directory}/blobs")

    with pytest.raises(BackendUnavailableError, match="is its disk mounted"):
        store.read(NAME)
    assert store.store_id != store_id, "another store lies there now"

    shutil.rmtree(f"{directory}/blobs")
    os.rename(tmp_path / "unmounted", f"{directory}/blobs")
    assert store.read(NAME) == b"x"
    assert store.store_id == store_id


def test_a_damaged_store_id_is_no_other_store(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cacheness.blobs.place.sleep", lambda _: None)
    store = open_store(directory)
    store.write(NAME, [b"x"])
    with open(f"{directory}/blobs/store-id", "wb") as file:
        file.write(b"half")

    with pytest.raises(BackendUnavailableError, match="its store-id is damaged"):
        _ = store.store_id


@pytest.mark.slow
def test_processes_that_make_a_store_at_once_agree_on_its_id(directory: str) -> None:
    script = (
        "import sys\n"
        "from cacheness.backends.base import BackendContext\n"
        "from cacheness.blobs.file import FileBlobBackend\n"
        "from cacheness.config import CacheConfig\n"
        "config = CacheConfig(cache_dir=sys.argv[1])\n"
        "sys.stdin.readline()\n"
        "print(FileBlobBackend(BackendContext(sys.argv[1], '', config)).store_id)\n"
    )
    command = [sys.executable, "-c", script, directory]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    makers = [subprocess.Popen(command, **pipes) for _ in range(8)]
    for maker in makers:
        maker.stdin.write(b"go\n")
        maker.stdin.flush()

    ids = {maker.communicate()[0].strip() for maker in makers}

    assert len(ids) == 1
    assert len(ids.pop()) == 32
    assert files(f"{directory}/blobs") == ["store-id"]


def test_read_only_makes_nothing(directory: str) -> None:
    store = open_store(directory, read_only=True)

    assert store.store_id == ""
    assert not os.path.exists(directory)


def test_blobs_may_be_kept_elsewhere(directory: str, tmp_path: Path) -> None:
    store = open_store(directory, path=str(tmp_path / "big" / "disk"))

    store.write(NAME, [b"x"])

    assert files(str(tmp_path / "big")) == [f"disk/{NAME}", "disk/store-id"]
    assert not os.path.exists(directory)


@pytest.mark.parametrize(
    ("permissions", "of_folder", "of_file"),
    [("private", 0o700, 0o600), ("group", 0o2770, 0o660)],
)
def test_files_are_open_to_whom_they_should_be(
    directory: str, permissions: str, of_folder: int, of_file: int
) -> None:
    previous = os.umask(0o077)
    try:
        store = open_store(directory, permissions=permissions)
        store.write(NAME, [b"x"])
        staged = store.stage(NAME)
        with open(staged, "wb") as file:
            file.write(b"x")
        store.adopt(staged, NAME.replace("0", "1"))
    finally:
        os.umask(previous)

    def mode(path: str) -> int:
        return os.stat(f"{directory}/{path}").st_mode & 0o7777

    assert {mode(folder) for folder in ("", "blobs", "blobs/ab")} == {of_folder}
    assert {mode(f"blobs/{name}") for name in files(f"{directory}/blobs")} == {of_file}


def test_durability_fsync_waits_for_file_and_name(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(directory, durability="fsync")
    store.write(NAME.replace("0", "1"), [b"x"])
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        folder = os.path.isdir(f"/dev/fd/{descriptor}")
        steps.append("folder" if folder else "file")
        fsync(descriptor)

    def renamed(*names: Any, **folders: Any) -> None:
        steps.append("rename")
        replace(*names, **folders)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)

    store.write(NAME, [b"x"])
    assert steps == ["file", "rename", "folder"]

    store.write("cd" + NAME[2:], [b"x"])
    names = steps[3:-3]
    assert names == ["folder", "folder"], "a new folder has a name too, and so has the one above"
    assert steps[-3:] == ["file", "rename", "folder"]


@pytest.mark.slow
def test_large_buffers_are_written_and_read_without_a_copy(directory: str) -> None:
    store = open_store(directory)
    whole = bytearray(30_000_000)
    target = memoryview(bytearray(len(whole)))

    def pieces() -> Iterator[memoryview]:
        yield memoryview(whole)[:20_000_000]
        yield memoryview(whole)[20_000_000:]

    tracemalloc.start()
    try:
        store.write(NAME, pieces())
        for _ in store.read_into(NAME, target):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000


def test_small_buffers_are_written_together(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(directory)
    store.write(NAME, [b"x"])
    written = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: written.append(len(data)) or write(fd, data))

    store.write(NAME, [b"12345678"] * 10_000)

    assert written == [80_000]


def test_a_slice_is_given_while_it_is_warm(directory: str) -> None:
    store = open_store(directory)
    store.write(NAME, [bytes(3_500_000)])

    slices = list(store.read_into(NAME, memoryview(bytearray(3_500_000))))

    assert [len(piece) for piece in slices] == [1 << 20, 1 << 20, 1 << 20, 3_500_000 - (3 << 20)]


def test_descriptors_are_closed(directory: str) -> None:
    store = open_store(directory)
    store.write(NAME, [bytes(2_000_000)])
    before = os.listdir("/dev/fd")
    for _ in range(3):
        store.read(NAME)
        reading = store.read_into(NAME, memoryview(bytearray(2_000_000)))
        next(reading)
        reading.close()
        with store.local_path(NAME):
            pass
        store.exists(NAME)
        list(store.iter_blobs())
        assert store.store_id
        with pytest.raises(ValueError, match="longer"):
            list(store.read_into(NAME, memoryview(bytearray(1))))

    assert os.listdir("/dev/fd") == before


@pytest.mark.parametrize("module", ["cacheness.blobs.file", "cacheness.blobs.memory"])
def test_the_module_is_cheap_to_import(module: str) -> None:
    # Without `site`, whose start-up files of editable installs load half the library.
    command = [sys.executable, "-S", "-c", f"import sys, {module}; print(*sys.modules)"]
    environment = {"PYTHONPATH": os.path.dirname(os.path.dirname(cacheness.__file__))}
    loaded = subprocess.run(command, check=True, capture_output=True, env=environment).stdout

    heavy = {b"tempfile", b"shutil", b"pathlib", b"logging", b"typing", b"dataclasses", b"inspect"}
    assert heavy.isdisjoint(loaded.split())
