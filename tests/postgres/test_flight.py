# SPDX-License-Identifier: MIT
"""Of all machines that miss an entry one computes it, and none waits for itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.flights.flight_worker import PATIENCE, Workers

from cacheness import UnifiedCache
from cacheness.flights.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def workers(tmp_path: Path, url: str, schema: str) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    workers.options = {
        "metadata_backend": "postgres",
        "metadata_options": {"url": url, "schema": schema},
    }
    yield workers
    workers.close()


@pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks"])
def test_machines_compute_once(workers: Workers, tasks: bool) -> None:
    computed = workers.run(*[[["f"]] * 20] * 3, seconds=0.5, tasks=tasks)

    assert computed == {"f": 1}


@pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks"])
def test_of_a_circle_of_machines_exactly_one_computes_instead(
    workers: Workers, tasks: bool
) -> None:
    circle: list[Any] = [[["f", ["g"]]], [["g", ["h"]]], [["h", ["f"]]]]

    computed = workers.run(*circle, gate=3, tasks=tasks)

    assert sum(computed.values()) == 4
    with UnifiedCache(workers.caches[0], **workers.options) as cache:
        assert cache.engine.backend.read_notes("flights") == {}


def test_what_a_killed_machine_left_is_computed_once_more(workers: Workers) -> None:
    leader = workers.start([["f", ["g"]]], gate=1)
    slow = workers.start([["g"]], gate=4)
    workers.go(slow)
    workers.wait_until(lambda: workers.computed() == {"g": 1})
    workers.go(leader)
    with UnifiedCache(workers.caches[0], **workers.options) as cache:
        workers.wait_until(lambda: len(cache.engine.backend.read_notes("flights")) == 1)
    other = workers.start([["h", ["f"]]] * 5)
    workers.go(other)
    workers.wait_until(lambda: workers.computed() == {"g": 1, "f": 1, "h": 1})

    leader.kill()

    assert [other.wait(PATIENCE), slow.wait(PATIENCE)] == [0, 0]
    assert workers.computed() == {"g": 1, "f": 2, "h": 1}


def test_many_threads_that_wait_take_one_connection(
    workers: Workers, tmp_path: Path, admin: Any
) -> None:
    leader = workers.start([["f"]], gate=2)
    workers.go(leader)
    workers.wait_until(lambda: workers.computed() == {"f": 1})

    with UnifiedCache(tmp_path / "mine", **workers.options) as cache:
        cache.get("none")
        count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        threads = [
            threading.Thread(target=cache.get_or_compute, args=(list, "f")) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        workers.wait_until(lambda: len(table._waits) == 20)
        workers.wait_until(lambda: admin.execute(count).fetchone() == (1,))
        workers.write("x")
        for thread in threads:
            thread.join(PATIENCE)
        assert leader.wait(PATIENCE) == 0
        assert cache.get("f") == ["f"]
