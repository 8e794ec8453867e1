# SPDX-License-Identifier: MIT
"""A forked child waits for nothing that a thread of its parent was doing."""

import importlib
import os
import subprocess
import sys
import threading
import time
import types

import pytest

from cacheness import UnifiedCache, forks
from cacheness.plugins.registry import Registry
from cacheness.testing.store import forked

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module, and says where it tells that it is being imported; it takes a while."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def make(name, pause="time.sleep(0.5)"):
        begun = tmp_path / "begun"
        (tmp_path / f"{name}.py").write_text(
            f"import os, pathlib, time\npathlib.Path({str(begun)!r}).touch()\n"
            f"{pause}\ndone = True\n"
        )
        names.append(name)
        return begun

    yield make
    for name in names:
        sys.modules.pop(name, None)


def importing(name, begun):
    thread = threading.Thread(target=importlib.import_module, args=(name,))
    thread.start()
    while not begun.exists():
        time.sleep(0.001)
    return thread


@pytest.mark.slow
def test_a_fork_waits_for_an_import_of_another_thread(module):
    thread = importing("cacheness_slow", module("cacheness_slow"))

    assert forked(lambda: importlib.import_module("cacheness_slow").__name__) == "cacheness_slow"

    thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cacheness_slow", "library"])
def test_a_child_begins_an_import_anew_that_took_too_long(module, monkeypatch, name):
    monkeypatch.setattr(forks, "_LONGEST_WAIT", 0.0)
    monkeypatch.setattr(forks, "_LIBRARIES", {"library"})
    thread = importing(name, module(name))

    assert forked(lambda: importlib.import_module(name).done)

    thread.join()


HALF_WAY = """
import importlib, os, sys, threading
library, directory = sys.argv[1:]
begun, over = threading.Event(), threading.Event()

def see(frame, event, argument):
    where = os.path.dirname(frame.f_code.co_filename)
    if event == "line" and os.path.basename(where) == library and not begun.is_set():
        begun.set()
        over.wait(20)
    return see

def work():
    sys.settrace(see)
    importlib.import_module(library)

from cacheness import forks
forks._LONGEST_WAIT = forks._SHORT_WAIT = 0.0
thread = threading.Thread(target=work)
thread.start()
assert begun.wait(20), "it was imported before"
child = os.fork()
if child == 0:
    from cacheness import UnifiedCache
    with UnifiedCache(directory) as cache:
        cache.put([1], n=1)
        cache.put(bytes(100_000), n=2)
        cache.put({1, 2}, n=3)
        os._exit(0 if cache.get(n=1) == [1] and cache.get(n=3) == {1, 2} else 2)
_, status = os.waitpid(child, 0)
over.set()
thread.join()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.slow
@pytest.mark.parametrize("library", ["blake3", "orjson", "platformdirs", "pluggy", "xxhash"])
def test_a_child_begins_libraries_anew_that_a_thread_has_imported_half(tmp_path, library):
    script = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HALF_WAY, library]

    done = subprocess.run(
        [*script, tmp_path / "cache"], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_fork_waits_for_a_library_that_is_imported_here(module, monkeypatch):
    begun = module("library")

    def use():
        importlib.import_module("library")

    # As a function of this package.
    use = types.FunctionType(use.__code__, {"__name__": "cacheness.use", "importlib": importlib})
    thread = threading.Thread(target=use)
    thread.start()
    while not begun.exists():
        time.sleep(0.001)

    assert forked(lambda: importlib.import_module("library").done)

    thread.join()


@pytest.mark.slow
def test_a_fork_does_not_wait_for_a_program_of_the_users(module, tmp_path, monkeypatch):
    monkeypatch.setattr(forks, "_LONGEST_WAIT", 1e9)  # as for a part of this package
    go = tmp_path / "go"
    here = f"os.getpid() == {os.getpid()} and not os.path.exists({str(go)!r})"
    begun = module("program", f"while {here}: time.sleep(0.01)")
    thread = importing("program", begun)
    try:
        assert forks._imported_elsewhere() == {"program": False}
        assert forked(lambda: importlib.import_module("program").__name__) == "program"
        assert thread.is_alive(), "the fork waited for the import"
    finally:
        go.touch()
        thread.join()


def test_a_thread_that_looks_for_plugins_is_not_waited_for():
    registry = Registry(frozenset())
    held, over = threading.Event(), threading.Event()

    def hold():
        with registry._lock:
            held.set()
            over.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    try:
        assert "handlers" in str(forked(lambda: sorted(registry.discovered())))
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_children_are_forked_while_threads_use_a_cache_first(tmp_path):
    cache = UnifiedCache(tmp_path)
    threads = [
        threading.Thread(target=cache.put, args=(bytes(100_000), f"thread {number}"))
        for number in range(3)
    ]

    def put(number):
        cache.put([number], f"child {number}")
        return cache.get(f"child {number}")

    for thread in threads:
        thread.start()
    assert [forked(lambda number=number: put(number)) for number in range(5)] == [
        [number] for number in range(5)
    ]
    for thread in threads:
        thread.join()
    cache.close()

    with UnifiedCache(tmp_path) as cache:
        assert len(cache) == 8
