# SPDX-License-Identifier: MIT
"""Who is killed before any round trip to the server leaves old values or new ones, no others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.core.reliability.workloads import LARGE, SMALL

if TYPE_CHECKING:
    import psycopg

EVERY_WAY_TO_WRITE = [
    ("Create", SMALL, "postgres"),
    ("PutBatch", SMALL, "postgres"),
    ("PutBatch", LARGE, "postgres"),
    ("PutBatch", LARGE, "file"),
    ("Repair", LARGE, "file"),
]
OTHERS = [
    ("Compute", LARGE, "postgres"),
    ("Replace", LARGE, "postgres"),
    ("Pop", LARGE, "postgres"),
    ("Evict", LARGE, "postgres"),
    ("Invalidate", LARGE, "postgres"),
    ("Invalidate", LARGE, "file"),
    ("Clear", LARGE, "postgres"),
    ("DeleteMany", LARGE, "postgres"),
    ("DeleteMany", LARGE, "file"),
    ("Touch", SMALL, "postgres"),
    ("UpdateData", LARGE, "postgres"),
    ("Expire", LARGE, "postgres"),
    ("Import", LARGE, "postgres"),
    ("Import", LARGE, "file"),
    ("Copy", LARGE, "postgres"),
    ("Copy", LARGE, "file"),
    ("Adopt", LARGE, "postgres"),
]
CASES = EVERY_WAY_TO_WRITE + [pytest.param(*of, marks=pytest.mark.one_server) for of in OTHERS]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "blobs"), CASES)
def test_any_change_killed_at_any_step(
    url: str,
    schema: str,
    tmp_path: Path,
    admin: psycopg.Connection[Any],
    name: str,
    size: int,
    blobs: str,
) -> None:
    killer = Path(__file__).with_name("killer.py")
    try:
        ran = subprocess.run(
            [sys.executable, str(killer), url, schema, str(tmp_path), blobs, name, str(size)],
            cwd=Path(__file__).parents[2],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        for (made,) in admin.execute(
            "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", (f"{schema}_",)
        ).fetchall():
            admin.execute(f"DROP SCHEMA {made} CASCADE")

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert not told["problems"], "\n".join(told["problems"]) + ran.stderr
    # As many as the statements of the tables, or what reads a schema's version and changes rows.
    assert told["steps"] >= (12 if name == "Create" else 3)


def environment(tmp_path: Path) -> dict[str, str]:
    import os

    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    return {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(paths)}
