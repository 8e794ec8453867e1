# SPDX-License-Identifier: MIT
"""After an interrupt at any step of a transaction, what comes next is committed all the same."""

import signal
import sys

import numpy as np
import pytest

from cacheness import BackendUnavailableError, UnifiedCache
from cacheness.backends.sql import entries
from cacheness.backends.sqlite_connections import Connections
from cacheness.backends.sqlite_transaction import Transaction
from cacheness.backends.statements import statements_of_this_thread

from .interrupting import Interrupt, interrupted_everywhere

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

CHANGES = {
    "put_batch": lambda cache, number: cache.put_batch([([number], "a"), ([number], "b")]),
    "put": lambda cache, number: cache.put(np.full(9, number), "a", tags=("one",)),
    "update_entry": lambda cache, number: cache.update_entry("a", description=str(number)),
    "delete_batch": lambda cache, number: cache.delete_batch(["a", "b"]),
    "delete_matching": lambda cache, number: cache.delete_matching(tags__contains="one"),
    "touch_batch": lambda cache, number: cache.touch_batch(prefix=""),
    "clear": lambda cache, number: cache.clear(),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_an_interrupted_change_keeps_no_later_one_from_being_committed(tmp_path, change):
    act = CHANGES[change]
    with UnifiedCache(tmp_path, lock_timeout=2) as cache, UnifiedCache(tmp_path) as other:
        cache.put_batch([(0, "a"), (0, "b")])
        act(cache, -1)

        def check(number, where):
            cache.put([number], "next")
            assert other["next"] == [number], where
            assert statements_of_this_thread().depth == 0, where
            cache.put_batch([(number, "a"), (number, "b")])
            assert other["a"] == other["b"] == number, where

        interrupted_everywhere(lambda number: act(cache, number), check)


ASKING = {
    "a filter": lambda cache: cache.query_meta(meta__colour__startswith="r"),
    "deleting by a filter": lambda cache: cache.delete_matching(meta__colour__startswith="b"),
    "a condition": lambda cache: cache.query_meta(
        where=entries.c.hits >= 0, meta__colour__startswith="r"
    ),
    "writing hits": lambda cache: (cache.get("a"), cache.stats()),
}


@pytest.mark.slow
@pytest.mark.parametrize("asking", ASKING)
def test_an_interrupt_in_a_function_that_sql_calls_comes_out_as_one(tmp_path, asking):
    with UnifiedCache(tmp_path, max_entries=100, policy="cost") as cache:
        cache.put(1, "a", custom_metadata={"colour": "red"})
        cache.put(2, "b", custom_metadata={"colour": "blue"})
        ended = []

        def act(_number):
            try:
                ASKING[asking](cache)
            except KeyboardInterrupt:
                ended.append("interrupted")
            else:
                ended.append("done")

        def check(number, where):
            if where is not None:
                assert ended[-1] == "interrupted", where
            cache.put(2, "b", custom_metadata={"colour": "blue"})

        act(-1)
        interrupted_everywhere(act, check)


class NeverEnding:
    """Has the next transaction's context be left by an interrupt before its first step."""

    def __enter__(self):
        sys.setprofile(self._see)

    def __exit__(self, *_):
        sys.setprofile(None)

    def _see(self, frame, event, _argument):
        if event == "call" and frame.f_code is Transaction.__exit__.__code__:
            sys.setprofile(None)
            raise Interrupt


FOLLOWING = {
    "put": lambda cache: cache.put(1, "next"),
    "put_batch": lambda cache: cache.put_batch([(1, "next"), (2, "two")]),
    "invalidate": lambda cache: cache.invalidate("gone"),
    "entries": lambda cache: list(cache.entries()),
    "get": lambda cache: cache.get("nothing"),
}


@pytest.mark.parametrize("following", FOLLOWING)
@pytest.mark.parametrize("handling", [False, True])
def test_a_transaction_that_nobody_ends_is_rolled_back_by_what_comes_next(
    tmp_path, following, handling
):
    with UnifiedCache(tmp_path, lock_timeout=2) as cache, UnifiedCache(tmp_path) as other:
        cache.put_batch([(0, "old"), (0, "gone")])
        try:
            with NeverEnding():
                cache.put_batch([(1, "lost"), (2, "lost, too")])
        except Interrupt:
            if handling:  # its traceback holds whatever was used
                FOLLOWING[following](cache)
        if not handling:
            FOLLOWING[following](cache)

        other.put(2, "others")
        cache.put(3, "last")
        assert "lost" not in other
        assert other["last"] == 3
        assert statements_of_this_thread().depth == 0
        assert following not in ("put", "put_batch") or other["next"] == 1
        assert following != "invalidate" or "gone" not in other


def test_a_signal_handler_does_not_roll_back_the_transaction_that_it_comes_into(tmp_path):
    connections = Connections(str(tmp_path / "file"), timeout=1, durable=False, read_only=False)
    connections.prepare(for_group=False)
    refused = []

    def handle(number, frame):
        try:
            with connections.transaction() as execute:
                execute("INSERT INTO totals VALUES ('inner', 0, 0)")
        except BackendUnavailableError as error:
            refused.append(error)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with connections.transaction() as execute:
            execute("INSERT INTO totals VALUES ('outer', 0, 0)")
            signal.raise_signal(signal.SIGUSR1)
            assert connections.connection().in_transaction
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert connections.rows("SELECT namespace FROM totals") == [("outer",)]
    assert len(refused) == 1
    connections.close()
