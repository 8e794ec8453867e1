# SPDX-License-Identifier: MIT
"""A result as analyses give them: arrays and frames in a nest of dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd

from cacheness import UnifiedCache
from measuring import Row, interleaved, once

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(folder: str) -> Iterator[Row]:
    """Compare putting and getting the whole nest with `joblib.dump` and `joblib.load`."""
    report = _report()
    path = f"{folder}/report.joblib"
    with UnifiedCache(f"{folder}/ours") as cache:

        def ours() -> None:
            cache.put(report, "report")
            cache.get("report")

        def theirs() -> None:
            joblib.dump(report, path)
            joblib.load(path)

        taken = interleaved({"ours": once(ours), "theirs": once(theirs)}, rounds=25, number=1)
    what, peer = "20 arrays and 5 frames in a dict, put + get", "joblib.dump + joblib.load"
    yield Row(what, taken["ours"], peer, taken["theirs"], 0.8, 0.5)


def _report() -> dict[str, Any]:
    """Some 16 MB of arrays and 20 MB of frames, none of them alike."""
    rng = np.random.default_rng(0)
    models = {
        f"model-{i}": {
            "weights": rng.normal(size=(100, 1000)),
            "history": {"loss": rng.random(100_000, dtype=np.float64)},
            "score": float(i),
        }
        for i in range(10)
    }
    return {"models": models, "tables": [_frame(rng) for _ in range(5)], "note": "nested"}


def _frame(rng: np.random.Generator, size: int = 100_000) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "count": rng.integers(0, 1000, size),
            "value": rng.normal(size=size),
            "name": rng.choice(["north", "south", "east", "west"], size),
            "kind": pd.Categorical(rng.choice(["a", "b", "c"], size)),
            "at": pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 10**6, size), "s"),
        }
    )
