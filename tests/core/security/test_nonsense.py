# SPDX-License-Identifier: MIT
"""An entry whose record is nonsense is a miss, and keeps nobody from the other entries."""

import os
import sqlite3
import warnings
from contextlib import suppress

import numpy as np
import pytest
from tests.core.security.hostile import change

from cacheness import CachenessError, SecurityWarning, UnifiedCache, cached
from cacheness.backends.sqlite_schema import COLUMNS

KEY = b"the key of this test"
NONSENSE = (
    None,
    -(2**40),
    2**63 - 1,
    1.5,
    float("inf"),
    "../../x\N{BELL}",
    "0123456789abcdef:\N{BELL}",
    b"\x00\xff",
    '{"params":1,"tags":[1],"key_parts":[],"description":[1],"x":1}',
    " " + "[" * 100_000,
)


@pytest.fixture
def directory(tmp_path):
    """A closed cache of a plain entry, a signed one, a blob, and one with parameters."""
    directory = tmp_path / "cache"
    with UnifiedCache(directory, signing_key=KEY) as cache:
        cache.put({"a": 1}, "plain")
        cache.put({1, 2}, "signed")
        cache.put(np.arange(20_000), "blob")
        cache.put("by", of=1)
    return directory


def ask(cache, key, other):
    """Everything that reads an entry or goes through all of them; each may only say no."""

    @cached(cache=cache)
    def function(of):
        return [of]

    for step in (
        lambda: cache.get(key),
        lambda: cache.get_batch([key, "signed"]),
        lambda: cache.get(key, mmap=True),
        lambda: cache.get(key, ttl_seconds=5),
        lambda: cache.get_with_metadata(key),
        lambda: cache.open(key),
        lambda: cache.exists(key),
        lambda: (len(cache), list(cache), list(cache.entries())),
        lambda: cache.query_meta(of=1),
        lambda: list(cache.entries(entry__created_at__gt=0, tags__contains="x")),
        lambda: cache.delete_where(lambda _: False),
        lambda: (str(cache.stats()), cache._repr_html_()),
        lambda: str(function.cache_explain(1)),
        lambda: cache.verify_integrity(),
        lambda: cache.copy_to(other),
        lambda: cache.touch(key),
        lambda: cache.touch_batch(of=1),
        lambda: cache.update_entry(key, description="new"),
        lambda: cache.update_data({"a": 2}, key),
        lambda: cache.verify_integrity(repair=True),
        lambda: cache.pop(key),
    ):
        with suppress(CachenessError):
            step()


@pytest.mark.parametrize("value", [-1, 1.5, "text", b"", None])
def test_an_inline_payload_that_is_none_fails_no_read_after_the_first(directory, value):
    """Rows are kept from the second read of a thread on."""
    with UnifiedCache(directory, signing_key=KEY) as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert cache["plain"] == {"a": 1}
        change(directory, "UPDATE entries SET inline = ? WHERE cache_key != 'plain'", value)
        for _ in range(3):
            assert cache["plain"] == {"a": 1}
            assert cache.get(of=1) is None


@pytest.mark.parametrize("value", ["inf", "1e400", "nan", "x", "", b"\xff", "[]", None, 5])
def test_nonsense_among_the_statistics_counts_nothing(directory, value):
    def function(of):
        return [of]

    with UnifiedCache(directory, signing_key=KEY) as cache:
        cached(cache=cache)(function)(1)
    with suppress(sqlite3.IntegrityError):
        change(directory, "UPDATE notes SET value = ? WHERE kind = 'statistics'", value)
    with UnifiedCache(directory, signing_key=KEY) as cache:
        repr(cache.stats())
        assert cached(cache=cache)(function)(2) == [2]
        assert cache.stats().hits < 10


@pytest.mark.slow
@pytest.mark.parametrize("column", [name for name in COLUMNS if name not in ("namespace", "worth")])
def test_whatever_a_column_holds_costs_at_most_that_entry(directory, tmp_path, column):
    key = {"blob": "blob", "blob_store": "blob", "signature": "signed"}.get(column, "plain")
    with (
        UnifiedCache(directory, signing_key=KEY) as cache,
        UnifiedCache(tmp_path / "other", signing_key=KEY) as other,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        for value in NONSENSE:
            for of in {key, "signed"}:
                cache.put({1, 2}, of) if of == "signed" else cache.put(np.arange(20_000), of)
                if of == "plain":
                    cache.put({"a": 1}, of)
                with suppress(sqlite3.IntegrityError):
                    change(
                        directory, f"UPDATE entries SET {column} = ? WHERE cache_key = ?", value, of
                    )
                ask(cache, of, other)
                assert cache.get(of=1) == "by"
        cache.put({"a": 1}, key)
        assert cache[key] == {"a": 1}


@pytest.mark.parametrize("nonsense", ["xxh3-128", "", "md5:00", "blake3"])
def test_a_checksum_of_no_known_kind_is_none(directory, nonsense):
    change(directory, "UPDATE entries SET checksum = ? WHERE cache_key = 'plain'", nonsense)
    with UnifiedCache(directory) as cache, pytest.warns(Warning, match="quarantine"):
        assert cache.get("plain") is None


def test_what_is_quarantined_overwrites_no_file_that_has_another_name(directory, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    with UnifiedCache(directory) as cache:
        generation = cache.get_entry("plain").generation
        (directory / "quarantine").mkdir()
        for ending in ("json", "payload"):
            os.link(precious, directory / "quarantine" / f"{generation:016x}.{ending}")
        change(directory, "UPDATE entries SET checksum = 'xxh3-128:00' WHERE cache_key = 'plain'")
        with pytest.warns(Warning, match="quarantine"):
            assert cache.get("plain") is None
    assert precious.read_text() == "precious"
    assert (directory / "quarantine" / f"{generation:016x}.payload").read_bytes() == b'{"a":1}'


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name")
@pytest.mark.parametrize("name", ["cacheness.json", "store-id"])
def test_a_pipe_in_the_place_of_a_file_is_waited_for_by_nobody(directory, name):
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)

    with pytest.raises(CachenessError, match="is no file"), UnifiedCache(directory) as cache:
        cache.put(np.arange(30_000), "new")


def test_a_signature_that_is_no_ascii_is_wrong(directory):
    change(
        directory,
        "UPDATE entries SET signature = substr(signature, 1, instr(signature, ':')) || 'é' "
        "WHERE cache_key = 'signed'",
    )
    with UnifiedCache(directory, signing_key=KEY) as cache, pytest.warns(SecurityWarning):
        assert cache.get("signed") is None
