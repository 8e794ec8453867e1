# SPDX-License-Identifier: MIT
"""Spells NumPy dtypes as JSON from which exactly the same dtype can be made again."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from cacheness.errors import CannotHandleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    AnyDType: TypeAlias = np.dtype[Any]
    Spelling: TypeAlias = str | dict[str, Any]

__all__ = ["dtype_from_spelling", "is_plain", "plain_dtype", "spell"]

_PLAIN = re.compile(r"[<>|][biufcmMSUV][0-9]{1,9}(?:\[[0-9]{0,9}[A-Za-z]{1,2}\])?", re.ASCII)
_LONG = "gG"
_DEEPEST = 32


def is_plain(dtype: AnyDType) -> bool:
    """Whether ``dtype.str`` says all there is to say about a dtype."""
    if dtype.names is not None or dtype.metadata or dtype.subdtype is not None:
        return False
    again = _named(dtype.str)
    # Two C integers of one size have one text; an extension's type has that of raw bytes.
    return (
        again is not None
        and again.char == dtype.char
        and again.type is dtype.type
        and again.char not in _LONG
    )


@lru_cache(maxsize=256)
def _named(text: str) -> AnyDType | None:
    try:
        return plain_dtype(text)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def plain_dtype(text: str) -> AnyDType:
    """Make the dtype that `is_plain` approved.

    Raises:
        ValueError: The text spells no such dtype.
    """
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"not the dtype of an array without objects: {text[:50]!r}")
    try:
        dtype: AnyDType = np.dtype(text)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if not dtype.itemsize:
        raise ValueError(f"a dtype without a size: {text!r}")
    return dtype


def spell(dtype: AnyDType, name: Callable[[AnyDType], str] = lambda dtype: dtype.str) -> Spelling:
    """Spell a dtype, structured ones with their offsets, titles, padding and alignment.

    Args:
        dtype: Any but one of objects.
        name: Names a dtype without parts.

    Raises:
        CannotHandleError: It has parts that can't be spelled: objects, metadata, an
            extension's type, titles that are no strings.
    """
    if dtype.metadata:
        raise CannotHandleError(f"a dtype with metadata: {dtype!r}")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": spell(base, name), "shape": list(shape)}
    if dtype.names is not None:
        return _spell_struct(dtype, name)
    if dtype.char in _LONG:
        # 80, 64 or 128 bits wide, as the machine has it, all by the same name.
        return {"long": name(dtype), "digits": int(np.finfo(dtype).nmant)}
    if is_plain(dtype):
        return name(dtype)
    if dtype.itemsize and dtype.isbuiltin == 1 and not dtype.hasobject:
        return {"char": dtype.char, "as": name(dtype)}
    raise CannotHandleError(f"a dtype that has no exact spelling: {dtype!r}")


def _spell_struct(dtype: AnyDType, name: Callable[[AnyDType], str]) -> Spelling:
    names = dtype.names or ()
    fields: Mapping[str, Any] = dtype.fields or {}  # pyright: ignore[reportAssignmentType]  # its names are str
    titles = [fields[n][2] if len(fields[n]) > 2 else None for n in names]
    if not all(title is None or type(title) is str for title in titles):
        raise CannotHandleError(f"a dtype whose titles are no strings: {dtype!r}")
    spelled: dict[str, Any] = {
        "names": list(names),
        "formats": [spell(fields[n][0], name) for n in names],
        "offsets": [fields[n][1] for n in names],
        "itemsize": dtype.itemsize,
    }
    if any(title is not None for title in titles):
        spelled["titles"] = titles
    if dtype.isalignedstruct:
        spelled["aligned"] = True
    if dtype.type is np.record:
        spelled["record"] = True
    elif dtype.type is not np.void:
        raise CannotHandleError(f"a dtype of the type {dtype.type!r}")
    return spelled


def dtype_from_spelling(spelling: Any) -> AnyDType:
    """Make the dtype that `spell` spelled.

    Raises:
        ValueError: It is no such spelling, or of another machine's long double.
    """
    try:
        return _make(spelling, _DEEPEST)
    except (KeyError, TypeError, OverflowError, MemoryError) as error:
        raise ValueError(f"not the spelling of a dtype: {error}") from error


def _make(spelling: Any, depth: int) -> AnyDType:
    if not depth:
        raise ValueError("the spelling of a dtype is nested too deeply")
    if isinstance(spelling, str):
        return plain_dtype(spelling)
    if "base" in spelling:
        base = _make(spelling["base"], depth - 1)
        return np.dtype((base, tuple(int(n) for n in spelling["shape"])))
    if "long" in spelling:
        return _make_long(spelling)
    if "char" in spelling:
        dtype: AnyDType = np.dtype(spelling["char"])
        if len(spelling["char"]) != 1 or dtype.hasobject or dtype.str != spelling["as"]:
            raise ValueError(f"no such dtype on this machine: {spelling['char']!r}")
        return dtype
    parts: Any = {
        "names": spelling["names"],
        "formats": [_make(part, depth - 1) for part in spelling["formats"]],
        "offsets": spelling["offsets"],
        "itemsize": spelling["itemsize"],
    }
    if "titles" in spelling:
        parts["titles"] = spelling["titles"]
    dtype = np.dtype(parts, align=spelling.get("aligned") is True)
    if spelling.get("record") is True:
        dtype = np.dtype((np.record, dtype))
    return dtype


def _make_long(spelling: dict[str, Any]) -> AnyDType:
    dtype: AnyDType = plain_dtype(spelling["long"])
    if dtype.char not in _LONG or np.finfo(dtype).nmant != spelling["digits"]:
        raise ValueError(
            f"an array of long doubles with {spelling['digits']} bits of mantissa, "
            "which this machine does not have"
        )
    return dtype
