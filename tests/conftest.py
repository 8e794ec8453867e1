# SPDX-License-Identifier: MIT
"""Which tests are slow by their folder or by the suite they come from, and how often
hypothesis tries."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# Where these are set, pytest shows each difference whole: hours, where values are large.
for name in ("CI", "BUILD_NUMBER"):
    os.environ.pop(name, None)

SLOW_FOLDERS = ("tests/core/cli/", "tests/tensorflow/", "tests/postgres/")
"""Whose tests wait for a process each, for TensorFlow's import, or for a server."""
SLOW_PROMISES = {
    "test_keys_are_the_same_in_every_process",
    "test_reading_damaged_bytes_fails_or_gives_a_value",
    "test_damage_is_a_value_error_or_no_larger_than_allowed",
    "test_processes_share_the_store",
    "test_processes_lose_nothing",
    "test_a_process_sees_what_another_added",
    "test_a_forked_child_goes_on",
    "test_one_instance_serves_all_threads",
    "test_different_objects_make_different_keys",
    "test_a_cache_keeps_payloads_by_it",
    "test_every_object_comes_back_compressed",
    "test_every_object_comes_back_from_a_file",
    "test_every_entry_comes_back_exactly",
}
"""Tests that classes inherit from the suites of `cacheness.testing`."""

# A busy machine is no failure, so nothing depends on how long an example takes.
settings.register_profile(
    "all", deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("fast", settings.get_profile("all"), max_examples=25)


def pytest_configure(config):
    settings.load_profile("fast" if is_fast(config) else "all")


def is_fast(config):
    return config.option.markexpr == "not slow"


def pytest_ignore_collect(collection_path, config):
    """Leave slow folders alone where they are left out: to look at them imports TensorFlow."""
    folder = collection_path.relative_to(ROOT).as_posix() + "/"
    return True if is_fast(config) and folder in SLOW_FOLDERS else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Have each worker begin with tests that stand together, and share what these set up."""
    if config.option.dist != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items):
    for item in items:
        folder = item.path.relative_to(ROOT).as_posix()
        if folder.startswith(SLOW_FOLDERS) or is_slow_promise(item):
            item.add_marker(pytest.mark.slow)


def is_slow_promise(item):
    return item.cls is not None and item.originalname in SLOW_PROMISES
