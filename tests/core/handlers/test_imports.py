# SPDX-License-Identifier: MIT
"""Promises of what reading a small value imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "numpy",
    "blosc2",
    "orjson",
    "typing",
    "dataclasses",
    "inspect",
    "logging",
    "pickle",
    "pluggy",
    "sqlalchemy",
}
READ = """
import sys
before = set(sys.modules)
from cacheness.handlers.{module} import {name} as Handler
from cacheness.compressors.none import NoneCompressor
from cacheness.compressors.auto import AutoCompressor
AutoCompressor()
class Context: allow_pickle = True
print(Handler().loads(memoryview({payload!r}), {{}}, Context()))
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize(
    ("module", "name", "payload", "value"),
    [
        ("json", "JsonHandler", b'{"a": 1}', "{'a': 1}"),
        ("bytes", "BytesHandler", b"a", "b'a'"),
        (
            "container",
            "ContainerHandler",
            b'{"root": ["node", 0], "nodes": [{"tuple": [1, 2.5]}]}',
            "(1, 2.5)",
        ),
    ],
)
def test_a_small_read_imports_nothing_heavy(module, name, payload, value):
    code = READ.format(module=module, name=name, payload=payload)

    output = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    assert output[0] == value
    assert HEAVY.isdisjoint(output[1].split())
