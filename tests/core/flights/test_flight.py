# SPDX-License-Identifier: MIT
"""Of all threads and tasks that miss an entry one computes it, and none waits for itself."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import cacheness
from cacheness import UnifiedCache
from cacheness.backends.base import BackendContext
from cacheness.backends.sqlite import SQLiteBackend
from cacheness.disk.locks import FileLocks
from cacheness.flights.flight import Flights
from cacheness.flights.table import held, table
from cacheness.testing.store import forked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 60
"""Seconds until a thread is taken to hang."""

FLIGHT = "UnifiedCache(sys.argv[1]).engine.flights.hold(sys.argv[2])"
HOLD = """
import sys
from cacheness import UnifiedCache
from cacheness.disk.locks import FileLocks
with {by}:
    print("held", flush=True)
    sys.stdin.readline()
"""

TRY = """
import sys
from cacheness import UnifiedCache
print(UnifiedCache(sys.argv[1]).engine.flights.try_hold(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert (waiting(), len(table._flights)) == (0, 0)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[UnifiedCache]:
    with UnifiedCache(tmp_path / "cache") as cache:
        yield cache


@pytest.fixture
def flights(cache: UnifiedCache) -> Flights:
    return cache.engine.flights


class Threads:
    """Runs functions in threads, and fails where one hangs or raises."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(64)
        self._running: list[Any] = []

    def start(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._running.append(self._pool.submit(function, *arguments))
        return self._running[-1]

    def join(self) -> list[Any]:
        return [running.result(PATIENCE) for running in self._running]


@pytest.fixture
def threads() -> Threads:
    return Threads()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def waiting() -> int:
    """How many threads and tasks wait for a flight."""
    return len(table._waits)


# --- one computes -------------------------------------------------------------------------


@pytest.mark.slow
def test_fifty_threads_compute_once_and_get_objects_of_their_own(
    cache: UnifiedCache, threads: Threads
) -> None:
    calls = []

    def compute() -> list[int]:
        wait_until(lambda: waiting() == 49)
        calls.append(1)
        return [1]

    for _ in range(50):
        threads.start(cache.get_or_compute, compute, "k")
    results = threads.join()

    assert calls == [1]
    assert results == [[1]] * 50
    assert len({id(result) for result in results}) == 50


@pytest.mark.slow
def test_fifty_tasks_compute_once(cache: UnifiedCache) -> None:
    calls = []

    async def compute() -> list[int]:
        while waiting() < 49:
            await asyncio.sleep(0.001)
        calls.append(1)
        return [1]

    async def main() -> list[Any]:
        return await asyncio.gather(*(cache.aio.get_or_compute(compute, "k") for _ in range(50)))

    assert asyncio.run(main()) == [[1]] * 50
    assert calls == [1]


@pytest.mark.slow
def test_threads_and_tasks_exclude_each_other(flights: Flights, threads: Threads) -> None:
    order = []

    def lead() -> None:
        with flights.hold("k") as leads:
            assert leads
            wait_until(lambda: waiting() == 1)
            order.append("thread")
            raise KeyError

    async def follow() -> None:
        async with flights.hold_async("k") as leads:
            assert leads
            order.append("task")

    leader = threads.start(lead)
    wait_until(lambda: len(table._flights) == 1)
    asyncio.run(follow())

    assert order == ["thread", "task"]
    assert isinstance(leader.exception(PATIENCE), KeyError)


@pytest.mark.slow
def test_another_key_does_not_wait(flights: Flights) -> None:
    with flights.hold("k") as one, flights.hold("l") as other:
        assert (one, other) == (True, True)


@pytest.mark.slow
def test_two_caches_of_a_directory_share_a_flight_and_two_namespaces_do_not(
    cache: UnifiedCache, threads: Threads
) -> None:
    same = UnifiedCache(cache.config.cache_dir)
    apart = UnifiedCache(cache.config.cache_dir, namespace="other")

    def tried(of: UnifiedCache) -> bool:
        hold = of.engine.flights.try_hold("k")
        if hold is not None:
            hold.release()
        return hold is not None

    with cache.engine.flights.hold("k"):
        assert threads.start(tried, same).result(PATIENCE) is False
        assert threads.start(tried, apart).result(PATIENCE) is True


@pytest.mark.slow
def test_caches_in_memory_share_a_flight_by_name_and_leave_no_files(tmp_path: Path) -> None:
    def make(name: str) -> Flights:
        return UnifiedCache(
            tmp_path / "none", metadata_backend="memory", metadata_options={"name": name}
        ).engine.flights

    with make("a").hold("k") as leads:
        assert leads
        assert make("a").try_hold("k") is None
        with make("b").hold("k") as apart:
            assert apart

    assert not (tmp_path / "none").exists()


# --- how a flight ends ----------------------------------------------------------------------


@pytest.mark.slow
def test_where_the_leader_raises_the_next_computes(cache: UnifiedCache, threads: Threads) -> None:
    calls = []

    def compute() -> str:
        calls.append(1)
        if len(calls) == 1:
            wait_until(lambda: waiting() == 9)
            raise KeyError("first")
        return "second"

    started = [threads.start(cache.get_or_compute, compute, "k") for _ in range(10)]
    raised = [future for future in started if future.exception(PATIENCE)]

    assert len(calls) == 2
    assert len(raised) == 1
    assert {future.result() for future in started if future not in raised} == {"second"}


@pytest.mark.slow
def test_where_leaders_only_raise_nobody_queues_for_all_failures(
    flights: Flights, threads: Threads
) -> None:
    at_once = threading.Barrier(7)
    led = []

    def fail() -> None:
        with flights.hold("k") as leads:
            led.append(leads)
            if len(led) == 1:
                wait_until(lambda: waiting() == 9)
            if not leads:
                at_once.wait(PATIENCE)
            raise KeyError

    started = [threads.start(fail) for _ in range(10)]

    assert all(isinstance(future.exception(PATIENCE), KeyError) for future in started)
    assert led == [True] * 3 + [False] * 7


@pytest.mark.slow
def test_where_nothing_was_kept_all_who_waited_compute_side_by_side(
    flights: Flights, threads: Threads
) -> None:
    at_once = threading.Barrier(9)

    def compute() -> bool:
        with flights.hold("k") as leads:
            if leads:
                wait_until(lambda: waiting() == 9)
            else:
                at_once.wait(PATIENCE)
            return leads

    for _ in range(10):
        threads.start(compute)

    assert sorted(threads.join()) == [False] * 9 + [True]


@pytest.mark.slow
def test_who_waited_long_enough_computes_and_the_others_wait_on(
    flights: Flights, threads: Threads
) -> None:
    done = threading.Event()

    def lead() -> bool:
        with flights.hold("k") as leads:
            done.wait(PATIENCE)
            return leads

    def follow(timeout: float | None) -> bool:
        with flights.hold("k", timeout) as leads:
            return leads

    leader = threads.start(lead)
    wait_until(lambda: len(table._flights) == 1)
    patient = threads.start(follow, None)
    wait_until(lambda: waiting() == 1)

    assert follow(0.01) is False
    assert follow(0) is False
    assert not patient.done()
    done.set()
    assert leader.result(PATIENCE) is True
    threads.join()
    assert (waiting(), len(table._flights)) == (0, 0)


@pytest.mark.slow
def test_an_abandoned_generator_that_leads_lands_when_it_is_collected(flights: Flights) -> None:
    def stream() -> Iterator[bool]:
        with flights.hold("k") as leads:
            yield leads

    values = stream()
    assert next(values)
    assert table._flights
    del values
    gc.collect()

    assert not table._flights
    with flights.hold("k") as leads:
        assert leads


@pytest.mark.slow
def test_trying_gives_none_where_somebody_leads_and_may_be_entered_elsewhere(
    flights: Flights, threads: Threads
) -> None:
    hold = flights.try_hold("k")
    assert hold is not None
    assert flights.try_hold("k") is None

    def enter() -> bool:
        with hold as leads:
            assert flights.try_hold("k") is None
            return leads

    assert threads.start(enter).result(PATIENCE) is True
    again = flights.try_hold("k")
    assert again is not None
    again.release()


# --- nobody waits for itself ----------------------------------------------------------------


@pytest.mark.slow
def test_a_recursive_computation_computes(cache: UnifiedCache) -> None:
    depths = []

    def compute(depth: int) -> int:
        depths.append(depth)
        return depth if depth == 3 else cache.get_or_compute(lambda: compute(depth + 1), "k")

    assert cache.get_or_compute(lambda: compute(1), "k") == 3
    assert depths == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("length", [2, 3, 5])
@pytest.mark.parametrize("metadata_backend", ["sqlite", "memory"])
def test_in_a_circle_of_threads_exactly_one_computes_instead_of_waiting(
    tmp_path: Path, threads: Threads, length: int, metadata_backend: Any
) -> None:
    cache = UnifiedCache(tmp_path, metadata_backend=metadata_backend)
    all_lead = threading.Barrier(length)
    calls = []

    def outer(number: int) -> str:
        calls.append(number)
        all_lead.wait(PATIENCE)
        following = (number + 1) % length
        return cache.get_or_compute(lambda: inner(following), f"k{following}")

    def inner(number: int) -> str:
        calls.append(number)
        return "inner"

    for number in range(length):
        threads.start(cache.get_or_compute, lambda n=number: outer(n), f"k{number}")
    threads.join()

    assert len(calls) == length + 1
    assert set(calls) == set(range(length))


@pytest.mark.slow
def test_in_a_circle_of_tasks_exactly_one_computes_instead_of_waiting(cache: UnifiedCache) -> None:
    calls = []

    async def outer(one: str, other: str) -> str:
        calls.append(one)
        while len(calls) < 2:
            await asyncio.sleep(0.001)
        return await cache.aio.get_or_compute(lambda: calls.append(other), other)

    async def main() -> None:
        await asyncio.gather(
            cache.aio.get_or_compute(lambda: outer("f", "g"), "f"),
            cache.aio.get_or_compute(lambda: outer("g", "f"), "g"),
        )

    asyncio.run(asyncio.wait_for(main(), PATIENCE))

    assert len(calls) == 3


@pytest.mark.slow
def test_nested_computations_without_a_circle_share_one(
    cache: UnifiedCache, threads: Threads
) -> None:
    calls = []
    all_lead = threading.Barrier(4)

    def shared() -> str:
        wait_until(lambda: waiting() == 3)
        calls.append("shared")
        return "shared"

    def outer() -> str:
        all_lead.wait(PATIENCE)
        return cache.get_or_compute(shared, "shared")

    for number in range(4):
        threads.start(cache.get_or_compute, outer, f"outer {number}")

    assert threads.join() == ["shared"] * 4
    assert calls == ["shared"]


@pytest.mark.slow
def test_what_a_leader_starts_in_tasks_and_threads_does_not_wait_for_it(
    flights: Flights,
) -> None:
    async def ask() -> bool:
        async with flights.hold_async("k") as leads:
            return leads

    def ask_in_thread() -> bool:
        with flights.hold("k") as leads:
            return leads

    async def main() -> list[bool]:
        async with flights.hold_async("k") as leads:
            return [
                leads,
                *await asyncio.gather(ask(), ask(), asyncio.to_thread(ask_in_thread)),
            ]

    assert asyncio.run(asyncio.wait_for(main(), PATIENCE)) == [True, False, False, False]


@pytest.mark.slow
def test_a_thread_does_not_wait_for_a_task_of_the_loop_that_it_would_block(
    flights: Flights,
) -> None:
    async def lead(others: asyncio.Event) -> bool:
        async with flights.hold_async("k") as leads:
            await others.wait()
            return leads

    async def main() -> tuple[bool, bool]:
        others = asyncio.Event()
        leader = asyncio.create_task(lead(others))
        await asyncio.sleep(0)
        with flights.hold("k") as leads:
            others.set()
        return await leader, leads

    assert asyncio.run(main()) == (True, False)


@pytest.mark.slow
def test_a_flight_is_not_passed_to_a_task_whose_loop_waits_for_it(
    flights: Flights, threads: Threads
) -> None:
    # Given a leader in a thread, a task that waits, and then its loop's thread that does
    fail = threading.Event()

    def lead() -> None:
        with flights.hold("k"):
            fail.wait(PATIENCE)
            raise KeyError

    async def follow() -> bool:
        async with flights.hold_async("k") as leads:
            return leads

    async def main() -> tuple[bool, bool]:
        follower = asyncio.create_task(follow())
        while waiting() < 1:
            await asyncio.sleep(0)
        threads.start(lambda: (wait_until(lambda: waiting() == 2), fail.set()))
        with flights.hold("k") as leads:
            pass
        return leads, await follower

    leader = threads.start(lead)
    wait_until(lambda: len(table._flights) == 1)

    # When the leader fails
    leads, follower_leads = asyncio.run(main())

    assert isinstance(leader.exception(PATIENCE), KeyError)
    assert (leads, follower_leads) == (True, False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_mixture_of_nested_calls_in_threads_waits_for_itself(
    cache: UnifiedCache, threads: Threads, seed: int
) -> None:
    def call(rng: random.Random, depth: int) -> str:
        key = rng.choice("fghij")

        def compute() -> str:
            time.sleep(rng.random() / 500)
            for _ in range(rng.randint(0, 3) if depth < 4 else 0):
                call(rng, depth + 1)
            return key

        found: str = cache.get_or_compute(compute, key)
        if rng.random() < 0.3:
            cache.invalidate(key)
        return found

    def work(number: int) -> None:
        rng = random.Random(f"{seed} {number}")
        for _ in range(30):
            call(rng, 0)

    for number in range(12):
        threads.start(work, number)
    threads.join()

    assert (waiting(), len(table._flights)) == (0, 0)


# --- tasks ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_waiting_lets_the_loop_go_on(flights: Flights, threads: Threads) -> None:
    beats = []
    stop = threading.Event()

    def lead() -> None:
        with flights.hold("k"):
            stop.wait(PATIENCE)

    async def beat() -> None:
        while not stop.is_set():
            beats.append(1)
            if len(beats) == 20:
                stop.set()
            await asyncio.sleep(0.001)

    async def follow() -> bool:
        async with flights.hold_async("k") as leads:
            return leads

    async def main() -> None:
        await asyncio.gather(follow(), beat())

    threads.start(lead)
    wait_until(lambda: len(table._flights) == 1)
    asyncio.run(main())

    assert len(beats) >= 20


@pytest.mark.slow
def test_a_cancelled_task_gives_up_its_place_and_its_flight(flights: Flights) -> None:
    entered = []

    async def hold(name: str) -> None:
        async with flights.hold_async("k") as leads:
            entered.append((name, leads))
            await asyncio.Event().wait()

    async def main() -> None:
        tasks = {}
        for name in ("leader", "waiter", "next"):
            tasks[name] = asyncio.create_task(hold(name))
            await asyncio.sleep(0.01)
        tasks["waiter"].cancel()
        await asyncio.sleep(0.01)
        assert waiting() == 1
        tasks["leader"].cancel()
        while len(entered) < 2:
            await asyncio.sleep(0.001)
        tasks["next"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    asyncio.run(main())

    assert entered == [("leader", True), ("next", True)]
    assert (waiting(), len(table._flights)) == (0, 0)


@pytest.mark.slow
def test_a_task_that_is_cancelled_while_another_process_leads_leaves_no_trace(
    cache: UnifiedCache, flights: Flights
) -> None:
    async def hold() -> None:
        async with flights.hold_async("k"):
            pytest.fail("another process leads")

    async def main() -> None:
        task = asyncio.create_task(hold())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with held_elsewhere(cache, "k"):
        asyncio.run(main())
        assert (waiting(), len(table._flights)) == (0, 0)
    with flights.hold("k", 0) as leads:
        assert leads


# --- other processes ------------------------------------------------------------------------


class held_elsewhere:
    """Another process leads the flight meanwhile."""

    def __init__(self, cache: UnifiedCache, key: str, *, by: str = FLIGHT) -> None:
        command = [sys.executable, "-c", HOLD.format(by=by), cache.config.cache_dir, key]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"held\n"

    def __exit__(self, *_: object) -> None:
        self.process.communicate(b"\n", PATIENCE)


@pytest.mark.slow
def test_fifty_threads_that_wait_for_another_process_need_one_descriptor(
    cache: UnifiedCache, flights: Flights, threads: Threads
) -> None:
    def follow() -> bool:
        with flights.hold("k") as leads:
            return leads

    with held_elsewhere(cache, "k"):
        before = len(os.listdir("/dev/fd"))
        for _ in range(50):
            threads.start(follow)
        wait_until(lambda: waiting() == 50)
        during = len(os.listdir("/dev/fd"))

    assert during - before <= 1
    assert sorted(threads.join()) == [False] * 49 + [True]


@pytest.mark.slow
def test_a_timeout_holds_for_another_process_too(cache: UnifiedCache, flights: Flights) -> None:
    with held_elsewhere(cache, "k"), flights.hold("k", 0.05) as leads:
        assert leads is False
        assert flights.try_hold("k") is None


@pytest.mark.slow
def test_a_forked_child_forgets_the_flights_of_its_parent(
    cache: UnifiedCache, flights: Flights
) -> None:
    def child() -> tuple[int, bool, bool]:
        with flights.hold("other") as other, flights.hold("k", 0.05) as leads:
            return len(table._flights), other, leads

    with flights.hold("k") as leads:
        # The file's lock is still its parent's.
        assert forked(child) == (1, True, False)
        assert forked(lambda: [flight.over for flight in held.get()]) == [True]
        assert leads
        assert len(table._flights) == 1


@pytest.mark.slow
def test_leaving_in_a_forked_child_releases_nothing(cache: UnifiedCache, flights: Flights) -> None:
    hold = flights.hold("k")
    with hold:
        forked(lambda: hold.__exit__(None, None, None))

        command = [sys.executable, "-c", TRY, cache.config.cache_dir, "k"]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b"None\n"


# --- backends that lock -------------------------------------------------------------------


class LockingBackend(SQLiteBackend):
    """A backend whose locks can only be entered, as the contract asks."""

    capabilities = SQLiteBackend.capabilities | {"lock"}
    timeout = 60.0

    def lock(self, cache_key: str) -> Any:
        return FileLocks(self._context.directory).hold(("", cache_key), timeout=self.timeout)

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._context = context


class EnteredOnly(LockingBackend):
    @contextmanager
    def lock(self, cache_key: str) -> Iterator[None]:
        with super().lock(cache_key):
            yield


@pytest.mark.slow
@pytest.mark.parametrize("backend_class", [LockingBackend, EnteredOnly])
@pytest.mark.parametrize("in_task", [False, True])
def test_a_backend_that_locks_is_asked(
    cache: UnifiedCache, backend_class: type[LockingBackend], in_task: bool
) -> None:
    context = BackendContext(cache.config.cache_dir, "", cache.config)
    backend = backend_class(context)
    backend.timeout = 0.05
    flights = Flights(backend, cache.config)

    async def hold_in_task() -> bool:
        async with flights.hold_async("k", 0.05) as leads:
            return leads

    def hold() -> bool:
        if in_task:
            return asyncio.run(hold_in_task())
        with flights.hold("k", 0.05) as leads:
            return leads

    assert hold() is True
    assert hold() is True
    with held_elsewhere(cache, "k", by="FileLocks(sys.argv[1]).hold(('', sys.argv[2]))"):
        assert hold() is False
    wait_until(hold)
    backend.close()


@pytest.mark.slow
def test_a_lock_that_comes_after_the_task_was_cancelled_is_given_back(
    cache: UnifiedCache,
) -> None:
    asked, may_go, released = threading.Event(), threading.Event(), threading.Event()

    class SlowLock:
        def acquire(self, timeout: float | None = None) -> bool:
            asked.set()
            return may_go.wait(PATIENCE)

        def release(self) -> None:
            if may_go.is_set():
                released.set()

        __enter__ = __exit__ = acquire

    class SlowBackend(LockingBackend):
        def lock(self, cache_key: str) -> Any:
            return SlowLock()

    backend = SlowBackend(BackendContext(cache.config.cache_dir, "", cache.config))
    flights = Flights(backend, cache.config)

    async def hold() -> None:
        async with flights.hold_async("k"):
            pytest.fail("cancelled")

    async def main() -> None:
        task = asyncio.create_task(hold())
        while not asked.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        may_go.set()

    asyncio.run(main())
    backend.close()

    assert released.wait(PATIENCE)


# --- where nobody waits ---------------------------------------------------------------------


@pytest.mark.slow
def test_a_cache_that_can_t_lock_computes_without_a_word(cache: UnifiedCache) -> None:
    with open(os.path.join(cache.config.cache_dir, "locks"), "w"):
        pass  # no folder, so no lock file

    with cache.engine.flights.hold("k") as one, cache.engine.flights.hold("l") as other:
        assert (one, other) == (False, False)
    assert not table._flights


@pytest.mark.slow
def test_a_read_only_cache_and_one_that_is_turned_off_do_not_wait(cache: UnifiedCache) -> None:
    read_only = UnifiedCache(cache.config.cache_dir, read_only=True)

    with read_only.engine.flights.hold("k") as leads:
        assert leads is False
    with cacheness.disabled(), cache.engine.flights.hold("k") as leads:
        assert leads is False
    assert not os.path.exists(os.path.join(cache.config.cache_dir, "locks"))
