# SPDX-License-Identifier: MIT
"""An interrupt at any step of a call leaves nothing behind that others would wait for."""

import threading
from contextlib import suppress

import numpy as np
import pytest

from cacheness import UnifiedCache
from cacheness.backends.sql import entries
from cacheness.backends.statements import statements_of_this_thread
from cacheness.flights.table import held, table

from .interrupting import interrupted_everywhere

pytestmark = [
    pytest.mark.slow,
    # A coroutine that was made and not begun says so, where the interrupt came in between.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def check_nothing_stays(where):
    assert statements_of_this_thread().depth == 0, where
    assert held.get() == (), where
    assert not table._flights, where


@pytest.mark.parametrize("backend", ["sqlite", "memory"])
def test_an_interrupted_call_keeps_nobody_from_computing(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend) as cache:

        @cache.cached
        def double(number):
            return [number, number]

        def check(number, where):
            check_nothing_stays(where)
            results = []
            other = threading.Thread(target=lambda: results.append(double(number)), daemon=True)
            other.start()
            other.join(20)
            assert results == [[number, number]], where

        double(-1)
        interrupted_everywhere(double, check)


def test_an_interrupted_get_or_compute_keeps_nobody_from_computing(tmp_path):
    with UnifiedCache(tmp_path) as cache:

        def check(number, where):
            check_nothing_stays(where)
            results = []

            def ask():
                results.append(cache.get_or_compute(lambda: number, number=number))

            other = threading.Thread(target=ask, daemon=True)
            other.start()
            other.join(20)
            assert results == [number], where

        cache.get_or_compute(lambda: -1, number=-1)
        interrupted_everywhere(
            lambda number: cache.get_or_compute(lambda: number, number=number), check
        )


@pytest.mark.parametrize("backend", ["sqlite", "json", "memory"])
def test_an_interrupt_passes_through_a_put_and_leaves_the_old_value_or_the_new(tmp_path, backend):
    with UnifiedCache(tmp_path, metadata_backend=backend, lock_timeout=2) as cache:
        cache.put([-1], "name")

        def check(number, where):
            check_nothing_stays(where)
            assert cache["name"] in ([number], [number - 1]), where
            cache.put([number], "name")

        interrupted_everywhere(lambda number: cache.put([number], "name"), check)


def test_an_interrupted_read_leaves_no_statement_open(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(np.arange(9), "array")

        def act(_number):
            cache.get("array")
            cache.get_entry("array")
            list(cache.entries(number=1))

        def check(_number, where):
            check_nothing_stays(where)

        act(-1)
        interrupted_everywhere(act, check)


def test_an_interrupted_query_with_a_condition_leaves_no_thread_marked_as_inside(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        cache.put(1, number=1)

        def act(_number):
            # In what SQLite calls it may come out as another one of its kind.
            with suppress(KeyboardInterrupt):
                cache.query_meta(number=1, where=entries.c.hits >= 0)

        def check(_number, where):
            check_nothing_stays(where)

        act(-1)
        interrupted_everywhere(act, check)
