# SPDX-License-Identifier: MIT
"""The code digest follows what runs, wherever it comes from."""

from __future__ import annotations

import importlib
import linecache
import os
import subprocess
import sys
import textwrap
import zipfile

from cacheness.keys.code import CodeDigest, code_digest


def test_two_lambdas_on_one_line_differ(project):
    module = project(
        text="f, g = (lambda x: x + 1), (lambda x: x + 2)\nh = lambda x: lambda y: x\n"
    )

    digests = {code_digest(each) for each in (module.f, module.g, module.h, module.h(1))}

    assert len(digests) == 4
    for each in (module.f, module.g, module.h, module.h(1)):
        assert "bytecode" not in str(CodeDigest(each).files())


def test_alike_lambdas_in_different_places_are_alike(project):
    module = project(text="f = lambda x: x + 1\n\n\ng = [0, lambda x: x + 1][1]\n")

    assert code_digest(module.f) == code_digest(module.g)


def test_source_and_form_are_the_same_in_a_file_and_in_a_notebooks_cell(project):
    text = "def f(x):\n    '''Doc.'''\n    return x + 1  # more\n"
    module = project(text=text)
    cell = text.replace("# more", "# less")
    linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(True), "<cell 1>")
    namespace = {"__name__": "__main__"}
    exec(compile(cell, "<cell 1>", "exec"), namespace)

    assert code_digest(namespace["f"]) == code_digest(module.f)


def test_a_cell_that_hands_on_future_imports_is_believed():
    import __future__

    cell = "def f(x: 'int'):\n    y: list = x\n    return y\n"
    linecache.cache["<cell 2>"] = (len(cell), None, cell.splitlines(True), "<cell 2>")
    namespace = {"__name__": "__main__"}
    flags = __future__.annotations.compiler_flag
    exec(compile(cell, "<cell 2>", "exec", flags, dont_inherit=True), namespace)

    assert "bytecode" not in str(CodeDigest(namespace["f"]).files())


def test_code_without_source_counts_by_its_bytecode():
    def define(text):
        namespace = {"__name__": "nowhere", "helper": abs}
        exec(text, namespace)
        return namespace["f"]

    one = define("def f(x):\n    'doc'\n    return helper(x) + 1")
    moved = define("\n\n\ndef f(x):\n    'other'\n    return helper(x) + 1")
    other = define("def f(x):\n    return helper(x) + 2")

    assert code_digest(one) == code_digest(moved) != code_digest(other)


def test_code_without_source_is_followed_too():
    def define(helper):
        namespace = {"__name__": "nowhere"}
        exec(f"import types\nRATE = 2\ndef helper(x): return {helper}\n", namespace)
        exec("def f(x):\n    return [helper(y) for y in x]\n", namespace)
        return namespace["f"]

    one, same, other = define("x * RATE"), define("x*RATE"), define("x + RATE")

    assert code_digest(one) == code_digest(same) != code_digest(other)
    one.__globals__["RATE"] = 3
    assert code_digest(one) != code_digest(same)


def test_in_a_repl_digests_are_the_same_in_each_process():
    lines = (
        "from cacheness.keys.code import code_digest\n"
        "def f(x):\n  return x in {'a', 'b', 'c'}\n\n"
        "print(code_digest(f))\n"
    )

    outputs = {
        subprocess.run(
            [sys.executable, "-i", "-q"],
            input=lines,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHON_BASIC_REPL": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1
    assert len(outputs.pop().strip()) == 32


def test_from_a_zip_with_and_without_source(tmp_path, run):
    text = "RATE = 2\ndef f(x):\n    return x * RATE\n"
    (tmp_path / "inzip.py").write_text(text)
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("inzip.py", text)
    script = """
        import sys
        sys.path.insert(0, sys.argv[1] if len(sys.argv) > 1 else PLACE)
        import inzip
        from cacheness.keys.code import CodeDigest
        print(CodeDigest(inzip.f).current())
    """

    plain = run(script.replace("PLACE", repr(str(tmp_path))))
    zipped = run(script.replace("PLACE", repr(str(tmp_path / "lib.zip"))))

    assert plain == zipped


def test_a_file_edited_under_a_living_process_does_not_lend_its_digest(project, tmp_path):
    # given code that runs, and its file edited since
    module = project(text="def f(x):\n    return x + 1\n")
    (tmp_path / "mod.py").write_text("def f(x):\n    return x + 2\n")

    # when the living process, and then a new one, make the digest
    living = code_digest(module.f)
    fresh = project()
    fresh = importlib.reload(fresh)

    # then they differ, and the first is not that of the new source
    assert living != code_digest(fresh.f)


def test_a_file_whose_lines_moved_under_a_living_process_is_still_believed(project, tmp_path):
    module = project(text="def f(x):\n    return x + 1\n")
    before = code_digest(module.f)
    moved = project(name="moved", text="def f(x):\n    return x + 1\n")
    (tmp_path / "moved.py").write_text("import os\n\n\n# new\ndef f(x):\n    return x + 1\n")

    assert code_digest(moved.f) == before


def test_digests_do_not_depend_on_the_script_or_the_import(tmp_path, run):
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            """
            from cacheness.keys.code import code_digest
            from cacheness.keys.naming import function_name
            A = 1
            class C:
                def m(self): return A
            def helper(x): return x + A
            def f(x): return helper(x), C().m()
            if __name__ == "__main__" or True:
                print(function_name(f), code_digest(f))
            """
        )
    )

    as_script = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=True
    ).stdout
    imported = run("import script", cwd=tmp_path)

    assert as_script.split("\n")[:-1] == imported
    assert imported[0].startswith("script:f ")
