# SPDX-License-Identifier: MIT
"""The README's code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def test_the_code_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path(__file__).parents[1] / "README.md"
    blocks = re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}

    exec("\n".join(blocks), known)

    assert len(known["cache"]) == 1  # type: ignore[arg-type]  # a cache has a length
