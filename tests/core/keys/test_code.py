# SPDX-License-Identifier: MIT
"""What of a function and of what it names counts in the code digest."""

from __future__ import annotations

import functools
import linecache
import sys
import threading
import warnings

import pytest

from cacheness.errors import UnhashableParameterError
from cacheness.keys.code import CodeDigest, code_digest


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


def test_parts_name_what_the_digest_rests_on(project, module_text):
    mod = project(text=module_text, other="LIMIT = 4\n")

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


def test_one_part_changes_with_its_code_alone(project, module_text):
    mod = project(text=module_text, other="LIMIT = 4\n")
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
    parts = CodeDigest(other).parts()
    assert parts.keys() == {"function mod:f", "name mod.use"}
    assert parts["name mod.use"] == "math.cos"


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
