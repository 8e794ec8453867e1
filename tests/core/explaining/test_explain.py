# SPDX-License-Identifier: MIT
"""What `cache_explain` says of what is stored, and of what became of it."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import cacheness
from cacheness import Handler, UnifiedCache, cached, register_handler, unregister_handler
from cacheness.explaining.codenotes import MOST_DIGESTS, MOST_PARTS, known_code, note_code, noted
from cacheness.keys.code import CodeDigest
from cacheness.reader import Reader


@pytest.fixture
def cache(tmp_path):
    with UnifiedCache(tmp_path / "cache") as made:
        yield made


def make_square(cache, **options):
    @cached(cache=cache, **options)
    def square(x, power=2, **more):
        return x if isinstance(x, np.ndarray) else str(x) * power

    return square


def differences(explanation):
    return [str(one) for near in explanation.nearest for one in near.differences]


# --- hits -----------------------------------------------------------------------------------


def test_a_hit_tells_age_size_and_cost_and_changes_nothing(cache):
    square = make_square(cache, ttl_seconds="2h")
    square(3)
    square(3)
    cache.engine.flush()
    before = cache.get_entry(square.cache_key(3))

    told = square.cache_explain(3)
    cache.engine.flush()

    assert cache.get_entry(square.cache_key(3)) == before
    assert told.verdict == "hit"
    assert told.cache_key == square.cache_key(3)
    assert told.function.endswith("test_explain:make_square.<locals>.square")
    assert told.stored_bytes == before.stored_bytes
    assert told.cost_seconds == before.cost_seconds
    assert told.hits == before.hits == 1
    assert 0 <= told.age_seconds < 60
    assert 7100 < told.expires_in <= 7200
    assert told.nearest == ()
    assert "read once, expires in 2 h." in str(told)


def test_an_explanation_is_json_and_its_html_is_escaped(cache):
    square = make_square(cache)
    square("<b>&")

    told = square.cache_explain("<script>")

    assert json.loads(json.dumps(told.as_dict()))["nearest"][0]["differences"][0] == {
        "kind": "argument",
        "name": "x",
        "old": "'<b>&' (str)",
        "new": "'<script>' (str)",
        "file": "",
    }
    html = told._repr_html_()
    assert "<script>" not in html
    assert "<b>&amp;" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt;&amp;" in html
    assert html.startswith('<div class="cacheness-explanation"><p><strong>MISS</strong>: ')


# --- arguments ------------------------------------------------------------------------------


def test_a_function_that_stored_nothing_says_so(cache):
    told = make_square(cache).cache_explain(1)

    assert told.verdict == "miss"
    assert told.stored_calls == 0
    assert told.nearest == ()
    assert str(told) == "MISS: no call of `make_square.<locals>.square` is stored here."


def test_the_first_sentence_names_the_argument_and_the_nearest_call(cache):
    square = make_square(cache)
    square(1), square(5, power=3), square(7, power=4)

    told = square.cache_explain(1, power=3)

    first = str(told).split("\n")[0]
    assert "was called with x=1 (int); the nearest of 3 stored calls has x=5 (int), stored" in first
    assert [len(near.differences) for near in told.nearest] == [1, 1, 2]


@pytest.mark.parametrize(
    ("stored", "called", "old", "new"),
    [
        (1, 1.0, "1 (int)", "1.0 (float)"),
        (1, True, "1 (int)", "True (bool)"),
        (1, "1", "1 (int)", "'1' (str)"),
        (1.0, True, "1.0 (float)", "True (bool)"),
        ("1", 1, "'1' (str)", "1 (int)"),
        ("True", True, "'True' (str)", "True (bool)"),
        (None, "None", "None", "'None' (str)"),
        ([1, 2], [1, 2.0], "[1, 2] (list)", "[1, 2.0] (list)"),
        ([1, 2], (1, 2), "[1, 2] (list)", "tuple of 2"),
        ((1, 2), [1, 2], "tuple of 2", "[1, 2] (list)"),
        ({1, 2}, frozenset({1, 2}), "set of 2", "frozenset of 2"),
        (np.int64(3), 3, "int64", "3 (int)"),
        (3, np.float32(3), "3 (int)", "float32"),
        (Path("a/b"), "a/b", "Path", "'a/b' (str)"),
        ("a/b", Path("a/b"), "'a/b' (str)", "Path"),
        (b"a", "a", "bytes of 1", "'a' (str)"),
    ],
    ids=repr,
)
def test_equal_arguments_of_different_types_are_said_to_be_so(cache, stored, called, old, new):
    square = make_square(cache)
    square(stored)

    told = square.cache_explain(called)

    (difference,) = told.nearest[0].differences
    assert (difference.kind, difference.name) == ("type", "x")
    assert old in difference.old
    assert new in difference.new
    assert "are equal, but of different types" in str(told)
    assert "which is equal, but of another type than" in str(told).split("\n")[0]


def test_different_arguments_are_not_said_to_be_equal(cache):
    square = make_square(cache)
    square(2), square("2.50"), square([1])

    assert [near.differences[0].kind for near in square.cache_explain(1).nearest] == [
        "argument"
    ] * 3
    kinds = [near.differences[0].kind for near in square.cache_explain("2.5").nearest]
    assert kinds == ["argument"] * 3


def test_large_arguments_are_told_by_what_they_are_and_a_digest(cache):
    square = make_square(cache)
    square(np.arange(1000))

    (told,) = differences(square.cache_explain(np.arange(1001)))

    assert "int64 (1000,), digest " in told
    assert "→ int64 (1001,), digest " in told


def test_an_argument_that_is_new_or_gone(cache):
    square = make_square(cache, key=lambda x, *rest, **more: x)
    square(1)
    other = make_square(cache)

    assert set(differences(other.cache_explain(1))) == {
        "argument x: new",
        "argument power: new",
        "argument more: new",
        "argument key: gone",
    }


# --- secrets --------------------------------------------------------------------------------


def test_nothing_of_a_secret_is_stored_or_shown(cache, tmp_path):
    @cached(cache=cache, secret=("password",))
    def log_in(user, password="hunter1"):
        return user

    log_in("me")
    log_in("you", password="hunter2")

    told = log_in.cache_explain("me", password="hunter3")

    assert "argument password: another value (secret)" in differences(told)
    for text in (str(told), json.dumps(told.as_dict()), told._repr_html_(), repr(told)):
        assert "hunter" not in text
        assert "password" in text
    entry = cache.get_entry(log_in.cache_key("me"))
    assert entry.key_parts["arguments"].keys() == {"user"}
    notes = known_code(cache.engine.backend, entry.function)[entry.code_digest]
    assert not [label for label in notes.parts if "password" in label]
    assert log_in.cache_explain("me").verdict == "hit"


# --- what became of an entry ------------------------------------------------------------------


def test_an_expired_entry_that_still_stands(cache, monkeypatch):
    square = make_square(cache, ttl_seconds=60)
    square(3)
    late = time.time() + 100
    monkeypatch.setattr("cacheness.explaining.explain.time", lambda: late)

    told = square.cache_explain(3)

    assert told.verdict == "miss"
    assert told.expires_in < 0
    assert "square(x=3, power=2, more={})` was stored, and expired 40 s ago" in told.reason
    assert "(time to live 1 min)" in told.reason
    assert cache.engine.backend.count() == 1


def test_an_entry_within_its_stale_window(cache):
    square = make_square(cache, ttl_seconds=60, stale_seconds=1010)
    square(3)
    now = time.time()
    cache.engine.backend.update_fields(
        square.cache_key(3), {"expires_at": now - 10, "stale_until": now + 5000}
    )

    told = square.cache_explain(3)

    assert told.verdict == "stale"
    assert str(told).startswith("STALE: ")
    assert "expired 10 s ago (time to live 1 min); its value is served for another 17 min" in str(
        told
    )


def test_a_result_that_is_kept_for_failures_alone_is_a_miss(cache):
    square = make_square(cache, ttl_seconds=60, refresh_errors="stale")
    square(3)
    cache.engine.backend.update_fields(square.cache_key(3), {"expires_at": time.time() - 10})

    assert square.cache_explain(3).verdict == "miss"


def test_an_exception_that_is_raised_again(cache):
    @cached(cache=cache, cache_exceptions=(LookupError, "1h"))
    def look(x):
        raise KeyError(x)

    with pytest.raises(KeyError):
        look(3)

    told = look.cache_explain(3)

    assert told.verdict == "hit"
    assert "look(x=3)` raised an exception, which is stored: " in told.reason
    assert 3500 < told.expires_in < 3600
    assert look.cache_explain(4).verdict == "miss"


def test_coroutines_generators_and_methods(cache):
    import asyncio

    @cached(cache=cache)
    async def fetch(x):
        return x

    @cached(cache=cache)
    def items(x):
        yield from range(x)

    @cached(cache=cache)
    async def aitems(x):
        yield x

    class Model:
        def __init__(self, size):
            self.size = size

        @cached(cache=cache, ignore=("self",))
        def fit(self, x):
            return x * self.size

    async def consume(x):
        return [one async for one in aitems(x)]

    asyncio.run(fetch(3)), list(items(3)), asyncio.run(consume(3)), Model(2).fit(3)

    for function in (fetch, items, aitems, Model(2).fit):
        assert function.cache_explain(3).verdict == "hit"
        told = function.cache_explain(4)
        assert differences(told) == ["argument x: 3 (int) → 4 (int)"]


def test_an_entry_that_expired_and_was_removed(cache):
    square = make_square(cache, ttl_seconds=0.02)
    square(3)
    time.sleep(0.03)
    assert not cache.get(square.cache_key(3))

    told = square.cache_explain(3)

    assert told.verdict == "miss"
    assert "expired, and was removed" in told.reason


def test_an_entry_that_expired_was_stored_anew_and_then_invalidated(cache):
    square = make_square(cache, ttl_seconds=0.02)
    square(3)
    time.sleep(0.03)
    assert not cache.get(square.cache_key(3))
    square = make_square(cache)
    square(3)
    assert square.cache_invalidate(3)
    assert not square.cache_invalidate(3)

    assert "was invalidated" in square.cache_explain(3).reason
    assert "expired" not in square.cache_explain(3).reason


def test_an_entry_that_was_evicted(tmp_path):
    with UnifiedCache(tmp_path, max_entries=3, policy="fifo") as cache:
        square = make_square(cache)
        for x in range(5):
            square(x)

        told = square.cache_explain(0)

        assert told.verdict == "miss"
        assert "was evicted" in told.reason
        assert "to make room" in told.reason
        assert len(told.nearest) >= 1


def test_a_damaged_entry_before_and_after_a_call_has_found_it(cache, tmp_path):
    square = make_square(cache)
    square(3)
    connection = sqlite3.connect(tmp_path / "cache" / "metadata.sqlite3")
    connection.execute("UPDATE entries SET inline = x'2231'")
    connection.commit()
    connection.close()

    told = square.cache_explain(3)

    assert told.verdict == "miss"
    assert "is stored, but can't be read, so that it would be computed anew" in told.reason
    assert "checksum" in told.reason
    assert cache.engine.backend.count() == 1

    with pytest.warns(cacheness.CorruptionWarning):
        cache.get(square.cache_key(3))
    assert "was damaged and put into quarantine" in square.cache_explain(3).reason


def test_a_missing_blob(cache, tmp_path):
    square = make_square(cache)
    square(np.arange(100_000))
    for blob in (tmp_path / "cache" / "blobs").glob("*/*"):
        blob.unlink()

    told = square.cache_explain(np.arange(100_000))

    assert told.verdict == "miss"
    assert "is missing." in told.reason
    assert cache.engine.backend.count() == 1


class Celsius:
    """What only the handler below keeps."""


class CelsiusHandler(Handler):
    name = "celsius"
    data_only = True

    def can_handle(self, obj):
        return isinstance(obj, Celsius)

    def put(self, obj, file_path):
        Path(file_path).write_bytes(b"20")
        return {}

    def get(self, file_path):
        return Celsius()


def test_a_handler_that_is_not_installed(cache):
    register_handler(priority=1000)(CelsiusHandler)
    measure = cached(lambda x: Celsius(), cache=cache)
    try:
        measure(1)
        assert measure.cache_explain(1).verdict == "hit"
    finally:
        unregister_handler("celsius")

    told = measure.cache_explain(1)

    assert told.verdict == "miss"
    assert "'celsius'" in told.reason
    assert "computed and not stored" in told.reason


def test_a_value_of_a_library_that_is_not_imported_is_verified_and_not_decoded(cache, monkeypatch):
    monkeypatch.setattr(Celsius, "__module__", "not_imported_here.units")
    monkeypatch.setattr(CelsiusHandler, "get", lambda *_: pytest.fail("it was decoded"))
    register_handler(priority=1000)(CelsiusHandler)
    measure = cached(lambda x: Celsius(), cache=cache)
    try:
        measure(1)
        assert measure.cache_explain(1).verdict == "hit"
        path = Path(cache.config.cache_dir) / "metadata.sqlite3"
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE entries SET inline = x'3231'")
        connection.close()

        told = measure.cache_explain(1)
    finally:
        unregister_handler("celsius")

    assert told.verdict == "miss"
    assert "checksum differs" in told.reason


def test_a_signature_of_another_key(tmp_path):
    def compute(x):
        return {x}

    with UnifiedCache(tmp_path, signing_key=b"a" * 32) as ours:
        cached(compute, cache=ours)(1)
    with UnifiedCache(tmp_path, signing_key=b"b" * 32) as theirs:
        told = cached(compute, cache=theirs).cache_explain(1)

    assert told.verdict == "miss"
    assert "signed with a key that you don't hold" in told.reason
    assert "computed and not stored" in told.reason


def test_a_value_that_its_handler_cant_decode_here(tmp_path, monkeypatch):
    with UnifiedCache(tmp_path, signing_key=b"a" * 32) as cache:
        compute = cached(lambda x: globals()["Gone"](), cache=cache)
        compute(1)
        monkeypatch.delitem(globals(), "Gone")

        told = compute.cache_explain(1)

    assert told.verdict == "miss"
    assert "can't decode it here (" in told.reason
    assert "Can't get attribute 'Gone'" in told.reason


class Gone:
    """A class that is gone when its pickle is read."""


# --- notes ----------------------------------------------------------------------------------


def test_caching_that_is_switched_off(cache):
    square = make_square(cache)
    square(3)

    with cacheness.disabled():
        told = square.cache_explain(3)

    assert told.verdict == "miss"
    assert told.notes[0].startswith("caching is switched off")
    assert square.cache_explain(3).verdict == "hit"


def test_a_read_only_cache(cache):
    make_square(cache)(3)
    with UnifiedCache(cache.config.replace(read_only=True)) as other:
        assert make_square(other).cache_explain(3).verdict == "hit"
        told = make_square(other).cache_explain(4)

    assert told.notes == ("the cache is read-only: what is computed is not stored",)


def test_an_entry_of_the_same_key_in_another_namespace(cache):
    make_square(cache)(3)
    with UnifiedCache(cache.config.replace(namespace="mine")) as other:
        make_square(other)(4)
        told = make_square(other).cache_explain(3)
        assert make_square(other).cache_explain(5).notes == ()

    assert told.notes == ("the namespace '' has an entry of this key",)
    assert told.stored_calls == 1


def test_a_prefix_is_a_note_and_no_difference(cache):
    make_square(cache, prefix="a")(3)

    told = make_square(cache, prefix="b").cache_explain(3)

    assert told.verdict == "hit"
    assert told.notes == ("its prefix is 'a', a label that makes no difference",)


def test_code_that_does_not_count(cache):
    square = make_square(cache, code="off")
    square(3)

    told = make_square(cache).cache_explain(3)

    assert [one.kind for one in told.nearest[0].differences] == ["code"]
    assert "digest off → " in str(told)
    assert square.cache_explain(3).notes == ("the code does not count (code='off')",)


# --- what is kept for it ----------------------------------------------------------------------


def test_a_put_keeps_what_the_key_was_made_of(cache):
    square = make_square(cache, version=(1, 2), key_prefix="p")
    square(3, extra=1)

    entry = cache.get_entry(square.cache_key(3, extra=1))

    assert entry.key_parts.keys() == {"params", "arguments", "defaults", "key_prefix", "version"}
    assert entry.key_parts["arguments"].keys() == {"x", "power", "more"}
    assert entry.key_parts["defaults"] == ["power"]
    assert entry.key_parts["version"].startswith("tuple of 2")
    assert len(entry.key_parts["params"]) == 64


def test_the_code_of_a_thousand_entries_is_kept_once(cache):
    square = make_square(cache)
    for x in range(20):
        square(x)

    entry = cache.get_entry(square.cache_key(3))

    notes = known_code(cache.engine.backend, entry.function)
    assert notes.keys() == {entry.code_digest}
    assert f"function {entry.function}" in notes[entry.code_digest].parts
    assert len(json.dumps(entry.key_parts)) < 250


def test_only_the_newest_digests_of_a_function_are_kept(cache):
    for number in range(MOST_DIGESTS + 5):
        note_code(cache.engine.backend, "mod:f", f"{number:032x}", CodeDigest(len), ())

    known = known_code(cache.engine.backend, "mod:f")

    assert list(known) == [f"{number:032x}" for number in range(5, MOST_DIGESTS + 5)]


@pytest.mark.slow
def test_the_parts_of_a_digest_are_bounded():
    namespace = {}
    exec("\n".join(f"N{i} = {i}" for i in range(MOST_PARTS + 100)), namespace)
    text = ", ".join(f"N{i}" for i in range(MOST_PARTS + 100))
    exec(f"def f(): return [{text}]", namespace)
    first = noted(CodeDigest(namespace["f"]), "mod:f")
    namespace[f"N{MOST_PARTS // 2}"] = -1

    second = noted(CodeDigest(namespace["f"]), "mod:f")

    assert len(first.parts) == MOST_PARTS + 1
    assert "more parts" in first.parts
    assert first.parts != second.parts


def test_an_argument_that_the_function_changes_is_told_as_it_was_called(cache):
    @cached(cache=cache)
    def pop(values):
        return values.pop()

    pop([1, 2, 3])

    assert pop.cache_explain([1, 2, 3]).verdict == "hit"
    told = pop.cache_explain([1, 2, 4])
    assert told.nearest[0].differences[0].name == "values"


@pytest.mark.slow
def test_a_hit_makes_no_part_of_an_explanation(cache):
    import subprocess
    import sys

    folder = Path(cache.config.cache_dir).parent
    (folder / "work.py").write_text(
        "from cacheness import UnifiedCache, cached\n"
        f"@cached(cache=UnifiedCache({str(folder / 'other')!r}))\n"
        "def f(x): return x\n"
    )
    text = "import work, sys; work.f(1); print(*[m for m in sys.modules if m in {names!r}])"
    names = {
        "cacheness.keys.record",
        "cacheness.explaining.codenotes",
        "cacheness.explaining.explain",
    }

    def imported():
        done = subprocess.run(
            [sys.executable, "-c", text.format(names=names)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return set(done.stdout.split())

    assert imported() == names - {"cacheness.explaining.explain"}
    assert imported() == set()


def test_threads_explain_while_others_store(cache):
    square = make_square(cache)
    told = []

    def store(start):
        for x in range(start, start + 30):
            square(x)

    def ask():
        told.extend(square.cache_explain(x).verdict for x in range(30))

    threads = [threading.Thread(target=store, args=(0,)), threading.Thread(target=ask)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(told) == 30
    assert {square.cache_explain(x).verdict for x in range(30)} == {"hit"}


@pytest.mark.parametrize("after", ["replaced", "removed"])
def test_an_entry_that_is_replaced_while_it_is_looked_at_is_told_as_it_is_then(
    cache, monkeypatch, after
):
    square = make_square(cache)
    array = np.arange(50_000)
    square(array)
    look, left = Reader.fault, ["once"]

    def overtaken(*arguments):
        if left:
            left.pop()
            if after == "replaced":
                square.cache_refresh(array)
            else:
                square.cache_invalidate(array)
        return look(*arguments)

    monkeypatch.setattr(Reader, "fault", overtaken)
    told = square.cache_explain(array)

    assert not left
    assert told.verdict == ("hit" if after == "replaced" else "miss")
    assert "missing" not in str(told)


def test_an_entry_that_is_replaced_all_the_time_is_told_as_stored(cache, monkeypatch):
    square = make_square(cache)
    array = np.arange(50_000)
    square(array)
    look = Reader.fault

    def overtaken(*arguments):
        square.cache_refresh(array)
        return look(*arguments)

    monkeypatch.setattr(Reader, "fault", overtaken)

    assert square.cache_explain(array).verdict == "hit"
