# SPDX-License-Identifier: MIT
"""Types of a project's own, of which the key vectors hold instances."""

import collections
import enum
import functools
import typing
from dataclasses import dataclass, field

RATE = 0.25


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1


class Flags(enum.Flag):
    A = 1
    B = 2

    def both(self):
        return self == Flags.A | Flags.B


@dataclass
class Point:
    x: int
    y: float = 0.0
    tags: "list[str]" = field(default_factory=list)

    def norm(self):
        return abs(self.x) + helper(self.y)


@dataclass(frozen=True, slots=True)
class Frozen:
    name: typing.Optional[str] = None  # noqa: UP045


class Pair(typing.NamedTuple):
    left: int
    right: str = ""


Triple = collections.namedtuple("Triple", "a b c")


class Plain:
    def __init__(self, **state):
        self.__dict__.update(state)

    @functools.cached_property
    def size(self):
        return len(self.__dict__)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


class Keyed:
    def __init__(self, name, connection):
        self.name = name
        self.connection = connection

    def __cacheness_key__(self):
        return self.name


class Text(str):
    __slots__ = ()


class Numbers(list):
    pass


class Bag(set):
    pass


def helper(value):
    """Scale."""
    return value * RATE


def make_adder(amount):
    def add(value):
        return value + amount

    return add


class Holder:
    @classmethod
    def make(cls):
        return cls()

    def method(self):
        return helper(1)
