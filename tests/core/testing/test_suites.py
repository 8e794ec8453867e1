# SPDX-License-Identifier: MIT
"""What holds for every suite: its failures show both sides of what was compared."""

from __future__ import annotations

from pathlib import Path

import cacheness.testing
from cacheness.testing import _WITH_ASSERTIONS


def test_pytest_rewrites_the_assertions_of_every_module_that_has_some() -> None:
    folder = Path(str(cacheness.testing.__file__)).parent

    asserting = {
        path.stem for path in folder.glob("*.py") if "\n        assert " in path.read_text()
    }

    assert set(_WITH_ASSERTIONS) >= asserting - {"processes", "worker"}
