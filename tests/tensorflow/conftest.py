# SPDX-License-Identifier: MIT
"""Caches in temporary directories, for values of TensorFlow."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from cacheness import UnifiedCache

if TYPE_CHECKING:
    from collections.abc import Iterator

# Where TensorFlow has no release for this Python or machine there is nothing to test.
collect_ignore_glob = [] if find_spec("tensorflow") else ["test_*.py"]

# It greets everybody on standard error otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnifiedCache]:
    directory = tmp_path_factory.mktemp("cache")
    with UnifiedCache(str(directory), signing_key="0" * 64) as cache:
        yield cache
