# SPDX-License-Identifier: MIT
"""Whatever threads and processes do to one server at once, it is as if they had taken turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.core.reliability.histories import KEYS, by_key, many_threads, record
from tests.core.reliability.linear import is_linearizable

from cacheness import UnifiedCache

if TYPE_CHECKING:
    from pathlib import Path

BLOBS = ["postgres", "file"]


@pytest.fixture(params=BLOBS)
def options(
    request: pytest.FixtureRequest, tmp_path: Path, url: str, schema: str
) -> dict[str, Any]:
    """Of a cache on the server, whose payloads lie there, or in files of one directory."""
    where = {"url": url, "schema": schema}
    chosen: dict[str, Any] = {"blob_backend": request.param}
    if request.param == "postgres":
        chosen["blob_options"] = where
    return {
        "cache_dir": str(tmp_path / "cache"),
        "metadata_backend": "postgres",
        "metadata_options": where,
        "inline_bytes": 100,
        **chosen,
    }


@pytest.mark.slow
def test_threads_of_processes_take_turns(options: dict[str, Any]) -> None:
    histories = record(options, "spawn", processes=2)

    assert sum(map(len, histories.values())) > 600
    for key, history in histories.items():
        assert is_linearizable(history), f"{key}: {sorted(history, key=lambda one: one.start)}"


@pytest.mark.slow
def test_threads_of_forked_processes_take_turns_after_their_parent_used_the_cache(
    options: dict[str, Any],
) -> None:
    with UnifiedCache(**options) as cache:
        before = many_threads(cache, 90, 2, 20)

        histories = record(options, "fork", processes=2)

    for key, history in by_key([before]).items():
        assert is_linearizable([*history, *histories[key]]), key


@pytest.mark.slow
def test_threads_take_turns(options: dict[str, Any]) -> None:
    with UnifiedCache(**options) as cache:
        histories = by_key([many_threads(cache, 1, 6, 120)])

    for key in KEYS:
        assert is_linearizable(histories[key]), key
