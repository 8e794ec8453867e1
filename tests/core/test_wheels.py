# SPDX-License-Identifier: MIT
"""The packages as users get them: built wheels in clean environments, installed and removed."""

import json
import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

uv = pytest.importorskip("uv")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "cacheness-core": "cacheness",
    "cacheness-pandas": "cacheness_pandas",
    "cacheness-postgres": "cacheness_postgres",
    "cacheness-tensorflow": "cacheness_tensorflow",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The wheel of each package, built from this tree."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in PACKAGES:
        run_uv("build", "--quiet", "--wheel", "--out-dir", folder, ROOT / name)
    found = {path.name.partition("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}
    assert set(found) == set(PACKAGES)
    return found


class Environment:
    """A virtual environment, and a home of its own for its user."""

    def __init__(self, folder):
        self.python = folder / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        self.folder = folder
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CACHENESS_", "XDG_"))}
        self.environ = {**kept, "HOME": str(folder), "USERPROFILE": str(folder)}
        run_uv("venv", "--quiet", "--python", sys.executable, folder / "venv")

    def install(self, *requirements):
        run_uv("pip", "install", "--quiet", "--python", self.python, *requirements)

    def uninstall(self, name):
        run_uv("pip", "uninstall", "--quiet", "--python", self.python, name)

    def installed(self):
        listed = run_uv("pip", "list", "--quiet", "--python", self.python, "--format", "json")
        return {package["name"] for package in json.loads(listed)}

    def run(self, program, *arguments):
        """Run a program in a new process, in which a warning is an error; give its output."""
        done = subprocess.run(
            [self.python, "-W", "error", "-c", program, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=self.environ,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def run_uv(*arguments):
    done = subprocess.run(
        [uv.find_uv_bin(), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def environment(tmp_path):
    return Environment(tmp_path)


PUT_ALL = """
import sys
from dataclasses import dataclass
from decimal import Decimal
import numpy as np
from cacheness import UnifiedCache

values = {
    "array": np.arange(12.0).reshape(3, 4),
    "large": np.arange(1_000_000),
    "bytes": b"\\0\\xff",
    "json": {"a": [1, 2.5, None, "é"]},
    "nested": {"x": np.ones(3), "y": [np.zeros(2), {"z": "deep"}]},
    "object": {Decimal("1.5"), "in a set"},
    "none": None,
}
cache = UnifiedCache("cache")
for name, value in values.items():
    cache.put(value, params={"name": name})
"""
GET_ALL = (
    PUT_ALL.partition("cache = ")[0]
    + """
cache = UnifiedCache("cache")
for name, value in values.items():
    got = cache.get(params={"name": name})
    assert type(got) is type(value), name
    np.testing.assert_equal(got, value)
    print(cache.get_entry(params={"name": name}).handler)
"""
)

PUT_FRAME = """
import pandas as pd
from cacheness import UnifiedCache
cache = UnifiedCache("cache", inline_bytes=0, compressor="none")
cache.put(pd.DataFrame({"a": range(1000), "b": [0.5, 1.5] * 500}), day=1)
entry = cache.get_entry(day=1)
print(entry.handler)
print(open("cache/blobs/" + entry.blob, "rb").read(6) == b"ARROW1")
"""
GET_FRAME = """
import pandas as pd
from cacheness import UnifiedCache
frame = UnifiedCache("cache").get(day=1)
assert frame.equals(pd.DataFrame({"a": range(1000), "b": [0.5, 1.5] * 500}))
"""
MISS_HANDLER = """
import os
from cacheness import PluginNotInstalledError, UnifiedCache
cache = UnifiedCache("cache")
try:
    cache.get(day=1)
except PluginNotInstalledError as error:
    print(error)
entry = cache.get_entry(day=1)
print(entry is not None and os.path.exists("cache/blobs/" + entry.blob))
"""


def test_core_alone_keeps_everything_and_a_plugin_works_from_its_installation_on(
    environment, wheels
):
    # Given the core alone, all but frames go to handlers of their own.
    environment.install(wheels["cacheness-core"])
    assert not environment.installed() & {"pandas", "pyarrow", "tensorflow", "psycopg"}
    environment.run(PUT_ALL)
    assert environment.run(GET_ALL).split() == [
        *("numpy", "numpy", "bytes", "json", "container", "pickle", "json")
    ]

    # When there is pandas, but no plugin for it, a frame is pickled.
    environment.install("pandas>=2.2")
    assert environment.run(PUT_FRAME).split() == ["pickle", "False"]
    environment.run(GET_FRAME)

    # When the plugin is installed, and nothing else changes, the same call stores Arrow.
    environment.install(wheels["cacheness-pandas"])
    environment.run(GET_FRAME)
    assert environment.run(PUT_FRAME).split() == ["dataframe", "True"]
    environment.run(GET_FRAME)

    # When it is removed, a read says what to install, and the entry waits for it.
    environment.uninstall("cacheness-pandas")
    message, kept = environment.run(MISS_HANDLER).splitlines()
    assert "pip install cacheness-pandas" in message
    assert kept == "True"
    environment.install(wheels["cacheness-pandas"])
    environment.run(GET_FRAME)


USE_PLUGIN = """
import sys
import importlib
from cacheness import UnifiedCache, list_handlers
module = importlib.import_module(sys.argv[1])
assert "numpy" not in sys.modules and "pandas" not in sys.modules
cache = UnifiedCache("cache")
cache.put({"a": 1}, x=1)
cache.put({1, 2}, x=2)
assert cache.get(x=1) == {"a": 1} and cache.get(x=2) == {1, 2}
print(*(handler.name for handler in list_handlers()))
"""


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("cacheness-core", "numpy"),
        ("cacheness-pandas", "dataframe"),
        ("cacheness-tensorflow", "tensorflow"),
        ("cacheness-postgres", "numpy"),
    ],
)
def test_each_package_installs_with_the_core_and_no_other(environment, wheels, name, handler):
    environment.install(*{wheels[name], wheels["cacheness-core"]})

    assert environment.installed() & set(PACKAGES) == {name, "cacheness-core"}
    module = PACKAGES[name] + ("" if name == "cacheness-core" else ".plugin")
    assert handler in environment.run(USE_PLUGIN, module).split()


PLUGIN_PROJECT = """
[project]
name = "cacheness-points"
version = "{version}"
requires-python = ">=3.11"

[project.entry-points.cacheness]
points = "points.plugin"

[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["points"]
"""
PLUGIN_MODULE = """
from cacheness import Handler, HandlerSpec, hookimpl

class PointHandler(Handler):
    name = "{handler}"
    def can_handle(self, obj):
        return type(obj) is complex
    def put(self, obj, file_path):
        with open(file_path, "w") as file:
            file.write(repr(obj))
        return {{}}
    def get(self, file_path):
        with open(file_path) as file:
            return complex(file.read())

@hookimpl
def cacheness_handlers():
    return [HandlerSpec("{handler}", PointHandler, ("builtins.complex",), 100)]
"""
STORE_COMPLEX = """
from cacheness import UnifiedCache
cache = UnifiedCache("cache")
cache.put(1 + 2j, x=1)
assert cache.get(x=1) == 1 + 2j
print(cache.get_entry(x=1).handler)
"""


def write_plugin(folder, version, handler):
    (folder / "points").mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(PLUGIN_PROJECT.format(version=version))
    (folder / "points" / "__init__.py").write_text("")
    (folder / "points" / "plugin.py").write_text(PLUGIN_MODULE.format(handler=handler))


def test_installing_changing_and_removing_a_plugin_takes_effect_in_the_next_process(
    environment, wheels, tmp_path
):
    environment.install(wheels["cacheness-core"])
    assert environment.run(STORE_COMPLEX) == "pickle"

    # Installed editable, and then edited.
    write_plugin(tmp_path / "project", "1.0", "point")
    environment.install("--editable", tmp_path / "project")
    assert environment.run(STORE_COMPLEX) == "point"
    write_plugin(tmp_path / "project", "1.0", "edited_point")
    assert environment.run(STORE_COMPLEX) == "edited_point"

    # Upgraded, to a real installation.
    write_plugin(tmp_path / "project", "2.0", "newer_point")
    environment.install(tmp_path / "project")
    write_plugin(tmp_path / "project", "3.0", "not_installed")
    assert environment.run(STORE_COMPLEX) == "newer_point"

    environment.uninstall("cacheness-points")
    assert environment.run(STORE_COMPLEX) == "pickle"


@pytest.fixture(scope="module")
def check():
    """What `.ci/release` checks of what it has built."""
    spec = spec_from_file_location("release_check", ROOT / ".ci" / "release_check.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "package"), PACKAGES.items())
def test_a_wheel_holds_its_source_tree_a_licence_and_nothing_else(wheels, check, name, package):
    assert list(check.wheel_problems(wheels[name], ROOT / name / "src", package)) == []


@pytest.mark.parametrize(
    ("lost", "added", "told"),
    [
        ("cacheness_pandas/py.typed", None, "has no py.typed"),
        ("cacheness_pandas/frame.py", None, "lacks cacheness_pandas/frame.py"),
        (".dist-info/licenses/LICENSE", None, "has no LICENSE"),
        (None, "tests/test_frame.py", "holds tests/test_frame.py"),
        (None, "cacheness_pandas/notes.txt", "holds cacheness_pandas/notes.txt"),
    ],
)
def test_a_wheel_with_a_defect_is_found(wheels, check, tmp_path, lost, added, told):
    broken = tmp_path / wheels["cacheness-pandas"].name
    with zipfile.ZipFile(wheels["cacheness-pandas"]) as wheel, zipfile.ZipFile(broken, "w") as to:
        for entry in wheel.namelist():
            if lost is None or not entry.endswith(lost):
                to.writestr(entry, wheel.read(entry))
        if added:
            to.writestr(added, "")

    found = check.wheel_problems(broken, ROOT / "cacheness-pandas" / "src", "cacheness_pandas")

    assert any(told in problem for problem in found)


def test_a_source_distribution_holds_sources_and_a_licence(check, tmp_path):
    run_uv("build", "--quiet", "--sdist", "--out-dir", tmp_path, ROOT / "cacheness-core")
    (sdist,) = tmp_path.glob("*.tar.gz")

    assert list(check.sdist_problems(sdist, sdist.name.removesuffix(".tar.gz"))) == []


def test_all_packages_have_the_version_of_the_workspace(check):
    assert list(check.version_problems()) == []


def test_a_new_version_is_set_everywhere(check, tmp_path, monkeypatch):
    for path in (ROOT / "CHANGELOG.md", *ROOT.glob("*/pyproject.toml"), ROOT / "pyproject.toml"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text())
    for folder in (".", *PACKAGES):
        (tmp_path / folder / "LICENSE").write_text("MIT")
    monkeypatch.setattr(check, "ROOT", tmp_path)

    check.set_version("7.8.9rc1")

    assert list(check.version_problems()) == []
    assert {check.version_of(tmp_path / folder) for folder in PACKAGES} == {"7.8.9rc1"}


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        (
            "cacheness-core",
            {
                *("blake3", "blosc2", "numpy", "orjson", "platformdirs", "pluggy"),
                *("sqlalchemy", "xxhash"),
            },
        ),
        ("cacheness-pandas", {"cacheness-core", "numpy", "pandas", "pyarrow"}),
        ("cacheness-tensorflow", {"cacheness-core", "ml-dtypes", "numpy"}),
        ("cacheness-postgres", {"cacheness-core", "sqlalchemy", "psycopg"}),
    ],
)
def test_a_wheel_asks_for_no_more_than_its_package_needs(wheels, name, needed):
    with zipfile.ZipFile(wheels[name]) as wheel:
        path = next(entry for entry in wheel.namelist() if entry.endswith("/METADATA"))
        metadata = Parser().parsestr(wheel.read(path).decode())

    required = metadata.get_all("Requires-Dist", [])
    always = [requirement for requirement in required if "extra ==" not in requirement]
    assert {re.split(r"[^A-Za-z0-9_.-]", one)[0] for one in always} == needed
    assert metadata["License-Expression"] == "MIT"
    assert all("://" not in requirement for requirement in required)
