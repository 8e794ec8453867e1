# SPDX-License-Identifier: MIT
"""A cache that is closed while other threads use it ends their statements and harms nothing."""

import subprocess
import sys
import threading
import time

import pytest

from cacheness import CacheClosedError, UnifiedCache
from cacheness.backends.sqlite_held import _left
from cacheness.backends.statements import Alone, statements_of_this_thread

CLOSED_IN_THE_MIDDLE = """
import sys, threading
from cacheness import CacheClosedError, UnifiedCache

def use(cache, begun):
    number = 0
    try:
        while True:
            number += 1
            cache.put({"n": number}, f"{number % 7}")
            cache.get(f"{number % 5}")
            list(cache.entries())
            begun.set()
    except CacheClosedError:
        ended.append(1)

ended = []
for _ in range(40):
    cache = UnifiedCache(sys.argv[1])
    begun = [threading.Event() for _ in range(4)]
    threads = [threading.Thread(target=use, args=(cache, event)) for event in begun]
    for thread in threads:
        thread.start()
    for event in begun:
        event.wait()
    cache.close()
    for thread in threads:
        thread.join(30)
print(len(ended))
"""


@pytest.mark.slow
def test_to_close_it_in_the_middle_of_statements_ends_them_with_the_error_for_that(tmp_path):
    command = [sys.executable, "-W", "error", "-c", CLOSED_IN_THE_MIDDLE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["160"], "")


def test_closing_waits_for_the_statement_of_another_thread(tmp_path):
    cache = UnifiedCache(tmp_path)
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def work():
        with cache.engine.backend._connections.transaction() as execute:
            inside.set()
            leave.wait(10)
            seen.append(execute("SELECT 1").fetchone())
        with pytest.raises(CacheClosedError):
            cache.get("key")

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    threading.Timer(0.1, leave.set).start()
    cache.close()
    assert seen == [(1,)]
    thread.join()


def test_a_statement_that_does_not_end_keeps_nobody_from_closing(tmp_path, monkeypatch):
    monkeypatch.setattr("cacheness.backends.statements._LONGEST_WAIT", 0.05)
    cache = UnifiedCache(tmp_path)
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def work():
        with cache.engine.backend._connections.transaction() as execute:
            inside.set()
            leave.wait(10)
            seen.append(execute("SELECT 1").fetchone())

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(10)
    cache.close()
    leave.set()
    thread.join()
    assert seen == [(1,)], "its connection was left to it"
    assert len(_left) == 1
    UnifiedCache(tmp_path).close()
    assert not _left, "it was closed by the next that closed"


def test_who_is_alone_may_use_statements_and_others_wait(tmp_path):
    entered = []

    def enter():
        with statements_of_this_thread():
            entered.append(time.monotonic())

    thread = threading.Thread(target=enter)
    with Alone(), statements_of_this_thread():
        thread.start()
        time.sleep(0.05)
        left = time.monotonic()
        assert not entered
    thread.join()
    assert entered[0] >= left


CLOSED_IN_BETWEEN = """
import os, sys, threading, time
from cacheness import CacheClosedError, UnifiedCache

def use(cache, number, ended):
    try:
        while True:
            number += 1
            cache.put_batch([([n], f"{n}") for n in range(9)])
            for n in range(40):
                cache.get(f"{n % 9}")
            cache.get_or_compute(lambda: number, number=number)
            list(cache.entries(number=3))
    except CacheClosedError:
        ended.append(1)

ended = []
for round in range(15):
    cache = UnifiedCache(sys.argv[1], metadata_backend=sys.argv[2], memory_bytes=1_000_000)
    threads = [threading.Thread(target=use, args=(cache, n << 20, ended)) for n in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.003 * round)
    cache.close()
    for thread in threads:
        thread.join(30)
held = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{n}")] if os.path.isdir("/proc/self/fd") else []
print(len(ended), [path for path in held if path.endswith("keys.lock")])
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_to_close_it_between_two_steps_ends_all_with_the_error_for_that(tmp_path, backend):
    command = [sys.executable, "-W", "error", "-c", CLOSED_IN_BETWEEN, str(tmp_path), backend]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "60 []", "")
