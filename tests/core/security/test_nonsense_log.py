"""Lines of the log that a stranger wrote, with checksums that fit, fail nobody's call."""

import copy
import json
import random
import warnings
from zlib import crc32

import numpy as np
import pytest

from cacheness import CachenessError, UnifiedCache

KEY = b"the key of this test"
OPTIONS = {"metadata_backend": "json", "signing_key": KEY}
NONSENSE = (None, True, -1, 1.5, 10**400, float("inf"), "", "\ud800", [], [[]], {"a": [1]}, "blob")


def function(of):
    return [of]


@pytest.fixture
def log(tmp_path):
    """The log of a closed cache in which each kind of line is."""
    with UnifiedCache(tmp_path / "cache", **OPTIONS) as cache:
        cache.put({"a": 1}, "plain")
        cache.put({1, 2}, "signed")
        cache.put(np.arange(20_000), "blob")
        cache.put("by", of=1, tags=["t"], custom_metadata={"m": 1}, prefix="p")
        cache.cached(function)(1)
        cache.get("plain")
        cache.update_entry("plain", description="x")
        cache.touch("plain")
        cache.put(3, "gone")
        cache.invalidate("gone")
    return tmp_path / "cache" / "metadata.jsonl"


def operations(log):
    return [json.loads(line) for line in log.read_bytes().splitlines()]


def write(log, lines):
    content = b""
    for line in lines:
        stated = {"wide": True, **{name: of for name, of in line.items() if name != "crc32"}}
        body = json.dumps(stated, separators=(",", ":")).encode()[:-1]
        content += body + b',"crc32":"%08x"}\n' % crc32(body)
    log.write_bytes(content)


def use(log):
    """Everything that reads the log; each may only say no, and a cached function may not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            cache = UnifiedCache(log.parent, **OPTIONS)
        except CachenessError:
            return
        assert cache.cached(function)(1) == [1]
        for step in (
            lambda: cache.get_batch(["plain", "signed", "blob"]),
            lambda: cache.get(of=1),
            lambda: (len(cache), list(cache), [repr(entry) for entry in cache.entries()]),
            lambda: cache.query_meta(entry__created_at__gt=0, tags__contains="t"),
            lambda: cache.engine.backend.namespaces(),
            lambda: str(cache.cached(function).cache_explain(1)),
            lambda: cache.put(1, "plain"),
            lambda: (cache.touch("blob"), cache.update_entry("blob", description="d")),
            lambda: repr(cache.stats()),
            lambda: cache.verify_integrity(repair=True),
            cache.close,
        ):
            try:
                step()
            except CachenessError as error:
                assert str(error)  # noqa: PT017  # it may say no


def named(value):
    return repr(value)[:12]


@pytest.mark.parametrize("value", NONSENSE, ids=named)
def test_nonsense_among_the_statistics_counts_nothing(log, value):
    lines = operations(log)
    (noted,) = [line for line in lines if line.get("kind") == "statistics"]
    noted["notes"] = dict.fromkeys(noted["notes"], value)
    write(log, lines)

    use(log)


@pytest.mark.parametrize("value", NONSENSE, ids=named)
@pytest.mark.parametrize("field", ["ns", "hits", "key", "keys", "changes", "at", "kind", "notes"])
def test_a_line_of_nonsense_is_none(log, field, value):
    lines = operations(log)
    for line in lines:
        if field in line:
            line[field] = {"plain": [value, value]} if field == "hits" else value
    write(log, lines)

    use(log)


def replaced(value, chance):
    """The value with nonsense somewhere in it."""
    if isinstance(value, (dict, list)) and value and chance.random() < 0.85:
        where = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value[where] = replaced(value[where], chance)
        return value
    return copy.deepcopy(chance.choice(NONSENSE))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_whatever_a_line_says_fails_no_call(log, seed):
    chance, lines = random.Random(seed), operations(log)
    for _ in range(50):
        changed = copy.deepcopy(lines)
        for _ in range(3):
            where = chance.randrange(len(changed))
            changed[where] = replaced(changed[where], chance)
        write(log, [line for line in changed if isinstance(line, dict)])
        use(log)
