"""What a read does when something is wrong with an entry: never a wrong value."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from cacheness import (
    BackendUnavailableError,
    CachenessWarning,
    CorruptionWarning,
    PluginNotInstalledError,
    UnifiedCache,
)


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path / "cache") as made:
        made.put(np.arange(50_000), "k")
        yield made


def blob_of(cache, key="k"):
    return os.path.join(cache.config.cache_dir, "blobs", cache.get_entry(key).blob)


def change(cache, statement, *values):
    with sqlite3.connect(os.path.join(cache.config.cache_dir, "metadata.sqlite3")) as connection:
        connection.execute(statement, values)
    connection.close()


def quarantined(cache):
    folder = os.path.join(cache.config.cache_dir, "quarantine")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def test_a_missing_blob_is_a_miss_and_the_entry_goes(cache):
    os.unlink(blob_of(cache))

    with pytest.warns(CorruptionWarning, match="missing"):
        assert cache.get("k", default="d") == "d"
    assert "k" not in cache


@pytest.mark.parametrize("damage", ["truncated", "emptied", "extended", "flipped"])
def test_a_damaged_blob_is_a_miss_and_goes_to_quarantine(cache, damage):
    path = blob_of(cache)
    content = bytearray(Path(path).read_bytes())
    if damage == "truncated":
        content = content[:-1]
    elif damage == "emptied":
        content = b""
    elif damage == "extended":
        content += b"\0"
    else:
        content[len(content) // 2] ^= 0x10
    with open(path, "wb") as file:
        file.write(content)

    with pytest.warns(CorruptionWarning, match="quarantine"):
        assert cache.get("k", default="d") == "d"
    assert "k" not in cache
    assert not os.path.exists(path)
    assert len(quarantined(cache)) == 2
    cache.put("healed", "k")
    assert cache["k"] == "healed"


@pytest.mark.parametrize("intruder", ["directory", "symlink", "fifo"])
def test_a_blob_replaced_by_something_else_is_never_followed(cache, tmp_path, intruder):
    path = blob_of(cache)
    elsewhere = tmp_path / "elsewhere"
    os.rename(path, elsewhere)
    if intruder == "directory":
        os.mkdir(path)
    elif intruder == "symlink":
        os.symlink(elsewhere, path)
    else:
        os.mkfifo(path)

    try:
        with pytest.warns(CachenessWarning):
            assert cache.get("k", default="d") == "d"
    except BackendUnavailableError:
        assert "k" in cache
    assert elsewhere.exists()


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "ab/../x", "", "ab/" + "0" * 32 + "/x", "ab\0"]
)
def test_a_hostile_blob_name_leads_nowhere(cache, name):
    change(cache, "UPDATE entries SET blob = ?", name)

    with pytest.warns(CachenessWarning):
        assert cache.get("k", default="d") == "d"


def test_a_blob_of_another_store_is_out_of_reach_and_kept(cache):
    change(cache, "UPDATE entries SET blob_store = 'another'")

    with pytest.raises(BackendUnavailableError, match="another blob store"):
        cache.get("k")
    assert "k" in cache


def test_an_intact_payload_that_can_not_be_decoded_is_kept(cache):
    from cacheness.payloads.checksum import checksum_of

    payload = b"\x93NUMPY\x09\x00 from the future"
    change(
        cache,
        "UPDATE entries SET blob = NULL, inline = ?, checksum = ?",
        payload,
        checksum_of(payload, "xxh3-128"),
    )

    with pytest.warns(CachenessWarning, match="intact.*kept"):
        assert cache.get("k", default="d") == "d"
    assert "k" in cache


def test_an_entry_of_an_unknown_handler_is_kept_and_names_no_strangers_package(cache):
    change(cache, "UPDATE entries SET handler = 'dataframe2', distribution = 'evil; rm -rf /'")

    with pytest.raises(PluginNotInstalledError) as caught:
        cache.get("k")
    assert "pip install" not in str(caught.value)
    assert "k" in cache
    change(cache, "UPDATE entries SET distribution = 'cacheness-pandas'")
    with pytest.raises(PluginNotInstalledError, match="pip install cacheness-pandas"):
        cache.get("k")


def test_an_entry_of_a_newer_handler_version_is_kept(cache):
    change(cache, "UPDATE entries SET handler_version = 99")

    with pytest.raises(PluginNotInstalledError, match="version 99"):
        cache.get("k")
    assert "k" in cache


@pytest.mark.parametrize("size", [-1, 0, 10**15, 2**62])
def test_a_lying_size_exhausts_nothing(cache, size):
    change(cache, "UPDATE entries SET stored_bytes = ?", size)

    with pytest.warns(CorruptionWarning):
        assert cache.get("k", default="d") == "d"


@pytest.mark.parametrize(
    "metadata", ["[]", "nonsense", '{"_archive": [0, 99999999]}', '{"_chunks": [1]}']
)
def test_hostile_metadata_raises_nothing(cache, metadata):
    change(cache, "UPDATE entries SET metadata = ?", metadata)
    change(cache, "UPDATE entries SET compressor = 'gzip' WHERE metadata LIKE '%chunks%'")

    with pytest.warns(CachenessWarning) if metadata != "[]" else _nothing():
        cache.get("k", default="d")


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_verify_says_when_the_checksum_is_compared(tmp_path):
    with UnifiedCache(tmp_path, verify="always") as cache:
        cache.put(np.arange(50_000), "k")
    for verify, caught_at in (("always", 2), ("open", 1), ("never", 0)):
        with UnifiedCache(tmp_path, verify=verify) as cache:
            path = blob_of(cache)
            content = Path(path).read_bytes()
            if caught_at == 2:
                cache.get("k")
            if caught_at == 1:
                assert cache.get("k")[-1] == 49_999
            flipped = bytearray(content)
            flipped[-1] ^= 1
            with open(path, "wb") as file:
                file.write(flipped)
            if caught_at == 2:
                with pytest.warns(CorruptionWarning):
                    assert cache.get("k") is None
                cache.put(np.arange(50_000), "k")
            else:
                assert cache.get("k") is not None
                with open(path, "wb") as file:
                    file.write(content)


def test_a_mapped_array_is_compared_only_when_it_is_read_whole(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(np.arange(200_000), "k", compressor="none")
        with open(blob_of(cache), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\1")

        for view in (cache.get("k", mmap=True), cache.open("k")):
            assert view[-1] == 199_999 + (1 << 56)
        with pytest.warns(CorruptionWarning):
            assert cache.get("k") is None


def test_a_read_that_a_replace_overtook_starts_anew(tmp_path):
    with UnifiedCache(tmp_path) as cache, UnifiedCache(tmp_path) as other:
        cache.put(np.zeros(50_000), "k")
        find = cache.engine.backend.find
        overtaken = []

        def find_then_be_overtaken(key):
            stored = find(key)
            if not overtaken:
                overtaken.append(key)
                other.put(np.ones(50_000), "k")
            return stored

        cache.engine.backend.find = find_then_be_overtaken
        assert cache.get("k").sum() == 50_000
        assert other.get("k").sum() == 50_000


def test_the_oldest_in_quarantine_go_where_it_is_larger_than_the_cache_may_be(tmp_path):
    with UnifiedCache(tmp_path / "bounded", max_size=1_000_000, min_free=0) as cache:
        for number in range(6):
            cache.put(os.urandom(300_000), str(number), compressor="none")
            generation = cache.get_entry(str(number)).generation
            Path(blob_of(cache, str(number))).write_bytes(os.urandom(300_000))
            with pytest.warns(CorruptionWarning, match="quarantine"):
                assert cache.get(str(number)) is None

        kept = quarantined(cache)
        folder = tmp_path / "bounded" / "quarantine"
        assert sum((folder / name).stat().st_size for name in kept) < 1_000_000
        assert len(kept) == 6  # of three entries
        assert f"{generation:016x}.payload" in kept


def test_what_is_larger_than_the_quarantine_may_be_is_kept_alone(tmp_path):
    with UnifiedCache(tmp_path / "bounded", min_free=0) as cache:
        cache.put(bytes(400_000), "k", compressor="none")
        cache.put(bytes(400_000), "large", compressor="none")
        for key in ("k", "large"):
            Path(blob_of(cache, key)).write_bytes(b"damaged")
    with UnifiedCache(tmp_path / "bounded", max_size=100_000, min_free=0) as cache:
        for key in ("k", "large"):
            generation = cache.get_entry(key).generation
            Path(blob_of(cache, key)).write_bytes(os.urandom(400_000))
            with pytest.warns(CorruptionWarning, match="quarantine"):
                assert cache.get(key) is None

        assert quarantined(cache) == [f"{generation:016x}.json", f"{generation:016x}.payload"]


def test_a_damaged_inline_payload_is_a_miss_and_goes_to_quarantine(cache):
    cache.put({"a": 1}, "small")
    assert cache["small"] == {"a": 1}
    change(cache, "UPDATE entries SET inline = ? WHERE cache_key = 'small'", b'{"a":2}')

    with pytest.warns(CorruptionWarning, match="quarantine"):
        assert cache.get("small", default="d") == "d"
    assert "small" not in cache
    assert len(quarantined(cache)) == 2
