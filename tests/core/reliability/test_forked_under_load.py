# SPDX-License-Identifier: MIT
"""Nobody hangs, and nothing is lost, where a process forks while its threads use a cache."""

import os
import subprocess
import sys

import pytest
from tests.core.reliability import forking


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_nothing_that_was_stored_is_lost(tmp_path, backend):
    for number in range(4):
        directory = tmp_path / str(number)
        directory.mkdir()
        script = [sys.executable, forking.__file__, str(directory), backend, "2"]
        done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
