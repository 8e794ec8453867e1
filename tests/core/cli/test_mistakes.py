# SPDX-License-Identifier: MIT
"""A user's mistake is one line and exit code 2; what the store can't do is 3."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from cacheness import UnifiedCache

COMMANDS = (
    *("info", "ls", "query", "show", "stats", "report", "rm", "touch", "pin", "clear", "adopt"),
    *("gc", "verify", "doctor", "export", "import", "copy", "plugins", "new-plugin"),
)


def test_the_command_lists_all_commands(command):
    done = command()

    assert done.returncode == 0
    for name in COMMANDS:
        assert f" {name} " in done.stdout
    assert "Exit codes" in done.stdout
    assert command("--version").stdout.startswith("cacheness-core ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_can_answer_in_json(run, name):
    done = run(name, "--help")

    assert done.exit_code == 0
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lss"], "No such command 'lss'"),
        (["ls", "--wrong"], "No such option"),
        (["show"], "Missing argument"),
        (["ls", "--limit", "x"], "--limit"),
        (["ls", "lr__gt=null"], "only numbers and text have an order"),
        (["ls", "ttl_seconds=3"], "is no filter"),
        (["ls", "lr"], "'lr' is no NAME=VALUE"),
        (["ls", "lr=1", "lr=2"], "lr is given twice"),
        (["ls", "--sort", "colour"], "--sort colour: give one of"),
        (["ls", "--option", "colour=red"], "no option 'colour'"),
        (["ls", "-o", "max_size=much"], "is no size"),
        (["ls", "--backend", "memory"], "no command can see it"),
        (["ls", "--backend", "nonesuch"], "there is no metadata backend 'nonesuch'"),
        (["query"], "query needs a filter"),
        (["rm"], "say which entries"),
        (["rm", "alpha-1", "lr=0.1"], "either keys or filters"),
        (["touch", "alpha-1", "--ttl", "soon"], "is no duration"),
        (["export", "/nowhere/at/all.tar"], "No such file"),
        (["adopt", "json"], "is no MODULE:FUNCTION"),
        (["adopt", "not_there:f"], "can't be imported"),
        (["adopt", "json:dumps"], "is no function that cacheness keeps results of"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, store, arguments, said):
    where = [] if arguments == ["lss"] else ["-d", store]
    done = run(*arguments, *where)

    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("cacheness: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        *(["info"], ["ls"], ["query", "x=1"], ["show", "x"], ["stats"], ["rm", "x", "-y"]),
        *(["touch", "x"], ["pin", "x"], ["clear", "-y"], ["gc"], ["verify"]),
        *(["verify", "--repair", "-y"], ["export", "x.tar"], ["report", "x.html"]),
    ],
)
def test_no_command_makes_a_cache_where_none_is(run, home, tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    for place in ("none", "empty"):
        done = run(*arguments, "-d", tmp_path / place)
        assert done.exit_code == 2
        assert "there is no cache in" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    assert not list((tmp_path / "empty").iterdir())
    assert not list(home.iterdir())


def test_a_store_that_is_locked_is_exit_code_3(command, store):
    holder = sqlite3.connect(store / "metadata.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        done = command("rm", "alpha-1", "--yes", "-d", store, "-o", "lock_timeout=0.1")
    finally:
        holder.close()

    assert done.returncode == 3
    assert done.stderr.startswith("cacheness: ")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(store):
    with UnifiedCache(store) as cache:
        cache.put_batch((number, f"key-{number}") for number in range(3000))
    process = subprocess.Popen(
        [sys.executable, "-m", "cacheness.cli", "ls", "--keys", "-d", str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.readline()
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    process.wait()

    assert b"Traceback" not in complaints


def test_without_the_extra_the_command_says_what_to_install(module):
    for missing in ("typer", "rich"):
        # An entry of None in sys.modules is as if the library were not there.
        done = module(
            "-c",
            f"import sys; sys.modules[{missing!r}] = None; import cacheness.cli as c; c.main()",
        )
        assert done.returncode == 2
        assert done.stderr == (
            f"cacheness: the command needs {missing}, which is not installed: "
            'pip install "cacheness-core[cli]"\n'
        )


def test_importing_cacheness_imports_nothing_of_the_command(module):
    done = module(
        "-c",
        "import sys, cacheness; cacheness.UnifiedCache; "
        "print([n for n in sys.modules if n.startswith(('typer', 'rich', 'cacheness.cli'))])",
    )

    assert done.stdout == "[]\n"


def test_the_module_is_the_command_too(module, store):
    done = module("-m", "cacheness.cli", "info", "--json", "-d", store)

    assert json.loads(done.stdout)["entries"] == 9


def test_the_shell_is_told_how_to_complete(command):
    script = command(
        "--show-completion", "bash", env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    )
    completed = command(
        env={
            "_CACHENESS_COMPLETE": "complete_bash",
            "COMP_WORDS": "cacheness ver",
            "COMP_CWORD": "1",
        }
    )

    assert "_CACHENESS_COMPLETE" in script.stdout
    assert completed.stdout.split() == ["verify"]


def test_a_progress_bar_is_drawn_on_a_terminal_alone(store):
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "cacheness.cli", "verify", "-d", str(store)],
        stdout=subprocess.PIPE,
        stderr=follower,
        check=False,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(follower)
    drawn = ""
    with suppress(OSError), open(leader, "rb", buffering=0) as terminal:
        while piece := terminal.read(4096):
            drawn += piece.decode("ascii", "replace")

    assert "verifying" in drawn
    assert "9/9" in drawn
    assert b"verifying" not in done.stdout


def test_the_documentation_has_every_command():
    text = (Path(__file__).parents[3] / "docs" / "CLI.md").read_text("utf-8")

    headings = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(COMMANDS)
