# SPDX-License-Identifier: MIT
"""What was parsed is remembered between processes, and believed only for the same code."""

from __future__ import annotations

import textwrap

import pytest

from cacheness.keys.code import CodeDigest, code_digest


class DictStore:
    def __init__(self):
        self.texts = {}
        self.puts = 0

    def get(self, name):
        return self.texts.get(name)

    def put(self, name, value):
        self.puts += 1
        self.texts[name] = value


@pytest.mark.slow
def test_a_new_process_parses_nothing(tmp_path, module_text, run):
    # given a project, and a process that has made the digest with a store
    (tmp_path / "mod.py").write_text(textwrap.dedent(module_text))
    (tmp_path / "other.py").write_text("LIMIT = 4\n")
    script = f"""
        import json, os, sys
        sys.path.insert(0, {str(tmp_path)!r})
        sys.dont_write_bytecode = True
        class Store:
            def get(self, name):
                return json.load(open("store")).get(name) if os.path.exists("store") else None
            def put(self, name, value):
                print("put")
                json.dump({{name: value}}, open("store", "w"))
        import mod
        before = set(sys.modules)
        from cacheness.keys.code import CodeDigest
        print(CodeDigest(mod.f, store=Store()).current())
        print(*sorted(set(sys.modules) - before))
    """
    first = run(script, cwd=tmp_path)

    # when another one makes it
    second = run(script, cwd=tmp_path)

    # then it is the same, nothing is parsed and nothing heavy imported
    assert first[0] == "put"
    assert second[0] == first[1]
    heavy = {
        "ast",
        "dis",
        "linecache",
        "inspect",
        "importlib.metadata",
        "typing",
        "dataclasses",
        "re",
    }
    assert not heavy & set(second[1].split())

    # and when a helper is edited, one more is parsed
    (tmp_path / "mod.py").write_text(
        textwrap.dedent(module_text).replace("return x\n", "return -x\n")
    )
    third = run(script, cwd=tmp_path)
    assert third[0] == "put"
    assert third[1] != first[1]


def test_what_a_store_says_is_believed_only_for_the_same_bytecode(project):
    mod = project(text="def f(x): return x\n")
    store = DictStore()
    before = CodeDigest(mod.f, store=store).current()
    assert store.puts == 1

    mod = project(text="def f(x): return -x\n")
    after = CodeDigest(mod.f, store=store)

    assert after.current() != before
    assert after.current() == code_digest(mod.f)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "cacheness code 1\nbroken", "cacheness code 0\na\tb"]
)
def test_a_store_that_holds_nonsense_costs_nothing_but_time(project, text):
    mod = project(text="def f(x): return x\n")

    class Nonsense(DictStore):
        def get(self, name):
            return text

    assert CodeDigest(mod.f, store=Nonsense()).current() == code_digest(mod.f)


def test_a_module_imported_inside_is_remembered_by_its_content(project, tmp_path):
    mod = project(
        text="def f(x):\n    import part\n    return part.g(x)\n", part="def g(x): return x\n"
    )
    store = DictStore()
    before = CodeDigest(mod.f, store=store).current()
    assert CodeDigest(mod.f, store=store).current() == before
    assert store.puts == 1

    (tmp_path / "part.py").write_text("def g(x): return -x\n")

    assert CodeDigest(mod.f, store=store).current() != before
