# SPDX-License-Identifier: MIT
"""Type checkers see through `cached`: the signature stays, and a wrong call is an error."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import cacheness

EXAMPLE = os.path.join(os.path.dirname(__file__), "typing", "cached_functions.py")
SOURCES = os.path.dirname(os.path.dirname(cacheness.__file__))


def marked():
    """The lines of the example that are to be errors."""
    with open(EXAMPLE, encoding="utf-8") as file:
        lines = file.read().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("  # error")}


def run(command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.stdout


@pytest.mark.slow
def test_mypy_agrees(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "example.py")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--output=json"]

    told = run([*command, "example.py"], tmp_path).splitlines()

    errors = {found["line"] for found in map(json.loads, told) if found["severity"] == "error"}
    assert errors == marked()


@pytest.mark.slow
def test_pyright_agrees(tmp_path):
    shutil.copy(EXAMPLE, tmp_path / "example.py")
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [SOURCES]}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]

    told = json.loads(run(command, tmp_path))["generalDiagnostics"]

    errors = {found["range"]["start"]["line"] + 1 for found in told if found["severity"] == "error"}
    assert errors == marked()
