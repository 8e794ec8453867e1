# SPDX-License-Identifier: MIT
"""The core's handlers keep the promises that any handler makes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from cacheness.testing import HandlerContract

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import SearchStrategy


class Text(str):
    """A subclass, which is no str to a handler of str."""


class TestBytesHandler(HandlerContract):
    handler = "bytes"

    def objects(self) -> SearchStrategy[Any]:
        some = st.binary(max_size=4000)
        return some | some.map(bytearray) | some.map(memoryview)

    def copy_of(self, obj: Any) -> Any:
        return memoryview(bytes(obj)) if isinstance(obj, memoryview) else type(obj)(obj)

    def changed(self, obj: Any) -> Any:
        return obj + b"\0" if isinstance(obj, bytes) else bytes(obj)

    def refused(self) -> Iterable[object]:
        return ["text", [1, 2], object()]


def exactly_equal(one: Any, other: Any) -> bool:
    """Equal in types, too, through lists and dicts; and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(exactly_equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(exactly_equal(one[k], other[k]) for k in one)
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


class TestJsonHandler(HandlerContract):
    handler = "json"

    def objects(self) -> SearchStrategy[Any]:
        text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
        floats = st.floats(allow_nan=False, allow_infinity=False)
        scalars = st.none() | st.booleans() | st.integers() | floats | text
        return st.recursive(
            scalars,
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
            max_leaves=12,
        )

    def equal(self, one: Any, other: Any) -> bool:
        return exactly_equal(one, other)

    def changed(self, obj: Any) -> Any:
        return {"was": obj}

    def refused(self) -> Iterable[object]:
        return [(1, 2), {1: 2}, [math.nan], {"a": {1}}, Text("a"), [Text("a")], [b"a"], [1j]]


class TestNumpyHandler(HandlerContract):
    handler = "numpy"

    def objects(self) -> SearchStrategy[Any]:
        dtypes = (
            npst.scalar_dtypes()
            | npst.byte_string_dtypes(min_len=1)
            | npst.unicode_string_dtypes(min_len=1)
            | npst.array_dtypes(max_size=3)
        )
        shapes = npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5)
        arrays = npst.arrays(dtypes, shapes)
        return (
            arrays | arrays.map(np.asfortranarray) | arrays.map(lambda a: a[::-1] if a.ndim else a)
        )

    def equal(self, one: Any, other: Any) -> bool:
        return (
            type(one) is type(other)
            and one.dtype == other.dtype
            and one.dtype.metadata == other.dtype.metadata
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )

    def changed(self, obj: Any) -> Any:
        return obj[None]

    def change_in_place(self, obj: Any) -> bool:
        if not obj.size or not obj.dtype.itemsize:
            return False
        before = obj.tobytes()
        obj.view(np.ndarray).fill(np.ones((), obj.dtype)[()])
        return obj.tobytes() != before

    def refused(self) -> Iterable[object]:
        return [np.array([None, 1]), [1, 2], np.zeros(3).view(type("Mine", (np.ndarray,), {}))]


@dataclass
class Run:
    """Something of the user's own."""

    name: str
    values: Any
    more: dict[str, Any] = field(default_factory=dict)


class TestContainerHandler(HandlerContract):
    handler = "container"
    examples = 20

    def objects(self) -> SearchStrategy[Any]:
        leaves = npst.arrays(np.float64, npst.array_shapes(max_side=4)) | st.binary(max_size=20)
        plain = st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
        return (
            st.dictionaries(plain, leaves, min_size=1, max_size=4)
            | st.lists(leaves, min_size=1, max_size=4)
            | st.tuples(leaves, plain, leaves)
            | st.builds(Run, st.just("run"), leaves)
        )

    def equal(self, one: Any, other: Any) -> bool:
        if type(one) is not type(other):
            return False
        if isinstance(one, dict):
            return list(one) == list(other) and all(self.equal(one[k], other[k]) for k in one)
        if isinstance(one, (list, tuple)):
            return len(one) == len(other) and all(map(self.equal, one, other))
        if isinstance(one, Run):
            return self.equal(vars(one), vars(other))
        if isinstance(one, np.ndarray):
            return one.dtype == other.dtype and one.tobytes() == other.tobytes()
        return bool(one == other)

    def changed(self, obj: Any) -> Any:
        return [obj]

    def change_in_place(self, obj: Any) -> bool:
        if isinstance(obj, (tuple, Run)):
            return False
        return super().change_in_place(obj)

    def refused(self) -> Iterable[object]:
        return [np.zeros(3), 5, "text", {1, 2}]


class TestPickleHandler(HandlerContract):
    handler = "pickle"

    def objects(self) -> SearchStrategy[Any]:
        keys = st.text(max_size=5)
        return (
            st.fractions()
            | st.complex_numbers(allow_nan=False)
            | st.sets(st.integers())
            | st.dates()
            | st.dictionaries(keys, st.sets(st.integers(), max_size=3), max_size=3)
            | st.builds(Run, keys, st.lists(st.fractions(), max_size=3))
        )

    def changed(self, obj: Any) -> Any:
        return (obj,)

    def refused(self) -> Iterable[object]:
        import threading

        return [threading.Lock(), (n for n in [Fraction(1)])]
