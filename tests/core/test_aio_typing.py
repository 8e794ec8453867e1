# SPDX-License-Identifier: MIT
"""Type checkers know the signature of each coroutine of `cache.aio`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).with_name("typing") / "async_methods.py"


@pytest.mark.slow
def test_mypy_agrees(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / "example.py").write_text(text, encoding="utf-8")
    marked = {n for n, line in enumerate(text.splitlines(), 1) if line.endswith("  # error")}

    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--output=json"]
    done = subprocess.run(
        [*command, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {found["line"] for found in told if found["severity"] == "error"} == marked
