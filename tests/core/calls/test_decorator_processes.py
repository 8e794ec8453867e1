# SPDX-License-Identifier: MIT
"""Cached functions of a script, in worker processes of every kind: one name, one computation."""

import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
import os, sys, time
from cacheness import cached

SCALE = 2

def helper(x):
    return SCALE * x

def note(what):
    with open("log", "a") as file:
        file.write(f"{what}\\n")

@cached
def work(x):
    note(f"work {x}")
    return [helper(x)]

class Model:
    def __init__(self, weight):
        self.weight = weight

    @cached(tags=("model",))
    def predict(self, x):
        note(f"predict {x}")
        return self.weight * x

@cached
async def later(x):
    note(f"later {x}")
    return x

@cached
def stream(n):
    note(f"stream {n}")
    yield from range(n)

def take(n):
    return list(stream(n))
"""

POOL = """
if __name__ == "__main__":
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(work, [1, 2, 1, 2])) == [[2], [4], [2], [4]]
        assert list(pool.map(Model(3).predict, [5, 5])) == [15, 15]
        assert list(pool.map(take, [3, 3])) == [[0, 1, 2]] * 2
    assert work(1) == [2]
    assert Model(3).predict(5) == 15
    assert list(stream(3)) == [0, 1, 2]
    assert work.cache_info().misses == 0
"""

JOBLIB = """
if __name__ == "__main__":
    from joblib import Parallel, delayed

    results = Parallel(2, backend="loky")(delayed(work)(x) for x in [1, 2, 1, 2])
    assert results == [[2], [4], [2], [4]]
    assert Parallel(2, backend="loky")([delayed(Model(3).predict)(5)] * 2) == [15, 15]
    assert work(1) == [2]
    assert Model(3).predict(5) == 15
    assert work.cache_info().misses == 0
"""

DASK = """
if __name__ == "__main__":
    import dask

    tasks = [dask.delayed(work)(x) for x in [1, 2, 1, 2]] + [dask.delayed(Model(3).predict)(5)]
    results = dask.compute(*tasks, scheduler="processes", num_workers=2)
    assert results == ([2], [4], [2], [4], 15), results
    assert work(1) == [2]
    assert work.cache_info().misses == 0
"""

BY_VALUE = """
if __name__ == "__main__":
    import asyncio, pickle, subprocess
    import cloudpickle

    work(1), Model(3).predict(5), asyncio.run(later(1)), take(3)
    sent = cloudpickle.dumps((work, Model(3), Model(3).predict, later, stream))
    load = (
        "import pickle, sys, asyncio\\n"
        "work, model, predict, later, stream = pickle.loads(sys.stdin.buffer.read())\\n"
        "assert work(1) == [2], work(1)\\n"
        "assert model.predict(5) == predict(5) == 15\\n"
        "assert asyncio.run(later(1)) == 1\\n"
        "assert list(stream(3)) == [0, 1, 2]\\n"
        "assert work.cache_info() == (1, 0, 0), work.cache_info()\\n"
        "assert predict.is_cached(5)\\n"
        "assert work.__name__ == 'work'\\n"
    )
    subprocess.run([sys.executable, "-c", load], input=sent, check=True)
"""

FORK = """
if __name__ == "__main__":
    work(1)
    pid = os.fork()
    if not pid:
        code = 1
        try:
            assert work(1) == [2]
            work(2)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert work(2) == [4]
    assert work.cache_info().misses == 1
"""

IMPORTED = """
if __name__ == "__main__":
    work(1)
"""


def run(tmp_path, tail, *arguments):
    (tmp_path / "script.py").write_text(SCRIPT + textwrap.dedent(tail))
    command = [sys.executable, "-W", "error::cacheness.CachenessWarning", "script.py", *arguments]
    command = [sys.executable, "script.py", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return (tmp_path / "log").read_text().split("\n")[:-1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes(tmp_path, method):
    log = run(tmp_path, POOL, method)

    # A stream has no single flight, so two workers may compute it side by side.
    assert sorted(line for line in log if "stream" not in line) == ["predict 5", "work 1", "work 2"]


@pytest.mark.slow
def test_joblib(tmp_path):
    assert sorted(run(tmp_path, JOBLIB)) == ["predict 5", "work 1", "work 2"]


@pytest.mark.slow
def test_dask(tmp_path):
    pytest.importorskip("dask")

    assert sorted(run(tmp_path, DASK)) == ["predict 5", "work 1", "work 2"]


@pytest.mark.slow
def test_functions_that_travel_by_value(tmp_path):
    """As dask, ray and loky send what lies in a script or a notebook."""
    log = run(tmp_path, BY_VALUE)

    assert sorted(log) == ["later 1", "predict 5", "stream 3", "work 1"]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child(tmp_path):
    assert run(tmp_path, FORK) == ["work 1", "work 2"]


@pytest.mark.slow
def test_a_script_and_an_import_of_it_agree(tmp_path):
    assert run(tmp_path, IMPORTED) == ["work 1"]
    imports = "import script; script.work(1); assert script.work.cache_info().hits == 1"
    subprocess.run([sys.executable, "-c", imports], cwd=tmp_path, check=True)
    assert (tmp_path / "log").read_text() == "work 1\n"
