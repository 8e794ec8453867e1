# SPDX-License-Identifier: MIT
"""Runs a few lines in a fresh process, as the user of a plugin would."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["in_fresh_process"]

_PATIENCE = 240
"""Seconds; on a machine with much to do, to import TensorFlow alone takes a minute."""


def in_fresh_process(code: str, *arguments: str, stdin: str = "") -> str:
    """What the code prints, run with this process's import path and another hash seed.

    Raises:
        AssertionError: It failed; the message is what it wrote to its standard error.
    """
    environment = {"PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603  # the code is ours
        [sys.executable, "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
        env={**os.environ, **environment},
    )
    if done.returncode != 0:
        raise AssertionError(f"a fresh process failed: {done.stderr}")
    return done.stdout
