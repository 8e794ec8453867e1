"""What reading could run code of is signed, and nothing else of it is ever read."""

import os
import sqlite3
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from cacheness import (
    ConfigError,
    CorruptionWarning,
    SecurityWarning,
    SerializationError,
    SignatureError,
    UnifiedCache,
)

RAN = []


class Boom:
    """Its pickle tells when it is read."""

    def __init__(self, size=0):
        self.filling = "x" * size

    def __reduce__(self):
        return _ran, (self.filling,)


def _ran(filling):
    RAN.append(1)
    return ("ran", len(filling))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user of our own, with no key yet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("CACHENESS_SIGNING_KEY", raising=False)
    RAN.clear()
    return tmp_path / "home"


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


def change(directory, statement, *values):
    with sqlite3.connect(directory / "metadata.sqlite3") as connection:
        connection.execute(statement, values)
    connection.close()


def one_blob(directory):
    (path,) = [
        os.path.join(folder, name)
        for folder, _, names in os.walk(directory / "blobs")
        for name in names
        if not name.startswith(("store-id", "owner-"))
    ]
    return path


def test_what_only_pickle_keeps_comes_back_signed(directory):
    with UnifiedCache(directory) as cache:
        cache.put({1, 2}, "set")
        cache.put(Boom(), "boom")
        entry = cache.get_entry("set")

        assert cache["set"] == {1, 2}
        assert cache["boom"] == ("ran", 0)
        assert entry.signature is not None
        assert entry.checksum.startswith("blake3:")


def test_what_is_data_only_needs_no_key_and_none_is_made(directory, home):
    with UnifiedCache(directory) as cache:
        for value in ({"a": 1}, b"x", np.zeros(3), {"a": np.zeros(3)}, (1, 2)):
            cache.put(value, "k")
            assert cache.get_entry("k").signature is None
            cache.get("k")
    assert not home.exists()


def test_the_key_is_made_once_outside_the_cache_and_for_its_user_alone(directory, home):
    with UnifiedCache(directory) as cache:
        cache.put({1}, "k")
    (key,) = [path for path in home.rglob("*") if path.is_file()]

    assert key.stat().st_mode & 0o777 == 0o600
    assert len(bytes.fromhex(key.read_text())) == 32
    assert not str(key).startswith(str(directory))


def test_what_was_left_of_a_key_by_who_was_killed_is_removed(directory, home):
    with UnifiedCache(directory) as cache:
        cache.put({1}, "k")
    (key,) = home.rglob("signing.key")
    left, young = key.with_name("signing.key.7.0a0a0a0a.tmp"), key.with_name("signing.key.8.tmp")
    another = key.with_name("signing.key.old")
    for path in (left, young, another):
        path.write_bytes(b"a secret")
    for path in (left, another):
        os.utime(path, (time.time() - 7200,) * 2)

    with UnifiedCache(directory) as cache:
        assert cache.get("k") == {1}

    assert not left.exists()
    assert young.exists()
    assert another.exists()


@pytest.mark.slow
def test_fifty_processes_that_start_without_a_key_end_up_with_one(directory, home):
    script = (
        "import sys; from cacheness.payloads.signing import load_user_key;"
        "sys.stdin.read(1); print(load_user_key(make=True).hex())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(50)
    ]
    for process in started:
        process.stdin.write("x")
        process.stdin.flush()
    keys = {process.communicate()[0] for process in started}

    assert len(keys) == 1
    assert len(list(home.rglob("signing.key*"))) == 1


@pytest.mark.parametrize("size", [0, 100_000], ids=["inline", "blob"])
def test_a_payload_with_a_byte_changed_is_never_unpickled(directory, size):
    with UnifiedCache(directory) as cache:
        cache.put(Boom(size), "k")
        if size:
            path = one_blob(directory)
            content = bytearray(Path(path).read_bytes())
            content[-5] ^= 1
            Path(path).write_bytes(content)
        else:
            change(directory, "UPDATE entries SET inline = CAST(inline || 'x' AS BLOB)")

        with pytest.warns(CorruptionWarning, match="quarantine"):
            assert cache.get("k", default="miss") == "miss"

        assert RAN == []
        assert not cache.exists("k")
        assert len(list((directory / "quarantine").iterdir())) == 2
        cache.put(1, "k")
        assert cache["k"] == 1


@pytest.mark.parametrize(
    ("statement", "outcome"),
    [
        ("UPDATE entries SET signature = NULL", "missing"),
        ("UPDATE entries SET signature = replace(signature, ':', ':00')", "wrong"),
        ("UPDATE entries SET signature = '0123456789abcdef:00'", "foreign"),
        ("UPDATE entries SET cache_key = 'other'", "wrong"),
        ("UPDATE entries SET generation = generation + 1", "wrong"),
        ("UPDATE entries SET metadata = '{\"a\": 1}'", "wrong"),
        ("UPDATE entries SET distribution = 'evil'", "wrong"),
        ("UPDATE entries SET compressor = 'gzip'", "wrong"),
    ],
)
def test_an_entry_that_was_tampered_with_is_never_unpickled(directory, statement, outcome):
    with UnifiedCache(directory) as cache:
        cache.put(Boom(), "k")
        change(directory, statement)
        key = next(iter(cache))

        with pytest.warns(SecurityWarning):
            assert cache.get(key, default="miss") == "miss"

        assert RAN == []
        assert cache.exists(key) == (outcome != "wrong")


def test_a_planted_pickle_is_never_unpickled(directory):
    import pickle

    from xxhash import xxh3_128_hexdigest

    payload = pickle.dumps(Boom())
    with UnifiedCache(directory) as cache:
        cache.put({"a": 1}, "k")
        change(
            directory,
            "UPDATE entries SET handler = 'pickle', inline = ?, checksum = ?",
            payload,
            f"xxh3-128:{xxh3_128_hexdigest(payload)}",
        )
        with pytest.warns(SecurityWarning, match="needs a signature"):
            assert cache.get("k") is None
        with pytest.warns(SecurityWarning):
            assert cache.open("k") is None
    assert RAN == []


def test_a_pickle_planted_as_a_part_of_an_unsigned_container_is_never_unpickled(directory):
    from cacheness.payloads.checksum import checksum_of

    with UnifiedCache(directory) as cache:
        cache.put({"a": np.zeros(3), "b": Boom()}, "signed")
        assert cache["signed"]["b"] == ("ran", 0)
        RAN.clear()
        signed = cache.get_entry("signed")
        change(
            directory,
            "UPDATE entries SET signature = NULL, checksum = ?",
            checksum_of(signed.inline, "xxh3-128"),
        )
        with pytest.warns(SecurityWarning, match="pickle"):
            assert cache.get("signed") is None
    assert RAN == []


def test_another_user_gets_a_miss_that_says_how_to_share_and_the_entry_stays(
    directory, tmp_path, monkeypatch
):
    with UnifiedCache(directory) as cache:
        cache.put({1, 2}, "k")
    first_home = os.environ["HOME"]
    monkeypatch.setenv("HOME", str(tmp_path / "another"))

    with UnifiedCache(directory) as cache:
        with pytest.warns(SecurityWarning, match="CACHENESS_SIGNING_KEY"):
            assert cache.get("k", default="miss") == "miss"
        assert cache.exists("k")
    with UnifiedCache(directory, on_bad_signature="raise") as cache, pytest.raises(SignatureError):
        cache.get("k")

    monkeypatch.setenv("HOME", first_home)
    with UnifiedCache(directory) as cache:
        assert cache["k"] == {1, 2}


def test_a_shared_key_is_believed_and_an_old_one_too(directory):
    with UnifiedCache(directory, signing_key="first key, 16 bytes") as cache:
        cache.put({1}, "k")
    with UnifiedCache(
        directory, signing_key=b"second key, 16 bytes", old_signing_keys=["first key, 16 bytes"]
    ) as cache:
        assert cache["k"] == {1}
        cache.put({2}, "k")
    with UnifiedCache(directory, signing_key=b"second key, 16 bytes") as cache:
        assert cache["k"] == {2}


def test_signing_all_refuses_what_is_unsigned_and_off_asks_for_nothing(directory):
    with UnifiedCache(directory, signing="off") as cache:
        cache.put({"a": 1}, "plain")
        cache.put({1}, "pickled")
        assert cache["pickled"] == {1}
        assert cache.get_entry("pickled").signature is None
    with UnifiedCache(directory, signing="all") as cache:
        with pytest.warns(SecurityWarning):
            assert cache.get("plain") is None
        cache.put({"a": 1}, "plain")
        assert cache["plain"] == {"a": 1}
        assert cache.get_entry("plain").signature


def test_without_pickle_nothing_but_data_is_stored_or_read(directory):
    with UnifiedCache(directory) as cache:
        cache.put(Boom(), "pickled")
    with UnifiedCache(directory, allow_pickle=False) as cache:
        with pytest.raises(SerializationError, match="allow_pickle=False"):
            cache.put({1}, "k")
        with pytest.warns(SecurityWarning, match="allow_pickle=False"):
            assert cache.get("pickled") is None
        cache.put((1.0, "two", [np.zeros(2)]), "k")
        assert cache["k"][:2] == (1.0, "two")
    assert RAN == []


@pytest.mark.parametrize("spoil", ["mode", "garbage", "directory"])
def test_without_a_usable_key_what_needs_one_is_neither_stored_nor_read(directory, home, spoil):
    with UnifiedCache(directory) as cache:
        cache.put({1}, "before")
    (key,) = [path for path in home.rglob("*") if path.is_file()]
    if spoil == "mode":
        key.chmod(0o644)
    elif spoil == "garbage":
        key.write_text("not hex")
    else:
        key.unlink()
        key.mkdir()

    with UnifiedCache(directory) as cache:
        with pytest.warns(SecurityWarning, match="neither stored nor read"):
            cache.put({2}, "k")
        assert not cache.exists("k")
        with pytest.warns(SecurityWarning):
            assert cache.get("before") is None
        cache.put({"plain": 1}, "k")
        assert cache["k"] == {"plain": 1}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            cache.put({3}, "again")  # said once


def test_a_groups_cache_asks_for_an_explicit_key(directory, home):
    with UnifiedCache(directory, permissions="group") as cache:
        with pytest.warns(SecurityWarning, match="explicit signing key"):
            cache.put({1}, "k")
        assert not cache.exists("k")
        cache.put({"a": 1}, "k")
        assert cache["k"] == {"a": 1}
    assert not home.exists()


def test_the_key_is_told_nowhere(directory):
    secret = "a very secret signing key"
    with UnifiedCache(directory, signing_key=secret) as cache:
        cache.put({1}, "k")
        told = repr(cache) + repr(cache.config) + repr(cache.get_entry("k"))
    stored = b"".join(path.read_bytes() for path in directory.rglob("*") if path.is_file())

    assert secret not in told
    assert secret.encode() not in stored


def test_a_short_key_is_refused():
    with pytest.raises(ConfigError, match="16 secret bytes"):
        UnifiedCache(signing_key="short")
