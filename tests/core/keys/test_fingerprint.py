# SPDX-License-Identifier: MIT
"""Every covered type counts by its value, and what has no value is refused."""

from __future__ import annotations

import array
import collections
import copy
import datetime
import decimal
import enum
import fractions
import functools
import io
import itertools
import logging
import operator
import pathlib
import pickle
import queue
import random
import re
import socket
import sqlite3
import sys
import threading
import types
import typing
import uuid
import weakref
import zoneinfo
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import encode, params_key
from cacheness.keys.fingerprint import is_stable
from cacheness.plugins.registry import register_handler, unregister_handler


class Color(enum.Enum):
    RED = 1
    CRIMSON = 2


class Shade(enum.Enum):
    RED = 1


class Sentinels(enum.Enum):
    MISSING = object()
    OTHER = object()  # noqa: PIE796 - another one


class Number(enum.IntEnum):
    ONE = 1


@dataclass
class Point:
    x: object
    y: object = None
    cached: list = field(default_factory=list, compare=False)


@dataclass
class OtherPoint:
    x: object
    y: object = None
    cached: list = field(default_factory=list, compare=False)


@dataclass(slots=True, frozen=True)
class Slots:
    x: int
    y: int = 0


class Pair(typing.NamedTuple):
    left: int
    right: int


class Plain:
    def __init__(self, **state):
        vars(self).update(state)

    @functools.cached_property
    def size(self):
        return len(vars(self))


class Other:
    def __init__(self, **state):
        vars(self).update(state)


class WithState(Plain):
    def __getstate__(self):
        return {"kept": self.kept}


class Text(str):
    __slots__ = ()


class Ints(int):
    pass


class Bag(set):
    pass


class Table(dict):
    pass


class Tag:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return (Tag, (self.name,))


def module_function(x):
    return x


def make(n):
    return lambda x: x + n


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
PARIS = zoneinfo.ZoneInfo("Europe/Paris")
HOUR = datetime.timezone(datetime.timedelta(hours=1))
NOON = datetime.datetime(2024, 1, 2, 12)

FAMILIES = {
    "one": [
        1,
        1.0,
        True,
        "1",
        b"1",
        1 + 0j,
        np.int64(1),
        np.int32(1),
        np.float64(1),
        Number.ONE,
        np.bool_(True),
        np.array(1),
        decimal.Decimal(1),
        fractions.Fraction(1),
        Ints(1),
        [1],
        (1,),
        {1},
        frozenset({1}),
        {1: 1},
        range(1),
        bytearray(b"1"),
        np.str_("1"),
        Text("1"),
        np.array([1]),
        memoryview(b"1"),
        datetime.timedelta(days=1),
    ],
    "nothing": [
        None,
        False,
        0,
        0.0,
        -0.0,
        0j,
        complex(0.0, -0.0),
        complex(-0.0, 0.0),
        "",
        b"",
        [],
        (),
        {},
        set(),
        frozenset(),
        ...,
        NotImplemented,
        range(0),
        collections.deque(),
        collections.OrderedDict(),
        collections.Counter(),
        bytearray(),
        Plain(),
        Bag(),
        collections.defaultdict(list),
        Table(),
        np.array([]),
        type(None),
    ],
    "floats": [float("nan"), float("inf"), float("-inf"), 5e-324, 1e308, 0.1, 0.1 + 2**-55],
    "integers": [2**n for n in range(0, 20000, 777)] + [-(2**n) for n in range(0, 20000, 777)],
    "ranges": [
        range(3),
        range(4),
        range(0, 3, 2),
        range(0, 4, 2),
        slice(3),
        slice(0, 3),
        slice(0, 3, 1),
    ],
    "decimals": [
        decimal.Decimal(text)
        for text in ("1", "1.0", "1.00", "-0", "0", "NaN", "sNaN", "1E+3", "1000")
    ],
    "moments": [
        NOON,
        NOON.date(),
        NOON.time(),
        NOON.replace(fold=1),
        NOON.replace(tzinfo=BERLIN),
        NOON.replace(tzinfo=PARIS),
        NOON.replace(tzinfo=HOUR),
        NOON.replace(tzinfo=datetime.UTC),
        NOON.replace(microsecond=1),
        NOON.time().replace(fold=1),
        NOON.isoformat(),
        BERLIN,
        HOUR,
        NOON.time().replace(tzinfo=HOUR),
        datetime.timezone(datetime.timedelta(hours=1), "MEZ"),
    ],
    "texts": [
        "a",
        pathlib.PurePosixPath("a"),
        pathlib.PureWindowsPath("a"),
        pathlib.Path("a"),
        re.compile("a"),
        re.compile("a", re.I),
        re.compile(b"a"),
        Text("a"),
        Tag("a"),
        logging.getLogger("a"),
        uuid.UUID(int=10),
        "\udcff",
        "ÿ",
        b"\xff",
    ],
    "enums": [
        Color.RED,
        Color.CRIMSON,
        Shade.RED,
        Sentinels.MISSING,
        Sentinels.OTHER,
        Color,
        Shade,
        Number.ONE,
    ],
    "instances": [
        Point(1),
        Point(1, 2),
        Point(2, 1),
        Point(1.0),
        OtherPoint(1),
        Point(1, cached=[1]),
        Slots(1),
        Slots(1, 2),
        Pair(1, 2),
        (1, 2),
        Pair(2, 1),
        Plain(x=1),
        Plain(x=2),
        Plain(y=1),
        Other(x=1),
        {"x": 1},
        types.SimpleNamespace(x=1),
        types.MappingProxyType({"x": 1}),
        Table(x=1),
        Plain(x=Plain(x=1)),
        Plain,
        Other,
        Point,
        Exception("a"),
        ValueError("a"),
        Exception("b"),
        ValueError("a", 1),
    ],
    "code": [
        module_function,
        make,
        make(1),
        make(2),
        lambda x: x,
        lambda x: -x,
        len,
        abs,
        str.upper,
        str.lower,
        "a".upper,
        "b".upper,
        Plain(x=1).__init__,
        Plain(x=2).__init__,
        functools.partial(len),
        functools.partial(abs),
        functools.partial(module_function, 1),
        functools.partial(module_function, x=1),
        operator.itemgetter(1),
        operator.attrgetter("a"),
        functools.lru_cache(module_function),
        int,
        float,
        list[int],
        list[str],
        np.sin,
        np.cos,
        np.mean,
        np.linalg.norm,
        operator,
        re,
        functools.singledispatch(module_function),
        typing.Optional[int],  # noqa: UP045 - it is another value
        int | str,
        np.dtype("i4"),
        np.dtype("i8"),
    ],
    "collections": [
        collections.OrderedDict([(1, 2), (3, 4)]),
        collections.OrderedDict([(3, 4), (1, 2)]),
        {1: 2, 3: 4},
        collections.defaultdict(int, {1: 2, 3: 4}),
        collections.defaultdict(list, {1: 2, 3: 4}),
        Table({1: 2, 3: 4}),
        collections.deque([1, 2]),
        collections.deque([1, 2], maxlen=2),
        collections.deque([2, 1]),
        collections.Counter("ab"),
        collections.ChainMap({1: 2}, {3: 4}),
        [1, [2]],
        [[1], 2],
        [[1, 2]],
        [1, 2],
        array.array("i", [1, 2]),
        array.array("l", [1, 2]),
        array.array("d", [1, 2]),
        Bag({1, 2}),
        {1, 2},
    ],
    "arrays": [
        np.arange(6),
        np.arange(6.0),
        np.arange(6, dtype=">i8"),
        np.arange(6).reshape(2, 3),
        np.arange(6).reshape(3, 2),
        np.arange(6).astype(object),
        np.array([1, 2, 3, 4, 5, "x"], dtype=object),
        np.zeros((0, 2)),
        np.zeros((2, 0)),
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype="U2"),
        np.array([b"a", b"b"]),
        np.arange(6).astype("m8[s]"),
        np.arange(6).astype("m8[ms]"),
        np.ma.array([1, 2], mask=[0, 1]),
        np.ma.array([1, 2]),
        np.array([1, 2]),
        np.array([(1, 2)], dtype=[("a", int), ("b", int)]),
        np.array([(1, 2)], dtype=[("a", int), ("c", int)]),
        np.array([[1, 2]]).view(np.recarray),
        np.array([[1, 2]]),
        np.datetime64("2024-01-01"),
        np.datetime64("2024-01-01", "s"),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_values_of_a_family_all_differ(family):
    by_bytes = {}
    for index, value in enumerate(FAMILIES[family]):
        by_bytes.setdefault(encode(value), []).append((index, value))

    assert [values for values in by_bytes.values() if len(values) > 1] == []


@pytest.mark.parametrize("family", FAMILIES)
def test_a_copy_has_the_same_encoding(family):
    for value in FAMILIES[family]:
        try:
            # numpy's pickles keep neither foreign byte orders nor the absence of a mask.
            foreign = isinstance(value, np.ndarray) and (
                not value.dtype.isnative or isinstance(value, np.ma.MaskedArray)
            )
            copies = [copy.deepcopy(value)]
            copies += [] if foreign else [pickle.loads(pickle.dumps(value))]
        except (TypeError, ValueError, AttributeError, pickle.PicklingError):
            continue
        assert all(encode(each) == encode(value) for each in copies), value


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=5))
def test_the_order_in_which_attributes_were_set_does_not_matter(state):
    assert encode(Plain(**state)) == encode(Plain(**dict(reversed(state.items()))))


def test_looking_at_a_cached_property_changes_nothing():
    looked_at = Plain(x=1)
    assert looked_at.size == 1

    assert "size" in vars(looked_at)
    assert encode(looked_at) == encode(Plain(x=1))


def test_a_class_decides_by_its_state_hook():
    assert encode(WithState(kept=1, dropped=2)) == encode(WithState(kept=1, dropped=3))
    assert encode(WithState(kept=1)) != encode(WithState(kept=2))


def test_a_class_decides_by_cacheness_key():
    class Keyed:
        def __init__(self, name):
            self.name = name
            self.lock = threading.Lock()

        def __cacheness_key__(self):
            return self.name

    assert encode(Keyed("a")) == encode(Keyed("a")) != encode(Keyed("b"))
    assert is_stable(Keyed("a"))


def test_a_handler_decides_by_fingerprint():
    from cacheness.handlers.base import Handler

    class Opaque:
        __slots__ = ("name", "where")

        def __init__(self, name):
            self.name = name
            self.where = object()

    class OpaqueHandler(Handler):
        def can_handle(self, obj):
            return type(obj) is Opaque

        def fingerprint(self, obj, update):
            update(obj.name.encode())

    sys.modules[__name__].Opaque = Opaque
    try:
        register_handler(priority=100, types=(f"{__name__}.Opaque",))(OpaqueHandler)
        assert encode(Opaque("a")) == encode(Opaque("a")) != encode(Opaque("b"))
        assert params_key({"x": [Opaque("a")]}) == params_key({"x": [Opaque("a")]})
    finally:
        unregister_handler("opaque")
        del sys.modules[__name__].Opaque


def test_a_large_array_is_hashed_as_it_lies():
    # given an array and a view of another with the same content
    large = np.arange(2_000_000, dtype="f8")
    spread = np.repeat(large, 2)[::2]

    # then layout does not count, content does
    assert encode(large) == encode(spread)
    spread[-1] += 1
    assert encode(large) != encode(spread)


class Refused(typing.NamedTuple):
    make: typing.Callable[[], object]
    kind: str


REFUSED = {
    "lock": Refused(threading.Lock, "lock"),
    "rlock": Refused(threading.RLock, "RLock"),
    "event": Refused(threading.Event, "lock"),
    "thread": Refused(lambda: threading.Thread(target=print), "Thread"),
    "file": Refused(lambda: open(__file__), "TextIOWrapper"),  # noqa: SIM115 - closed by the test
    "generator": Refused(lambda: (x for x in ()), "generator"),
    "iterator": Refused(lambda: iter([1, 2]), "list_iterator"),
    "map": Refused(lambda: map(abs, [1]), "map"),
    "count": Refused(itertools.count, "count"),
    "object": Refused(object, "object"),
    "weak reference": Refused(lambda: weakref.ref(REFUSED["lock"].make), "ReferenceType"),
    "frame": Refused(sys._getframe, "frame"),
    "queue": Refused(queue.Queue, "lock"),
    "context variable": Refused(lambda: __import__("contextvars").ContextVar("x"), "ContextVar"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_only_an_identity_is_refused_with_the_ways_out(name):
    value = REFUSED[name].make()

    with pytest.raises(UnhashableParameterError) as caught:
        params_key({"good": 1, "handle": value})

    message = str(caught.value)
    assert "'handle'" in message
    assert REFUSED[name].kind in message
    for way_out in ("ignore=('handle',)", "key=", "fingerprint", "__cacheness_key__"):
        assert way_out in message
    if isinstance(value, io.IOBase):
        value.close()


def test_connections_and_sockets_are_refused():
    connection = sqlite3.connect(":memory:")
    with socket.socket() as plug:
        for value in (connection, plug):
            with pytest.raises(UnhashableParameterError, match=type(value).__name__):
                params_key({"x": value})
    connection.close()


def test_the_error_says_where_inside_it_is():
    value = Plain(model=Plain(lock=threading.Lock()))

    with pytest.raises(UnhashableParameterError, match=r"in config\.model\.lock"):
        params_key({"config": value})


@pytest.mark.parametrize("kind", ["list", "dict", "instance", "mixed"])
def test_what_contains_itself_is_refused_clearly(kind):
    value = {"list": [], "dict": {}, "instance": Plain(), "mixed": Plain()}[kind]
    if kind == "list":
        value.append([1, value])
    elif kind == "dict":
        value["a"] = {"b": value}
    elif kind == "instance":
        value.child = Plain(parent=value)
    else:
        value.children = [{"up": value}]

    with pytest.raises(UnhashableParameterError, match="'tree'.*contains itself"):
        params_key({"tree": value})


@pytest.mark.slow
def test_what_is_nested_deeply_but_finite_says_so():
    value = []
    for _ in range(20_000):
        value = [value]

    with pytest.raises(RecursionError, match="'deep' is nested too deeply"):
        params_key({"deep": value})
    while value:
        value = value.pop()


@pytest.mark.slow
@pytest.mark.parametrize("library", ["attrs", "pydantic", "scipy", "polars", "sklearn"])
def test_values_of_libraries_count_by_content(library):
    if library == "attrs":
        attrs = pytest.importorskip("attrs")
        kind = attrs.make_class("Box", ["x", "y"])
        pairs = [(kind(1, 2), kind(1, 2), kind(1, 3))]
    elif library == "pydantic":
        pydantic = pytest.importorskip("pydantic")
        kind = pydantic.create_model("Model", x=(int, 1))
        pairs = [(kind(), kind(x=1), kind(x=2))]
    elif library == "scipy":
        sparse = pytest.importorskip("scipy.sparse")
        pairs = [
            (
                getattr(sparse, f"{form}_{kind}")([[0, 1], [2, 0]]),
                getattr(sparse, f"{form}_{kind}")([[0, 1], [2, 0]]),
                getattr(sparse, f"{form}_{kind}")([[0, 1], [3, 0]]),
            )
            for form in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")
            for kind in ("matrix", "array")
        ]
        looked_at = pairs[0][0]
        assert looked_at.has_canonical_format
    elif library == "polars":
        polars = pytest.importorskip("polars")
        grown = polars.concat([polars.Series("a", [1]), polars.Series("a", [2])], rechunk=False)
        pairs = [
            (grown, polars.Series("a", [1, 2]), polars.Series("a", [1, 3])),
            (
                polars.DataFrame({"a": grown}),
                polars.DataFrame({"a": [1, 2]}),
                polars.DataFrame({"b": [1, 2]}),
            ),
        ]
    else:
        linear = pytest.importorskip("sklearn.linear_model")
        fitted = linear.LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
        again = linear.LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
        pairs = [
            (linear.Ridge(alpha=1.0), linear.Ridge(alpha=1.0), linear.Ridge(alpha=2.0)),
            (fitted, again, linear.LinearRegression()),
        ]
    for one, same, other in pairs:
        assert encode(one) == encode(same), one
        assert encode(one) != encode(other), one


def test_a_random_generator_counts_by_its_state():
    assert encode(random.Random(1)) == encode(random.Random(1)) != encode(random.Random(2))
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    assert encode(one) == encode(other)
    other.random()
    assert encode(one) != encode(other)


def test_a_tensor_of_torch_counts_by_dtype_shape_and_bytes(monkeypatch):
    # given what torch offers of a tensor, without torch, which is too large for a test
    torch = types.ModuleType("torch")

    class Tensor:
        layout = "strided"
        is_quantized = requires_grad = False
        device = types.SimpleNamespace(type="cpu")

        def __init__(self, array):
            self.array = array
            self.dtype = f"torch.{array.dtype}"
            self.shape = array.shape

        def detach(self):
            return self

        resolve_conj = resolve_neg = cpu = contiguous = detach

        def reshape(self, size):
            return Tensor(self.array.reshape(size))

        def view(self, dtype):
            return Tensor(self.array.view(dtype))

        def numpy(self):
            return self.array

    Tensor.__module__ = "torch"
    Tensor.__qualname__ = "Tensor"
    torch.Tensor = Tensor
    torch.strided, torch.sparse_coo, torch.uint8 = "strided", "sparse", np.uint8
    monkeypatch.setitem(sys.modules, "torch", torch)

    # then
    arrays = [np.arange(6.0), np.arange(6.0).reshape(2, 3), np.arange(6), np.ones(6)]
    assert len({encode(Tensor(array)) for array in arrays}) == 4
    assert encode(Tensor(np.ones(6))) == encode(Tensor(np.ones(6)))
