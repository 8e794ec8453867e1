# SPDX-License-Identifier: MIT
"""Modules import what docs/ARCHITECTURE.md allows them, by the contracts in pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "cacheness-core" / "src" / "cacheness"
ROOMS = ("disk", "explaining", "flights", "integrity", "management", "statistics", "upkeep")
LINT = Path(sys.executable).with_name("lint-imports")


def lint_imports(config):
    return subprocess.run(
        [LINT, "--config", config, "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_no_module_imports_upwards():
    done = lint_imports(ROOT / "pyproject.toml")

    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_an_import_upwards_is_found(tmp_path):
    # With `core` below `engine`, what `core` imports is above it.
    text = (ROOT / "pyproject.toml").read_text()
    swapped = re.sub(r'    "(core|engine)",', lambda m: f'    "{OTHER[m[1]]}",', text)
    config = tmp_path / "pyproject.toml"
    config.write_text(swapped)

    done = lint_imports(config)

    assert done.returncode == 1
    assert "cacheness.core -> cacheness.engine" in done.stdout


OTHER = {"core": "engine", "engine": "core"}


def test_the_architecture_page_names_every_module_of_the_core():
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = contracts["contracts"][0]["layers"]
    modules = re.findall(r"\w+", " ".join(layers))
    for room in (
        "disk",
        "explaining",
        "flights",
        "integrity",
        "management",
        "statistics",
        "upkeep",
    ):
        modules += [path.stem for path in (CORE / room).glob("[!_]*.py")]

    assert len(modules) > 70
    assert [name for name in modules if not re.search(rf"\b{name}\b", page)] == []
