# SPDX-License-Identifier: MIT
"""The committed key vectors hold everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SOURCES = ROOT / "cacheness-core" / "src"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.fixture(scope="module")
def committed():
    return json.loads((ROOT / "tests" / "data" / "key_vectors.json").read_text())


def _made(*options, python=sys.executable, seed="0", **environment):
    run = subprocess.run(
        [str(python), str(HERE / "vectors.py"), *options],
        env={**os.environ, "PYTHONHASHSEED": seed, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def _assert_same(made, committed):
    wanted = {vector["value"]: vector for vector in committed["values"]}
    for vector in made["values"]:
        # Of a library's type only if it is the version that the vector was made with.
        if vector["with"] == wanted[vector["value"]]["with"]:
            assert vector == wanted[vector["value"]]
    assert made["params"] == committed["params"]
    assert made["calls"] == committed["calls"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1234"])
def test_vectors_hold_in_a_new_process_under_any_hash_seed(committed, seed):
    made = _made("--quick", seed=seed)

    _assert_same(made, committed)
    assert len(made["values"]) > 120


@pytest.mark.slow
def test_vectors_of_all_libraries_that_are_installed_hold(committed):
    _assert_same(_made(), committed)


def test_different_values_have_different_keys(committed):
    by_key = {}
    for vector in committed["values"]:
        by_key.setdefault(vector["key"], []).append(vector["value"])

    equal = [values for values in by_key.values() if len(values) > 1]

    assert equal == [
        ["float('nan')", "-float('nan')"],
        ["{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"],
        ["numpy.arange(6).reshape(2, 3)", "numpy.asfortranarray(numpy.arange(6).reshape(2, 3))"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_vectors_hold_on_every_python_that_is_here(committed, version, python_of):
    made = _made(python=python_of(version), seed="7", PYTHONPATH=str(SOURCES))

    _assert_same(made, committed)
    assert len(made["values"]) > 100
