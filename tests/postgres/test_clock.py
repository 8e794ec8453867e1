# SPDX-License-Identifier: MIT
"""Times of this machine and the server's translate into each other without loss."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacheness.testing.metadata_entries import make_plain
from cacheness_postgres.clock import ServerClock
from cacheness_postgres.rows import to_entry, to_row

from .conftest import an_entry

if TYPE_CHECKING:
    import psycopg

    from cacheness_postgres.backend import PostgresBackend

# From 2010 to 2036, on both sides of the translation.
this_age = st.floats(1.3e9, 2.05e9)
distances = st.floats(-5e7, 5e7)


@given(moment=this_age, distance=distances)
def test_a_time_comes_back_as_the_very_same_float(moment: float, distance: float) -> None:
    clock = ServerClock()
    clock.learn(moment + distance, moment, moment)

    entry = an_entry(created_at=moment, renewed_at=moment, accessed_at=moment, expires_at=moment)
    row = to_row(entry, clock.distance)

    assert to_entry(_as_read(row), clock.distance) == entry
    assert abs(clock.distance - distance) <= 0.126


@pytest.mark.parametrize("off", [0.0, 0.05, -0.1])
def test_clocks_that_are_kept_together_count_as_one(off: float) -> None:
    clock = ServerClock()
    now = time.time()
    clock.learn(now + off, now, now)

    assert clock.distance == 0.0


def test_a_slow_answer_is_taken_for_the_middle_of_its_way() -> None:
    clock = ServerClock()
    clock.learn(2000.0, 999.0, 1001.0)

    assert clock.distance == 1000.0


def test_a_clock_that_was_set_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ServerClock()
    assert clock.is_doubtful()
    now = time.time()
    clock.learn(now, now, now)
    assert not clock.is_doubtful()

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 30)

    assert clock.is_doubtful()


def test_entries_that_are_said_in_short_are_kept_by_the_servers_clock(
    backend: PostgresBackend, admin: psycopg.Connection[Any], schema: str
) -> None:
    now = time.time()
    backend._database.clock.learn(now + 100.0, now, now)
    short = [make_plain("a"), make_plain("b", ttl_seconds=60.0)]

    backend.put_prepared(short)

    at = short[0].now + backend._database.clock.distance
    kept = "SELECT created_at, renewed_at, accessed_at, expires_at FROM {}.entries ORDER BY 4"
    rows = admin.execute(kept.format(schema)).fetchall()
    assert rows == [(at, at, at, at + 60.0), (at, at, at, None)]
    assert backend.get_entries(["a", "b"]) == {one.cache_key: one.entry() for one in short}


def _as_read(row: tuple[object, ...]) -> tuple[object, ...]:
    """The row as the server gives it back: JSONB parsed."""
    import json

    from cacheness_postgres.rows import COLUMNS

    documents = {"params", "tags", "custom_metadata"}
    return tuple(
        json.loads(str(value)) if name in documents else value
        for name, value in zip(COLUMNS, row, strict=True)
    )
