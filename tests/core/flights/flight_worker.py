# SPDX-License-Identifier: MIT
"""Other processes of the tests of flights, which compute nested programs in threads or tasks.

A program is a cache key and the programs that its computation calls: ``["f", ["g"]]``. A
computation writes a line into the log; an outermost one then waits until the log has as
many lines as the gate says, so that all outermost ones are under way.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from cacheness import UnifiedCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
            [sys.executable, __file__, json.dumps(job)],
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

    def write(self, key: str) -> None:
        """A line of the log, as a computation of that key writes it."""
        with self.log.open("a") as log:
            log.write(f"{key} 0\n")

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.running:
            process.kill()
            process.communicate()

    def notices(self) -> list[str]:
        """What is left in the folder of locks besides the lock file."""
        names = (os.listdir(cache / "locks") for cache in self.caches)
        return [name for of_one in names for name in of_one if name != "keys.lock"]


def main() -> None:
    job = json.loads(sys.argv[1])
    caches = [UnifiedCache(name, **job["options"]) for name in job["caches"]]
    worker = Worker(caches, job["log"], job["gate"], job["seconds"])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    if job["tasks"]:
        asyncio.run(worker.run_tasks(job["programs"]))
    else:
        threads = [threading.Thread(target=worker.call, args=(p,)) for p in job["programs"]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Worker:
    def __init__(self, caches: list[UnifiedCache], log: str, gate: int, seconds: float) -> None:
        self.caches = caches
        self.log = log
        self.gate = gate
        self.seconds = seconds

    def cache(self, key: str) -> UnifiedCache:
        return self.caches[sum(key.encode()) % len(self.caches)]

    def call(self, program: list[Any], depth: int = 0) -> Any:
        key, *then = program

        def compute() -> list[str]:
            self.write(key)
            while depth == 0 and self.lines() < self.gate:
                time.sleep(0.005)
            time.sleep(self.seconds)
            for other in then:
                assert self.call(other, depth + 1) == [other[0]]
            return [key]

        return self.cache(key).get_or_compute(compute, key)

    async def run_tasks(self, programs: list[Any]) -> None:
        await asyncio.gather(*map(self.call_in_task, programs))

    async def call_in_task(self, program: list[Any], depth: int = 0) -> Any:
        key, *then = program

        async def compute() -> list[str]:
            self.write(key)
            while depth == 0 and self.lines() < self.gate:
                await asyncio.sleep(0.005)
            await asyncio.sleep(self.seconds)
            for other in then:
                assert await self.call_in_task(other, depth + 1) == [other[0]]
            return [key]

        return await self.cache(key).aio.get_or_compute(compute, key)

    def write(self, key: str) -> None:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{key} {os.getpid()}\n".encode())
        os.close(descriptor)

    def lines(self) -> int:
        with open(self.log, "rb") as file:
            return file.read().count(b"\n")


if __name__ == "__main__":
    main()
