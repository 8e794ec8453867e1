# SPDX-License-Identifier: MIT
"""The README's code runs, with the server of the tests for the bucket."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def test_the_code_of_the_readme_runs(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = Path(__file__).parents[1] / "README.md"
    blocks = re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL)
    code = "\n".join(blocks).replace("s3://bucket/", "s3://cache/readme/")
    code = code.replace('"anon": False', f'"endpoint_url": {s3!r}')
    monkeypatch.chdir(tmp_path)
    known: dict[str, object] = {}

    exec(code, known)

    cache: object = known["cache"]
    cache["large"] = b"x" * 100_000  # type: ignore[index]
    assert cache["large"] == b"x" * 100_000  # type: ignore[index]
