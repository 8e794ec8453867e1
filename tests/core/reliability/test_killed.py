"""A process that is killed at any step of any change leaves old values or new ones, no others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .workloads import LARGE, MORE_WORKLOADS, cases

ALL = [
    (backend, *case)
    for backend in ("sqlite", "json")
    for case in [*cases(backend), *((name, LARGE) for name in MORE_WORKLOADS)]
]


def kill_at_each_step(quick_path, backend, name, size, way):
    killer = Path(__file__).with_name("killer.py")
    ran = subprocess.run(
        [sys.executable, str(killer), str(quick_path), backend, name, str(size), way],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert not told["problems"], "\n".join(told["problems"]) + ran.stderr
    return told["steps"]


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "name", "size"), ALL)
def test_any_change_killed_at_any_step(quick_path, backend, name, size):
    # A small one is one statement, or one write, and what opens and closes the store.
    assert kill_at_each_step(quick_path, backend, name, size, "step") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Create", "PutBatch", "CompactByPut", "Import", "Repair"])
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_change_killed_half_way_through_any_write(quick_path, backend, name):
    name = "Compact" if (name, backend) == ("CompactByPut", "sqlite") else name
    kill_at_each_step(quick_path, backend, name, 50_000, "torn")
