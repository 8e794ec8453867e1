# SPDX-License-Identifier: MIT
"""A warning is about the line of the caller, by whichever way the call went."""

import os
import warnings
from contextlib import suppress

import numpy as np
import pytest

from cacheness import CachenessWarning, UnifiedCache
from cacheness.errors import warn

READS = {
    "key": lambda cache: cache.get("k"),
    "default": lambda cache: cache.get("k", default=1),
    "option": lambda cache: cache.get("k", prefix="p"),
    "mmap": lambda cache: cache.get("k", mmap=True),
    "mapping": lambda cache: cache["k"],
    "open": lambda cache: cache.open("k"),
    "with metadata": lambda cache: cache.get_with_metadata("k"),
    "batch": lambda cache: cache.get_batch(["k"]),
    "computed": lambda cache: cache.get_or_compute(lambda: 1, "k"),
}


def told_by(operation, cache):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with suppress(KeyError):
            operation(cache)
    return [(warning.category, warning.filename) for warning in told]


@pytest.mark.parametrize("way", READS)
def test_a_missing_payload_is_told_of_at_the_line_that_read_it(tmp_path, way):
    with UnifiedCache(tmp_path) as cache:
        cache.put(np.arange(50_000), "k", prefix="p")
        os.unlink(tmp_path / "blobs" / cache.get_entry("k").blob)

        told = told_by(READS[way], cache)

    assert told
    assert {filename for _, filename in told} == {__file__}


def test_a_missing_result_is_told_of_at_the_line_that_called(tmp_path):
    with UnifiedCache(tmp_path) as cache:
        numbers = cache.cached()(lambda: np.arange(50_000))
        numbers()
        (entry,) = cache.entries()
        os.unlink(tmp_path / "blobs" / entry.blob)

        told = told_by(lambda _: numbers(), cache)

    assert [filename for _, filename in told] == [__file__]


@pytest.mark.parametrize("value", [[1], np.arange(50_000)], ids=["small", "large"])
def test_a_change_of_prefix_is_told_of_at_the_line_that_put_it(tmp_path, value):
    with UnifiedCache(tmp_path) as cache:
        cache.put(value, "k", prefix="p")
        told = told_by(lambda cache: cache.put(value, "k"), cache)

    assert told == [(CachenessWarning, __file__)]


def test_a_warning_with_nobody_but_us_on_the_stack_is_given():
    scope = {"__name__": "cacheness.made", "warn": warn, "CachenessWarning": CachenessWarning}
    exec("def give(): warn('told', CachenessWarning)", scope)
    with pytest.warns(CachenessWarning, match="told"):
        scope["give"]()


def test_a_module_of_a_name_like_ours_is_the_callers_and_one_without_a_name_is_no_error(tmp_path):
    for number, name in enumerate(["cacheness_mine", None]):
        scope = {"__name__": name}
        exec(compile("def put(cache, value): cache.put(value, 'k')", "theirs.py", "exec"), scope)
        with UnifiedCache(tmp_path / str(number)) as cache:
            cache.put(1, "k", prefix="p")
            told = told_by(lambda cache, put=scope["put"]: put(cache, 2), cache)
        # Python itself leaves out the warnings of modules without a name.
        assert told == ([(CachenessWarning, "theirs.py")] if name else [])


def test_a_warning_within_a_context_of_ours_is_about_the_line_that_entered_it():
    scope = {"__name__": "cacheness.made", "warn": warn, "CachenessWarning": CachenessWarning}
    program = """
from contextlib import contextmanager
@contextmanager
def entered():
    warn("told", CachenessWarning)
    yield
"""
    exec(program, scope)

    def enter(_):
        with scope["entered"]():
            pass

    assert told_by(enter, None) == [(CachenessWarning, __file__)]
