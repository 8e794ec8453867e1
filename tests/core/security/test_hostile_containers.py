"""A container that a stranger wrote is no larger than its file and the memory allow."""

import gzip
import json
import warnings

import pytest
from tests.core.security.hostile import plant

from cacheness import UnifiedCache

resource = pytest.importorskip("resource")

PART = {
    "handler": "bytes",
    "version": 1,
    "distribution": "cacheness-core",
    "compressor": "none",
    "metadata": {},
}


def container_of(places, content, **changes):
    """A list of parts that lie at those places, as the payload and metadata of a container."""
    parts = [
        {**PART, "offset": offset, "size": size, "logical": size, **changes}
        for offset, size in places
    ]
    body = json.dumps(
        {
            "root": ["node", 0],
            "nodes": [{"list": [["part", {"part": n}] for n in range(len(parts))]}],
        }
    ).encode()
    manifest = json.dumps({"parts": parts, "body": [len(content), len(body)]}).encode()
    at = len(content) + len(body)
    return content + body + manifest, {"_archive": [at, len(manifest)]}


@pytest.fixture
def read(tmp_path):
    """What comes of a container, and what was said of it."""

    def read(payload, metadata):
        with UnifiedCache(tmp_path, inline_bytes=1 << 24) as cache:
            cache.put(0, "k")
            plant(tmp_path, payload, "container", metadata=metadata)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                return cache.get("k"), "".join(str(one.message) for one in said)

    return read


CONTENT = bytes(range(100))


def test_the_good_one_is_good(read):
    found, said = read(*container_of([(0, 10), (10, 0), (20, 80)], CONTENT))

    assert found == [CONTENT[:10], b"", CONTENT[20:]]
    assert not said


@pytest.mark.parametrize(
    "places",
    [
        [(0, 100), (0, 100)],
        [(0, 50), (49, 10)],
        [(50, 10), (0, 10)],
        [(-10, 5)],
        [(0, -5)],
        [(50, -10), (45, 10)],
        [(0, 10**6)],
        [(10**20, 1)],
        [(2**63, 2**63)],
        [(0.0, 10)],
        [(True, 10)],
        [(0, None)],
        [("0", 10)],
    ],
)
def test_parts_that_lie_elsewhere_or_over_each_other_are_none(read, places):
    found, said = read(*container_of(places, CONTENT))

    assert found is None
    assert "can't decode" in said


@pytest.mark.parametrize("parts", [[1], [None], [[]], {}, "x", 5, [{}], [{"offset": 0}]])
def test_a_manifest_of_no_parts_is_none(read, parts):
    payload, metadata = container_of([(0, 10)], CONTENT)
    start = metadata["_archive"][0]
    manifest = {**json.loads(payload[start:]), "parts": parts}
    changed = json.dumps(manifest).encode()
    metadata = {"_archive": [start, len(changed)]}

    found, said = read(payload[:start] + changed, metadata)

    assert found is None
    assert "can't decode" in said


def test_many_parts_that_swell_are_not_more_than_the_memory(read):
    """Each of them is small; all of them are 6 GB."""
    swelling = gzip.compress(bytes(20 << 20), 9)
    number, size = 300, len(swelling)
    places = [(n * size, size) for n in range(number)]
    payload, metadata = container_of(places, swelling * number, compressor="gzip", logical=20 << 20)
    assert len(payload) < 7 << 20
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 29), before[1]))
    try:
        found, said = read(payload, metadata)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

    assert found is None
    assert "of memory" in said, said
