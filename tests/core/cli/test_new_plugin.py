# SPDX-License-Identifier: MIT
"""The command new-plugin: what it writes is a whole package that passes its own checks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KINDS = {
    "fraction": ("handler", ["--handler", "fractions.Fraction"]),
    "row-store": ("backend", ["--backend"]),
    "folder": ("blobs", ["--blobs"]),
    "squeeze": ("compressor", ["--compressor"]),
}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, (kind, _) in KINDS.items()])
def test_it_writes_a_whole_package(as_json, tmp_path, name, kind):
    told = as_json("new-plugin", name, *KINDS[name][1], "--into", tmp_path, "--author", "Ada")

    package = f"cacheness_{name.replace('-', '_')}"
    assert told["files"] == sorted(
        [
            *(".github/workflows/test.yml", ".gitignore", "LICENSE", "README.md"),
            *("pyproject.toml", f"src/{package}/__init__.py", f"src/{package}/plugin.py"),
            *(f"src/{package}/{kind}.py", f"src/{package}/py.typed", f"tests/test_{kind}.py"),
        ]
    )
    folder = Path(told["folder"])
    assert "Ada" in (folder / "LICENSE").read_text()
    for file in told["files"]:
        assert not re.search(r"@[A-Z_]+@", file + (folder / file).read_text()), file


def test_a_type_of_a_library_becomes_a_dependency(as_json, tmp_path):
    told = as_json("new-plugin", "cacheness-df", "--handler", "numpy.poly1d", "--into", tmp_path)

    project = (Path(told["folder"]) / "pyproject.toml").read_text()
    assert 'name = "cacheness-df"' in project
    assert 'dependencies = ["cacheness-core", "numpy"]' in project
    assert 'module = ["numpy.*"]' in project


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Name!", "--backend"], "can't be the name"),
        (["../evil", "--backend"], "can't be the name"),
        (["name"], "say what for"),
        (["name", "--backend", "--blobs"], "say what for"),
        (["name", "--handler", "Fraction"], "is no type"),
        (["name", "--handler", "fractions.gcd"], "is no class"),
        (["name", "--handler", "os.path.join"], "is no class"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_written(run, tmp_path, arguments, said):
    done = run("new-plugin", *arguments, "--into", tmp_path)

    assert done.exit_code == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(run, tmp_path):
    (tmp_path / "cacheness-a").mkdir()

    done = run("new-plugin", "a", "--backend", "--into", tmp_path)

    assert done.exit_code == 2
    assert list((tmp_path / "cacheness-a").iterdir()) == []


# --- as its author would go on --------------------------------------------------------------


class Workshop:
    """All four packages, built, and installed together in an environment of their own."""

    def __init__(self, folder):
        from typer.testing import CliRunner
        from uv import find_uv_bin

        from cacheness.cli.app import app

        self.uv = find_uv_bin()
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CACHENESS_", "XDG_"))}
        self.environ = {**kept, "HOME": str(folder), "USERPROFILE": str(folder)}
        self.environ["MYPY_CACHE_DIR"] = str(folder / "mypy")
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        for name, (_, arguments) in KINDS.items():
            made = CliRunner().invoke(app, ["new-plugin", name, *arguments, "--into", str(folder)])
            assert made.exit_code == 0, made.output
        wheels = folder / "wheels"
        for source in (ROOT / "cacheness-core", *(folder / f"cacheness-{one}" for one in KINDS)):
            self.call(self.uv, "build", "--quiet", "--wheel", "--out-dir", wheels, source)
        self.call(self.uv, "venv", "--quiet", "--python", sys.executable, folder / "venv")
        needed = [f"{wheel}[test]" for wheel in wheels.glob("cacheness_*.whl")]
        needed = [one for one in needed if "cacheness_core" not in one]
        (core,) = wheels.glob("cacheness_core-*.whl")
        self.call(
            *(self.uv, "pip", "install", "--quiet", "--python", self.bin / "python"),
            *(f"{core}[testing,cli]", *needed),
        )

    def call(self, *command, cwd=None):
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd or self.folder,
            env=self.environ,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def check(self, name, *command):
        """Run one of the tools in the package's folder, as its README says."""
        return self.call(self.bin / "python", "-m", *command, cwd=self.folder / f"cacheness-{name}")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    pytest.importorskip("uv")
    return Workshop(tmp_path_factory.mktemp("workshop"))


USE = """
import sys
from fractions import Fraction
from cacheness import UnifiedCache
name, directory = sys.argv[1:]
option = {"row-store": "metadata_backend", "folder": "blob_backend", "squeeze": "compressor"}
options = {option[name]: name} if name in option else {}
value = Fraction(1, 3) if name == "fraction" else b"again " * 50_000
with UnifiedCache(directory, **options) as cache:
    cache.put(value, run=1)
with UnifiedCache(directory, **options) as cache:
    assert cache.get(run=1) == value
    entry = cache.get_entry(run=1)
print(entry.handler, entry.compressor, entry.stored_bytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_what_it_writes_passes_its_own_checks_and_serves_a_cache(workshop, name):
    workshop.check(name, "ruff", "check")
    workshop.check(name, "ruff", "format", "--check")
    workshop.check(name, "mypy")
    told = workshop.check(name, "pytest", "-q", "-n", "2", "-p", "no:cacheprovider")
    used = workshop.call(workshop.bin / "python", "-c", USE, name, workshop.folder / f"c-{name}")

    assert " passed" in told
    assert "skipped" not in told
    handler, compressor, size = used.split()
    assert handler == ("fraction" if name == "fraction" else "bytes")
    assert compressor == "squeeze" or name != "squeeze"
    assert int(size) < 3000 or name == "row-store" or name == "folder"


@pytest.mark.slow
def test_the_command_lists_what_is_installed(workshop):
    told = json.loads(workshop.call(workshop.bin / "cacheness", "plugins", "--load", "--json"))

    names = {(one["kind"], one["name"]) for one in told["provided"] if not one["failure"]}
    assert {
        *(("handler", "fraction"), ("metadata backend", "row-store")),
        *(("blob backend", "folder"), ("compressor", "squeeze")),
    } <= names
    assert told["failures"] == []
