# SPDX-License-Identifier: MIT
"""What the READMEs show works as it stands there."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

# TensorFlow's own imports warn of each other.
ALLOWED = ["-W", "default::DeprecationWarning", "-W", "default::PendingDeprecationWarning"]
ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")) + sorted(
    path.relative_to(ROOT).as_posix() for path in ROOT.glob("cacheness-*/README.md")
)


def blocks(document, language):
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def as_program(code):
    """The code, in which ``expression  # → value`` is checked."""
    return re.sub(
        r"^(\S.*?)  # → (.+)$",
        r"_got = \1\nassert _got == (\2), _got",
        code,
        flags=re.MULTILINE,
    )


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "cacheness-core/README.md",
        "cacheness-pandas/README.md",
        "docs/pandas.md",
        pytest.param("cacheness-tensorflow/README.md", marks=pytest.mark.slow),
        pytest.param("docs/tensorflow.md", marks=pytest.mark.slow),
    ],
)
def test_the_code_in_a_readme_runs_and_gives_what_it_says(document, tmp_path):
    code = "\n".join(blocks(document, "python"))
    assert code.count("# → ") >= 3
    program = tmp_path / "tour.py"
    program.write_text(as_program(code))

    done = subprocess.run(
        [sys.executable, "-W", "error", *ALLOWED, program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)},
    )

    assert done.returncode == 0, done.stderr


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


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_that_exist(document):
    text = (ROOT / document).read_text()

    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)

    local = [link for link in links if "://" not in link]
    assert [link for link in local if not ((ROOT / document).parent / link).exists()] == []


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
