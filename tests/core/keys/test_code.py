# SPDX-License-Identifier: MIT
"""The code digest follows what runs, wherever it comes from, and notices what is replaced."""

from __future__ import annotations

import functools
import importlib
import linecache
import subprocess
import sys
import textwrap
import threading
import warnings
import zipfile

import pytest

from cacheness.errors import UnhashableParameterError
from cacheness.keys.code import CodeDigest, code_digest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes modules, imports them afresh, and forgets them at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = []

    def load(name="mod", text=None, **others):
        for other, content in {**others, **({} if text is None else {name: text})}.items():
            (tmp_path / f"{other}.py").write_text(textwrap.dedent(content))
            names.append(other)
            sys.modules.pop(other, None)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


def run(text, *arguments, cwd=None):
    """Run a script's text in a new process and give its lines."""
    found = subprocess.run(
        [sys.executable, *arguments, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.split("\n")[:-1]


# --- where the code comes from --------------------------------------------------------------


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
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHON_BASIC_REPL": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(outputs) == 1
    assert len(outputs.pop().strip()) == 32


def test_from_a_zip_with_and_without_source(tmp_path):
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


def test_digests_do_not_depend_on_the_script_or_the_import(tmp_path):
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


# --- what is replaced within a process ------------------------------------------------------


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

MODULE = """
import other

RATE = 2
NAMES = ["a", "b"]
TABLE = {"a": {"b": 1}}


def make(n):
    def add(x):
        return x + n

    return add


def make_picker(names):
    return lambda x: names[x]


adder = make(1)
picker = make_picker(["a"])


def helper(x, y=1):
    return x


class Base:
    scale = 1


class Model(Base):
    size = 2

    def fit(self):
        return missing(self.size)


def f(x):
    more = Model().fit(), other.LIMIT, adder(x), picker(0), sorted(x)
    return helper(x) * RATE, NAMES, TABLE, more
"""


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_replaced_in_a_living_process_counts_at_the_next_call(project, change):
    # given a digest that was asked for, and asked for again
    mod = project(text=MODULE, other="LIMIT = 4\n")
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


def test_threads_get_the_same_digest(project):
    mod = project(text=MODULE, other="LIMIT = 4\n")
    digest = CodeDigest(mod.f)
    found = []
    threads = [threading.Thread(target=lambda: found.append(digest.current())) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1


# --- what counts ----------------------------------------------------------------------------


def test_state_that_the_code_keeps_itself_does_not_count(project):
    mod = project(
        text="""
        import part
        CACHE = {}
        CALLS = 0
        LOG = []
        def helper(x, _memo={}):
            _memo[x] = 1
            LOG.append(x)
            return x
        def counted():
            calls = 0
            seen = {}
            def inner(x):
                nonlocal calls
                calls += 1
                seen[x] = 1
                return x
            return inner
        inner = counted()
        def f(x):
            global CALLS
            CALLS += 1
            CACHE[x] = helper(x)
            part.total += 1
            part.Registry.names = [x]
            return len(CACHE), CALLS, LOG, part.total, inner(x), part.Registry.names
        """,
        part="total = 0\nclass Registry:\n    names = []\n",
    )
    digest = CodeDigest(mod.f)
    before = digest.current()

    mod.f(1)

    assert digest.current() == before
    assert code_digest(mod.f) == before
    reasons = digest.not_followed()
    assert {name for name, reason in reasons.items() if reason == "changed by the code itself"} == {
        "mod.CACHE",
        "mod.CALLS",
        "mod.LOG",
        "part.total",
        "part.Registry.names",
        "default mod:helper._memo",
        "closure mod:counted.<locals>.inner.calls",
        "closure mod:counted.<locals>.inner.seen",
    }


def test_what_is_not_followed_is_listed(project):
    mod = project(
        text="""
        import logging
        import threading
        log = logging.getLogger(__name__)
        lock = threading.Lock()
        class Model:
            pass
        model = Model()
        many = list(range(1000))
        def f(x):
            log.info("x")
            with lock:
                return model.predict(x), many, later(x)
        """
    )

    reasons = CodeDigest(mod.f).not_followed()

    assert reasons == {
        "mod.model": "a mod.Model",
        "mod.many": "a list of 1000",
        "mod.later": "not defined when the digest was made",
    }


def test_a_proxy_that_stands_for_nothing_yet_is_no_trouble(project):
    mod = project(
        text="""
        class Proxy:
            def __getattribute__(self, name):
                raise RuntimeError("outside of a request")
            def __call__(self):
                return 1
        request = Proxy()
        def f(x): return request.user, request()
        """
    )

    assert CodeDigest(mod.f).not_followed() == {"mod.request": "a mod.Proxy"}


def test_parts_name_what_the_digest_rests_on(project):
    mod = project(text=MODULE, other="LIMIT = 4\n")

    digest = CodeDigest(mod.f)

    assert set(digest.parts()) == {
        "function mod:f",
        "function mod:helper",
        "function mod:Model.fit",
        "function mod:make.<locals>.add",
        "function mod:make_picker.<locals>.<lambda>",
        "class mod.Model",
        "class mod.Base",
        "constant mod.RATE",
        "constant mod.NAMES",
        "constant mod.TABLE",
        "constant mod.Model.size",
        "constant mod.Base.scale",
        "constant other.LIMIT",
        "default mod:helper.y",
        "closure mod:make.<locals>.add.n",
        "closure mod:make_picker.<locals>.<lambda>.names",
    }
    assert digest.files()["function mod:helper"].endswith("mod.py:24")


def test_one_part_changes_with_its_code_alone(project):
    mod = project(text=MODULE, other="LIMIT = 4\n")
    digest = CodeDigest(mod.f)
    before = digest.parts()

    mod.helper = lambda x, y=1: -x
    mod.RATE = 5
    after = digest.parts()

    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {
        "function mod:helper",
        "default mod:helper.y",
        "constant mod.RATE",
        next(name for name in after if "test_one_part" in name and name.startswith("function")),
        next(name for name in after if "test_one_part" in name and name.startswith("default")),
    }


def test_recursive_and_mutually_recursive_functions(project):
    mod = project(
        text="""
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        def make():
            def inner(n): return n and inner(n - 1)
            return inner
        inner = make()
        class Node:
            def walk(self): return Node()
        """
    )

    assert code_digest(mod.even) != code_digest(mod.odd)
    before = code_digest(mod.inner)
    assert before == code_digest(mod.make())
    assert code_digest(mod.Node.walk)


def test_wrapped_functions_count_through_their_wrappers(project):
    text = """
        import contextlib, functools
        class Retry:
            def __init__(self, fn, times):
                functools.update_wrapper(self, fn)
                self.fn, self.times = fn, times
            def __call__(self, *a): return self.fn(*a)
        def plain(x): return BODY
        cached = functools.lru_cache(plain)
        retried = Retry(plain, TIMES)
        part = functools.partial(plain, 1)
        @functools.singledispatch
        def single(x): return BODY
        @single.register
        def _(x: int): return BODY, 1
        @contextlib.contextmanager
        def managed(x): yield BODY
        class C:
            @functools.cached_property
            def p(self): return BODY
            @classmethod
            def c(cls): return BODY
        """
    bodies = [("x", "1"), ("-x", "1"), ("x", "2")]
    found = {}
    for body, times in bodies:
        mod = project(text=text.replace("BODY", body).replace("TIMES", times))
        for name in ("cached", "retried", "part", "single", "managed", "C"):
            value = getattr(mod, name)
            use = (lambda it: lambda: it())(value)
            found.setdefault(name, []).append((code_digest(use), code_digest(value)))

    for name, (one, other, more) in found.items():
        assert one[0] != other[0], name
        assert one[1] != other[1], name
        assert (one != more) == (name == "retried"), name


def test_a_cached_helper_counts_by_what_it_wraps():
    # given a wrapper as the library makes them: its home is cacheness, its state a cache
    namespace = {"__name__": "cacheness.decorator", "functools": functools}
    exec(
        "def cached(fn, cache):\n"
        "    @functools.wraps(fn)\n"
        "    def wrapper(*a):\n"
        "        return cache and fn(*a)\n"
        "    return wrapper\n",
        namespace,
    )
    first = namespace["cached"](lambda x: x + 1, object())
    same = namespace["cached"](lambda x: x + 1, object())
    other = namespace["cached"](lambda x: x + 2, object())

    def using(it):
        return lambda: it(1)

    assert code_digest(using(first)) == code_digest(using(same)) != code_digest(using(other))
    assert code_digest(first) == code_digest(same) != code_digest(other)


def test_a_closure_value_without_a_value_is_an_error_that_names_it():
    handle = iter([1])

    def f(x):
        return handle, x

    with pytest.raises(UnhashableParameterError, match="'handle'.*list_iterator") as caught:
        code_digest(f)

    assert "ignore=" in str(caught.value)
    assert "__cacheness_key__" in str(caught.value)


def test_a_lock_in_a_closure_is_only_listed():
    lock = threading.Lock()

    def f(x):
        with lock:
            return x

    assert "a _thread.lock" in CodeDigest(f).not_followed().values()


def test_a_sentinel_as_default_is_only_listed():
    def f(x, missing=object()):  # noqa: B008
        return x, missing

    digest = CodeDigest(f)

    assert digest.current() == code_digest(f)
    assert [name.rpartition(".")[2] for name in digest.not_followed()] == ["missing"]


def test_code_off_and_further_dependencies(project):
    mod = project(text="def f(x): return x\ndef g(x): return x\nRATE = 1\n")

    assert code_digest(mod.f, follow="off") == ""
    plain, more = code_digest(mod.f), code_digest(mod.f, extra=[mod.g])
    assert plain != more
    mod2 = project(text="def f(x): return x\ndef g(x): return -x\nRATE = 1\n")
    assert code_digest(mod2.f) == plain
    assert code_digest(mod2.f, extra=[mod2.g]) != more
    assert code_digest(mod2.f, extra=[1]) != code_digest(mod2.f, extra=[2])
    assert code_digest(mod2.f, follow="off", extra=[mod2.g]) not in ("", plain)


def test_a_further_dependency_without_a_value_is_refused():
    with pytest.raises(UnhashableParameterError, match="code=.*object"):
        code_digest(abs, extra=[object()])


def test_a_module_as_further_dependency_counts_whole(project):
    mod = project(text="def f(x): return x\n", part="def g(x): return x\nRATE = 1\n")
    part = project("part")
    before = code_digest(mod.f, extra=[part])

    part = project("part", part="def g(x): return x\nRATE = 2\n")

    assert code_digest(mod.f, extra=[part]) != before


def test_functions_of_the_language_count_by_name_alone(project):
    one = project(text="from math import sin as use\ndef f(x): return use(x)\n").f
    first = code_digest(one)
    other = project(text="from math import cos as use\ndef f(x): return use(x)\n").f

    assert first != code_digest(other)
    assert CodeDigest(other).parts().keys() == {"function mod:f"}


def test_installed_code_counts_by_distribution_and_version():
    import hypothesis
    from hypothesis.strategies import integers

    def f(x):
        return hypothesis.seed(x), integers()

    assert CodeDigest(f).parts()["distribution hypothesis"] == hypothesis.__version__


def test_a_local_import_counts_the_same_before_and_after_it_ran(project):
    mod = project(
        text="def f(x):\n    from part import g\n    import json\n    return g(x)\n",
        part="import deeper\ndef g(x): return deeper.h(x)\n",
        deeper="import part\ndef h(x): return x\n",
    )
    before = code_digest(mod.f)

    assert "part" not in sys.modules
    mod.f(1)
    assert "part" in sys.modules

    assert code_digest(mod.f) == before
    assert {"module part", "module deeper"} <= CodeDigest(mod.f).parts().keys()


def test_a_long_sum_is_no_trouble(project):
    mod = project(text=f"def f(x): return {' + '.join(['x'] * 2000)}\n")

    assert len(code_digest(mod.f)) == 32


def test_warnings_of_the_source_are_not_repeated(project):
    text = "def f(x):\n    return '\\d' is x\n"
    namespace = {"__name__": "__main__"}
    linecache.cache["<cell 3>"] = (len(text), None, text.splitlines(True), "<cell 3>")
    with warnings.catch_warnings(action="ignore"):
        exec(compile(text, "<cell 3>", "exec"), namespace)

    assert "bytecode" not in str(CodeDigest(namespace["f"]).files())


# --- memory between processes -----------------------------------------------------------------


class DictStore:
    def __init__(self):
        self.texts = {}
        self.puts = 0

    def get(self, name):
        return self.texts.get(name)

    def put(self, name, value):
        self.puts += 1
        self.texts[name] = value


def test_a_new_process_parses_nothing(tmp_path):
    # given a project, and a process that has made the digest with a store
    (tmp_path / "mod.py").write_text(textwrap.dedent(MODULE))
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
    (tmp_path / "mod.py").write_text(textwrap.dedent(MODULE).replace("return x\n", "return -x\n"))
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
