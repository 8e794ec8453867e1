# SPDX-License-Identifier: MIT
"""A child that an observer forks in the middle of a call, and its parent, both go on."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cacheness import UnifiedCache, custom_metadata_model
from cacheness.backends.sqlite_transaction import Transaction
from cacheness.disk import apart

from .going_on import LARGE, PATIENCE, GoingOn, leaves_all_well

CHANGES = {
    "put": lambda cache, _: cache.put([1], "own"),
    "put of a file": lambda cache, _: cache.put(LARGE, "own"),
    "replace": lambda cache, _: cache.put(LARGE, "old"),
    "evict": lambda cache, _: [cache.put(n, str(n)) for n in range(9)],
    "invalidate": lambda cache, _: cache.invalidate("old"),
    "batch": lambda cache, _: cache.put_batch([(LARGE, "own"), (1, "old")]),
    "compute": lambda cache, _: cache.get_or_compute(lambda: 1, number=1),
    "import": lambda cache, moved: cache.import_(moved),
}


class Forking:
    """An observer that forks when it is told the first time."""

    def __init__(self):
        self.child = None

    def __call__(self, _event):
        if self.child is None:
            self.child = os.fork()
            if self.child == 0:
                signal.alarm(PATIENCE)


@pytest.mark.parametrize("backend", ["sqlite", "json", "memory"])
@pytest.mark.parametrize("change", CHANGES)
def test_both_go_on_where_an_observer_forks(tmp_path, backend, change):
    options = {"max_entries": 6, "metadata_backend": backend, "signing_key": b"of this test only"}
    with UnifiedCache(tmp_path / "cache", **options) as cache:
        cache.put(LARGE, "old")
        cache.export(tmp_path / "moved.tar")
        forking = Forking()
        cache.engine.watch(forking)
        try:
            CHANGES[change](cache, tmp_path / "moved.tar")
            mine = "child" if forking.child == 0 else "parent"
            cache.put([1], mine)
            cache.put(LARGE, f"{mine}'s file")
            # The other one may have driven them out again.
            went_on = cache.get(mine) in (None, [1])
            went_on = cache.get(f"{mine}'s file") in (None, LARGE) and went_on
        finally:
            if forking.child == 0:
                os._exit(0 if "went_on" in locals() and went_on else 1)

        _, status = os.waitpid(forking.child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert went_on
        assert not cache.verify_integrity().missing


@pytest.mark.slow
@pytest.mark.parametrize("end", ["go-on", "raise"])
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_child_leaves_to_its_parent_what_that_is_in_the_middle_of(tmp_path, backend, end):
    script = Path(__file__).with_name("forking_within.py")

    done = subprocess.run(
        [sys.executable, script, tmp_path, backend, end], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sum(change["children"] for change in found.values()) > 20
    assert [change for change in found.items() if change[1]["problems"]] == [], done.stderr


NEW = bytes(range(256)) * 400
RECORDED = {
    "put": ("put_entry", lambda cache, _: cache.put(NEW, "own")),
    "put with a record": ("put_entry", lambda cache, _: cache.put(NEW, "own", custom_metadata=RUN)),
    "add": ("put_entry", lambda cache, _: cache.add(NEW, "own")),
    "update": ("update_fields", lambda cache, _: cache.update_data(NEW, "own")),
    "batch": ("put_prepared", lambda cache, _: cache.put_batch([(NEW, "own"), (NEW, "b")])),
    "import": ("put_entries", lambda cache, moved: cache.import_(moved)),
}
"""What calls a method of the backend with entries that have blobs."""


@custom_metadata_model
@dataclass
class ForkedRun:
    number: int


RUN = ForkedRun(7)


@pytest.fixture
def filled(tmp_path, request):
    """A cache with an entry that is replaced, and an export of another one of that name."""
    options = {"metadata_backend": request.param, "signing_key": b"of this test only"}
    with UnifiedCache(tmp_path / "cache", **options) as cache:
        with UnifiedCache(tmp_path / "other", **options) as other:
            other.put(NEW, "own")
            other.export(tmp_path / "moved.tar")
        yield cache, tmp_path / "moved.tar"


@pytest.mark.parametrize(
    ("filled", "change"),
    [
        (backend, change)
        for change in RECORDED
        for backend in ("sqlite", "json")
        if (backend, change) != ("json", "put with a record")
    ],
    indirect=["filled"],
)
@pytest.mark.parametrize("child_first", [False, True], ids=["after it", "before it"])
def test_a_child_does_not_record_what_its_parent_is_about_to(
    filled, monkeypatch, change, child_first
):
    cache, moved = filled
    method, call = RECORDED[change]
    if change not in ("add", "import"):
        cache.put(LARGE, "own")
    going_on = GoingOn(monkeypatch, cache.engine.backend, method, child_first=child_first)

    leaves_all_well(cache, going_on, lambda: call(cache, moved), NEW, gone=change == "add")


@pytest.mark.parametrize("filled", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", RECORDED)
@pytest.mark.parametrize("where", ["before", "within", "after"])
def test_nor_where_it_is_forked_as_the_statement_begins(filled, monkeypatch, change, where):
    cache, moved = filled
    _, call = RECORDED[change]
    if change not in ("add", "import"):
        cache.put(LARGE, "own")
    connections = cache.engine.backend._connections
    if change == "put":
        place = {"before": (connections, "put")}.get(where, (connections, "_run"))
    elif change == "add":
        place = {"before": (connections, "change")}.get(where, (connections, "_run"))
    else:
        place = {"before": (connections, "transaction")}.get(where, (Transaction, "_begin"))
    going_on = GoingOn(monkeypatch, *place, after=where == "after")

    leaves_all_well(cache, going_on, lambda: call(cache, moved), NEW, gone=change == "add")


def test_a_child_that_is_forked_as_a_temporary_file_is_made_has_no_share_in_it(monkeypatch):
    going_on = GoingOn(monkeypatch, apart, "note", child_first=True)

    def store():
        with apart.nameless_file() as file:
            file.write(b"whole")
            file.seek(0)
            assert file.read() == b"whole"

    going_on.refuses(store)
    assert going_on.ended() == 0
