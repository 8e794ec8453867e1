# SPDX-License-Identifier: MIT
"""A filled cache, and two ways of running the command: in this process, and as users do."""

import json
import os
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

from cacheness import UnifiedCache

pytest.importorskip("typer", reason="the extra cli is not installed")


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """A home, and so a signing key, of its own, and nothing of ours in the environment."""
    folder = tmp_path_factory.mktemp("home")
    for name in os.environ:
        if name.startswith(("CACHENESS_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.chdir(folder)
    return folder


def double(x):
    return 2 * x


@pytest.fixture
def store(tmp_path):
    """The directory of a cache with nine entries."""
    directory = tmp_path / "cache"
    with UnifiedCache(directory, compressor="none") as cache:
        cache.put({"score": 0.9}, lr=0.1, model="a", prefix="runs", tags=["nightly"])
        cache.put(list(range(1000)), lr=0.5, model="b", prefix="runs", tags=["nightly", "big"])
        cache.put(np.zeros(50_000), lr=0.01, model="c", custom_metadata={"owner": "me"})
        cache.put("text", "alpha-1", description="the first")
        cache.put("text", "alpha-2")
        cache.put({1, 2}, "signed", pin=True)
        cache.put("gone", "short-lived", ttl_seconds=0.001)
        doubled = cache.cached(double)
        doubled(1), doubled(2), doubled(1)
    return directory


@pytest.fixture
def run():
    """Run a command in this process; give its exit code, stdout and stderr."""
    from typer.testing import CliRunner

    from cacheness.cli.app import app

    def run(*arguments, answer=None):
        return CliRunner().invoke(app, [str(one) for one in arguments], input=answer)

    return run


@pytest.fixture
def as_json(run):
    """Run a command with --json; give what it printed, and see to its exit code."""

    def as_json(*arguments, code=0):
        done = run(*arguments, "--json")
        assert done.exit_code == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)

    return as_json


@pytest.fixture
def command(home):
    """Run the installed command in a process of its own."""
    script = os.path.join(sysconfig.get_path("scripts"), "cacheness")

    def command(*arguments, answer="", env=None):
        return subprocess.run(
            [script, *map(str, arguments)],
            input=answer,
            capture_output=True,
            text=True,
            check=False,
            cwd=home,
            env={**os.environ, **(env or {})},
        )

    return command


@pytest.fixture
def module():
    """Run Python with these arguments in a process of its own."""

    def module(*arguments):
        return subprocess.run(
            [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
        )

    return module
