# SPDX-License-Identifier: MIT
"""What `cache_explain` says after an edit of a project, in new processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

PROJECT = {
    "job.py": """\
import os

import extlib
from cacheness import UnifiedCache, cached
from helper import rescale
from math import floor as down
from shapes import Circle

cache = UnifiedCache(os.path.join(os.path.dirname(__file__), "cache"))
weights = dict.fromkeys(range(1000))


def make(n):
    def add(x):
        return x + n

    return add


def twice(fn):
    def inner(x):
        return fn(fn(x))

    return inner


@twice
def grow(x):
    return x + 1


add = make(1)


@cached(cache=cache, version=1, key_prefix="one")
def load(x, y=2):
    shape = Circle(x)
    return add(rescale(down(x))), shape.area(), extlib.work(y), grow(x), weights[x]


@cached(cache=cache, code=[("listed", 1)])
def other(x):
    return x
""",
    "helper.py": """\
from deep import FACTOR, shift


def rescale(x, by=3):
    return shift(x) * by * FACTOR
""",
    "deep.py": """\
OFFSET = 7
FACTOR = 2


def shift(x):
    return x + OFFSET
""",
    "shapes.py": """\
class Shape:
    scale = 1

    def area(self):
        return self.scale * self.size


class Circle(Shape):
    def __init__(self, size):
        self.size = size
""",
    "site-packages/extlib/__init__.py": "def work(x):\n    return x\n",
    "site-packages/extlib-1.0.dist-info/RECORD": "extlib/__init__.py,,\n",
}

EXPLAIN = """
import json, job
told = job.{call}
print(json.dumps([told.as_dict(), str(told)]))
"""


@dataclass(frozen=True)
class Case:
    name: str
    file: str
    old: str
    new: str
    kind: str
    of: str
    was: str | None = ""
    now: str | None = ""
    place: str = ""
    call: str = "load.cache_explain(1)"


CASES = [
    Case(
        "constant two modules away",
        "deep.py",
        "OFFSET = 7",
        "OFFSET = 8",
        "constant",
        "deep.OFFSET",
        place="deep.py:1",
    ),
    Case(
        "constant imported by name",
        "deep.py",
        "FACTOR = 2",
        "FACTOR = 5",
        "constant",
        "helper.FACTOR",
    ),
    Case(
        "helper two modules away",
        "deep.py",
        "return x + OFFSET",
        "return x - OFFSET",
        "function",
        "deep:shift",
        place="deep.py:5",
    ),
    Case(
        "default of a helper",
        "helper.py",
        "by=3",
        "by=4",
        "default",
        "helper:rescale.by",
        place="helper.py:4",
    ),
    Case("default of the function", "job.py", "y=2", "y=3", "default", "y", "2 (int)", "3 (int)"),
    Case(
        "closure value",
        "job.py",
        "make(1)",
        "make(2)",
        "closure",
        "job:make.<locals>.add.n",
        place="job.py:14",
    ),
    Case(
        "decorator of a helper",
        "job.py",
        "fn(fn(x))",
        "-fn(fn(x))",
        "function",
        "job:twice.<locals>.inner",
        place="job.py:21",
    ),
    Case(
        "method of a base class",
        "shapes.py",
        "self.scale *",
        "self.scale +",
        "function",
        "shapes:Shape.area",
    ),
    Case(
        "attribute of a base class",
        "shapes.py",
        "scale = 1",
        "scale = 2",
        "constant",
        "shapes.Shape.scale",
    ),
    Case(
        "base class",
        "shapes.py",
        "Circle(Shape)",
        "Circle(Shape, dict)",
        "class",
        "shapes.Circle",
        place="shapes.py",
    ),
    Case(
        "upgraded dependency",
        "site-packages/extlib-1.0.dist-info",
        "1.0",
        "1.1",
        "distribution",
        "extlib",
        "1.0",
        "1.1",
    ),
    Case(
        "name of a library",
        "job.py",
        "import floor",
        "import ceil",
        "name",
        "job.down",
        "math.floor",
        "math.ceil",
    ),
    Case(
        "version of the decorator",
        "job.py",
        "version=1",
        "version=2",
        "version",
        "version",
        "1 (int)",
        "2 (int)",
    ),
    Case(
        "version of another type",
        "job.py",
        "version=1",
        "version='1'",
        "version",
        "version",
        "1 (int)",
        "'1' (str)",
    ),
    Case(
        "key_prefix of the decorator",
        "job.py",
        '"one"',
        '"two"',
        "key_prefix",
        "key_prefix",
        "'one' (str)",
        "'two' (str)",
    ),
    Case(
        "what code= lists",
        "job.py",
        '("listed", 1)',
        '("listed", 2)',
        "listed",
        "tuple",
        call="other.cache_explain(1)",
    ),
    Case(
        "nothing but the argument",
        "job.py",
        "",
        "",
        "argument",
        "x",
        "1 (int)",
        "5 (int)",
        call="load.cache_explain(5)",
    ),
    Case(
        "argument of another type",
        "job.py",
        "",
        "",
        "type",
        "x",
        "1 (int)",
        "1.0 (float)",
        call="load.cache_explain(1.0)",
    ),
]


def run(folder, text):
    paths = [str(folder), str(folder / "site-packages")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The project, after a process has stored one call of each function."""
    folder = tmp_path_factory.mktemp("stored") / "project"
    for file, text in PROJECT.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run(folder, "import job; job.load(1); job.other(1)")
    return folder


def edited(stored, folder, case):
    shutil.copytree(stored, folder)
    path = folder / case.file
    if path.is_dir():
        path.rename(str(path).replace(case.old, case.new))
    else:
        text = path.read_text()
        assert case.old in text
        path.write_text(text.replace(case.old, case.new) if case.old else text)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_miss_names_what_was_edited_and_nothing_else(stored, tmp_path, case):
    # given a stored call, and an edit
    folder = edited(stored, tmp_path / "project", case)

    # when a new process asks
    told, text = json.loads(run(folder, EXPLAIN.format(call=case.call)))

    # then the one difference is named
    assert told["verdict"] == "miss"
    (near,) = told["nearest"]
    (difference,) = near["differences"]
    assert (difference["kind"], difference["name"]) == (case.kind, case.of)
    if case.was or case.now:
        assert (difference["old"], difference["new"]) == (case.was, case.now)
    assert case.place in difference["file"]
    first, *rest = text.split("\n")
    assert first.startswith("MISS: ")
    assert any(case.of in line for line in rest)


@pytest.mark.slow
def test_without_an_edit_it_is_a_hit_and_lists_what_is_not_followed(stored):
    told, text = json.loads(run(stored, EXPLAIN.format(call="load.cache_explain(1)")))

    assert told["verdict"] == "hit"
    assert told["nearest"] == []
    assert told["not_followed"] == {"job.weights": "a dict of 1000"}
    assert text.startswith("HIT: `load(x=1, y=2)` is stored: ")
    assert "job.weights: a dict of 1000" in text


@pytest.mark.slow
def test_a_renamed_function_of_the_same_code_is_mentioned(stored, tmp_path):
    folder = edited(
        stored, tmp_path / "project", Case("", "job.py", "def other", "def another", "", "")
    )

    told, _ = json.loads(run(folder, EXPLAIN.format(call="another.cache_explain(1)")))

    assert told["verdict"] == "miss"
    assert told["reason"] == "no call of `another` is stored here."
    assert told["notes"] == ["job:other, which has the same code, has stored this call"]


@pytest.mark.slow
def test_the_nearest_of_several_edits_come_first_and_the_newest_of_them(stored, tmp_path):
    folder = edited(
        stored, tmp_path / "project", Case("", "deep.py", "FACTOR = 2", "FACTOR = 3", "", "")
    )
    run(folder, "import job; job.load(2); job.load(4); job.load(1, y=5); job.load(1, 6)")

    told, text = json.loads(run(folder, EXPLAIN.format(call="load.cache_explain(1)")))

    assert told["stored_calls"] == 5
    names = [[one["name"] for one in near["differences"]] for near in told["nearest"]]
    assert names == [["y"], ["y"], ["x"]]
    news = [near["differences"][0]["old"] for near in told["nearest"]]
    assert news == ["6 (int)", "5 (int)", "4 (int)"]
    assert "the nearest of 5 stored calls has y=6 (int)" in text.split("\n")[0]
