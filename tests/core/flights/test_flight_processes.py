# SPDX-License-Identifier: MIT
"""Of all processes that miss an entry one computes it, and none waits for itself."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.flights.flight_worker import PATIENCE, Workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.close()


@pytest.mark.slow
@pytest.mark.parametrize("metadata_backend", ["sqlite", "json"])
def test_fifty_threads_of_four_processes_compute_once(
    workers: Workers, metadata_backend: str
) -> None:
    workers.options["metadata_backend"] = metadata_backend

    computed = workers.run(*[[["f"]] * 50] * 4, seconds=1.0)

    assert computed == {"f": 1}


@pytest.mark.slow
def test_fifty_tasks_of_four_processes_compute_once(workers: Workers) -> None:
    computed = workers.run(*[[["f"]] * 50] * 4, seconds=0.5, tasks=True)

    assert computed == {"f": 1}


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [False, True])
def test_what_a_killed_leader_left_is_computed_once_more(workers: Workers, tasks: bool) -> None:
    # Given a leader that never ends, and others that wait for it
    leader = workers.start([["f"]], gate=99)
    workers.go(leader)
    workers.wait_until(lambda: workers.computed() == {"f": 1})
    others = [workers.start([["f"]] * 10, tasks=tasks, seconds=0.2) for _ in range(2)]
    for other in others:
        workers.go(other)
    time.sleep(0.5)
    assert workers.computed() == {"f": 1}

    # When it is killed
    leader.kill()

    assert [other.wait(PATIENCE) for other in others] == [0, 0]
    assert workers.computed() == {"f": 2}


CIRCLES = {
    "two processes": [[["f", ["g"]]], [["g", ["f"]]]],
    "three processes": [[["f", ["g"]]], [["g", ["h"]]], [["h", ["f"]]]],
    "two threads and a process": [[["f", ["g"]], ["g", ["h"]]], [["h", ["f"]]]],
    "a process between two threads": [[["f", ["g"]], ["h", ["f"]]], [["g", ["h"]]]],
}


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks"])
@pytest.mark.parametrize("circle", CIRCLES)
def test_of_a_circle_of_waits_exactly_one_computes_instead(
    workers: Workers, circle: str, tasks: bool
) -> None:
    keys = sum(len(of_one) for of_one in CIRCLES[circle])

    computed = workers.run(*CIRCLES[circle], gate=keys, tasks=tasks)

    assert sum(computed.values()) == keys + 1
    assert len(computed) == keys
    assert workers.notices() == []


@pytest.mark.slow
def test_a_circle_that_goes_through_two_caches_is_seen(workers: Workers, tmp_path: Path) -> None:
    workers.caches.append(tmp_path / "other")

    computed = workers.run(*CIRCLES["two processes"], gate=2)

    assert sum(computed.values()) == 3
    assert workers.notices() == []


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks"])
def test_nested_calls_without_a_circle_share_one_computation(workers: Workers, tasks: bool) -> None:
    one = [["a", ["c", ["d"], ["e"]], ["d", ["e"]]], ["b", ["c", ["d"]], ["e"]]]
    other = [["b", ["d", ["e"]], ["c", ["e"]]], ["x", ["c", ["d"], ["e"]]], ["a", ["e"]]]

    computed = workers.run(one, other, one, seconds=0.01, tasks=tasks)

    assert set(computed.values()) == {1}


@pytest.mark.slow
def test_what_a_killed_process_told_of_its_waits_does_not_count(workers: Workers) -> None:
    # Given one who leads g, and one who led f and waited for g until it was killed
    first = workers.start([["g", ["f"]]], gate=3)
    workers.go(first)
    workers.wait_until(lambda: workers.computed() == {"g": 1})
    killed = workers.start([["f", ["g"]]])
    workers.go(killed)
    workers.wait_until(lambda: len(workers.notices()) == 1)
    dead = workers.notices()
    killed.kill()
    killed.wait()

    # When another leads f, for which the leader of g then asks
    other = workers.start([["f"]], gate=4)
    workers.go(other)
    workers.wait_until(lambda: workers.notices() not in ([], dead))
    workers.write("x")

    # Then it waits, since nobody waits for g any more
    assert [first.wait(PATIENCE), other.wait(PATIENCE)] == [0, 0]
    assert workers.computed() == {"g": 1, "f": 2, "x": 1}
    assert workers.notices() == []


def nested(rng: random.Random, depth: int = 0) -> list[Any]:
    key = rng.choice("fghij")
    if depth == 3:
        return [key]
    return [key, *(nested(rng, depth + 1) for _ in range(rng.randint(0, 2)))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_no_mixture_of_nested_calls_waits_for_itself(workers: Workers, seed: int) -> None:
    rng = random.Random(seed)
    threads = [[nested(rng) for _ in range(4)] for _ in range(2)]
    tasks = [[nested(rng) for _ in range(4)]]

    processes = [workers.start(of_one, gate=3, seconds=0.01) for of_one in threads]
    processes += [workers.start(of_one, gate=3, seconds=0.01, tasks=True) for of_one in tasks]
    for process in processes:
        workers.go(process)

    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0]
    assert workers.notices() == []
