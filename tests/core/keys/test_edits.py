# SPDX-License-Identifier: MIT
"""Which edits of a project change the digest of a function, seen by new processes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "cacheness-core" / "src"


def _load(name):
    spec = importlib.util.spec_from_file_location(f"keys_{name}", HERE / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


edits = _load("edits")


def _write(folder, edit=None):
    for file, text in edits.PROJECT.items():
        if edit is not None:
            if edit.file == file:
                assert edit.old in text, edit.name
                text = text.replace(edit.old, edit.new)
            elif file.startswith(edit.file):
                file = file.replace(edit.old, edit.new)
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


def _digests(folders, seed="0", python=sys.executable, **environment):
    environment |= {"PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [python, str(HERE / "print_digests.py"), *folders],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    root = tmp_path_factory.mktemp("edits")
    before = _write(root / "before")
    after = {edit.name: _write(root / str(i), edit) for i, edit in enumerate(edits.EDITS)}
    first = _digests([before], seed="1")[before]
    found = _digests(list(after.values()), seed="2")
    return first, {name: found[folder] for name, folder in after.items()}


def test_the_table_is_large_and_names_are_unique():
    assert len({edit.name for edit in edits.EDITS}) == len(edits.EDITS) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("edit", edits.EDITS, ids=lambda edit: edit.name)
def test_an_edit_changes_the_digest_exactly_if_it_changes_what_the_code_does(digests, edit):
    # given the project as it was, and as it is after the edit
    (before, old_parts, _), after = digests
    digest, parts, _ = after[edit.name]

    # when two processes with different hash seeds made a digest of each
    changed = {name for name in {*parts, *old_parts} if parts.get(name) != old_parts.get(name)}

    # then it is the same or not, as the table says, and a part says where it differs
    assert (digest == before) == edit.same, changed
    assert (changed == set()) == edit.same


def test_nothing_of_the_project_is_left_out(digests):
    _, parts, not_followed = digests[0]

    assert not_followed == {"job.SEEN": "changed by the code itself"}
    assert parts["distribution extlib"] == "1.0"
    assert {"function deep:factor", "module later", "class shapes.Shape"} <= set(parts)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_digest_is_the_same_on_every_python_that_is_here(tmp_path, version, python_of):
    python = python_of(version)
    folders = [_write(tmp_path / "before")]
    folders += [_write(tmp_path / str(i), edit) for i, edit in enumerate(edits.EDITS)]

    here = _digests(folders, PYTHONPATH=str(SOURCES))
    there = _digests(folders, python=python, seed="3", PYTHONPATH=str(SOURCES))

    assert there == here
