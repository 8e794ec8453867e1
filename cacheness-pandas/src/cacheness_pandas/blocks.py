# SPDX-License-Identifier: MIT
"""Puts columns together into a frame, in place where they lie as pandas' blocks do."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    from cacheness_pandas.columns import Column
    from cacheness_pandas.numbers import Memory

__all__ = ["frame_of"]

_MANY = 64
"""From so many blocks on, numbers are copied together: pandas is slow with many blocks
and warns at 100."""

_HAS_PUBLIC_MAKER = find_spec("pandas.api.internals") is not None
"""Since pandas 3."""

Block = tuple[Any, "npt.NDArray[np.intp]"]


def frame_of(
    columns: list[Column], index: pd.Index[Any], labels: pd.Index[Any], memory: Memory
) -> pd.DataFrame:
    """A frame over the columns, which it may keep.

    Args:
        columns: One array for each label, each as long as the index.
        index: The rows' labels.
        labels: The columns' labels.
        memory: Where the arrays come from.
    """
    blocks = [block for run in _runs(columns) for block in _blocks_of_run(run, columns, memory)]
    if len(blocks) > _MANY and not memory.read_only:
        blocks = _consolidated(blocks)
    if any(array.shape[-1] != len(index) for array, _ in blocks):
        raise ValueError("a column's length is not that of the index")
    return _from_blocks(blocks, index, labels)


def _runs(columns: list[Column]) -> list[range]:
    """Neighbouring columns of one numpy dtype; any other column by itself."""
    runs: list[range] = []
    start = 0
    for at in range(1, len(columns) + 1):
        if at < len(columns) and _alike(columns[start], columns[at]):
            continue
        runs.append(range(start, at))
        start = at
    return runs if columns else []


def _alike(one: Column, other: Column) -> bool:
    return (
        isinstance(one, np.ndarray)
        and isinstance(other, np.ndarray)
        and one.dtype == other.dtype
        and one.dtype != object
    )


def _blocks_of_run(run: range, columns: list[Column], memory: Memory) -> list[Block]:
    if len(run) > 1:
        whole = memory.rows_of_block([columns[at] for at in run])  # type: ignore[misc]  # a run is of numpy arrays
        if whole is not None:
            return [(whole, np.arange(run.start, run.stop))]
    return [(_as_rows(columns[at]), np.array([at])) for at in run]


def _as_rows(column: Column) -> Any:
    return column.reshape(1, -1) if isinstance(column, np.ndarray) else column


def _consolidated(blocks: list[Block]) -> list[Block]:
    kept: list[Block] = []
    alike: dict[str, list[Block]] = {}
    for block in blocks:
        if isinstance(block[0], np.ndarray):
            alike.setdefault(block[0].dtype.str, []).append(block)
        else:
            kept.append(block)
    for several in alike.values():
        arrays, places = zip(*several, strict=True)
        kept.append((np.concatenate(arrays), np.concatenate(places)))
    return kept


def _from_blocks(blocks: list[Block], index: pd.Index[Any], labels: pd.Index[Any]) -> pd.DataFrame:
    frame: pd.DataFrame
    if _HAS_PUBLIC_MAKER:
        api: Any = import_module("pandas.api.internals")
        frame = api.create_dataframe_from_blocks(blocks, index=index, columns=labels)
        return frame
    internals: Any = import_module("pandas.core.internals")
    made = [internals.make_block(array, placement=places) for array, places in blocks]
    manager = internals.BlockManager(made, [labels, index])
    maker: Any = pd.DataFrame
    frame = maker._from_mgr(manager, manager.axes)
    return frame
