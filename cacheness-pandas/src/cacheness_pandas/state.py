# SPDX-License-Identifier: MIT
"""What a frame or series bears besides its values: ``attrs`` and ``flags``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cacheness_pandas.labels import is_exact_json

if TYPE_CHECKING:
    import pandas as pd

    from cacheness_pandas.reading import Reader
    from cacheness_pandas.writing import Writer

__all__ = ["pack_state", "restore_state"]


def pack_state(obj: pd.DataFrame | pd.Series[Any], writer: Writer) -> dict[str, Any]:
    """The state as JSON; ``attrs`` that JSON can't keep exactly become a part."""
    packed: dict[str, Any] = {}
    if obj.attrs:
        attrs = dict(obj.attrs)
        packed["attrs"] = {"json": attrs} if is_exact_json(attrs) else writer.part(attrs)
    if not obj.flags.allows_duplicate_labels:
        packed["unique_labels"] = True
    return packed


def restore_state(obj: pd.DataFrame | pd.Series[Any], spec: dict[str, Any], reader: Reader) -> None:
    """Give an object that was put together again the state it had."""
    packed = spec.get("attrs")
    if packed is not None:
        obj.attrs = packed["json"] if "json" in packed else reader.part(packed)
    if spec.get("unique_labels"):
        flags: Any = obj.flags
        flags.allows_duplicate_labels = False
