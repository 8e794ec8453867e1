# SPDX-License-Identifier: MIT
"""Forks one child after another, each killed before the next round trip to the server.

Run as ``killer.py URL SCHEMA DIRECTORY BLOBS WORKLOAD SIZE``; it prints the number of steps
and what went wrong, as JSON. Whatever psycopg asks of a server, its connections wait for,
so that every statement, commit and ping is a step.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import psycopg
from tests.core.reliability.children import in_child
from tests.core.reliability.workloads import ALL_WORKLOADS, faults_after, opened

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.reliability.workloads import Workload


def main(url: str, schema: str, directory: str, blobs: str, name: str, size: int) -> None:
    workload = ALL_WORKLOADS[name]
    problems: list[str] = []
    # As long as one is open, the others of this process share its connections.
    configure(url, schema, blobs, namespace="")
    kept = None if name == "Create" else opened(f"{directory}/kept", "postgres")
    for step in itertools.count(-1):
        place = f"{directory}/{step}"
        # Who is killed while the tables are made needs a schema that is not there.
        of_step = f"{schema}_{step + 1}" if name == "Create" else schema
        configure(url, of_step, blobs, namespace=f"n{step + 1}")
        workload.prepare(place, "postgres", size)
        # The first is not killed, so that all others have imported what it needs.
        if step < 0:
            run(workload, size, place)
            finished, code = True, -signal.SIGKILL
        else:
            finished, code = killed(workload, size, place, step)
        if name == "Compute":
            run(workload, size, place)  # nobody waits for the one that died
            finished = True
        crashed = step >= 0 and code != 0
        found = faults_after(place, "postgres", workload, size, finished=finished, crashed=crashed)
        problems += [f"{name}, {size}, step {step}: {fault}" for fault in found]
        if code == 0:
            break
        if code != -signal.SIGKILL:
            problems.append(f"{name}: it ended with {code} at step {step}")
            break
    if kept is not None:
        kept.close()
    sys.stdout.write(json.dumps({"steps": step, "problems": problems}))


def configure(url: str, schema: str, blobs: str, *, namespace: str) -> None:
    """Have the caches that are opened from now on use the server."""
    where = json.dumps({"url": url, "schema": schema})
    os.environ["CACHENESS_METADATA_OPTIONS"] = where
    os.environ["CACHENESS_BLOB_BACKEND"] = blobs
    os.environ["CACHENESS_BLOB_OPTIONS"] = where if blobs == "postgres" else "{}"
    os.environ["CACHENESS_NAMESPACE"] = namespace


def run(workload: Workload, size: int, place: str) -> None:
    with opened(place, "postgres", **workload.options) as cache:
        workload.run(cache, size, place)


def killed(workload: Workload, size: int, place: str, step: int) -> tuple[bool, int]:
    """Do it in a child that dies at a step; whether it was done before, and how it ended."""

    def work(tell: Callable[[bytes], object]) -> None:
        die_at(step)
        cache = opened(place, "postgres", **workload.options)
        workload.run(cache, size, place)
        tell(b"done")
        cache.close()

    told, code = in_child(work)
    return told == b"done", code


def die_at(step: int) -> None:
    """Have this process die before its round trip of that number."""
    left = [step]
    wait = psycopg.Connection.wait

    def waiting(connection: Any, *arguments: Any, **options: Any) -> Any:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return wait(connection, *arguments, **options)

    psycopg.Connection.wait = waiting  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:6], int(sys.argv[6]))  # type: ignore[arg-type]  # five words
