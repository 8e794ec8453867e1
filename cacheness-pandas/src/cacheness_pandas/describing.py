# SPDX-License-Identifier: MIT
"""One line about a frame, series, index or table, for listings."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

__all__ = ["describe_frame", "describe_index", "describe_series", "describe_table"]

_MOST_KINDS = 4
_LONGEST = 40
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def describe_frame(frame: pd.DataFrame) -> str:
    """``DataFrame (1000, 3) 2 float64, 1 str; 31.3 KiB``."""
    dtypes = list(frame.dtypes)
    plain = Counter(dtype for dtype in dtypes if isinstance(dtype, np.dtype))
    others = [at for at, dtype in enumerate(dtypes) if not isinstance(dtype, np.dtype)]
    size = int(frame.index.memory_usage(deep=False))
    size += sum(dtype.itemsize * count for dtype, count in plain.items()) * len(frame)
    size += sum(frame.iloc[:, at].array.nbytes for at in others)
    names = {dtype: str(dtype) for dtype in plain}  # numpy takes 5 µs to make one
    kinds = Counter(names[d] if isinstance(d, np.dtype) else str(d) for d in dtypes)
    return f"DataFrame {frame.shape} {_kinds(kinds)}{_bytes(size)}"


def describe_series(series: pd.Series[Any]) -> str:
    """``Series (1000,) float64; 7.9 KiB``."""
    size = int(series.memory_usage(index=True, deep=False))
    return f"Series {series.shape} {_short(str(series.dtype))}{_bytes(size)}"


def describe_index(index: pd.Index[Any]) -> str:
    """``DatetimeIndex (365,) datetime64[us]; 2.9 KiB``."""
    kinds = map(str, getattr(index, "dtypes", [index.dtype]))
    size = int(index.memory_usage(deep=False))
    return f"{type(index).__name__} {index.shape} {_kinds(Counter(kinds))}{_bytes(size)}"


def describe_table(name: str, shape: tuple[int, ...], kinds: Iterable[object], size: int) -> str:
    """``Table (1000, 3) 2 double, 1 string; 31.3 KiB``."""
    return f"{name} {shape} {_kinds(Counter(map(str, kinds)))}{_bytes(size)}"


def _kinds(kinds: Counter[str]) -> str:
    shortened: Counter[str] = Counter()
    for kind, count in kinds.items():
        shortened[_short(kind)] += count
    counted = shortened.most_common()
    if not counted:
        return "without columns"
    if len(counted) == 1 and counted[0][1] == 1:
        return counted[0][0]
    texts = [f"{count} {kind}" for kind, count in counted[:_MOST_KINDS]]
    return ", ".join(texts) + (", …" if len(counted) > _MOST_KINDS else "")


def _short(kind: str) -> str:
    """A dtype's name without the names of a struct's fields, which are contents."""
    outer, nested, _ = kind.partition("<")
    return f"{outer}<…>" if nested else kind[:_LONGEST]


def _bytes(size: int) -> str:
    if size < 1024:
        return f"; {size} B"
    power = min((size.bit_length() - 1) // 10, len(_UNITS))
    return f"; {size / 1024**power:.1f} {_UNITS[power - 1]}"
