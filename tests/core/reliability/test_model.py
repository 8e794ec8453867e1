"""A cache does what a dictionary would, whatever is done to it in whatever order."""

import pytest
from hypothesis.stateful import run_state_machine_as_test
from tests.core.reliability.machine import SETTINGS, CacheMachine

BACKENDS = {"sqlite": True, "json": True, "memory": False}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tier", [0, 1 << 20], ids=["plain", "tier"])
def test_a_cache_holds_what_a_dictionary_would(backend, tier):
    class Machine(CacheMachine):
        persistent = BACKENDS[backend]

        def options(self):
            return {"memory_bytes": tier}

    Machine.backend = backend
    run_state_machine_as_test(Machine, settings=SETTINGS)
