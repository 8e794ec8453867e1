# SPDX-License-Identifier: MIT
"""A cache for each test of `cached`, and a list of the calls that were computed."""

import pytest

from cacheness import UnifiedCache


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def calls():
    return []
