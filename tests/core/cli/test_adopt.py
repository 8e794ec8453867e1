# SPDX-License-Identifier: MIT
"""The command adopt, on a module that was edited."""

import json

import pytest

MODULE = """
from cacheness import cached

@cached
def double(x):
    return {body}
"""
CALL = "import sys; sys.path.insert(0, '.'); import edited; print(edited.double(2))"


@pytest.fixture
def edit(home, module):
    """Write the module, and call its function in a process of its own.

    Bodies have to differ in length: Python's compiled modules know a source by its size and the
    second in which it was changed.
    """

    def edit(body, call=True):
        (home / "edited.py").write_text(MODULE.format(body=body))
        if call:
            assert module("-c", CALL).stdout == "4\n"

    return edit


def test_results_of_older_code_become_those_of_the_present_one(command, edit, home):
    edit("2 * x")
    edit("x + x + 0", call=False)

    asked = command("adopt", "edited:double", answer="n\n")
    assert asked.returncode == 1
    done = command("adopt", "edited:double", "--yes", "--json")

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["moved"] == 1
    again = command("adopt", "edited:double", "--yes")
    assert again.returncode == 1
    assert "NOTHING TO ADOPT" in again.stdout


def test_of_several_codes_one_has_to_be_named(command, edit):
    edit("2 * x")
    edit("x * 2 * 1")
    edit("x + x + 0", call=False)

    unnamed = command("adopt", "edited:double", "--yes", "--json")
    assert unnamed.returncode == 1
    digest = json.loads(unnamed.stdout)["candidates"][0]["digest"]
    named = command("adopt", "edited:double", "--from", digest[:12], "--yes")
    assert named.returncode == 0
    assert named.stdout.startswith("ADOPTED: 1 stored calls")
    wrong = command("adopt", "edited:double", "--from", "feed", "--yes")
    assert wrong.returncode == 2


def test_adopt_makes_no_cache(command, edit, home):
    edit("2 * x", call=False)

    done = command("adopt", "edited:double", "--yes")

    assert done.returncode == 2
    assert "there is no cache" in done.stderr
    assert not (home / ".cacheness").exists()
