# SPDX-License-Identifier: MIT
"""Of all processes that miss an entry one computes it, and none waits for itself."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cacheness import UnifiedCache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WORKER = Path(__file__).with_name("flight_worker.py")
PATIENCE = 90
"""Seconds until a worker is taken to hang."""


class Workers:
    """Processes that share caches, and what they computed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "log"
        self.log.touch()
        self.caches = [directory / "cache"]
        self.options: dict[str, Any] = {}
        self.running: list[subprocess.Popen[str]] = []

    def start(
        self, programs: list[Any], *, gate: int = 0, seconds: float = 0.0, tasks: bool = False
    ) -> subprocess.Popen[str]:
        """A process that runs each program in a thread or task, once `go` is called."""
        for cache in self.caches:
            UnifiedCache(cache, **self.options).close()
        job = {
            "caches": [str(cache) for cache in self.caches],
            "options": self.options,
            "log": str(self.log),
            "programs": programs,
            "gate": gate,
            "seconds": seconds,
            "tasks": tasks,
        }
        process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def go(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()

    def run(self, *programs: list[Any], **how: Any) -> Counter[str]:
        """Run processes of these programs to their end; how often each key was computed."""
        processes = [self.start(of_one, **how) for of_one in programs]
        for process in processes:
            self.go(process)
        for process in processes:
            assert process.wait(PATIENCE) == 0
        return self.computed()

    def computed(self) -> Counter[str]:
        return Counter(line.split()[0] for line in self.log.read_text().splitlines())

    def notices(self) -> list[str]:
        """What is left in the folder of locks besides the lock file."""
        names = (os.listdir(cache / "locks") for cache in self.caches)
        return [name for of_one in names for name in of_one if name != "keys.lock"]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    for process in workers.running:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


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
    wait_until(lambda: workers.computed() == {"f": 1})
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
    # Given somebody who leads g, and one who leads f and waits for g until it is killed
    slow = workers.start([["g"]], gate=3)
    workers.go(slow)
    wait_until(lambda: workers.computed() == {"g": 1})
    killed = workers.start([["f", ["g"]]], gate=0)
    workers.go(killed)
    wait_until(lambda: len(workers.notices()) == 1)
    killed.kill()
    killed.wait()

    # When the leader of g asks for f, which nobody leads any more, by way of h
    other = workers.start([["h", ["f"]]], gate=0)
    workers.go(other)

    assert other.wait(PATIENCE) == 0
    assert slow.wait(PATIENCE) == 0
    assert workers.computed() == {"g": 1, "f": 2, "h": 1}


@pytest.mark.slow
def test_a_notice_of_the_dead_is_removed_by_the_next_who_waits(workers: Workers) -> None:
    slow = workers.start([["g"]], gate=4)
    workers.go(slow)
    wait_until(lambda: workers.computed() == {"g": 1})
    killed = workers.start([["f", ["g"]]])
    workers.go(killed)
    wait_until(lambda: len(workers.notices()) == 1)
    killed.kill()
    killed.wait()

    waiting = workers.start([["h", ["g"]]])
    workers.go(waiting)
    wait_until(lambda: workers.computed()["h"] == 1)
    wait_until(lambda: workers.notices() != [] and len(workers.notices()) == 1)
    workers.log.write_text(workers.log.read_text() + "x 0\n")

    assert waiting.wait(PATIENCE) == 0
    assert slow.wait(PATIENCE) == 0
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
