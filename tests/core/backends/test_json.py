# SPDX-License-Identifier: MIT
"""The JSON log costs O(1) a put, and a crash or damage loses no more than it has to."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.backends import shared_log
from cacheness.backends.base import BackendContext
from cacheness.backends.journal import decode_line, encode_line
from cacheness.backends.json import JsonBackend
from cacheness.config import CacheConfig
from cacheness.disk.locks import FileLocks
from cacheness.errors import (
    BackendUnavailableError,
    CacheClosedError,
    ConfigError,
    CorruptionWarning,
    ReadOnlyError,
)
from cacheness.testing.metadata_entries import make_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cacheness.entry import Entry


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "cache")


@pytest.fixture
def log(directory: str) -> str:
    return os.path.join(directory, "metadata.jsonl")


@pytest.fixture
def open_backend(directory: str) -> Iterator[Callable[..., JsonBackend]]:
    backends = []

    def opened(namespace: str = "", **options: Any) -> JsonBackend:
        config = CacheConfig(cache_dir=directory, **{"lock_timeout": 20, **options})
        backends.append(JsonBackend(BackendContext(directory, namespace, config)))
        return backends[-1]

    yield opened
    for backend in backends:
        backend.close()


def contents(backend: JsonBackend) -> dict[str, Entry]:
    return backend.get_entries([*backend.iter_keys()])


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were waited for to be on the disk."""
    paths: list[str] = []
    fsync = os.fsync

    def recording(descriptor: int) -> None:
        paths.append(os.readlink(f"/dev/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    return paths


# --- what a put costs -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_put_appends_as_much_among_20_000_as_among_200(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()

    def bytes_of_a_put(number: int) -> int:
        before = os.stat(log)
        backend.put_entry(make_entry(f"k{number:05}", params={"number": number}))
        after = os.stat(log)
        assert after.st_ino == before.st_ino, "a put rewrote the log"
        return after.st_size - before.st_size

    backend.put_entries(make_entry(f"k{number:05}") for number in range(199))
    at_200 = bytes_of_a_put(200)
    backend.put_entries(make_entry(f"k{number:05}") for number in range(201, 20_000))
    at_20_000 = bytes_of_a_put(20_000)

    assert 0 < at_20_000 <= 2 * at_200
    assert backend.count() == 20_000


def test_a_put_is_one_write(
    open_backend: Callable[..., JsonBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("first"))
    written = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: written.append(1) or write(fd, data))

    backend.put_entry(make_entry("one"))
    backend.put_entries(make_entry(f"k{number}") for number in range(100))
    backend.delete_entries([f"k{number}" for number in range(100)])

    assert len(written) == 3


def test_durability_fsync_waits_for_the_disk(
    open_backend: Callable[..., JsonBackend], directory: str, log: str, synced: list[str]
) -> None:
    open_backend().put_entry(make_entry("a"))
    assert log not in synced

    synced.clear()
    open_backend(durability="fsync").put_entry(make_entry("b"))
    assert directory in synced, "whoever made the log did not wait for its name"
    assert synced[-1] == log

    os.unlink(log)
    synced.clear()
    open_backend(durability="fsync").put_entry(make_entry("c"))
    assert synced[-2:] == [directory, log], "the name of a new log has to be there too"


# --- compaction -----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_past_does_not_grow_without_bound(
    open_backend: Callable[..., JsonBackend], log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "_SLACK", 10_000)
    backend, another = open_backend(), open_backend()
    elsewhere = open_backend("elsewhere")
    elsewhere.put_entry(make_entry("x", namespace="elsewhere"))
    elsewhere.write_notes("kind", {"name": 1, "gone": 2})
    elsewhere.write_notes("kind", {"gone": None})
    backend.put_entries([make_entry("batch 1"), make_entry("batch 2")])
    inodes = set()
    for number in range(600):
        backend.put_entry(make_entry(f"k{number % 7}", description=str(number)))
        backend.record_hits({f"k{number % 7}": (1, 5000.0)})
        inodes.add(os.stat(log).st_ino)
        assert another.get_entry(f"k{number % 7}") == backend.get_entry(f"k{number % 7}")
    expected = contents(backend)

    assert len(inodes) > 2, "it was never compacted"
    assert os.stat(log).st_size < 20_000
    assert len(expected) == 9
    assert contents(another) == expected
    assert contents(open_backend()) == expected
    reopened = open_backend("elsewhere")
    assert list(reopened.iter_keys()) == ["x"]
    assert reopened.read_notes("kind") == {"name": 1}
    assert [name for name in os.listdir(os.path.dirname(log)) if name.endswith(".tmp")] == []


@pytest.mark.slow
def test_many_notes_do_not_make_each_write_compact(
    open_backend: Callable[..., JsonBackend], log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "_SLACK", 10_000)
    backend = open_backend()
    for start in range(0, 3000, 100):
        backend.write_notes("kind", {f"note {n}": "x" * 20 for n in range(start, start + 100)})
    inodes = set()
    for number in range(100):
        writer = open_backend() if number % 10 == 0 else backend
        writer.put_entry(make_entry(f"k{number}"))
        inodes.add(os.stat(log).st_ino)
    assert len(inodes) == 1

    for _ in range(10):
        backend.write_notes("kind", {f"note {n}": "y" for n in range(3000)})
    size = os.stat(log).st_size
    backend.write_notes("kind", dict.fromkeys((f"note {n}" for n in range(3000)), None))

    assert size < 700_000, "notes that were written over are of the past"
    assert os.stat(log).st_size < size / 4
    assert backend.read_notes("kind") == open_backend().read_notes("kind") == {}
    assert backend.count() == open_backend().count() == 100


def test_compaction_leaves_nothing_of_a_killed_one(
    open_backend: Callable[..., JsonBackend], log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "_SLACK", 0)
    backend = open_backend()
    with open(f"{log}.1234.abcd.tmp", "wb") as leftover:
        leftover.write(b"half a log")

    for _ in range(5):
        backend.put_entry(make_entry("k"))

    assert not os.path.exists(f"{log}.1234.abcd.tmp")


def test_a_compaction_that_fails_fails_no_put_and_is_not_tried_at_each(
    open_backend: Callable[..., JsonBackend], log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "_SLACK", 0)
    backend = open_backend()
    tried = []

    def full(*_: object) -> None:
        tried.append(os.stat(log).st_size)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        for number in range(50):
            backend.put_entry(make_entry("k", description=str(number)))

    assert 2 <= len(tried) <= 7, "each time at twice the length"
    assert [name for name in os.listdir(os.path.dirname(log)) if name.endswith(".tmp")] == []
    assert contents(open_backend())["k"].description == "49"
    for number in range(100):
        backend.put_entry(make_entry("k", description=str(number)))
    assert contents(open_backend())["k"].description == "99"
    assert os.stat(log).st_size < tried[0], "and then it succeeds"


# --- crashes --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_write_torn_at_any_byte_loses_at_most_itself(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entries([make_entry("a"), make_entry("b")])
    before, size = contents(backend), os.stat(log).st_size
    backend.put_entry(make_entry("a", description="torn"))
    after = contents(backend)
    with open(log, "rb") as file:
        whole = file.read()

    for cut in range(size, len(whole)):
        with open(log, "wb") as file:
            file.write(whole[:cut])
        reader = open_backend()
        assert contents(reader) == before
        writer = open_backend()
        new = make_entry("c")
        writer.put_entry(new)
        for opened in (reader, writer, open_backend()):
            assert contents(opened) == {**before, "c": new}
            opened.close()

    with open(log, "wb") as file:
        file.write(whole)
    assert contents(open_backend()) == after


def test_a_torn_batch_is_not_there_at_all(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("a"))
    before, size = contents(backend), os.stat(log).st_size
    backend.put_entries(make_entry(f"batch {number}") for number in range(3))
    with open(log, "rb") as file:
        whole = file.read()

    for cut in range(size, len(whole), 11):
        with open(log, "wb") as file:
            file.write(whole[:cut])
        reader = open_backend()
        assert contents(reader) == before
        writer = open_backend()
        writer.delete_entry("nothing")
        writer.put_entry(make_entry("c"))
        assert set(contents(reader)) == {"a", "c"}
        reader.close()
        writer.close()


def test_a_batch_that_lost_any_page_in_its_middle_is_not_there_at_all(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("a"))
    before, size = contents(backend), os.stat(log).st_size
    backend.put_entries(make_entry(f"batch {number}") for number in range(4))
    with open(log, "rb") as file:
        whole = file.read()

    for start in range(size, len(whole) - 1, 97):
        with open(log, "wb") as file:
            file.write(whole[:start] + bytes(120) + whole[start + 120 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptionWarning)
            assert contents(open_backend()) == before
            writer = open_backend()
            writer.put_entry(make_entry("c"))
            assert set(contents(open_backend())) == {"a", "c"}


def test_what_is_left_of_an_old_batch_with_a_damaged_line_is_read(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entries([make_entry("a"), make_entry("b"), make_entry("c")])
    backend.put_entry(make_entry("d"))
    with open(log, "r+b") as file:
        text = file.read().replace(b'"cache_key":"a"', b'"cache_key":"A"')
        file.seek(0)
        file.write(text)
    os.utime(log, (0, 0))

    with pytest.warns(CorruptionWarning, match="holds 1 damaged lines"):
        damaged = open_backend()

    assert set(contents(damaged)) == {"b", "c", "d"}
    assert damaged.check_store(repair=True) == []
    assert set(contents(open_backend())) == {"b", "c", "d"}
    assert open_backend().check_store(repair=False) == []


def test_damage_at_the_end_of_the_log_is_counted_once_and_goes_with_the_next_write(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("a"))
    backend.put_entries([make_entry("b"), make_entry("c")])
    with open(log, "r+b") as file:
        text = file.read().replace(b'"cache_key":"b"', b'"cache_key":"B"')
        file.seek(0)
        file.write(text)
    os.utime(log, (0, 0))

    with pytest.warns(CorruptionWarning, match="holds 1 damaged lines"):
        damaged = open_backend()
    for _ in range(3):
        assert set(contents(damaged)) == {"a"}
        assert len(damaged.check_store(repair=False)) == 1
        assert "holds 1 damaged" in damaged.check_store(repair=False)[0]
    damaged.put_entry(make_entry("d"))

    assert set(contents(damaged)) == {"a", "d"}


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_that_it_acknowledged(
    open_backend: Callable[..., JsonBackend], directory: str, tmp_path: Path
) -> None:
    script = tmp_path / "writer.py"
    script.write_text(
        "import sys\n"
        "from cacheness.backends.base import BackendContext\n"
        "from cacheness.backends.json import JsonBackend\n"
        "from cacheness.config import CacheConfig\n"
        "from cacheness.entry import Entry\n"
        "directory, name = sys.argv[1:]\n"
        "backend = JsonBackend(BackendContext(directory, '', CacheConfig(cache_dir=directory)))\n"
        "for number in range(1_000_000):\n"
        "    payload = bytes([number % 256]) * 20_000\n"
        "    backend.put_entry(Entry('', f'{name}-{number % 40}', number + 1, inline=payload))\n"
        "    print(number, flush=True)\n"
    )
    acknowledged: dict[str, int] = {}

    for name in ("first", "second", "third"):
        command = [sys.executable, str(script), directory, name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for number in range(60):
                assert writer.stdout.readline() == b"%d\n" % number
            writer.send_signal(signal.SIGKILL)
            said = writer.stdout.read().split(b"\n")
        last = int(said[-2]) if len(said) > 1 else 59
        for number in range(last + 1):
            acknowledged[f"{name}-{number % 40}"] = number

    found = contents(open_backend())
    assert set(found) >= set(acknowledged)
    for key, number in acknowledged.items():
        generation = found[key].generation
        assert generation >= number + 1, f"{key} was put {number + 1} times"
        assert found[key].inline == bytes([(generation - 1) % 256]) * 20_000


def test_a_write_that_fails_leaves_the_log_as_it_was(
    open_backend: Callable[..., JsonBackend], log: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, another = open_backend(), open_backend()
    backend.put_entry(make_entry("a"))
    before, size = contents(backend), os.stat(log).st_size
    write = os.write
    room = [50]

    def full(descriptor: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0], taken = 0, room[0]
        return write(descriptor, data[:taken])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(BackendUnavailableError, match=r"metadata\.jsonl .*No space left"):
            backend.put_entry(make_entry("b"))

    assert os.stat(log).st_size == size
    assert contents(backend) == contents(another) == before
    backend.put_entry(make_entry("b"))
    assert another.count() == 2


# --- damage ---------------------------------------------------------------------------------


def test_a_damaged_line_costs_what_it_recorded_and_one_warning(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    for key in "abc":
        backend.put_entry(make_entry(key))
    expected = contents(backend)
    with open(log, "r+b") as file:
        text = file.read().replace(b'"cache_key":"b"', b'"cache_key":"B"')
        file.seek(0)
        file.write(text)
    os.utime(log, (0, 0))

    with pytest.warns(CorruptionWarning, match="holds 1 damaged lines") as caught:
        damaged = open_backend()

    assert len(caught) == 1
    del expected["b"]
    assert contents(damaged) == expected
    damaged.put_entry(make_entry("b"))
    with pytest.warns(CorruptionWarning):
        assert set(contents(open_backend())) == set("abc")


@pytest.mark.slow
def test_a_flipped_bit_never_makes_a_wrong_entry(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entries(make_entry(f"k{n}", params={"n": n}, inline=b"%d" % n) for n in range(2))
    backend.put_entry(make_entry("k2", metadata={"a": [1]}))
    backend.update_fields("k2", {"description": "changed"})
    expected = contents(backend)
    backend.close()
    with open(log, "rb") as file:
        whole = file.read()

    for offset in range(0, len(whole), 3):
        flipped = bytearray(whole)
        flipped[offset] ^= 1 << offset % 8
        with open(log, "wb") as file:
            file.write(flipped)
        os.utime(log, (0, 0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptionWarning)
            damaged = open_backend()
            for key, entry in contents(damaged).items():
                assert entry in (expected[key], replace(expected[key], description=""))
            new = make_entry("new")
            damaged.put_entry(new)
            damaged.close()
            again = open_backend()
            assert again.get_entry("new") == new
            again.close()


def test_a_payload_that_is_damaged_later_matches_no_checksum(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("k", inline=b"payload"))
    with open(log, "r+b") as file:
        text = file.read()
        file.seek(text.index(b'"inline":"') + 12)
        file.write(b"AA")

    entry = backend.get_entry("k")

    assert entry is not None
    assert entry.inline == b""


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "explode"},
        {"op": ["put"]},
        {"op": "put"},
        {"op": "put", "entry": 1},
        {"op": "put", "entry": {"namespace": "", "cache_key": "k"}},
        {"op": "put", "entry": {"namespace": "", "cache_key": ["k"], "generation": 1}},
        {"op": "put", "entry": {"namespace": "", "cache_key": "k", "generation": "1"}},
        {"op": "put", "entry": {"namespace": "", "cache_key": "k", "generation": True}},
        {"op": "put", "entry": {"namespace": "", "cache_key": "k", "generation": 1, "evil": 1}},
        {"op": "put", "entry": {"namespace": "", "cache_key": "k", "generation": 1, "hits": "9"}},
        {"op": "set", "ns": "", "key": "good", "changes": {"stored_bytes": "many"}},
        {"op": "set", "ns": "", "key": "good", "changes": {"inline": "eA=="}},
        {"op": "set", "ns": 1, "key": "good", "changes": []},
        {"op": "hits", "ns": "", "hits": {"good": [1]}},
        {"op": "hits", "ns": "", "hits": {"good": ["x", 1]}},
        {"op": "touch", "ns": "", "keys": ["good"], "at": None},
        {"op": "delete", "ns": "", "keys": ["good", 1]},
        {"op": "note", "ns": "", "kind": [], "notes": {}},
        {"op": "note", "ns": "", "kind": "k", "notes": 3},
        {"op": "log", "format": "1"},
    ],
)
def test_a_line_that_makes_no_sense_changes_nothing(
    open_backend: Callable[..., JsonBackend], log: str, operation: dict[str, Any]
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("good"))
    expected = contents(backend)
    with open(log, "ab") as file:
        file.write(encode_line(operation))

    if operation.get("op") == "log":
        with pytest.raises(ConfigError, match="format '1'"):
            backend.count()
        return
    with pytest.warns(CorruptionWarning):
        assert contents(backend) == expected

    with pytest.warns(CorruptionWarning):
        assert contents(open_backend()) == expected


def test_a_log_of_a_newer_format_is_refused(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    open_backend().close()
    with open(log, "wb") as file:
        file.write(encode_line({"op": "log", "format": 2}))

    with pytest.raises(ConfigError, match="format 2, this cacheness knows up to 1: upgrade"):
        open_backend()


@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda p: os.symlink("/etc/hostname", p)])
def test_what_is_planted_in_the_place_of_the_log_is_not_opened(
    open_backend: Callable[..., JsonBackend], log: str, plant: Callable[[str], None]
) -> None:
    open_backend().close()
    plant(log)

    with pytest.raises(BackendUnavailableError, match=r"metadata\.jsonl can't be used"):
        open_backend()


def test_a_directory_that_is_removed_meanwhile_is_made_again(
    open_backend: Callable[..., JsonBackend], directory: str
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("before"))
    shutil.rmtree(directory)

    assert backend.get_entry("before") is None
    assert backend.count() == 0
    backend.put_entry(make_entry("after"))

    assert list(open_backend().iter_keys()) == ["after"]


# --- what a line keeps ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        2**63 - 1,
        2**64,
        -(10**40),
        "\ud800 alone",
        "\0",
        "\u2028\u2029",
        1e-310,
        -0.0,
        float("inf"),
        [None, {"ключ": [True, 1, 1.0]}],
    ],
)
def test_a_value_survives_whatever_json_library_can_keep_it(
    open_backend: Callable[..., JsonBackend], value: Any
) -> None:
    open_backend().put_entry(make_entry(params={"x": value}, description="a"))
    open_backend().update_fields("key", {"custom_metadata": {"x": value}})

    entry = open_backend().get_entry("key")

    assert entry is not None
    assert repr(entry.params["x"]) == repr(value)
    assert repr(entry.custom_metadata["x"]) == repr(value)


def test_lines_are_json_that_any_tool_reads(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    open_backend().put_entry(make_entry("k", params={"lr": 0.1}))

    with open(log, encoding="utf-8") as file:
        header, line = map(json.loads, file)

    assert header == {"op": "log", "format": 1, "crc32": header["crc32"]}
    assert (line["op"], line["entry"]["params"]) == ("put", {"lr": 0.1})
    assert "description" not in line["entry"], "what is as by default is left out"


def test_a_line_is_believed_only_with_its_checksum() -> None:
    line = encode_line({"op": "put", "n": 1})

    assert decode_line(line) == {"op": "put", "n": 1}
    assert decode_line(line.replace(b"1", b"2", 1)) is None
    assert decode_line(line[:-1]) is None
    assert decode_line(b"\n") is None
    assert decode_line(b"null\n") is None


def test_what_json_cannot_keep_is_an_error_and_writes_nothing(
    open_backend: Callable[..., JsonBackend], log: str
) -> None:
    backend = open_backend()
    backend.put_entry(make_entry("k"))
    size = os.stat(log).st_size

    with pytest.raises(TypeError):
        backend.put_entry(make_entry("bad", params={"x": object()}))
    with pytest.raises(TypeError, match="hits="):
        backend.put_entry(make_entry("bad", hits="many"))
    with pytest.raises(TypeError, match="pinned="):
        backend.update_fields("k", {"pinned": 1})

    assert os.stat(log).st_size == size


# --- who may do what ------------------------------------------------------------------------


def test_read_only_changes_nothing_on_the_disk(
    open_backend: Callable[..., JsonBackend], directory: str
) -> None:
    writer = open_backend()
    writer.put_entry(make_entry("k"))

    def state() -> list[tuple[str, int, int]]:
        found = []
        for folder, _, names in os.walk(directory):
            for name in names:
                status = os.stat(os.path.join(folder, name))
                found.append((name, status.st_size, status.st_mtime_ns))
        return sorted(found)

    before = state()
    reader = open_backend(read_only=True)
    assert set(contents(reader)) == {"k"}
    attempts: list[Callable[[], object]] = [
        lambda: reader.put_entry(make_entry("x")),
        lambda: reader.delete_entry("k"),
        lambda: reader.update_fields("k", {"hits": 1}),
        lambda: reader.record_hits({"k": (1, 1.0)}),
        lambda: reader.write_notes("kind", {"a": 1}),
    ]
    for attempt in attempts:
        with pytest.raises(ReadOnlyError, match=r"metadata\.jsonl was opened with read_only=True"):
            attempt()
    assert state() == before

    writer.put_entry(make_entry("new"))
    assert set(contents(reader)) == {"k", "new"}, "it sees what others write"


@pytest.mark.parametrize(
    ("permissions", "of_directory", "of_file"),
    [("private", 0o700, 0o600), ("group", 0o2770, 0o660)],
)
def test_the_log_is_open_to_whom_it_should_be(
    open_backend: Callable[..., JsonBackend],
    directory: str,
    log: str,
    monkeypatch: pytest.MonkeyPatch,
    permissions: str,
    of_directory: int,
    of_file: int,
) -> None:
    monkeypatch.setattr(shared_log, "_SLACK", 0)
    previous = os.umask(0o077)
    try:
        backend = open_backend(permissions=permissions)
        for _ in range(4):
            backend.put_entry(make_entry("k"))
            assert os.stat(log).st_mode & 0o7777 == of_file
    finally:
        os.umask(previous)

    assert os.stat(directory).st_mode & 0o7777 == of_directory


def test_reads_wait_for_no_lock(open_backend: Callable[..., JsonBackend], directory: str) -> None:
    backend = open_backend(lock_timeout=0.05)
    backend.put_entry(make_entry("k"))

    with FileLocks(directory).hold("metadata.jsonl", timeout=1):
        assert backend.get_entry("k") is not None
        assert open_backend().count() == 1
        with pytest.raises(BackendUnavailableError, match=r"waited 0\.05 s .*'metadata\.jsonl'"):
            backend.put_entry(make_entry("k"))


def test_a_closed_backend_says_so(open_backend: Callable[..., JsonBackend]) -> None:
    backend = open_backend()
    backend.close()

    with pytest.raises(CacheClosedError):
        backend.get_entry("k")
    with pytest.raises(CacheClosedError):
        backend.put_entry(make_entry("k"))


def test_threads_of_two_objects_lose_nothing_over_compactions(
    open_backend: Callable[..., JsonBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_log, "_SLACK", 2_000)
    backends = [open_backend(), open_backend()]
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(60):
                backend = backends[number % 2]
                backend.put_entry(make_entry(f"{thread}-{number % 5}", description=str(number)))
                found = backends[thread % 2].get_entry(f"{thread}-{number % 5}")
                assert found is not None
                assert (found.description, found.inline) == (str(number), b"payload")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert contents(backends[0]) == contents(backends[1]) == contents(open_backend())
    assert backends[0].count() == 20
