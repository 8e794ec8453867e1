# SPDX-License-Identifier: MIT
"""Other processes answer, and say what went wrong in them."""

from __future__ import annotations

import os

import pytest

from cacheness.testing.processes import answering, in_fresh_process

DIVIDES = """
import os, sys
for line in sys.stdin:
    print(os.getpid() // int(line), flush=True)
"""


def test_one_process_answers_all_questions() -> None:
    first = answering(DIVIDES).ask("1")

    assert answering(DIVIDES).ask("1") == first
    assert int(first) != os.getpid()


def test_a_question_that_ends_the_process_says_why_and_the_next_is_answered() -> None:
    first = answering(DIVIDES).ask("1")

    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        answering(DIVIDES).ask("0")

    assert answering(DIVIDES).ask("1") != first


def test_a_fresh_process_that_fails_says_why() -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        in_fresh_process("1 / 0")
