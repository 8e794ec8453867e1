"""Nothing that lies in a cache directory makes a cache read or write outside of it."""

import io
import os
import shutil
import sqlite3
import stat
import tarfile
import threading
import warnings

import numpy as np
import pytest
from tests.core.security.hostile import (
    blobs_of,
    change,
    everything,
    journal_that_removes,
    log_of_sqlite,
    plant,
)
from xxhash import xxh3_128_hexdigest

from cacheness import BackendUnavailableError, CachenessError, ConfigError, UnifiedCache

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there")


@pytest.fixture
def directory(tmp_path):
    """A cache that was closed, with one inline entry and one blob."""
    directory = tmp_path / "cache"
    with UnifiedCache(directory, signing_key=b"the key of this test") as cache:
        cache.put({"a": 1}, "k")
        cache.put(np.arange(20_000), "array")
    return directory


@pytest.fixture
def outside(tmp_path):
    """A directory of the user's, with a file that has to stay as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    with sqlite3.connect(outside / "mine.sqlite3") as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    return outside


def use(directory, **options):
    """Do everything with the cache; give what it said where it could not."""
    said = []
    try:
        with (
            warnings.catch_warnings(),
            UnifiedCache(directory, signing_key=b"the key of this test", **options) as cache,
        ):
            warnings.simplefilter("ignore")
            for step in (
                lambda: cache.get("k"),
                lambda: cache.get("array", mmap=True),
                lambda: cache.put({1, 2}, "signed"),
                lambda: cache.put(np.zeros(30_000), "array"),
                lambda: cache.get_or_compute(lambda: 1, "computed"),
                lambda: cache.verify_integrity(repair=True),
                lambda: cache.invalidate("array"),
                lambda: cache.clear(),
            ):
                try:
                    step()
                except (CachenessError, OSError) as error:
                    said.append(str(error))
    except (CachenessError, OSError) as error:
        said.append(str(error))
    return said


@pytest.mark.parametrize("what", ["mine.sqlite3", "precious", "new", "/dev/zero"])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_no_file_of_the_database_is_followed_elsewhere(directory, outside, what, suffix):
    before = everything(outside)
    for path in directory.glob(f"metadata.sqlite3{suffix or '*'}"):
        path.unlink()
    (directory / f"metadata.sqlite3{suffix}").symlink_to(outside / what)

    said = use(directory)

    assert everything(outside) == before
    assert "remove it" in said[0]


@pytest.mark.parametrize("taken_out_of_wal", [False, True])
def test_a_journal_that_names_a_file_removes_none(directory, outside, taken_out_of_wal):
    database = directory / "metadata.sqlite3"
    if taken_out_of_wal:
        content = bytearray(database.read_bytes())
        content[18:20] = b"\1\1"
        database.write_bytes(content)
    with UnifiedCache(directory) as cache:
        cache.get("k")
        journal = journal_that_removes(outside / "precious", database)
        (directory / "metadata.sqlite3-journal").write_bytes(journal)
        assert cache.get("k") == {"a": 1}
    said = use(directory)

    assert (outside / "precious").exists()
    assert "names a file" in said[0]


LOGS = {
    "of the same": lambda whole: (1, len(whole) // 4096, whole[:4096]),
    "that cuts the file short": lambda whole: (1, 1, whole[:4096]),
    "of no page": lambda whole: (1, len(whole) // 4096, os.urandom(4096)),
    "of a page far away": lambda _: (0x7FFFFFF0, 0x7FFFFFF0, bytes(4096)),
    "that makes the file 8 TB": lambda whole: (1, 0x7FFFFFF0, whole[:4096]),
    "of zeros": lambda whole: (2, len(whole) // 4096, bytes(4096)),
}


@pytest.mark.parametrize("kind", LOGS)
def test_a_log_that_was_planted_gives_no_value_and_fills_no_disk(directory, kind):
    database = directory / "metadata.sqlite3"
    log = log_of_sqlite(*LOGS[kind](database.read_bytes()))
    (directory / "metadata.sqlite3-wal").write_bytes(log)
    options = {"signing_key": b"the key of this test"}

    said = []
    try:
        with UnifiedCache(directory, **options) as cache:
            for step in (
                lambda: cache.get("k") in (None, {"a": 1}),
                lambda: cache.get("array") is None or cache["array"].sum() == 199_990_000,
                lambda: cache.put(2, "new") == "new",
                lambda: cache.get("new") in (2, None),
                lambda: len(cache) >= 0,
            ):
                try:
                    assert step()
                except BackendUnavailableError as error:
                    said.append(str(error))
    except BackendUnavailableError as error:
        said.append(str(error))

    assert all("metadata.sqlite3" in one for one in said)
    assert said or kind not in ("that cuts the file short", "of no page"), "it is not read"
    assert sum(path.stat().st_blocks for path in directory.iterdir()) * 512 < 1 << 20


@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.parametrize("name", ["store-id", "cacheness.json"])
def test_no_small_file_is_read_through_a_link(directory, outside, name, backend):
    """What a file of the user's says, his key for instance, is in no file of the cache."""
    options = {"metadata_backend": backend}
    with UnifiedCache(directory, **options) as cache:
        cache.put(1, "k")
    secret = b"5ec2e7" * 10 + b"0123"
    (outside / "precious").write_bytes(secret)
    (directory / name).unlink(missing_ok=True)
    (directory / name).symlink_to(outside / "precious")

    with (
        pytest.raises((BackendUnavailableError, ConfigError), match="a link: remove it") as told,
        UnifiedCache(directory, **options) as cache,
    ):
        cache.put(np.arange(20_000), "array")

    assert secret.decode() not in str(told.value)
    (directory / name).unlink()
    assert secret not in everything(directory)
    with UnifiedCache(directory, **options) as cache:
        cache.put(np.arange(20_000), "array")


@pytest.mark.parametrize("content", [b"", b"5ec2e7" * 10, b"/" * 32])
def test_an_id_that_is_none_is_told_to_nobody(directory, content):
    (directory / "store-id").write_bytes(content)
    with UnifiedCache(directory) as cache:
        with pytest.raises(BackendUnavailableError, match="damaged: remove it"):
            cache.put(np.arange(20_000), "array")
        assert cache["k"] == {"a": 1}
        (directory / "store-id").unlink()
        cache.put(np.arange(20_000), "array")


@pytest.mark.parametrize("folder", ["blobs", "quarantine", "locks"])
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_no_directory_is_entered_through_a_link(directory, outside, folder, backend):
    (outside / "xx").mkdir()
    before = everything(outside)
    shutil.rmtree(directory / folder, ignore_errors=True)
    (directory / folder).symlink_to(outside)
    change(directory, "UPDATE entries SET checksum = 'xxh3-128:00'")  # leads to quarantine

    use(directory, metadata_backend=backend)

    assert everything(outside) == before


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_lock_that_is_a_file_elsewhere_is_not_opened_to_a_group(directory, outside, backend):
    options = {"metadata_backend": backend, "permissions": "group"}
    with UnifiedCache(directory, **options) as cache:
        cache.get_or_compute(lambda: 1, "one")
    (outside / "precious").chmod(0o600)
    locks = list((directory / "locks").iterdir())
    for lock in locks:
        lock.unlink()
        os.link(outside / "precious", lock)

    with UnifiedCache(directory, **options) as cache:
        cache.get_or_compute(lambda: 2, "other")

    assert locks
    assert (outside / "precious").stat().st_mode & 0o777 == 0o600
    assert (outside / "precious").read_text() == "precious"


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "device", "directory", "socket"])
@pytest.mark.parametrize("way", ["get", "mmap", "open", "pop", "verify", "copy"])
def test_nothing_but_a_file_is_read_in_the_place_of_a_blob(directory, outside, tmp_path, kind, way):
    (path,) = blobs_of(directory)
    content = path.read_bytes()
    path.unlink()
    victim = outside / "array.npy"
    victim.write_bytes(content if kind == "link" else b"\0" * len(content))
    if kind == "link":
        path.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mknod(path, stat.S_IFSOCK | 0o600)
    before = everything(outside)

    with warnings.catch_warnings(), UnifiedCache(directory) as cache:
        warnings.simplefilter("ignore")
        found = None
        if way == "verify":
            assert cache.verify_integrity(repair=True).problems
        elif way == "copy":
            with UnifiedCache(tmp_path / "other") as other:
                cache.copy_to(other)
                found = other.get("array")
        elif way == "mmap":
            found = cache.get("array", mmap=True) if kind != "hard link" else None
        elif way == "open":
            found = cache.open("array") if kind != "hard link" else None
        else:
            found = getattr(cache, way)("array")
    assert found is None
    assert everything(outside) == before


@pytest.mark.parametrize(
    "name",
    [
        "../../outside/precious",
        "/etc/passwd",
        "ab/../../../outside/precious",
        "ab/" + "0" * 32 + "/../../../outside/precious",
        "ab/" + "0" * 32 + ".npy\n",
        "ab\\" + "0" * 32,
        "AB/" + "0" * 32,
        "ab/" + "\u0660" * 32,
        "",
        "\0",
        "store-id",
        "file:///etc/passwd",
    ],
)
@pytest.mark.parametrize("statement", ["blob = ?", "blob = ?, inline = NULL, signature = NULL"])
def test_no_name_in_an_entry_is_a_path(directory, outside, name, statement):
    before = everything(outside)
    change(directory, f"UPDATE entries SET {statement} WHERE cache_key = 'array'", name)

    use(directory)

    assert everything(outside) == before


def test_a_blob_that_is_swapped_for_a_device_while_it_is_copied_fills_no_disk(tmp_path):
    """A signed blob is copied to where nobody else writes, and never more of it than it has."""
    directory = tmp_path / "cache"
    with UnifiedCache(directory, signing="all", signing_key=b"the key of this test") as cache:
        cache.put(np.arange(50_000), "array")
        (path,) = blobs_of(directory)
        content, stop = path.read_bytes(), threading.Event()

        def swap():
            new = path.with_name("new")
            while not stop.is_set():
                new.symlink_to("/dev/zero")
                os.replace(new, path)
                new.write_bytes(content)
                os.replace(new, path)

        swapper = threading.Thread(target=swap)
        swapper.start()
        good = 0
        try:
            for _ in range(150):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = cache.get("array", mmap=True)
                if found is None:
                    cache.put(np.arange(50_000), "array")
                    stop.set()
                    swapper.join()
                    break
                good += 1
                np.testing.assert_array_equal(found, np.arange(50_000))
        finally:
            stop.set()
            swapper.join()
        cache.put(np.arange(50_000), "array")
        assert cache["array"].sum() == np.arange(50_000).sum()


def test_a_device_in_the_place_of_any_file_is_refused(tmp_path):
    for name in ("metadata.sqlite3", "metadata.jsonl"):
        backend = "sqlite" if name.endswith("3") else "json"
        directory = tmp_path / backend
        with UnifiedCache(directory, metadata_backend=backend) as cache:
            cache.put(1, "k")
        for path in directory.glob("metadata*"):
            path.unlink()
        os.mkfifo(directory / name)
        assert stat.S_ISFIFO((directory / name).lstat().st_mode)

        assert use(directory, metadata_backend=backend)


def test_an_extension_in_an_entrys_metadata_is_no_path(directory, outside):
    before = everything(outside)
    for extension in ("../../../outside/x", "/../../../../outside/x", "\0", "x" * 300):
        plant(directory, b"x", "bytes", metadata={"extension": extension})
        use(directory)
        with UnifiedCache(directory) as cache:
            cache.put({"a": 1}, "k")
    assert everything(outside) == before


def renamed(tar, name, kind):
    """A tar whose members all have that name, and are links to it where the kind says so."""
    tar = bytearray(tar)
    with tarfile.open(fileobj=io.BytesIO(bytes(tar))) as members:
        starts = [member.offset for member in members]
    for start in starts:
        header = tar[start : start + 512]
        header[:100] = name.encode().ljust(100, b"\0")
        header[156:157] = kind
        header[157:257] = name.encode().ljust(100, b"\0")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        tar[start : start + 512] = header
    return bytes(tar), len(starts)


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE]
)
@pytest.mark.parametrize("name", ["../outside/precious", "/etc/passwd", "a/../../x", "", "."])
def test_no_name_in_a_containers_tar_is_a_path(tmp_path, outside, name, kind):
    directory = tmp_path / "cache"
    parts = {"a": np.arange(20_000), "b": [np.zeros(30_000), "text"]}
    with UnifiedCache(directory) as cache:
        cache.put(parts, "k")
    (blob,) = [path for path in blobs_of(directory) if path.suffix == ".tar"]
    payload, members = renamed(blob.read_bytes(), name, kind)
    assert members >= 3
    blob.write_bytes(payload)
    checksum = f"xxh3-128:{xxh3_128_hexdigest(payload)}"
    change(directory, "UPDATE entries SET checksum = ? WHERE cache_key = 'k'", checksum)
    before = everything(outside)

    for way in ({}, {"mmap": True}):
        with UnifiedCache(directory) as cache:
            back = cache.get("k", **way)
            # Members are found by the places that the manifest says: names count for nothing.
            assert list(back) == ["a", "b"]
            assert np.array_equal(back["a"], parts["a"])
            assert back["b"][1] == "text"
    assert everything(outside) == before
    assert not (tmp_path / "x").exists()
