# SPDX-License-Identifier: MIT
"""Another process of the tests of flights: computes nested programs in threads or tasks.

A program is a cache key and the programs that its computation calls: ``["f", ["g"]]``. A
computation writes a line into the log; an outermost one then waits until the log has as
many lines as the gate says, so that all outermost ones are under way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from typing import Any

from cacheness import UnifiedCache


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
