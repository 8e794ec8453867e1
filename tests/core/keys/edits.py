# SPDX-License-Identifier: MIT
"""A small project, and edits of it with what each does to the digest of ``job.run``."""

from __future__ import annotations

from dataclasses import dataclass

PROJECT = {
    "job.py": '''\
"""What is cached."""
import functools
import math

import extlib
from helper import rescale, shapes_area
import helper
from settings import RATE, TABLE
import settings
from shapes import Circle, Mode, Point

LIMIT = 10
SEEN = {}


def local(x):
    return x + 1


def named_later(values):
    return sorted(values, key=lambda value: -value)


def run(x, y=2, *, flag=True):
    """Do the work."""
    # a comment
    total = 0
    for index in range(x):
        total += rescale(index) * RATE
    if flag and total > LIMIT:
        total = helper.clip(total, TABLE["top"])
    label: str = f"{total:.{y}f} of {x!r}"
    SEEN[x] = label
    area = shapes_area(Circle(total)) + Point(1).x + settings.OFFSET
    return label, area, math.floor(area), extlib.work(area), Mode.FAST, local(y), decorated(x)


def timed(times):
    def outer(fn):
        @functools.wraps(fn)
        def inner(*args):
            return [fn(*args) for _ in range(times)]

        return inner

    return outer


@timed(2)
def decorated(x):
    return lazily(x)


def lazily(x):
    from late import finish

    return finish(x)


def unused(x):
    return x - 1
''',
    "helper.py": """\
import functools

from deep import factor
from deep import power as raised


@functools.lru_cache(maxsize=None)
def rescale(value, scale=3):
    return factor(value) * scale


def clip(value, top):
    return min(value, top)


def shapes_area(shape):
    return raised(shape.area(), 2)
""",
    "deep.py": """\
CONSTANT = 7


def factor(value):
    return value + CONSTANT


def make_power(base):
    def power(value, times):
        return base + value**times

    return power


power = make_power(0.5)
""",
    "settings.py": """\
RATE = 1.5
OFFSET = 4
TABLE = {"top": 100, "names": ["a", "b"]}
UNRELATED = 1
""",
    "late.py": """\
import later


def finish(x):
    return later.end(x)
""",
    "later.py": """\
def end(x):
    return x
""",
    "shapes.py": '''\
import enum
from dataclasses import dataclass


class Mode(enum.Enum):
    FAST = 1
    SLOW = 2


@dataclass
class Point:
    x: int
    y: int = 0

    def norm(self):
        return abs(self.x) + abs(self.y)


class Shape:
    scale = 1

    def area(self):
        return self.scale


class Circle(Shape):
    """Round."""

    def __init__(self, radius):
        self.radius = radius

    def area(self):
        return super().area() * self.pi() * self.squared**2

    @staticmethod
    def pi():
        return 3.14

    @property
    def squared(self):
        return self.radius
''',
    "site-packages/extlib/__init__.py": "def work(x):\n    return x\n",
    "site-packages/extlib-1.0.dist-info/RECORD": "extlib/__init__.py,,\n",
}


@dataclass(frozen=True)
class Edit:
    """One edit: in a file, some text becomes another."""

    name: str
    file: str
    old: str
    new: str
    same: bool


def _same(name: str, file: str, old: str, new: str) -> Edit:
    return Edit(name, file, old, new, same=True)


def _other(name: str, file: str, old: str, new: str) -> Edit:
    return Edit(name, file, old, new, same=False)


EDITS = [
    _same("comment changed", "job.py", "# a comment", "# another comment"),
    _same("comment removed", "job.py", "    # a comment\n", ""),
    _same("comment in a helper", "helper.py", "    return min", "    # smaller\n    return min"),
    _same("docstring changed", "job.py", '"""Do the work."""', '"""Do it."""'),
    _same("docstring removed", "job.py", '    """Do the work."""\n', ""),
    _same("docstring added to a helper", "deep.py", "value):\n", 'value):\n    """Add."""\n'),
    _same("docstring of a class", "shapes.py", '"""Round."""', '"""Not square."""'),
    _same("docstring of the module", "job.py", "What is cached.", "It is cached."),
    _same("blank lines added", "job.py", "    total = 0\n", "\n\n    total = 0\n\n"),
    _same("moved down by a new function", "job.py", "def run", "def new():\n    pass\n\n\ndef run"),
    _same("spaces in an expression", "helper.py", "factor(value) * scale", "factor( value )*scale"),
    _same("parentheses that change nothing", "job.py", "return x + 1", "return (x + 1)"),
    _same(
        "one line broken in two",
        "job.py",
        "return x + 1",
        "return (\n        x\n        + 1\n    )",
    ),
    _same("trailing comma", "helper.py", "min(value, top)", "min(value, top,)"),
    _same("quotes", "job.py", 'TABLE["top"]', "TABLE['top']"),
    _same("annotation of a parameter", "job.py", "def run(x, y=2", "def run(x: int, y: int = 2"),
    _same("annotation of the result", "job.py", "flag=True):", "flag=True) -> tuple:"),
    _same("annotation of a local removed", "job.py", "label: str = ", "label = "),
    _same("annotation in a helper", "deep.py", "def factor(value)", "def factor(value: 'Any')"),
    _same(
        "a bare annotation of a local",
        "job.py",
        "    total = 0\n",
        "    total: int\n    total = 0\n",
    ),
    _same("a pass", "job.py", "    total = 0\n", "    pass\n    total = 0\n"),
    _same("number written otherwise", "deep.py", "CONSTANT = 7", "CONSTANT = 0x7"),
    _same("unused function changed", "job.py", "return x - 1", "return x - 2"),
    _same("unused constant changed", "settings.py", "UNRELATED = 1", "UNRELATED = 2"),
    _same("unused constant added", "settings.py", "OFFSET", "MORE = 1\nOFFSET"),
    _same(
        "order of two functions",
        "helper.py",
        "def clip(value, top):\n    return min(value, top)\n\n\n"
        "def shapes_area(shape):\n    return raised(shape.area(), 2)\n",
        "def shapes_area(shape):\n    return raised(shape.area(), 2)\n\n\n"
        "def clip(value, top):\n    return min(value, top)\n",
    ),
    _same(
        "order of a dict's keys",
        "settings.py",
        '"top": 100, "names": ["a", "b"]',
        '"names": ["a", "b"], "top": 100',
    ),
    _same("import added", "helper.py", "import functools", "import functools\nimport json"),
    _same("global state's first value", "job.py", "SEEN = {}", "SEEN = {0: ''}"),
    _same(
        "order of methods",
        "shapes.py",
        "    @staticmethod\n    def pi():\n        return 3.14\n\n"
        "    @property\n    def squared(self):\n        return self.radius\n",
        "    @property\n    def squared(self):\n        return self.radius\n\n"
        "    @staticmethod\n    def pi():\n        return 3.14\n",
    ),
    _same("order of enum members' comments", "shapes.py", "FAST = 1", "FAST = 1  # quick"),
    _other("statement added", "job.py", "    total = 0\n", "    total = 0\n    total += 0\n"),
    _other("operator changed", "job.py", "total += rescale", "total -= rescale"),
    _other("literal changed", "job.py", "    total = 0\n", "    total = 1\n"),
    _other("literal of another type", "job.py", "    total = 0\n", "    total = 0.0\n"),
    _other("literal True for 1", "deep.py", "CONSTANT = 7", "CONSTANT = 7.0"),
    _other("renamed local", "job.py", "total", "sum_"),
    _other(
        "renamed parameter",
        "helper.py",
        "def clip(value, top):\n    return min(value, top)",
        "def clip(value, most):\n    return min(value, most)",
    ),
    _other("a print", "job.py", "    total = 0\n", "    total = 0\n    print(total)\n"),
    _other("format of an f-string", "job.py", "{x!r}", "{x!s}"),
    _other("text of an f-string", "job.py", " of {x", " off {x"),
    _other("default of the function", "job.py", "y=2", "y=3"),
    _other("default by keyword", "job.py", "flag=True", "flag=False"),
    _other("default of a helper", "helper.py", "scale=3", "scale=4"),
    _other("helper in the same file", "job.py", "return x + 1", "return x + 2"),
    _other(
        "helper imported by name", "helper.py", "factor(value) * scale", "factor(value) / scale"
    ),
    _other("helper by its module", "helper.py", "min(value, top)", "max(value, top)"),
    _other("helper two modules away", "deep.py", "value + CONSTANT", "value - CONSTANT"),
    _other("constant two modules away", "deep.py", "CONSTANT = 7", "CONSTANT = 8"),
    _other("constant imported by name", "settings.py", "RATE = 1.5", "RATE = 1.6"),
    _other("constant by its module", "settings.py", "OFFSET = 4", "OFFSET = 5"),
    _other("constant in a small dict", "settings.py", "100", "101"),
    _other("constant in a nested list", "settings.py", '"b"]', '"c"]'),
    _other("constant of the module", "job.py", "LIMIT = 10", "LIMIT = 11"),
    _other("closure value of a helper", "deep.py", "make_power(0.5)", "make_power(0.6)"),
    _other(
        "function that makes a closure", "deep.py", "base + value**times", "base - value**times"
    ),
    _other("decorator's argument", "job.py", "@timed(2)", "@timed(3)"),
    _other("decorator's code", "job.py", "for _ in range(times)", "for _ in range(times + 1)"),
    _other("decorator removed", "job.py", "@timed(2)\n", ""),
    _other("decorated function", "job.py", "return lazily(x)", "return -lazily(x)"),
    _other("library's decorator removed", "helper.py", "@functools.lru_cache(maxsize=None)\n", ""),
    _other("module imported inside", "late.py", "return later.end(x)", "return -later.end(x)"),
    _other("module that this one imports", "later.py", "return x", "return -x"),
    _other("method", "shapes.py", "* self.pi()", "/ self.pi()"),
    _other("static method", "shapes.py", "3.14", "3.15"),
    _other("property", "shapes.py", "return self.radius", "return self.radius + 1"),
    _other("constructor", "shapes.py", "self.radius = radius", "self.radius = -radius"),
    _other("method of a base class", "shapes.py", "return self.scale", "return -self.scale"),
    _other("attribute of a base class", "shapes.py", "scale = 1", "scale = 2"),
    _other("base class", "shapes.py", "class Circle(Shape)", "class Circle(Shape, dict)"),
    _other("field of a dataclass", "shapes.py", "y: int = 0", "y: int = 0\n    z: int = 0"),
    _other("annotation of a field", "shapes.py", "x: int\n", "x: float\n"),
    _other("default of a field", "shapes.py", "y: int = 0", "y: int = 1"),
    _other("parameter of the dataclass", "shapes.py", "@dataclass\n", "@dataclass(order=True)\n"),
    _other("value of an enum's member", "shapes.py", "FAST = 1", "FAST = 3"),
    _other(
        "another function of the same name",
        "job.py",
        "from helper import rescale, ",
        "from deep import factor as rescale\nfrom helper import ",
    ),
    _other("upgraded dependency", "site-packages/extlib-1.0.dist-info", "1.0", "1.1"),
]
