# SPDX-License-Identifier: MIT
"""How the name of a series, an index or a level is written down as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cacheness_pandas.zones import pack_zone, unpack_zone

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["is_exact_json", "pack_label", "unpack_label"]

_SCALAR_KINDS = "biufcmM"
_CONSTANTS: dict[str, Any] = {
    "nan": np.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "NaT": pd.NaT,
    "NA": pd.NA,
}


def pack_label(label: Hashable, part: Callable[[object], dict[str, Any]]) -> Any:
    """The label as JSON.

    Args:
        label: Any hashable.
        part: Keeps what JSON can't, and says how to find it again.
    """
    if is_exact_json(label):
        return label
    if type(label) is float or label is pd.NaT or label is pd.NA:
        return {"constant": {"<NA>": "NA"}.get(str(label), str(label))}
    if type(label) is tuple:
        return {"tuple": [pack_label(each, part) for each in label]}
    if isinstance(label, np.generic) and type(label).__module__ == "numpy":
        if label.dtype.kind in _SCALAR_KINDS and label.dtype.isnative and label.itemsize <= 16:
            return {"numpy": _dtype_name(label.dtype), "bits": label.tobytes().hex()}
        return part(label)
    if type(label) is pd.Timestamp or type(label) is pd.Timedelta:
        return _pack_time(label) or part(label)
    return part(label)


def unpack_label(packed: Any, get_part: Callable[[Any], Any]) -> Any:
    """The label that `pack_label` wrote down.

    Args:
        packed: Its JSON.
        get_part: Gives back what ``part`` was given, from what it returned.
    """
    if not isinstance(packed, dict):
        return packed
    if "constant" in packed:
        return _CONSTANTS[packed["constant"]]
    if "tuple" in packed:
        return tuple(unpack_label(each, get_part) for each in packed["tuple"])
    if "numpy" in packed:
        scalar = _scalar(packed)
        return _pandas_time(scalar, packed) if packed.get("pandas") else scalar
    return get_part(packed)


def is_exact_json(value: object) -> bool:
    """Whether JSON gives back an equal value of the very same types, all through."""
    kind = type(value)
    if value is None or kind in (bool, int):
        return True
    if kind is str:
        return _encodes(value)  # type: ignore[arg-type]  # mypy does not narrow by type()
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]  # as above
    if kind is list:
        return all(map(is_exact_json, value))  # type: ignore[call-overload]  # as above
    if kind is dict:
        return all(
            type(key) is str and _encodes(key) and is_exact_json(each)
            for key, each in value.items()  # type: ignore[attr-defined]  # as above
        )
    return False


def _encodes(text: str) -> bool:
    """Whether the text has no lone surrogates, which UTF-8 can't hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return dtype.str.lstrip("<>=|")


def _scalar(packed: dict[str, Any]) -> Any:
    dtype = np.dtype(packed["numpy"])
    if dtype.kind not in _SCALAR_KINDS:
        raise ValueError(f"{packed['numpy']!r} is no type of a label")
    return np.frombuffer(bytes.fromhex(packed["bits"]), dtype)[0]


def _pack_time(label: pd.Timestamp | pd.Timedelta) -> dict[str, Any] | None:
    scalar = label.asm8
    packed: dict[str, Any] = {
        "numpy": _dtype_name(scalar.dtype),
        "bits": scalar.tobytes().hex(),
        "pandas": True,
    }
    if isinstance(label, pd.Timestamp) and label.tzinfo is not None:
        zone = pack_zone(label.tzinfo)
        if zone is None:
            return None
        packed["in"] = zone
    return packed


def _pandas_time(scalar: Any, packed: dict[str, Any]) -> Any:
    if scalar.dtype.kind == "m":
        return pd.Timedelta(scalar)
    stamp = pd.Timestamp(scalar)
    if "in" in packed:
        return stamp.tz_localize("UTC").tz_convert(unpack_zone(packed["in"]))
    return stamp
