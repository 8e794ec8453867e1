# SPDX-License-Identifier: MIT
"""Projects on disk, new processes, and other Python versions."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def _find_interpreter(uv, version):
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    found = subprocess.run(
        [uv, "python", "find", "--no-project", "--no-python-downloads", version],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if found.returncode == 0:
        return found.stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python"))), None)


@pytest.fixture(scope="session")
def python_of(tmp_path_factory):
    """Gives the interpreter of a version, with the sources on its path; skips without one."""
    made = {}

    def python(version):
        if version in made:
            return made[version]
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        interpreter = None if uv is None else _find_interpreter(uv, version)
        if interpreter is None:
            pytest.skip(f"Python {version} is not here")
        home = tmp_path_factory.mktemp(f"python{version}") / "env"
        subprocess.run([uv, "venv", "-q", "-p", interpreter, str(home)], check=True)
        made[version] = str(home / "bin" / "python")
        subprocess.run([uv, "pip", "install", "-q", "-p", made[version], "blake3"], check=True)
        return made[version]

    return python


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes modules, imports them afresh, and forgets them at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def load(name="mod", text=None, **others):
        for other, content in {**others, **({} if text is None else {name: text})}.items():
            (tmp_path / f"{other}.py").write_text(textwrap.dedent(content))
            names.append(other)
            sys.modules.pop(other, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def run():
    """Runs a text in a new process and gives the lines that it prints."""

    def run(text, *arguments, cwd=None):
        """Run a script's text in a new process and give its lines."""
        found = subprocess.run(
            [sys.executable, *arguments, "-c", textwrap.dedent(text)],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
        )
        assert found.returncode == 0, found.stderr
        return found.stdout.split("\n")[:-1]

    return run


@pytest.fixture(scope="session")
def module_text():
    """A module of which much can be changed; it imports ``other`` with a ``LIMIT``."""
    return MODULE


MODULE = """
import other

RATE = 2
NAMES = ["a", "b"]
TABLE = {"a": {"b": 1}}


def make(n):
    def add(x):
        return x + n

    return add


def make_picker(names):
    return lambda x: names[x]


adder = make(1)
picker = make_picker(["a"])


def helper(x, y=1):
    return x


class Base:
    scale = 1


class Model(Base):
    size = 2

    def fit(self):
        return missing(self.size)


def f(x):
    more = Model().fit(), other.LIMIT, adder(x), picker(0), sorted(x)
    return helper(x) * RATE, NAMES, TABLE, more
"""
