# SPDX-License-Identifier: MIT
"""A function has one name in a script, in its workers, and imported."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap

import pytest

from cacheness.keys.naming import function_name, type_name

SCRIPT = """
import multiprocessing
from cacheness.keys.encoding import params_key
from cacheness.keys.naming import function_name, type_name

class C:
    def method(self):
        pass

def f(x):
    return x

AT_IMPORT = function_name(f)

def work(x):
    names = [AT_IMPORT, function_name(f), function_name(C.method), type_name(C)]
    return [*names, params_key({"f": f, "c": C()})]

def main():
    results = [work(1)]
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            results += pool.map(work, [1])
    return results

if __name__ == "__main__":
    print(main())
"""


def run(*arguments, cwd):
    found = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.slow
def test_a_script_its_workers_and_an_import_agree(tmp_path):
    (tmp_path / "job.py").write_text(SCRIPT)

    as_script = run("job.py", cwd=tmp_path)
    imported = run("-c", "import job; print(job.work(1))", cwd=tmp_path)

    results = eval(as_script)
    assert results == [eval(imported)] * 4
    assert results[0][:4] == ["job:f", "job:f", "job:C.method", "job.C"]


@pytest.mark.slow
def test_a_module_run_by_name_agrees_with_its_import(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (tmp_path / "pkg" / "job.py").write_text(SCRIPT)

    as_module = run("-m", "pkg.job", cwd=tmp_path)
    imported = run("-c", "import pkg.job; print(pkg.job.work(1))", cwd=tmp_path)

    assert eval(as_module) == [eval(imported)] * 4
    assert eval(imported)[1] == "pkg.job:f"


def test_without_a_file_it_stays_main(tmp_path):
    text = textwrap.dedent(
        """
        from cacheness.keys.naming import function_name
        def f(): pass
        print(function_name(f))
        """
    )

    assert run("-c", text, cwd=tmp_path) == "__main__:f\n"


class Owner:
    def method(self):
        pass

    @classmethod
    def made(cls):
        pass


def test_names_of_callables():
    @functools.wraps(Owner.method)
    def wrapped():
        pass

    here = __name__
    assert function_name(Owner.method) == f"{here}:Owner.method"
    assert function_name(Owner().method) == f"{here}:Owner.method"
    assert function_name(Owner.made) == f"{here}:Owner.made"
    assert function_name(wrapped) == f"{here}:Owner.method"
    assert function_name(functools.partial(Owner.made, 1)) == f"{here}:Owner.made"
    assert function_name(Owner) == f"{here}:Owner"
    assert function_name(len) == "builtins:len"
    assert type_name(Owner) == f"{here}.Owner"


@pytest.mark.parametrize("value", [functools.lru_cache(Owner.made), Owner()])
def test_other_callables_have_a_name_too(value):
    assert function_name(value).startswith(f"{__name__}:Owner")
