"""The bounds of a cache hold for all the processes that fill it, and none evicts too much."""

import multiprocessing
import os

import pytest

from cacheness import UnifiedCache
from cacheness.upkeep.tombstones import find

pytestmark = pytest.mark.slow

BACKENDS = ["sqlite", "json"]
PROCESSES = 4
PUTS = 200
BOUND = 100
SLACK = 0.1


def fill(directory, backend, number, start, removed):
    """Put entries, a few with blobs; tell how many were evicted by this process."""
    evicted = []
    with UnifiedCache(directory, metadata_backend=backend, max_entries=BOUND) as cache:
        cache.engine.watch(
            lambda event: evicted.append(event.cache_key) if event.kind == "evict" else None
        )
        start.wait()
        for put in range(PUTS):
            payload = os.urandom(40_000) if put % 10 == 0 else put
            cache.put(payload, f"{number}-{put}")
    removed.put(evicted)


@pytest.fixture(params=BACKENDS)
def filled(request, tmp_path):
    """A cache that several processes filled at once, and what they evicted."""
    context = multiprocessing.get_context("spawn")
    start, removed = context.Barrier(PROCESSES), context.Queue()
    workers = [
        context.Process(target=fill, args=(str(tmp_path), request.param, number, start, removed))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    evicted = [key for _ in workers for key in removed.get(timeout=300)]
    for worker in workers:
        worker.join()
    with UnifiedCache(tmp_path, metadata_backend=request.param) as cache:
        yield cache, evicted, tmp_path


def test_no_process_evicts_more_than_the_bound_asks_for(filled):
    cache, evicted, directory = filled

    assert BOUND * (1 - SLACK) <= len(cache) <= BOUND
    assert len(evicted) == PROCESSES * PUTS - len(cache), "each was evicted once"
    assert len(set(evicted)) == len(evicted)
    assert set(evicted).isdisjoint(cache)
    blobs = {cache.get_entry(key).blob for key in cache} - {None}
    assert blobs == {
        f"{os.path.basename(folder)}/{name}"
        for folder, _, names in os.walk(directory / "blobs")
        for name in names
        if not name.startswith(("store-id", "owner-"))
    }
    assert {find(cache.engine.backend, key).why for key in evicted[::40]} == {"evicted"}


def hold_bound(directory, backend, number, start, worst):
    """Put, and after each put look how far the cache is over its bound."""
    over = 0
    with UnifiedCache(directory, metadata_backend=backend, max_size=50_000) as cache:
        start.wait()
        for put in range(PUTS):
            cache.put(b"x" * 1000, f"{number}-{put}")
            over = max(over, cache.engine.backend.total_size() - 50_000)
    worst.put(over)


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_a_put_only_the_puts_under_way_are_over_the_bound(tmp_path, backend):
    context = multiprocessing.get_context("spawn")
    start, worst = context.Barrier(PROCESSES), context.Queue()
    workers = [
        context.Process(target=hold_bound, args=(str(tmp_path), backend, number, start, worst))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    over = max(worst.get(timeout=300) for _ in workers)
    for worker in workers:
        worker.join()

    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        assert 45_000 <= cache.engine.backend.total_size() <= 50_000
    assert over <= (PROCESSES - 1) * 1000


def evict_until_killed(directory, started):
    with UnifiedCache(directory, max_entries=20) as cache:
        for put in range(100_000):
            cache.put(os.urandom(40_000), f"{put}")
            started.set()


def test_a_process_killed_while_it_evicts_leaves_orphans_at_worst(tmp_path):
    context = multiprocessing.get_context("spawn")
    for _ in range(5):
        started = context.Event()
        worker = context.Process(target=evict_until_killed, args=(str(tmp_path), started))
        worker.start()
        assert started.wait(60)
        worker.join(0.15)
        worker.kill()
        worker.join()
        with UnifiedCache(tmp_path) as cache:
            for key in cache:
                assert len(cache[key]) == 40_000
            assert len(cache) <= 21
