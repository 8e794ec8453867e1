# SPDX-License-Identifier: MIT
"""The commands and the example of the README do what it says."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def blocks(document, language):
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_readme_has_one_command_for_the_main_job_and_one_for_the_tests():
    commands = [line for block in blocks("README.md", "sh") for line in block.splitlines()]

    assert len(commands) == 2
    main_job, tests = commands
    assert main_job.startswith("python3 -m venv ")
    assert main_job.endswith(" python docs/examples/flights.py")
    assert tests.startswith("python3 -m venv ")
    assert tests.endswith(" pytest -n auto")


def test_the_main_job_needs_no_tensorflow():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    command = blocks("README.md", "sh")[0]

    groups = re.findall(r"--group (\S+)", command)
    needed = [*project["project"]["dependencies"]]
    for group in groups:
        needed += project["dependency-groups"][group]

    assert "--no-default-groups" in command
    assert groups == ["examples"]
    assert not any("tensorflow" in str(requirement) for requirement in needed)


@pytest.mark.slow
def test_the_example_hits_at_its_second_run_and_in_a_second_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "docs/examples/flights.py", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0].endswith("0 hits, 4 misses")
    assert told[1].endswith("4 hits, 0 misses")
    assert told[2].endswith("4 hits, 0 misses")
    assert sum(" .arrow file " in line for line in told) == 1
