# SPDX-License-Identifier: MIT
"""The canonical bytes of polars' series: their values, whatever lies where nothing is."""

from __future__ import annotations

import sys

from cacheness.keys.encoding import Memo, Unstable, encode, named
from cacheness.keys.hashing import Stream
from cacheness.keys.parts import class_label, class_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.handlers.protocols import Buffer

__all__ = ["encode_frame", "encode_series"]


def encode_frame(value: Any, memo: Memo) -> bytes:
    """A `polars.DataFrame`: its height and its columns."""
    columns = [encode_series(column, memo) for column in value.get_columns()]
    return named("polars.DataFrame", class_part(type(value), memo), encode(value.height), *columns)


def encode_series(value: Any, _memo: Memo) -> bytes:
    """A `polars.Series`: name, dtype and a digest of its values.

    Not its pickled state, which says whether somebody has found it sorted, nor its chunks,
    which say how it was appended to, nor its buffers as they are, which hold anything
    where a value is missing.
    """
    stream = Stream()
    _feed(value.rechunk(), stream)
    return named(
        "polars.Series",
        encode(class_label(type(value))),
        encode(value.name),
        encode(str(value.dtype)),
        encode(stream.digest()),
    )


def _feed(series: Any, stream: Stream) -> None:
    """Feed length, nulls and values of one level; each level of a nest is a series, too."""
    pl = sys.modules["polars"]
    dtype = series.dtype
    stream.update(b"%d;" % len(series))
    if series.null_count():
        _feed_sized(series.is_null().to_numpy().tobytes(), stream)
    else:
        stream.update(b"-;")
    if dtype == pl.Null:
        return
    if dtype == pl.Struct:
        _feed_fields(pl, series, stream)
    elif dtype == pl.List:
        lengths = series.list.len().fill_null(0)
        _feed_sized(lengths.cast(pl.UInt64).to_numpy().tobytes(), stream)
        # Exploding an empty list would give a null.
        _feed(series.filter(lengths > 0).explode(), stream)
    elif dtype == pl.Array:
        if 0 not in dtype.shape:
            _feed(series.drop_nulls().explode(), stream)
    elif dtype in (pl.Categorical, pl.Enum):
        _feed(series.cast(pl.String), stream)
    elif dtype in (pl.String, pl.Binary):
        _feed_texts(pl, series, stream)
    else:
        _feed_numbers(pl, series, stream)


def _feed_fields(pl: Any, series: Any, stream: Stream) -> None:
    there = series.is_not_null()
    for name in series.struct.fields:
        # What lies in the fields of a missing struct does not count.
        column = series.struct.field(name)
        stream.update(encode(name))
        _feed(pl.select(pl.when(there).then(column)).to_series().rechunk(), stream)


def _feed_texts(pl: Any, series: Any, stream: Stream) -> None:
    values = series.drop_nulls().cast(pl.Binary)
    _feed_sized(values.bin.size().cast(pl.UInt64).to_numpy().tobytes(), stream)
    _feed_sized(b"".join(values.to_list()), stream)


def _feed_numbers(pl: Any, series: Any, stream: Stream) -> None:
    if not (series.dtype.is_numeric() or series.dtype.is_temporal() or series.dtype == pl.Boolean):
        raise Unstable(type(series), f"of dtype {series.dtype} has no canonical bytes")
    values = series.drop_nulls()
    physical = values.to_physical() if not values.dtype.is_float() else values
    if physical.dtype in (pl.Int128, getattr(pl, "UInt128", pl.Int128), pl.Decimal):
        _feed_sized("\n".join(map(str, physical.to_list())).encode(), stream)
        return
    numbers = physical.to_numpy()
    if sys.byteorder == "big":
        numbers = numbers.byteswap()
    _feed_sized(numbers.view("u1").data, stream)


def _feed_sized(data: Buffer, stream: Stream) -> None:
    stream.update(b"%d:" % len(data))
    stream.update(data)
