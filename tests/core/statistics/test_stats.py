"""A cache counts what it was good for, once, for all processes, and across restarts."""

import json
import multiprocessing
import os
import time
from dataclasses import FrozenInstanceError

import pytest

from cacheness import CacheStats, UnifiedCache, Usage
from cacheness.backends.base import MetadataBackend
from cacheness.management.details import checked_details
from cacheness.payloads.checksum import checksum_of
from cacheness.statistics import hits as hits_module
from cacheness.statistics.hits import SAMPLED, HitBuffer
from cacheness.statistics.stats import _Totals
from cacheness.statistics.tally import MOST, OTHER, Tally
from cacheness.testing.metadata_entries import make_entry

BACKENDS = ["sqlite", "json", "memory"]


@pytest.fixture(params=BACKENDS)
def cache(request, tmp_path):
    with UnifiedCache(tmp_path, metadata_backend=request.param) as cache:
        yield cache


def slow(x):
    time.sleep(0.05)
    return x


def test_an_empty_cache_was_good_for_nothing(cache):
    stats = cache.stats()

    assert (stats.entries, stats.stored_bytes, stats.hits, stats.misses) == (0, 0, 0, 0)
    assert (stats.hit_rate, stats.seconds_saved) == (0.0, 0.0)
    assert stats.functions == stats.prefixes == stats.handlers == stats.days == {}


def test_entries_are_counted_by_what_they_are(cache):
    cache.put("x" * 20_000, "a", prefix="etl", compressor="gzip")
    cache.put("y", "b", pin=True)
    cache.put(b"z", "c", ttl_seconds=60)
    cache.engine.backend.update_fields("c", {"expires_at": 1.0})

    stats = cache.stats()

    sizes = {key: cache.engine.backend.get_entry(key).stored_bytes for key in "abc"}
    assert (stats.entries, stats.expired, stats.pinned) == (3, 1, 1)
    assert stats.stored_bytes == sum(sizes.values())
    assert stats.logical_bytes > 20_000 > stats.stored_bytes
    assert stats.prefixes == {"etl": Usage(1, sizes["a"])}
    assert {name: usage.entries for name, usage in stats.handlers.items()} == {
        "json": 2,
        "bytes": 1,
    }
    assert [usage.entries for usage in stats.days.values()] == [3]


def test_every_read_counts_once(cache):
    cache.put("a", "a", prefix="p")
    for _ in range(5):
        cache.get("a")
    cache.get("a", prefix="p")
    cache.get("a", prefix="q")
    cache.get("nothing")
    cache["a"]
    for _ in range(2):
        with pytest.raises(KeyError):
            cache["nothing"]

    stats = cache.stats()

    assert (stats.hits, stats.misses) == (7, 4)
    assert stats.hit_rate == 7 / 11
    assert (stats.prefixes["p"].hits, stats.prefixes["q"].misses) == (7, 1)
    assert stats.handlers["json"].hits == 7
    (day,) = stats.days.values()
    assert (day.hits, day.misses) == (7, 4)


@pytest.mark.filterwarnings("ignore::cacheness.CachenessWarning")
def test_a_read_that_can_not_be_answered_is_a_miss(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(os.urandom(50_000), "damaged")
        cache.put("x", "undecodable")
        os.unlink(cache.engine.blobs().path_of(cache.get_entry("damaged").blob))
        changes = {"inline": b"{", "checksum": checksum_of(b"{", "xxh3-128"), "stored_bytes": 1}
        cache.engine.backend.update_fields("undecodable", changes)

        cache.get("damaged")
        cache.get("undecodable")

        assert (cache.stats().hits, cache.stats().misses) == (0, 2)


def test_looking_without_reading_does_not_count(cache):
    cache.put("a", "a")

    cache.exists("a")
    cache.exists("b")
    cache.get_entry("a")
    list(cache)

    assert (cache.stats().hits, cache.stats().misses) == (0, 0)


@pytest.mark.slow
def test_a_cached_call_counts_once(cache):
    cached = cache.cached(slow, prefix="p")
    for x in (1, 2, 1, 1):
        cached(x)

    stats = cache.stats()

    assert (stats.hits, stats.misses) == (2, 2)
    usage = stats.functions[f"{__name__}:slow"]
    assert (usage.entries, usage.hits, usage.misses) == (2, 2, 2)
    assert (stats.prefixes["p"].hits, stats.prefixes["p"].misses) == (2, 2)


def test_a_hit_saves_what_its_entry_had_cost_less_the_reading(cache):
    cache.put("a", "a", cost_seconds=100)
    cache.put("b", "b", cost_seconds=1000)
    cache.put("c", "c")
    for key in "aaabccccc":
        cache.get(key)

    assert 1299 < cache.stats().seconds_saved < 1300
    assert 1299 < cache.stats().handlers["json"].seconds_saved < 1300


def test_what_was_removed_stays_in_the_statistics(cache):
    cache.put("a", "a", cost_seconds=100, prefix="p")
    cache.get("a")
    cache.stats()
    cache.invalidate("a")

    stats = cache.stats()

    assert (stats.entries, stats.hits) == (0, 1)
    assert stats.prefixes["p"].hits == 1
    assert 99 < stats.seconds_saved < 100


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_statistics_outlive_the_process_and_are_of_one_namespace(tmp_path, backend):
    for _ in range(3):
        with UnifiedCache(tmp_path, metadata_backend=backend, namespace="one") as cache:
            cache.put("a", "a")
            cache.get("a")
            cache.get("b")

    with UnifiedCache(tmp_path, metadata_backend=backend, namespace="one") as again:
        assert (again.stats().hits, again.stats().misses) == (3, 3)
    with UnifiedCache(tmp_path, metadata_backend=backend, namespace="two") as other:
        assert (other.stats().hits, other.stats().misses) == (0, 0)


def test_a_read_only_cache_counts_nothing(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put("a", "a")
    with UnifiedCache(tmp_path, read_only=True) as cache:
        cache.get("a")
        cache.get("b")
        assert (cache.stats().hits, cache.stats().misses) == (0, 0)


def test_of_a_function_all_versions_but_the_last_are_superseded(cache):
    for number, digest in enumerate(["one", "two", "three", "two"]):
        details = checked_details(cache.config, None, ttl_seconds=None, cost_seconds=1.0)
        details |= {"function": "module:function", "code_digest": digest}
        cache.engine.writer.store(f"k{number}", "x" * 1000, details)
        cache.engine.backend.update_fields(f"k{number}", {"created_at": float(number)})

    assert cache.stats().superseded_bytes == 2 * cache.get_entry("k0").stored_bytes


# --- what is buffered -------------------------------------------------------------------------


class Recorder:
    """Counts the writes that a buffer makes."""

    def __init__(self):
        self.hits = []
        self.sums = []

    def record_hits(self, hits):
        self.hits.append(hits)

    def labels(self, cache_keys):
        return dict.fromkeys(cache_keys, ("f", "p", "h", None))

    def read_statistics(self):
        return {}

    def add_statistics(self, amounts):
        self.sums.append(dict(amounts))


def test_hits_are_written_when_they_are_many():
    recorder = Recorder()
    buffer = HitBuffer(recorder, writes=True)
    for _ in range(16383):
        buffer.add("a")
    assert recorder.hits == []

    buffer.add("a")

    assert [hits["a"][0] for hits in recorder.hits] == [16384]
    assert recorder.sums[0]["function:hits:f"] == 16384


def test_hits_are_written_though_an_interrupt_left_them_locked():
    recorder = Recorder()
    buffer = HitBuffer(recorder, writes=True)
    buffer._counting.acquire()

    for _ in range(2 * 16384):
        buffer.add("a")

    assert sum(hits["a"][0] for hits in recorder.hits) == 2 * 16384
    assert len(buffer.reads) < 2048


def test_hits_that_have_waited_for_long_are_written_by_the_next_read_or_put(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(hits_module, "time", lambda: now[0])
    recorder = Recorder()
    buffer = HitBuffer(recorder, writes=True)
    buffer.add("a")
    now[0] += 9
    buffer.add("a")
    buffer.settle()
    assert recorder.hits == []

    now[0] += 2
    buffer.settle()
    buffer.missed("")
    now[0] += 11
    buffer.add("b")
    assert len(recorder.hits) == 1
    now[0] += 11
    buffer.add("b")

    assert [{key: hit[0] for key, hit in hits.items()} for hits in recorder.hits] == [
        {"a": 2},
        {"b": 2},
    ]
    assert [sums["total:misses:"] for sums in recorder.sums if "total:misses:" in sums] == [1]


def test_a_sample_of_the_reads_is_timed(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put("a", "a")
        for _ in range(10 * SAMPLED):
            cache.get("a")

        assert len(cache.engine.hits.timed) == 10


def test_a_timed_read_stands_for_those_between_but_the_first_for_itself():
    recorder = Recorder()
    buffer = HitBuffer(recorder, writes=True)
    buffer.add("a")
    buffer.timed += [("a", 5.0), ("a", 0.25), ("a", 0.25)]
    buffer.flush()

    assert recorder.sums[0]["total:reading:"] == 5.0 + 2 * 0.25 * SAMPLED


# --- how many sums there are ------------------------------------------------------------------


def test_labels_beyond_the_most_count_together(cache, monkeypatch):
    monkeypatch.setitem(MOST, "prefix", 3)
    misses = [(f"p{number}", 0.0) for number in range(5)]
    Tally(cache.engine.backend).add({}, misses, [], [])
    Tally(cache.engine.backend).add({}, [*misses, ("p9", 0.0)], [], [])

    counted = {name: usage.misses for name, usage in cache.stats().prefixes.items()}

    assert counted == {"p0": 2, "p1": 2, "p2": 2, OTHER: 5}


def test_a_label_may_be_any_text(cache):
    cache.get("a", prefix="p:q: \0\N{SNOWMAN}'\"")
    cache.get("a", prefix="\udcff")
    cache.get("a", prefix="x" * 1000)

    assert {name: usage.misses for name, usage in cache.stats().prefixes.items()} == {
        "p:q: \0\N{SNOWMAN}'\"": 1,
        "?": 1,
        "x" * 200: 1,
    }


# --- processes --------------------------------------------------------------------------------


def read_much(directory, backend, start):
    with UnifiedCache(directory, metadata_backend=backend) as cache:
        start.wait()
        for _ in range(20):
            for _ in range(10):
                cache.get("a", prefix="p")
            cache.get("b")
            cache.engine.flush()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_processes_add_up(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        cache.put("a", "a", prefix="p", cost_seconds=1)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    workers = [
        context.Process(target=read_much, args=(str(tmp_path), backend, start)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        stats = cache.stats()
        assert (stats.hits, stats.misses) == (600, 60)
        assert stats.prefixes["p"].hits == 600
        assert cache.get_entry("a").hits == 600


# --- how it is shown --------------------------------------------------------------------------


def test_stats_are_shown_as_text_html_and_json(cache):
    cache.put("a", "a", prefix="<script>", cost_seconds=2)
    cache.get("a")
    cache.get("b")

    stats = cache.stats()

    assert isinstance(stats, CacheStats)
    assert "1 hits, 1 misses (50.0%)" in str(stats)
    assert "<script>" in str(stats)
    assert "<script>" not in stats._repr_html_()
    assert "&lt;script&gt;" in stats._repr_html_()
    loaded = json.loads(json.dumps(stats.as_dict()))
    assert (loaded["hits"], loaded["hit_rate"]) == (1, 0.5)
    assert loaded["prefixes"]["<script>"]["hits"] == 1
    with pytest.raises(FrozenInstanceError):
        stats.hits = 5


def test_a_database_sums_up_what_a_visit_of_each_entry_finds(cache):
    def entry(number):
        function = f"m:f{number % 2}" if number % 3 else None
        return make_entry(
            f"k{number}",
            function=function,
            code_digest=f"d{number % 5}" if function else None,
            prefix="p" * (number % 2),
            created_at=1e9 + 40_000 * number,
            expires_at=None if number % 4 else 5e9,
            stored_bytes=number,
            logical_bytes=2 * number,
            pinned=number % 7 == 0,
        )

    backend = cache.engine.backend
    backend.put_entries(entry(number) for number in range(60))

    for now in (4e9, 6e9):
        visited = MetadataBackend.held(backend, now)
        assert len(visited) > 20
        assert told(backend.held(now)) == told(visited)


def test_statistics_make_no_object_of_an_entry(tmp_path):
    """Of a million entries that would take most of a minute."""
    with UnifiedCache(tmp_path) as cache:
        backend = cache.engine.backend
        backend.put_entries(make_entry(f"k{number}") for number in range(500))
        statements = []
        backend._connections.connection().set_trace_callback(statements.append)

        assert cache.stats().entries == 500
        assert len(backend.held(0.0)) == 2, "one group, and how many have expired"

        counts = ("GROUP BY", "count(*)", "max(id)")
        asked = [text for text in statements if "FROM entries" in text]
        assert not [text for text in asked if not any(count in text for count in counts)]


def told(held):
    """What statistics make of it."""
    totals = _Totals()
    for together in held:
        totals.add(together)
    numbers = totals.entries, totals.stored_bytes, totals.logical_bytes, totals.expired
    return numbers, totals.pinned, totals.groups, totals.superseded_bytes()
