# SPDX-License-Identifier: MIT
"""What a `CacheRef` stands for, alone and as an argument."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import numpy as np
import pytest

import cacheness
from cacheness import CacheRef, UnifiedCache, cached

calls: list[object] = []
received: list[object] = []


@cached
def load(day, scale=1):
    calls.append(day)
    return np.full(10, day * scale)


@cached
def small(x):
    calls.append(x)
    return x if x is None else [x]


@cached
def total(values, *more, factor=1, **options):
    received.append((values, more, options))
    return factor


class Model:
    def __init__(self, size):
        self.size = size

    @cached
    def fit(self, x):
        calls.append(x)
        return x * self.size


@pytest.fixture(autouse=True)
def cache(tmp_path):
    calls.clear()
    received.clear()
    cacheness.configure(tmp_path / "cache")
    with cacheness.defaults.default_cache() as made:
        yield made
    cacheness.configure(tmp_path / "nowhere")


# --- alone ----------------------------------------------------------------------------------


def test_a_ref_computes_nothing_until_it_is_asked():
    ref = load.cache_ref(3, scale=2)

    assert calls == []
    assert not ref.exists()
    assert ref.cache_key == load.cache_key(3, scale=2)
    assert ref.function.endswith("test_ref:load")
    np.testing.assert_array_equal(ref.get(), np.full(10, 6))
    assert ref.exists()
    np.testing.assert_array_equal(ref.get(), np.full(10, 6))
    np.testing.assert_array_equal(load(3, 2), np.full(10, 6))
    assert calls == [3]


def test_none_is_a_value_of_a_ref():
    ref = small.cache_ref(None)

    assert ref.get() is None
    assert ref.get() is None
    assert calls == [None]


def test_a_ref_is_frozen_equal_to_its_like_and_prints_no_argument():
    ref = small.cache_ref(3)

    with pytest.raises(AttributeError, match="frozen"):
        ref.cache_key = "other"
    with pytest.raises(AttributeError, match="frozen"):
        del ref.cache_key
    assert ref == small.cache_ref(3) == pickle.loads(pickle.dumps(ref))
    assert len({ref, small.cache_ref(3), small.cache_ref(4)}) == 2
    assert ref != small.cache_ref(4)
    assert ref != "ref"
    assert repr(ref) == f"<CacheRef {ref.function} {ref.cache_key}>"


def test_a_ref_of_a_method_is_bound():
    ref = Model(3).fit.cache_ref(5)

    assert pickle.loads(pickle.dumps(ref)).get() == 15
    assert ref.get() == 15
    assert calls == [5]


def test_a_value_that_is_gone_is_computed_again(cache):
    ref = small.cache_ref(3)
    ref.get()
    cache.clear()

    assert ref.get() == [3]
    assert calls == [3, 3]


def test_a_ref_where_nothing_is_stored_computes_each_time():
    ref = small.cache_ref(3)

    with cacheness.disabled():
        assert [ref.get(), ref.get()] == [[3], [3]]
    assert calls == [3, 3]


def test_a_ref_whose_store_fails_computes(cache):
    ref = small.cache_ref(3)
    ref.get()
    cache.close()

    with pytest.warns(cacheness.CachenessWarning):
        assert ref.get() == [3]


def test_a_stream_has_no_ref(cache):
    @cached
    def items(x):
        yield x

    with pytest.raises(TypeError, match="returns a list"):
        items.cache_ref(3)


# --- in another process -----------------------------------------------------------------------


def in_new_process(folder, text, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


JOB = """
import cacheness
cacheness.configure({folder!r} + "/own")
calls = []

@cacheness.cached
def double(x):
    calls.append(x)
    return [x, x]
"""

MAKE = """
import job, json, pickle
ref = job.double.cache_ref(4)
{before}
open("ref", "wb").write(pickle.dumps(ref))
print(json.dumps(len(pickle.dumps(ref))))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "job.py").write_text(JOB.format(folder=str(tmp_path)))
    return tmp_path


@pytest.mark.slow
def test_a_stored_value_is_read_in_another_process_without_the_function(folder):
    size = in_new_process(folder, MAKE.format(before="ref.get()"))
    (folder / "job.py").unlink()

    value = in_new_process(
        folder,
        "import json, pickle; ref = pickle.load(open('ref', 'rb'))\n"
        "print(json.dumps([ref.get(), ref.exists()]))",
    )

    assert value == [[4, 4], True]
    assert size < 1000


@pytest.mark.slow
def test_a_value_that_is_not_stored_is_computed_by_the_imported_function(folder):
    in_new_process(folder, MAKE.format(before=""))

    told = in_new_process(
        folder,
        """
        import json, pickle, sys
        ref = pickle.load(open('ref', 'rb'))
        before = [ref.exists(), "job" in sys.modules]
        value = ref.get()
        import job
        print(json.dumps([before, value, ref.exists(), job.calls, job.double(4), job.calls]))
        """,
    )

    assert told == [[False, False], [4, 4], True, [4], [4, 4], [4]]


@pytest.mark.slow
def test_refs_of_one_cache_open_it_once_and_survive_a_second_pickle(folder):
    in_new_process(folder, MAKE.format(before="ref.get()"))

    told = in_new_process(
        folder,
        """
        import json, pickle
        from cacheness.engine import _living
        refs = [pickle.load(open('ref', 'rb')) for _ in range(5)]
        refs += [pickle.loads(pickle.dumps(ref)) for ref in refs]
        print(json.dumps([[ref.get() for ref in refs] == [[4, 4]] * 10, len(_living)]))
        """,
    )

    assert told == [True, 1]


def test_a_ref_with_arguments_that_do_not_pickle_does_not_either():
    @cached
    def local(x):
        return x

    with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
        pickle.dumps(local.cache_ref(3))


@pytest.mark.slow
def test_a_forked_child_reads_a_ref(folder):
    in_new_process(folder, MAKE.format(before="ref.get()"))

    told = in_new_process(
        folder,
        """
        import json, os, pickle, sys
        ref = pickle.load(open('ref', 'rb'))
        ref.get()
        child = os.fork()
        if not child:
            os._exit(ref.get() != [4, 4])
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
        """,
    )

    assert told == 0


# --- as an argument ---------------------------------------------------------------------------


def test_a_ref_arrives_as_its_value():
    ref = small.cache_ref(3)

    total(ref, ref, 5, option=ref)

    assert received == [([3], ([3], 5), {"option": [3]})]
    assert calls == [3]


def test_refs_in_containers_arrive_as_their_values_and_the_containers_stay_the_callers():
    ref = small.cache_ref(3)
    given = [ref, {"a": (ref, 1)}, {2}]
    untouched = [1, {"a": (2,)}]

    total(given, untouched)

    assert received == [([[3], {"a": ([3], 1)}, {2}], ([1, {"a": (2,)}],), {})]
    assert given == [ref, {"a": (ref, 1)}, {2}]
    assert received[0][1][0] is untouched


def test_a_ref_deeper_down_stays_a_ref():
    ref = small.cache_ref(3)

    total([[[ref]]])
    total([[[[ref]]]])

    assert received == [([[[[3]]]], (), {}), ([[[[ref]]]], (), {})]


def test_a_ref_counts_by_the_payload_whatever_call_it_is_of():
    @cached
    def same(x, y):
        return [x]

    @cached
    def other(x):
        return (x,)

    key = total.cache_key(small.cache_ref(3))

    assert calls == [3]  # computed, since its payload counts
    assert total.cache_key(same.cache_ref(3, y=1)) == key
    assert total.cache_key(same.cache_ref(3, y=2)) == key
    assert total.cache_key(small.cache_ref(4)) != key
    assert total.cache_key(other.cache_ref(3)) != key
    assert total.cache_key([3]) != key


def test_equal_bytes_of_different_types_count_as_different():
    @cached
    def plain(x):
        return b"ab"

    @cached
    def mutable(x):
        return bytearray(b"ab")

    @cached
    def text(x):
        return 7

    @cached
    def digits(x):
        return b"7"

    keys = {total.cache_key(one.cache_ref(1)) for one in (plain, mutable, text, digits)}

    assert len(keys) == 4


def test_a_hit_with_a_ref_reads_no_value_of_it(cache):
    ref = load.cache_ref(3)
    total(ref)
    cache.engine.flush()
    before = cache.get_entry(ref.cache_key).hits

    assert total(ref) == 1

    cache.engine.flush()
    assert cache.get_entry(ref.cache_key).hits == before
    assert len(received) == 1


def test_a_value_that_is_not_kept_counts_by_itself():
    @cached(cache_if=lambda value: False)
    def unkept(x):
        calls.append(x)
        return [x]

    key = total.cache_key(unkept.cache_ref(3))

    assert total.cache_key(unkept.cache_ref(3)) == key
    assert total.cache_key(unkept.cache_ref(4)) != key
    total(unkept.cache_ref(3))
    assert received == [([3], (), {})]


def test_a_ref_that_is_ignored_arrives_as_its_value_too():
    @cached(ignore=("x",))
    def ignoring(x, y):
        return [x, y]

    assert ignoring(small.cache_ref(3), 1) == [[3], 1]
    assert ignoring(small.cache_ref(4), 1) == [[3], 1]
    assert calls == [3]


def test_a_ref_of_a_ref():
    ref = total.cache_ref(small.cache_ref(3), factor=5)

    assert small.cache_ref(ref).get() == [5]
    assert calls == [3, 5]


def test_what_a_computation_raises_reaches_the_caller():
    @cached
    def failing(x):
        raise KeyError(x)

    with pytest.raises(KeyError):
        total(failing.cache_ref(3))


@dataclass
class Settings:
    source: object


def test_a_ref_in_an_object_counts_by_the_payload_and_stays_a_ref():
    ref = small.cache_ref(3)

    assert total.cache_key(Settings(ref)) != total.cache_key(Settings(small.cache_ref(4)))
    total(Settings(ref))

    assert received == [(Settings(ref), (), {})]


def test_coroutines_and_generators_take_refs_and_coroutines_have_them():
    @cached
    async def fetch(x):
        calls.append(x)
        return [x]

    @cached
    async def use(value):
        return value

    @cached
    def items(value):
        yield from value

    @cached
    async def aitems(value):
        for one in value:
            yield one

    async def main():
        ref = fetch.cache_ref(3)
        with pytest.raises(TypeError, match="await the function first"):
            ref.get()
        used = await use(ref), await use(ref)
        return used, [one async for one in aitems(ref)], ref.get()

    assert asyncio.run(main()) == (([3], [3]), [3], [3])
    assert list(items(fetch.cache_ref(4))) == [4]
    assert fetch.cache_ref(5).get() == [5]
    assert calls == [3, 4, 5]


def test_a_ref_of_another_cache(tmp_path):
    with UnifiedCache(tmp_path / "other") as other:
        there = cached(lambda x: [x], cache=other)
        ref = there.cache_ref(3)

        total(ref)

        assert received == [([3], (), {})]
        assert ref.exists()
        assert len(other) == 1


def test_an_explanation_says_which_ref_differs():
    total(small.cache_ref(3))

    told = total.cache_explain(small.cache_ref(4))

    assert told.verdict == "miss"
    (difference,) = told.nearest[0].differences
    assert (difference.kind, difference.name) == ("argument", "values")
    assert "CacheRef" in difference.new


@pytest.mark.slow
def test_programs_without_refs_import_nothing_for_them(tmp_path):
    (tmp_path / "job.py").write_text(JOB.format(folder=str(tmp_path)))

    told = in_new_process(
        tmp_path,
        "import job, json, sys; job.double(3)\n"
        "print(json.dumps('cacheness.calls.ref' in sys.modules))",
    )

    assert told is False


def test_a_ref_is_public():
    assert isinstance(small.cache_ref(3), CacheRef)
