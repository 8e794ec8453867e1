# SPDX-License-Identifier: MIT
"""A cache on each backend of the core, and behind a memory tier."""

import pytest

from cacheness import UnifiedCache

BACKENDS = {
    "sqlite": {},
    "json": {"metadata_backend": "json"},
    "memory": {"metadata_backend": "memory"},
    "tiered": {"memory_bytes": "10MB"},
}


@pytest.fixture(params=list(BACKENDS))
def options(request):
    return BACKENDS[request.param]


@pytest.fixture
def cache(options, tmp_path):
    with UnifiedCache(tmp_path / "cache", **options) as made:
        yield made
