# SPDX-License-Identifier: MIT
"""Forks children while threads use a cache, and closes it before they end.

Run as ``forking.py DIRECTORY BACKEND ROUNDS``, for a process in which all is used the first
time. It fails where somebody hangs, or where something that was stored is lost.
"""

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from random import Random

from cacheness import UnifiedCache

PATIENCE = 20
"""Seconds after which somebody hangs; it takes tenths."""
THREADS, CHILDREN, PUTS = 3, 6, 40


def value_of(number):
    """Every fifth is a file."""
    return bytes(20_000) + b"%d" % number if number % 5 == 0 else [number] * 3


def store(cache, name, told, puts, over=None):
    """Put values one after the other, and write down each that was stored."""
    for number in range(puts):
        cache.put(value_of(number), f"{name}/{number}")
        told.write(f"{name}/{number}\n")
        told.flush()
        if number % 3 == 0:
            assert cache.get(f"{name}/{number // 2}") == value_of(number // 2)
        if over is not None and over.is_set():
            return


def child_of(cache, options, name, path, number):
    """Fork one that stores something, with its parent's cache or with one of its own."""
    child = os.fork()
    if child == 0:
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(PATIENCE)
        try:
            mine = cache if number % 2 else UnifiedCache(**options)
            with open(path / name, "w") as told:
                store(mine, name, told, PUTS)
            if number % 3 == 0:
                mine.close()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    return child


def main(directory, backend, rounds):
    warnings.simplefilter("ignore", DeprecationWarning)  # of forks of a process with threads
    told, random = directory / "told", Random()
    told.mkdir()
    options = {
        "cache_dir": directory / "cache",
        "metadata_backend": backend,
        "signing_key": b"of this test only",
    }
    for turn in range(rounds):
        cache, over = UnifiedCache(**options), threading.Event()
        files = [(told / f"{turn}-thread{n}").open("w") for n in range(THREADS)]
        threads = [
            threading.Thread(target=store, args=(cache, os.path.basename(f.name), f, 10**6, over))
            for f in files
        ]
        for thread in threads:
            thread.start()
        children = []
        for number in range(CHILDREN):
            time.sleep(random.random() * 0.01)
            children.append(child_of(cache, options, f"{turn}-child{number}", told, number))
        over.set()
        for thread, file in zip(threads, files, strict=True):
            thread.join()
            file.close()
        cache.close()
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * CHILDREN

    names = [name for path in told.iterdir() for name in path.read_text().splitlines()]
    assert len(names) >= rounds * CHILDREN * PUTS
    with UnifiedCache(**options) as cache:
        lost = [n for n in names if cache.get(n) != value_of(int(n.rpartition("/")[2]))]
        assert lost == [], f"{len(lost)} of {len(names)} were lost"
        assert cache.verify_integrity().ok


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
