# SPDX-License-Identifier: MIT
"""The code digest notices what is replaced in a living process."""

from __future__ import annotations

import importlib
import threading

import pytest

from cacheness.keys.code import CodeDigest

CHANGES = {
    "a helper": "mod.helper = lambda x: -x",
    "a helper's code in place": "mod.helper.__code__ = (lambda x: -x).__code__",
    "a helper's default": "mod.helper.__defaults__ = (5,)",
    "a constant": "mod.RATE = 3",
    "a constant by an equal one": "mod.RATE = 2.0",
    "a value in a list": "mod.NAMES.append('c')",
    "a value in a nested dict": "mod.TABLE['a']['b'] = 2",
    "a method": "mod.Model.fit = lambda self: 5",
    "a new method": "mod.Model.more = lambda self: 5",
    "a class attribute": "mod.Model.size = 5",
    "a base's attribute": "mod.Base.scale = 5",
    "a constant of another module": "mod.other.LIMIT = 5",
    "a closure value": "mod.adder.__closure__[0].cell_contents = 7",
    "a closure's list": "mod.picker.__closure__[0].cell_contents.append(7)",
    "a name that was not there": "mod.missing = abs",
    "a shadowed builtin": "mod.sorted = list",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_replaced_in_a_living_process_counts_at_the_next_call(project, change, module_text):
    # given a digest that was asked for, and asked for again
    mod = project(text=module_text, other="LIMIT = 4\n")
    digest = CodeDigest(mod.f)
    before = digest.current()
    assert digest.current() == before

    # when something that it rests on changes
    exec(CHANGES[change], {"mod": mod})

    # then it is another, and stays that
    after = digest.current()
    assert after != before
    assert digest.current() == after


def test_a_reloaded_helper_counts(project, tmp_path):
    mod = project(
        text="import part\ndef f(x):\n    return part.g(x)\n", part="def g(x): return x\n"
    )
    digest = CodeDigest(mod.f)
    before = digest.current()

    (tmp_path / "part.py").write_text("def g(x): return -x\n")
    importlib.invalidate_caches()
    importlib.reload(mod.part)
    after = digest.current()
    (tmp_path / "part.py").write_text("def g(x):  return x  # as it was\n")
    importlib.reload(mod.part)

    assert after != before == digest.current()


def test_threads_get_the_same_digest(project, module_text):
    mod = project(text=module_text, other="LIMIT = 4\n")
    digest = CodeDigest(mod.f)
    found = []
    threads = [threading.Thread(target=lambda: found.append(digest.current())) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
