# SPDX-License-Identifier: MIT
"""What a hit and a put do is counted: files, calls, copies, writes."""

import json
import logging
import sqlite3
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from cacheness import UnifiedCache

VALUE = {"score": 0.93, "epochs": 12, "classes": ["cat", "dog"]}
SIZE = 100_000_000

# What a small hit calls of ours but for the backend, each at most once. One more is a decision:
# it costs each hit of each user 50 ns or more.
AT_A_HIT = {
    "shortcuts.get",
    "reader.read_by_key",
    "handlers.json.loads",
    "statistics.hits.add",
    "keys.encoding.scalars_key",
    "naming.checked_key",
    "payloads.decode.read_plain",
}
AT_A_HIT_FROM_MEMORY = {
    "backends.wrapper.recall",
    "shortcuts.get",
    "reader._recalled",
    "reader.read_by_key",
    "statistics.hits.add",
    "naming.checked_key",
}

COUNT_FILES = """
import sys
from cacheness import UnifiedCache
opened = []
FILES = {"open", "os.open", "sqlite3.connect", "os.listdir", "os.scandir", "mmap.__new__",
         "tempfile.mkstemp", "tempfile.mkdtemp", "os.rename", "os.remove", "os.link"}
with UnifiedCache(sys.argv[1]) as cache:
    cache.get(a=1)
    cache.put(sys.argv[1], "warm")
    sys.addaudithook(lambda event, args: opened.append((event, str(args))) if event in FILES else 0)
    for _ in range(100):
        assert cache.get(a=1)["epochs"] == 12
        assert cache.get("key") == "text"
    print(len(opened), opened[:3])
    for i in range(20):
        cache.put({"a": [i]}, f"put-{i}")
    print(len(opened), opened[:3])
"""


def calls_of(operation, times=1):
    """Our own functions that an operation calls, with how often; those of SQLite's side apart."""
    called: dict[str, int] = {}

    def note(frame, event, _):
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.split(".")[0] in {"cacheness", "logging"}:
            label = f"{name.removeprefix('cacheness.')}.{frame.f_code.co_name}"
            called[label] = called.get(label, 0) + 1

    sys.setprofile(note)
    try:
        for _ in range(times):
            operation()
    finally:
        sys.setprofile(None)
    return called


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path) as opened:
        opened.put(VALUE, a=1)
        opened.put("text", "key")
        yield opened


@pytest.mark.slow
def test_a_small_hit_and_a_small_put_open_no_file(cache, tmp_path):
    program = [sys.executable, "-c", COUNT_FILES, str(tmp_path)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["0 []", "0 []"]


@pytest.mark.parametrize("name", [{"a": 1}, {"cache_key": "key"}], ids=["params", "key"])
def test_a_small_hit_calls_nothing_but_this(cache, name):
    for _ in range(3):
        cache.get(**name)

    called = calls_of(lambda: cache.get(**name))

    others = {label: n for label, n in called.items() if not label.startswith("backends.")}
    assert others.keys() <= AT_A_HIT | {"logging.isEnabledFor"}
    assert set(others.values()) == {1}


def test_a_hit_from_memory_calls_nothing_but_this(tmp_path):
    with UnifiedCache(tmp_path, memory_bytes="1 MiB", memory_staleness=60) as cache:
        cache.put(VALUE, "key")
        for _ in range(3):
            cache.get("key")

        called = calls_of(lambda: cache.get("key"))

        copies = {"payloads.copies.give"}
        assert called.keys() <= AT_A_HIT_FROM_MEMORY | copies | {"logging.isEnabledFor"}
        assert set(called.values()) == {1}


def test_a_hit_that_nobody_listens_to_makes_no_message_and_no_event(cache):
    logger = logging.getLogger("cacheness")
    assert not logger.isEnabledFor(logging.DEBUG)
    cache.get("key")

    called = calls_of(lambda: cache.get("key"), times=50)

    assert not {label for label in called if "tell" in label or "event" in label.lower()}
    assert {label for label in called if label.startswith("logging.")} <= {"logging.isEnabledFor"}


def test_a_hit_that_somebody_listens_to_is_told(cache, caplog):
    with caplog.at_level(logging.DEBUG, logger="cacheness"):
        cache.get("key")
    assert [record.getMessage() for record in caplog.records] == ["hit key"]


def test_hits_are_collected_and_written_at_once(cache, tmp_path):
    watching = sqlite3.connect(tmp_path / "metadata.sqlite3")
    cache.engine.flush()
    before = watching.execute("PRAGMA data_version").fetchone()

    for _ in range(500):
        cache.get("key")

    assert watching.execute("PRAGMA data_version").fetchone() == before
    cache.engine.flush()
    assert watching.execute("PRAGMA data_version").fetchone() != before
    watching.close()
    assert cache.get_entry("key").hits == 500


# --- copies ----------------------------------------------------------------------------------

COPIES = """
import sys, tracemalloc, json
import numpy as np
from cacheness import UnifiedCache
mapped = []
sys.addaudithook(lambda event, args: mapped.append(args[1]) if event == "mmap.__new__" else 0)
size, kind = int(sys.argv[2]), sys.argv[3]
array = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
array = {"array": array, "fortran": array.reshape(-1, 100).T, "dict": {"x": [array]}}[kind]
with UnifiedCache(sys.argv[1]) as cache:
    cache.put(np.arange(300_000), "warm"), cache.get("warm")
    told = {}
    for name, step in (("put", lambda: cache.put(array, "large")),
                       ("get", lambda: cache.get("large"))):
        mapped.clear()
        tracemalloc.start()
        got = step()
        told[name] = (tracemalloc.get_traced_memory()[1] + sum(mapped)) / size
        tracemalloc.stop()
    got = got["x"][0] if kind == "dict" else got
    assert got.flags.writeable and got.nbytes == size
    print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["array", "fortran", "dict"])
def test_a_large_array_is_put_without_a_copy_and_got_with_one(tmp_path, kind):
    program = [sys.executable, "-c", COPIES, str(tmp_path), str(SIZE), kind]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["put"] < 0.05
    assert 1 <= told["get"] < 1.05


PEAK = """
import sys
import numpy as np
from cacheness import UnifiedCache

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

cache = UnifiedCache(sys.argv[1])
cache.put(np.arange(1 << 21), "warm"), cache.get("warm")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
array = cache.get("large")
print((status("VmHWM") - before) / array.nbytes)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak")
def test_a_compressed_array_is_never_in_memory_twice(tmp_path):
    array = np.random.default_rng(0).integers(0, 1 << 40, 20_000_000)  # shrinks by a third
    with UnifiedCache(tmp_path) as cache:
        cache.put(array, "large")
        stored = cache.get_entry("large").stored_bytes
        assert 0.5 < stored / array.nbytes < 0.8
        assert np.array_equal(cache.get("large"), array)

    program = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)

    assert float(done.stdout) < 1.2, "with all of the stored bytes kept it would be 1.6"


@pytest.mark.slow
def test_a_dict_of_arrays_is_put_without_a_copy_of_the_whole(tmp_path):
    arrays = {f"a{i}": np.random.default_rng(i).random(1_000_000) for i in range(10)}
    with UnifiedCache(tmp_path) as cache:
        cache.put({"x": arrays["a0"]}, "warm")
        tracemalloc.start()
        cache.put(arrays, "large")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 4_000_000
