# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""Runs a few lines in a fresh process, as the user of a plugin would."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import tempfile

__all__ = ["Answering", "answering", "in_fresh_process"]

_PATIENCE = 240
"""Seconds; on a machine with much to do, to import TensorFlow alone takes a minute."""


def in_fresh_process(code: str, *arguments: str, stdin: str = "") -> str:
    """What the code prints, run with this process's import path and another hash seed.

    Raises:
        AssertionError: It failed; the message is what it wrote to its standard error.
    """
    done = subprocess.run(  # noqa: S603  # the code is ours
        [sys.executable, "-c", code, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE,
        env=_environment(),
    )
    if done.returncode != 0:
        raise AssertionError(f"a fresh process ended with {done.returncode}: {done.stderr}")
    return done.stdout


@functools.cache
def answering(code: str) -> Answering:
    """The one process that runs this code, until this one ends."""
    return Answering(code)


class Answering:
    """A process that gives a line for each line that it is sent, and so imports things once."""

    def __init__(self, code: str) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # `close`
        self._process = subprocess.Popen(  # noqa: S603  # the code is ours
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(),
        )
        atexit.register(self.close)

    def ask(self, question: str) -> str:
        """The line that it gives for this one.

        Raises:
            AssertionError: It failed, and ended; the message is what it wrote to its
                standard error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer.endswith("\n"):
            return answer
        answering.cache_clear()  # the next question starts another
        self._process.communicate()
        self._errors.seek(0)
        code = self._process.returncode
        raise AssertionError(f"a fresh process ended with {code}: {self._errors.read()}")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._errors.close()


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, sys.path))
    return {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": path}
