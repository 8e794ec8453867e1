"""A stream that a stranger wrote gives items of data, or an error of ours, in little memory."""

import gzip
import json
import pickle
import tracemalloc
import warnings
from itertools import islice

import pytest
from tests.core.security.hostile import plant

from cacheness import CachenessError, UnifiedCache
from cacheness.payloads.checksum import checksum_of

RAN = []


def run():
    RAN.append(1)


class Bomb:
    def __reduce__(self):
        return run, ()


HEAD = ["json", 1, "", "none", None]


def member_of(table, payload=b"[1,2]"):
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(raw).to_bytes(4, "little") + raw + payload


def stream_of(content, *, members=None, **changes):
    """The payload and the metadata of a stream of that member, with checksums that fit."""
    member = {
        "offset": 0,
        "size": len(content),
        "compressor": "none",
        "logical": len(content),
        "checksum": checksum_of(content, "blake3"),
        **changes,
    }
    index = json.dumps({"members": members or [member], "returns": False}).encode()
    metadata = {
        "compressed": True,
        "index": [len(content), len(index)],
        "index_checksum": checksum_of(index, "blake3"),
        "items": 2,
    }
    return content + index, metadata


ZEROS = gzip.compress(bytes(64 << 20), 1)
GOOD = member_of({"heads": [HEAD], "rows": [[0, 5, 5, 0]]})


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path / "cache", inline_bytes=1 << 22) as cache:
        yield cache
    assert RAN == []


def read(cache, tmp_path, payload, metadata, most=100):
    """The first items of what was planted, or the error that they end with."""
    cache.put(0, "k")
    plant(tmp_path / "cache", payload, "stream", metadata=metadata)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = cache.get("k")
        return None if found is None else list(islice(found, most))
    except CachenessError as error:
        assert str(error)  # noqa: PT017  # an error of ours is a good end
        return error


def test_the_good_one_is_good(cache, tmp_path):
    assert read(cache, tmp_path, *stream_of(GOOD)) == [[1, 2]]


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"[" * 100_000,
        b"\xff",
        {"heads": [], "rows": [[0, 5, 5, 0]]},
        {"heads": [HEAD], "rows": [[0, 5, 5, 7]] * 2},
        {"heads": [HEAD], "rows": [[0, -5, 5, 0]]},
        {"heads": [HEAD], "rows": [[0, 10**15, 10**15, 0]]},
        {"heads": [HEAD], "rows": [["0", 5, 5, 0]]},
        {"heads": [HEAD], "rows": [[0]]},
        {"heads": [HEAD], "rows": 5},
        {"heads": [["json"]], "rows": [[0, 5, 5, 0]]},
        {"heads": [[["json"], 1, "", "none", None]], "rows": [[0, 5, 5, 0]]},
        {"heads": [["json", 1, "", "os:system", None]], "rows": [[0, 5, 5, 0]]},
        {"heads": [["json", 1, "", "gzip", None]], "rows": [[0, 5, 10**15, 0]]},
        {"heads": [["os:system", 1, "", "none", None]], "rows": [[0, 5, 5, 0]]},
        {"heads": [["numpy", 1, "", "none", {"shape": [10**15]}]], "rows": [[0, 5, 5, 0]]},
    ],
)
def test_an_item_that_is_none_ends_a_stream_by_an_error_of_ours(cache, tmp_path, table):
    found = read(cache, tmp_path, *stream_of(member_of(table)))

    assert found is None or isinstance(found, CachenessError)


@pytest.mark.parametrize("handler", ["pickle", "container", "stream"])
def test_no_item_of_an_unsigned_stream_is_unpickled(cache, tmp_path, handler):
    payload = pickle.dumps(Bomb())
    table = {
        "heads": [[handler, 1, "", "none", None]],
        "rows": [[0, len(payload), len(payload), 0]],
    }

    assert isinstance(read(cache, tmp_path, *stream_of(member_of(table, payload))), CachenessError)


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": -1},
        {"offset": 10**20},
        {"size": 10**20},
        {"size": None},
        {"checksum": "xxh3-128:00"},
        {"checksum": None},
        {"compressor": "os:system"},
        {"compressor": "gzip"},
        {"compressor": ["none"]},
        {"members": 5},
        {"members": {"a": 1}},
        {"members": [5]},
        {"members": [{}]},
    ],
)
def test_an_index_that_is_none_is_a_miss_or_an_error_of_ours(cache, tmp_path, changes):
    found = read(cache, tmp_path, *stream_of(GOOD, **changes))

    assert found is None or isinstance(found, CachenessError)


@pytest.mark.parametrize("logical", [10**15, 1 << 60, -1, 5, None])
def test_a_member_that_states_another_size_takes_none_of_it(cache, tmp_path, logical):
    tracemalloc.start()
    found = read(cache, tmp_path, *stream_of(ZEROS, compressor="gzip", logical=logical))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(found, CachenessError)
    assert peak < 20 << 20


def test_a_member_that_is_named_again_and_again_is_in_memory_once(cache, tmp_path):
    text = json.dumps("x" * 500_000).encode()
    table = {"heads": [HEAD], "rows": [[0, len(text), len(text), 0]]}
    content = member_of(table, text)
    member = json.loads(stream_of(content)[0][len(content) :])["members"][0]
    payload, metadata = stream_of(content, members=[member] * 300)
    cache.put(0, "k")
    plant(tmp_path / "cache", payload, "stream", metadata=metadata)

    tracemalloc.start()
    lengths = [len(item) for item in cache.get("k")]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert lengths == [500_000] * 300
    assert peak < 20 << 20
