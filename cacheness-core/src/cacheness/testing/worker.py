# SPDX-License-Identifier: MIT
"""The other process of a suite: opens a store, does one task, tells what came of it."""

from __future__ import annotations

import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

from cacheness.backends.base import BackendContext
from cacheness.config import CacheConfig
from cacheness.entry import Entry
from cacheness.plugins.tables import load_target

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Read a pickled job from standard input, write the pickled result to standard output."""
    job = pickle.load(sys.stdin.buffer)
    config = CacheConfig(cache_dir=job["directory"], lock_timeout=30)
    context = BackendContext(job["directory"], job["namespace"], config)
    backend = load_target(job["target"])(context, **job["options"])
    result = TASKS[job["task"]](backend, **job["arguments"])
    backend.close()
    sys.stdout.buffer.write(pickle.dumps(result))


def put_keys(backend: Any, *, worker: int, threads: int, count: int) -> int:
    """Put entries under keys of this worker's own, replacing each once, from some threads."""

    def put(thread: int) -> None:
        for turn in (0, 1):
            for number in range(count):
                key = f"{worker}-{thread}-{number}"
                generation = 1 + turn + 10 * (number + 1000 * (thread + 10 * worker))
                backend.put_entry(Entry("", key, generation, inline=key.encode(), hits=turn))
                backend.record_hits({"common": (1, float(number))})

    running = [threading.Thread(target=put, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return threads * count


def put_one(backend: Any, *, cache_key: str, generation: int) -> bool:
    """Put an entry where there is none; tell whether it was written."""
    entry = Entry("", cache_key, generation, inline=b"of the worker")
    return backend.put_entry(entry, if_absent=True) is None


def hold_lock(backend: Any, *, cache_key: str) -> None:
    """Take a lock, say so, and keep it until killed."""
    with backend.lock(cache_key):
        sys.stdout.buffer.write(b".")
        sys.stdout.buffer.flush()
        threading.Event().wait(120)


def write_blobs(backend: Any, *, names: list[str], size: int) -> str:
    """Write blobs; tell the store's id."""
    for name in names:
        backend.write(name, [name.encode(), bytes(size)])
    return str(backend.store_id)


TASKS: dict[str, Callable[..., Any]] = {
    task.__name__: task for task in (put_keys, put_one, hold_lock, write_blobs)
}

if __name__ == "__main__":
    main()
