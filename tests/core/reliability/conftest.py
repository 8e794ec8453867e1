"""A place for thousands of small caches."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def quick_path(tmp_path):
    """A directory in memory where there is such a disk: what waits for it takes no time."""
    if not Path("/dev/shm").is_dir():  # on macOS
        yield tmp_path
        return
    made = Path(tempfile.mkdtemp(dir="/dev/shm", prefix="cacheness-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)
