# SPDX-License-Identifier: MIT
"""Whether somebody listens to the log is told without importing `logging`."""

import logging
import sys
from types import ModuleType

import pytest

from cacheness import logged


@pytest.fixture(autouse=True)
def not_asked_yet(monkeypatch):
    monkeypatch.setattr(logged, "is_logged", logged._ask)


def test_who_listens_is_heard_and_who_stops_is_not(caplog):
    assert not logged.is_logged()
    with caplog.at_level(logging.DEBUG, logger="cacheness"):
        assert logged.is_logged()
    with caplog.at_level(logging.INFO, logger="cacheness"):
        assert not logged.is_logged()
    assert not logged.is_logged()


@pytest.mark.parametrize("module", [None, ModuleType("logging")], ids=["not imported", "half"])
def test_logging_that_is_not_there_yet_is_no_error_and_is_found_later(monkeypatch, module):
    with monkeypatch.context() as patched:
        if module is None:
            patched.delitem(sys.modules, "logging")
        else:
            patched.setitem(sys.modules, "logging", module)
        assert not logged.is_logged()
    assert not logged.is_logged()
    assert logged.is_logged is not logged._ask
