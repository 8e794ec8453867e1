# SPDX-License-Identifier: MIT
"""Other Python versions, each in an environment that has blake3 and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def _find_interpreter(uv, version):
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    found = subprocess.run(
        [uv, "python", "find", "--no-project", "--no-python-downloads", version],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if found.returncode == 0:
        return found.stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python"))), None)


@pytest.fixture(scope="session")
def python_of(tmp_path_factory):
    """Gives the interpreter of a version, with the sources on its path; skips without one."""
    made = {}

    def python(version):
        if version in made:
            return made[version]
        uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
        interpreter = None if uv is None else _find_interpreter(uv, version)
        if interpreter is None:
            pytest.skip(f"Python {version} is not here")
        home = tmp_path_factory.mktemp(f"python{version}") / "env"
        subprocess.run([uv, "venv", "-q", "-p", interpreter, str(home)], check=True)
        made[version] = str(home / "bin" / "python")
        subprocess.run([uv, "pip", "install", "-q", "-p", made[version], "blake3"], check=True)
        return made[version]

    return python
