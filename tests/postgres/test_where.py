# SPDX-License-Identifier: MIT
"""Conditions that were written with SQLAlchemy select entries, beside filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func

from cacheness.backends.sql import entries
from cacheness.errors import ConfigError
from cacheness.filters import Filter
from cacheness_postgres.tables import tables

from .conftest import an_entry

if TYPE_CHECKING:
    from cacheness_postgres.backend import PostgresBackend

HUGE = 2**40


def asked(backend: PostgresBackend, where: Any, **filters: Any) -> list[str]:
    return list(backend.query_where(Filter.parse(filters), where))


@pytest.fixture
def filled(backend: PostgresBackend) -> PostgresBackend:
    backend.put_entries(
        [
            an_entry("a", 1, created_at=3000.0, hits=5, params={"x": 1}, tags=("t",)),
            an_entry("b", 2, created_at=2000.0, stored_bytes=HUGE, params={"x": 1}),
            an_entry("c", 3, created_at=1000.0, hits=7, prefix="50%", params={"x": 2}),
            # No text of the server holds this one.
            an_entry("odd", 4, created_at=500.0, hits=9, description="\0", params={"x": 1}),
        ]
    )
    return backend


def test_conditions_and_filters_select_together_oldest_first(filled: PostgresBackend) -> None:
    assert asked(filled, entries.c.hits > 4) == ["odd", "c", "a"]
    assert asked(filled, entries.c.hits > 4, x=1) == ["odd", "a"]
    assert asked(filled, entries.c.hits > 4, tags="t") == ["a"]
    assert asked(filled, entries.c.hits > 4, entry__description="\0") == ["odd"]
    assert asked(filled, entries.c.stored_bytes >= HUGE) == ["b"], "beyond 32 bits"
    assert asked(filled, entries.c.prefix.like("%\\%", escape="\\")) == ["c"]
    assert asked(filled, entries.c.cache_key.in_(["a", "b", "nope"])) == ["b", "a"]
    assert asked(filled, func.length(entries.c.cache_key) == 3) == ["odd"]
    assert asked(filled, (entries.c.hits == 5) | (entries.c.expires_at.isnot(None))) == ["a"]


def test_the_tables_of_this_package_can_be_named_too(filled: PostgresBackend, schema: str) -> None:
    own = tables(schema).entries.c

    assert asked(filled, own.params["x"].astext == "2") == ["c"]


def test_times_are_those_of_this_machine(filled: PostgresBackend) -> None:
    filled._database.clock.distance = 3600.0
    filled.put_entry(an_entry("late", 9, created_at=5000.0))

    assert asked(filled, entries.c.created_at > 4000.0) == ["late"]
    assert asked(filled, entries.c.created_at == 5000.0) == ["late"]


def test_other_namespaces_are_left_out(filled: PostgresBackend, open_backend: Any) -> None:
    open_backend("other").put_entry(an_entry("z", 9, namespace="other", hits=50))

    assert asked(filled, entries.c.hits > 8) == ["odd"]


def test_what_is_no_condition_is_refused(filled: PostgresBackend) -> None:
    for wrong in ("hits > 5", 5, None, object()):
        with pytest.raises(TypeError, match=r"where=.*is no condition"):
            asked(filled, wrong)
    for nowhere in (entries.c.worth > 1, entries.c.details["x"].as_string() == "y"):
        with pytest.raises(ConfigError, match=r"where=.*can't be evaluated"):
            asked(filled, nowhere)
    assert filled.count() == 4, "the connection is still of use"
