# SPDX-License-Identifier: MIT
"""A script that only reads one small value imports next to nothing for it."""

import json
import os
import subprocess
import sys

import pytest

from cacheness import UnifiedCache

HEAVY = {
    "blosc2",
    "importlib.metadata",
    "logging",
    "numpy",
    "pandas",
    "pluggy",
    "pyarrow",
    "rich",
    "sqlalchemy",
    "tensorflow",
    "typer",
}

# Each costs a new process a part of a millisecond, so one more is a decision.
OURS_AT_A_HIT = {
    "cacheness",
    "cacheness.backends",
    "cacheness.backends.base",
    "cacheness.backends.sqlite",
    "cacheness.backends.sqlite_compiling",
    "cacheness.backends.sqlite_connections",
    "cacheness.backends.sqlite_held",
    "cacheness.backends.sqlite_kept",
    "cacheness.backends.sqlite_opening",
    "cacheness.backends.sqlite_schema",
    "cacheness.backends.sqlite_token",
    "cacheness.backends.statements",
    "cacheness.builtins",
    "cacheness.compressors",
    "cacheness.compressors.base",
    "cacheness.compressors.none",
    "cacheness.config",
    "cacheness.core",
    "cacheness.engine",
    "cacheness.errors",
    "cacheness.forks",
    "cacheness.handlers",
    "cacheness.handlers.base",
    "cacheness.handlers.json",
    "cacheness.handlers.json_text",
    "cacheness.keys",
    "cacheness.keys.encoding",
    "cacheness.logged",
    "cacheness.many",
    "cacheness.naming",
    "cacheness.outcomes",
    "cacheness.payloads",
    "cacheness.payloads.checksum",
    "cacheness.payloads.context",
    "cacheness.payloads.decode",
    "cacheness.payloads.layout",
    "cacheness.payloads.refusals",
    "cacheness.plugins",
    "cacheness.plugins.discovery",
    "cacheness.plugins.registry",
    "cacheness.plugins.tables",
    "cacheness.reader",
    "cacheness.shortcuts",
    "cacheness.statistics",
    "cacheness.statistics.hits",
    "cacheness.switch",
}

# These as well on a file system without a device of its own, which may be a network's.
OURS_WITHOUT_A_DEVICE = {"cacheness.backends.sqlite_journal", "cacheness.disk.filesystem"}

TELL_IMPORTS = """
import sys
before = set(sys.modules)
{program}
imported = sorted(set(sys.modules) - before)
import json
print(json.dumps(imported))
"""


def imports_of(program):
    """What a new process imports while it runs the program."""
    text = TELL_IMPORTS.format(program=program)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(json.loads(done.stdout))


def heavy(imported):
    return {name for name in imported if name in HEAVY or name.partition(".")[0] in HEAVY}


@pytest.mark.parametrize(
    "value", [{"score": 0.93, "classes": ["a", "b"]}, "text", b"bytes", 7, None, [1.5, True]]
)
def test_a_first_small_hit_imports_nothing_heavy(tmp_path, value):
    with UnifiedCache(tmp_path) as cache:
        cache.put(value, experiment="a", lr=0.1)

    imported = imports_of(
        f"""
from cacheness import UnifiedCache
cache = UnifiedCache({str(tmp_path)!r})
assert cache.get(experiment="a", lr=0.1, default=cache) == {value!r}
"""
    )

    assert heavy(imported) == set()


@pytest.mark.slow
def test_a_first_small_hit_imports_exactly_these_modules_of_ours(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put({"score": 0.93}, experiment="a", lr=0.1)

    imported = imports_of(
        f"""
from cacheness import UnifiedCache
assert UnifiedCache({str(tmp_path)!r}).get(experiment="a", lr=0.1) == {{"score": 0.93}}
"""
    )

    ours = {name for name in imported if name.startswith("cacheness")}
    on_a_device = not sys.platform.startswith("linux") or os.major(os.stat(tmp_path).st_dev) != 0
    assert ours == OURS_AT_A_HIT | (set() if on_a_device else OURS_WITHOUT_A_DEVICE)


@pytest.mark.slow
def test_what_a_script_writes_at_its_exit_imports_next_to_nothing(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put({"score": 0.93}, "k")

    program = f"""
import atexit, sys
@atexit.register  # comes last, as it was the first
def tell():
    print(*sorted(sys.modules))
from cacheness import UnifiedCache
assert UnifiedCache({str(tmp_path)!r}).get("k") == {{"score": 0.93}}
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )

    imported = set(done.stdout.split())
    assert imported.isdisjoint(
        {"dataclasses", "inspect", "json", "orjson", "re", "threading", "typing"}
    )
    assert "cacheness.backends.sqlite_hits" in imported
    with UnifiedCache(tmp_path) as cache:
        assert cache.get_entry("k").hits == 1


@pytest.mark.slow
def test_a_first_hit_of_a_cached_function_imports_nothing_heavy(tmp_path):
    (tmp_path / "work.py").write_text("def square(x):\n    return {'square': x * x}\n")
    program = f"""
sys.path.insert(0, {str(tmp_path)!r})
from cacheness import UnifiedCache, cached
from work import square
remembered = cached(square, cache=UnifiedCache({str(tmp_path / "cache")!r}))
assert remembered(12) == {{"square": 144}}
assert remembered.cache_info().hits == HITS
"""
    imports_of(program.replace("HITS", "0"))

    imported = imports_of(program.replace("HITS", "1"))

    assert heavy(imported) == set()


def test_importing_the_package_imports_nothing_of_it():
    imported = imports_of("import cacheness")

    assert {name for name in imported if name.startswith("cacheness")} == {"cacheness"}
