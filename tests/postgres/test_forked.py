# SPDX-License-Identifier: MIT
"""A child that is forked in the middle of a call and goes on with it, and its parent."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.reliability.going_on import LARGE, PATIENCE, GoingOn, leaves_all_well

from cacheness import BackendUnavailableError, UnifiedCache, custom_metadata_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cacheness_postgres.backend import PostgresBackend

NEW = bytes(range(256)) * 400


@custom_metadata_model
@dataclass
class ForkedRunOfTeam:
    number: int


@pytest.fixture
def cache(url: str, schema: str, tmp_path: Path) -> Iterator[UnifiedCache]:
    options = {"url": url, "schema": schema}
    with UnifiedCache(
        tmp_path,
        metadata_backend="postgres",
        metadata_options=options,
        blob_options=options,
        signing_key=b"of this test only",
    ) as opened:
        yield opened


@pytest.fixture
def moved(cache: UnifiedCache, tmp_path: Path) -> Path:
    """An export of one entry."""
    path = tmp_path / "moved.tar"
    with UnifiedCache(tmp_path / "other", signing_key=b"of this test only") as other:
        other.put(NEW, "own")
        other.export(path)
    return path


CHANGES: dict[str, tuple[str, Callable[[UnifiedCache, Path], object]]] = {
    "put": ("put_entry", lambda cache, _: cache.put(NEW, "own")),
    "put with a record": (
        "put_entry",
        lambda cache, _: cache.put(NEW, "own", custom_metadata=ForkedRunOfTeam(7)),
    ),
    "add": ("put_entry", lambda cache, _: cache.add(NEW, "own")),
    "update": ("update_fields", lambda cache, _: cache.update_data(NEW, "own")),
    "batch": ("put_prepared", lambda cache, _: cache.put_batch([(NEW, "own"), (NEW, "b")])),
    "import": ("put_entries", lambda cache, moved: cache.import_(moved)),
}


@pytest.mark.one_server
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["before", "with a connection", "after"])
def test_a_child_does_not_record_what_its_parent_is_about_to(
    cache: UnifiedCache, moved: Path, monkeypatch: pytest.MonkeyPatch, change: str, where: str
) -> None:
    method, call = CHANGES[change]
    if change not in ("add", "import"):
        cache.put(LARGE, "own", custom_metadata=ForkedRunOfTeam(1) if "record" in change else None)
    backend: Any = cache.engine.backend
    if where == "with a connection":
        # The blob, which was written before, is in this database, too.
        within = backend, method
        going_on = GoingOn(monkeypatch, backend._database, "take", after=True, within=within)
    else:
        going_on = GoingOn(monkeypatch, backend, method, after=where == "after")

    leaves_all_well(cache, going_on, lambda: call(cache, moved), NEW, gone=change == "add")


def test_a_connection_that_was_taken_before_a_fork_is_never_the_childs(
    backend: PostgresBackend,
) -> None:
    database: Any = backend._database
    session = database.take()
    child = os.fork()
    if child == 0:
        try:
            database.give(session)
            mine = database.take()
            database.discard(session)
            works = mine is not session and database.fetch("SELECT 1") == [(1,)]
            os._exit(0 if works and database._opened == 2 else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert session.cursor.execute("SELECT 1").fetchone() == (1,)
    database.give(session)


def test_a_child_that_goes_on_leaves_its_parent_the_answer_of_the_server(
    backend: PostgresBackend,
) -> None:
    database: Any = backend._database
    before = database.fetch("SELECT 1")
    children: list[int] = []

    def fork(*_: object) -> None:
        children.append(os.fork())
        if children[0] == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(PATIENCE)

    old = signal.signal(signal.SIGALRM, fork)
    told = False
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)  # while this process waits for the server
        rows = database.fetch(f"SELECT pg_sleep(0.3), {os.getpid()}")
    except BackendUnavailableError as error:
        told = "forked" in str(error)
        if children[0]:
            raise
    finally:
        if children and children[0] == 0:
            os._exit(0 if told and database.fetch("SELECT 1") == before else 1)
        signal.signal(signal.SIGALRM, old)

    assert rows[0][1] == os.getpid()
    _, status = os.waitpid(children[0], 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert database.fetch("SELECT 2") == [(2,)]
