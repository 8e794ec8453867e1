# SPDX-License-Identifier: MIT
"""A cache on a server does what a dictionary would, whatever is done to it in whatever order."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from tests.core.reliability.machine import SETTINGS, CacheMachine


@pytest.mark.slow
@pytest.mark.parametrize("blobs", ["postgres", "file"])
@pytest.mark.parametrize("tier", [0, 1 << 20], ids=["plain", "tier"])
def test_a_cache_holds_what_a_dictionary_would(
    url: str, schema: str, blobs: str, tier: int
) -> None:
    where = {"url": url, "schema": schema}

    class Machine(CacheMachine):
        backend = "postgres"

        def __init__(self) -> None:
            self.namespace = uuid4().hex  # an empty one costs less than a schema
            super().__init__()

        def options(self) -> dict[str, Any]:
            return {
                "namespace": self.namespace,
                "memory_bytes": tier,
                "metadata_options": where,
                "blob_backend": blobs,
                "blob_options": where if blobs == "postgres" else {},
            }

    run_state_machine_as_test(Machine, settings=settings(SETTINGS, max_examples=10))
