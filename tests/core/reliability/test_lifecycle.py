"""A cache is at peace with the life of a process: its end, its signals, its pools."""

import subprocess
import sys
import textwrap
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from threading import Barrier

import pytest

from cacheness import UnifiedCache

PERSISTENT = ["sqlite", "json"]


def run(script, tmp_path, backend, timeout=60):
    """Run a script that has a `cache`, with every warning an error; give what it printed."""
    preamble = f"""
    import asyncio, atexit, os, signal, sys, threading, time
    import cacheness
    from cacheness import UnifiedCache, cached
    cacheness.configure(cache_dir={str(tmp_path / "cache")!r}, metadata_backend={backend!r})
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c",
         textwrap.dedent(preamble) + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=tmp_path,
        check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("backend", PERSISTENT)
def test_a_default_cache_that_is_open_at_exit_says_nothing_and_its_hits_are_counted(
    tmp_path, backend
):
    run(
        """
        @cached
        def double(x):
            return [x] * 20_000

        for _ in range(3):
            double(1)
        thread = threading.Thread(target=double, args=(1,))
        thread.start()
        thread.join()
        """,
        tmp_path,
        backend,
    )

    with UnifiedCache(tmp_path / "cache", metadata_backend=backend) as cache:
        (entry,) = cache.entries()
        assert entry.hits == 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", [*PERSISTENT, "memory"])
def test_daemon_threads_that_use_a_cache_at_exit_say_nothing(tmp_path, backend):
    run(
        f"""
        cache = UnifiedCache("other", metadata_backend={backend!r}, inline_bytes=100)

        def work(number):
            while True:
                cache.put("x" * (number * 50), str(number))
                cache.get(str(number))
                cache.invalidate(str(number))

        for number in range(4):
            threading.Thread(target=work, args=(number,), daemon=True).start()
        time.sleep(0.3)
        """,
        tmp_path,
        backend,
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", PERSISTENT)
def test_a_cache_can_be_used_by_what_runs_at_exit(tmp_path, backend):
    said = run(
        f"""
        atexit.register(lambda: print(early.get("k")))
        early = UnifiedCache("other", metadata_backend={backend!r})
        early.put(1, "k")
        atexit.register(lambda: early.put(2, "k"))

        class Holder:
            def __init__(self):
                self.itself = self
                self.cache = UnifiedCache("held", metadata_backend={backend!r})
                self.cache.put(1, "k")
                self.cache.get("k")

            def __del__(self):
                self.cache.close()

        late = Holder()
        """,
        tmp_path,
        backend,
    )

    assert said == "2\n"


@pytest.mark.slow
@pytest.mark.parametrize("backend", PERSISTENT)
def test_pools_and_loops_that_are_still_at_work_at_exit_say_nothing(tmp_path, backend):
    run(
        f"""
        from concurrent.futures import ThreadPoolExecutor
        cache = UnifiedCache("other", metadata_backend={backend!r})

        async def main():
            await asyncio.gather(*(cache.aio.put(n, str(n)) for n in range(20)))
            assert await cache.aio.get("7") == 7

        asyncio.run(main())
        pool = ThreadPoolExecutor(4)
        for number in range(50):
            pool.submit(cache.put, number, str(number))
        """,
        tmp_path,
        backend,
    )

    with UnifiedCache(tmp_path / "other", metadata_backend=backend) as cache:
        assert cache.get_batch([str(n) for n in range(50)]) == list(range(50))


@pytest.mark.slow
def test_a_cache_that_is_dropped_without_close_says_nothing(tmp_path):
    run(
        """
        import gc
        for number in range(5):
            cache = UnifiedCache(f"other{number}")
            cache.put(1, "k")
            cache.get("k")
            del cache
            gc.collect()
        assert len(os.listdir("/proc/self/fd")) < 40 if os.path.isdir("/proc/self/fd") else True
        """,
        tmp_path,
        "sqlite",
    )


SIGNALLED = """
cache = UnifiedCache("other", metadata_backend={backend!r}, inline_bytes=100, memory_bytes={tier})
calls = 0
depth = 0

def on_alarm(number, frame):
    global calls, depth
    if depth:
        return
    depth += 1
    calls += 1
    try:
        use(str(calls % 3))
    except cacheness.BackendUnavailableError as error:
        assert {backend!r} == "json" and "this very thread" in str(error), error
    depth -= 1

def use(own):
    found = cache.get(own)
    assert found is None or found[1] == own, (found, own)
    cache.get("main")
    assert len(cache) >= 0
    list(cache.query_meta(a=1))
    cache.put(("x" * 200 if calls % 2 else "y", own), own)
    found = cache.get(own)
    assert found is not None and found[1] == own, (found, own)
    if calls % 5 == 0:
        cache.invalidate(own)
        cache.put("by the handler", "main")

# What is imported at its first use is half of a module to a handler that interrupts that.
on_alarm(None, None)
for _ in range(10):
    on_alarm(None, None)
    cache.put_batch([(0, "b1"), (0, "b2")])
    cache.touch("b1")
    cache.pop("main")
    cache.get_or_compute(lambda: 0, "computed")
calls = 0
signal.signal(signal.SIGALRM, on_alarm)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
turn = 0
while calls < 300:
    turn += 1
    cache.put("z" * (turn % 2 * 300), "main")
    assert cache.get("main") in ("", "z" * 300, "by the handler")
    cache.put_batch([(turn, "b1"), (turn, "b2")])
    if turn % 7 == 0:
        cache.pop("main")
        cache.touch("b1")
        cache.get_or_compute(lambda: turn, "computed")
signal.setitimer(signal.ITIMER_REAL, 0, 0)
print(len(cache) > 0, cache.verify_integrity().ok)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="needs SIGALRM")
@pytest.mark.parametrize("tier", [0, 1 << 20], ids=["plain", "tier"])
@pytest.mark.parametrize("backend", [*PERSISTENT, "memory"])
def test_a_signal_handler_may_use_the_cache_in_the_middle_of_anything(tmp_path, backend, tier):
    said = run(SIGNALLED.format(backend=backend, tier=tier), tmp_path, "sqlite")

    assert said == "True True\n"


def square_sum(directory, backend, number):
    with UnifiedCache(directory, metadata_backend=backend) as cache:
        return cache.get_or_compute(lambda: [number] * 100, f"k{number % 5}")[0] % 5 == number % 5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("backend", PERSISTENT)
def test_tasks_of_process_pools_share_a_cache(tmp_path, backend, method):
    with ProcessPoolExecutor(3, mp_context=get_context(method)) as pool:
        tasks = [pool.submit(square_sum, tmp_path, backend, number) for number in range(60)]
        assert all(task.result() for task in tasks)

    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:
        assert len(cache) == 5


@pytest.mark.parametrize("backend", [*PERSISTENT, "memory"])
def test_tasks_of_a_thread_pool_share_a_cache_object(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cache.put([n], f"k{n}"), range(200)))
        assert list(pool.map(lambda n: cache[f"k{n}"], range(200))) == [[n] for n in range(200)]
        assert len(cache) == 200


@pytest.mark.slow
def test_threads_that_are_the_first_to_store_blobs_in_memory_have_one_store(tmp_path):
    for _ in range(30):
        with UnifiedCache(tmp_path, metadata_backend="memory", inline_bytes=1) as cache:
            barrier = Barrier(8)

            def work(number, cache=cache, barrier=barrier):
                barrier.wait()
                cache.put("x" * 1000, f"k{number}")

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(work, range(8)))
            assert cache.get_batch([f"k{number}" for number in range(8)]) == ["x" * 1000] * 8
