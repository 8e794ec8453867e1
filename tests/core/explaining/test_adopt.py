# SPDX-License-Identifier: MIT
"""What `cache_adopt` keeps of older code's results, and what it leaves alone."""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import cacheness
from cacheness import ConfigError, ReadOnlyError, UnifiedCache
from cacheness.explaining.codenotes import known_code

JOB = """
import numpy as np
from cacheness import cached

RATE = 1
CALLS = []


@cached
def load(x, y=2):
    CALLS.append(x)
    return [x * RATE, y]


@cached(secret=("token",))
def frame(x, token=""):
    CALLS.append(x)
    return {(x, RATE)}


@cached(cache_exceptions=(LookupError, None))
def failing(x):
    CALLS.append(x)
    raise KeyError(x * RATE)


@cached
def array(x):
    CALLS.append(x)
    return np.full(20_000, x * RATE)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    cacheness.configure(tmp_path / "cache")
    with cacheness.defaults.default_cache() as made:
        yield made
    cacheness.configure(tmp_path / "nowhere")
    sys.modules.pop("job", None)


@pytest.fixture
def job(tmp_path):
    """Writes the module with an edit, and imports it afresh."""

    def write(old="", new=""):
        assert old in JOB
        (tmp_path / "job.py").write_text(JOB.replace(old, new) if old else JOB)
        sys.modules.pop("job", None)
        importlib.invalidate_caches()
        return importlib.import_module("job")

    return write


def test_results_of_the_one_older_code_are_kept_without_computing(cache, job):
    # given results, and a harmless edit
    before = job()
    values = [before.load(x) for x in range(5)], [before.load(7, y=y) for y in (3, 4)]
    after = job("x * RATE, y", "RATE * x, y")
    assert not after.load.is_cached(3)

    # when its author says so
    told = after.load.cache_adopt()

    # then all of them are hits
    assert told.moved == 7
    assert told.left == {}
    assert [[after.load(x) for x in range(5)], [after.load(7, y=y) for y in (3, 4)]] == list(values)
    assert after.CALLS == []
    assert told.adopted == told.candidates[0].digest != told.digest
    (difference,) = told.candidates[0].differences
    assert (difference.kind, difference.name) == ("function", "job:load")
    assert difference.file.endswith("job.py:9")
    assert len(cache) == 7


def test_what_was_stored_stays_as_it_was(cache, job):
    before = job()
    before.load(3)
    before.load(3)
    cache.engine.flush()
    old = cache.get_entry(before.load.cache_key(3))

    after = job("x * RATE, y", "RATE * x, y")
    after.load.cache_adopt()

    new = cache.get_entry(after.load.cache_key(3))
    assert cache.get_entry(old.cache_key) is None
    changed = {name for name in type(old).__slots__ if getattr(old, name) != getattr(new, name)}
    assert changed == {"cache_key", "generation", "code_digest"}
    assert new.hits == 1
    # and the present code is known, so that the next miss can be explained
    assert new.code_digest in known_code(cache.engine.backend, "job:load")
    assert after.load.cache_explain(3).verdict == "hit"


def test_hits_that_are_not_written_yet_are_kept(cache, job):
    before = job()
    before.load(3)
    before.load(3)

    after = job("x * RATE, y", "RATE * x, y")
    after.load.cache_adopt()

    assert cache.get_entry(after.load.cache_key(3)).hits == 1


def test_of_several_older_codes_one_has_to_be_named(cache, job):
    first = job()
    first.load(1), first.load(2)
    second = job("RATE = 1", "RATE = 10")
    second.load(1)
    third = job("RATE = 1", "RATE = 1.0")

    told = third.load.cache_adopt()

    assert told.adopted is None
    assert [(old.stored_calls, old.stored_bytes > 0) for old in told.candidates] == [
        (1, True),
        (2, True),
    ]
    for old in told.candidates:
        assert [str(one).split(" (")[0] for one in old.differences] == ["constant job.RATE changed"]
    assert str(told).startswith("NOTHING ADOPTED: calls of `load` are stored by 2 other codes")
    assert not third.load.is_cached(1)

    chosen = told.candidates[1].digest[:8]
    assert third.load.cache_adopt(chosen).moved == 2
    assert third.load(1) == [1, 2]
    assert third.CALLS == []
    assert len(cache) == 3


def test_a_digest_that_is_none_or_several(job):
    job().load(1)
    job("RATE = 1", "RATE = 2").load(1)
    third = job("RATE = 1", "RATE = 3")
    digests = [old.digest for old in third.load.cache_adopt().candidates]

    with pytest.raises(ConfigError, match=f"from_digest='xyz'.*of no such code.*{digests[0]}"):
        third.load.cache_adopt("xyz")
    with pytest.raises(ConfigError, match="of no such code"):
        third.load.cache_adopt("")
    with pytest.raises(ConfigError, match="of no such code"):
        third.load.cache_adopt(third.load.cache_adopt().digest)
    with pytest.raises(ConfigError, match="from_digest=5 is no digest: give a str"):
        third.load.cache_adopt(5)


def test_with_nothing_stored_there_is_nothing_to_adopt(job):
    module = job()
    module.load(1)

    told = module.load.cache_adopt()

    assert (told.candidates, told.adopted, told.moved) == ((), None, 0)
    assert str(told) == "NOTHING TO ADOPT: no call of `load` is stored by another code."


def test_what_the_present_code_stored_is_never_replaced(cache, job):
    job().load(1)
    job().load(2)
    after = job("RATE = 1", "RATE = 10")
    after.load(1)

    told = after.load.cache_adopt()

    assert (told.moved, told.left) == (1, {"already stored by the present code": 1})
    assert after.load(1) == [10, 2]
    assert after.load(2) == [2, 2]
    assert len(cache) == 3


def test_expired_results_are_left(cache, job):
    before = job()
    before.load(1)
    cache.engine.backend.update_fields(before.load.cache_key(1), {"expires_at": time.time() - 1})

    told = job("RATE = 1", "RATE = 2").load.cache_adopt()

    assert (told.moved, told.left) == (0, {"expired": 1})


def test_results_of_another_version_are_left(job):
    job().load(1)

    edited = "@cached(version=2)\ndef load(x, y=2):\n    pass; y = y"
    told = job("@cached\ndef load(x, y=2):", edited).load.cache_adopt()

    assert told.moved == 0
    (reason,) = told.left
    assert "version=" in reason


def test_results_of_other_functions_are_left(job):
    before = job()
    before.load(1), before.frame(1)
    after = job("RATE = 1", "RATE = 2")

    assert after.load.cache_adopt().moved == 1
    assert not after.frame.is_cached(1)


def test_code_that_counted_and_does_not_any_more(job):
    job().load(1)
    after = job("@cached\ndef load", "@cached(code='off')\ndef load")

    told = after.load.cache_adopt()

    assert (told.moved, told.digest) == (1, "off")
    assert after.load(1) == [1, 2]
    assert after.CALLS == []
    back = job()
    assert back.load.cache_adopt("off").moved == 1
    assert back.load(1) == [1, 2]
    assert back.CALLS == []


def test_exceptions_are_results_too(job):
    with pytest.raises(KeyError):
        job().failing(1)
    after = job("RATE = 1", "RATE = 2")

    assert after.failing.cache_adopt().moved == 1

    with pytest.raises(KeyError, match="1"):
        after.failing(1)
    assert after.CALLS == []


def test_secrets_are_no_obstacle_and_never_shown(job):
    job().frame(1, token="hunter2")
    after = job("RATE = 1", "RATE = 2")

    told = after.frame.cache_adopt()

    assert told.moved == 1
    assert after.frame(1, token="hunter2") == {(1, 1)}
    assert after.CALLS == []
    assert "hunter" not in str(told) + json.dumps(told.as_dict()) + told._repr_html_()


def test_the_html_is_escaped(job):
    job().load(1)

    html = job("RATE = 1", "RATE = 2").load.cache_adopt()._repr_html_()

    assert html.startswith('<pre class="cacheness-adoption">ADOPTED: 1 stored calls of `load`')
    assert "<" not in html[1:-6].partition(">")[2]


def test_a_read_only_cache_lists_and_changes_nothing(cache, job):
    job().load(1)
    config = cache.config
    cacheness.configure(config.replace(read_only=True))
    after = job("RATE = 1", "RATE = 2")

    with pytest.raises(ReadOnlyError):
        after.load.cache_adopt()

    assert not after.load.is_cached(1)


def test_nothing_is_adopted_while_caching_is_switched_off(job):
    job().load(1)
    after = job("RATE = 1", "RATE = 2")

    with cacheness.disabled():
        told = after.load.cache_adopt()

    assert (told.adopted, len(told.candidates)) == (None, 1)
    assert not after.load.is_cached(1)


# --- signatures -------------------------------------------------------------------------------


def test_signed_results_are_signed_anew(cache, job):
    before = job()
    before.frame(1)
    old = cache.get_entry(before.frame.cache_key(1))
    assert old.signature
    after = job("RATE = 1", "RATE = 2")

    assert after.frame.cache_adopt().moved == 1

    new = cache.get_entry(after.frame.cache_key(1))
    assert new.signature
    assert new.signature != old.signature
    assert after.frame(1) == {(1, 1)}
    assert after.CALLS == []


def change(cache, statement, *values):
    connection = sqlite3.connect(os.path.join(cache.config.cache_dir, "metadata.sqlite3"))
    connection.execute(statement, values)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET signature = NULL",
        "UPDATE entries SET signature = 'abcd:' || substr(signature, 18)",
        "UPDATE entries SET checksum = 'blake3:' || hex(randomblob(32))",
        "UPDATE entries SET compressor = 'gzip'",
        "UPDATE entries SET generation = generation - 1",
    ],
)
def test_what_does_not_verify_is_left_and_never_signed(cache, job, statement):
    before = job()
    before.frame(1)
    change(cache, statement)
    after = job("RATE = 1", "RATE = 2")

    told = after.frame.cache_adopt()

    assert (told.moved, list(told.left.values())) == (0, [1])
    assert "signature" in next(iter(told.left))
    assert cache.get_entry(before.frame.cache_key(1)) is not None
    assert not after.frame.is_cached(1)


def test_a_signed_result_cant_be_passed_off_as_another_call(cache, job):
    """Of a signed entry the record of its parameters is not signed."""
    before = job()
    before.frame(1), before.frame(2)
    other = cache.get_entry(before.frame.cache_key(2)).key_parts
    cache.engine.backend.update_fields(before.frame.cache_key(1), {"key_parts": other})
    cache.engine.backend.delete_entry(before.frame.cache_key(2))
    after = job("RATE = 1", "RATE = 2")

    told = after.frame.cache_adopt()

    assert told.moved == 0
    assert not after.frame.is_cached(2)


@pytest.mark.parametrize("parts", [{}, {"params": 1}, {"params": "zz" * 32}, {"params": "ab"}])
def test_an_entry_without_a_usable_record_is_left(cache, job, parts):
    before = job()
    before.load(1)
    cache.engine.backend.update_fields(before.load.cache_key(1), {"key_parts": parts})

    told = job("RATE = 1", "RATE = 2").load.cache_adopt()

    assert (told.moved, list(told.left.values())) == (0, [1])


def test_unsigned_arrays_move_with_their_blobs(cache, job):
    before = job()
    values = [before.array(x) for x in range(3)]
    blobs = sorted(cache.engine.blobs().iter_blobs())
    after = job("RATE = 1", "RATE = 2")

    assert after.array.cache_adopt().moved == 3

    assert sorted(cache.engine.blobs().iter_blobs()) == blobs
    for x, value in enumerate(values):
        np.testing.assert_array_equal(after.array(x), value)
    assert after.CALLS == []


# --- a killed process -------------------------------------------------------------------------

RENAME = """
import sys
from cacheness import UnifiedCache

cache = UnifiedCache(sys.argv[1], metadata_backend=sys.argv[2])
backend = cache.engine.backend
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    renames = [
        (s["cache_key"], s["generation"], {
            "cache_key": f"{turn % 2}{s['cache_key'][1:]}", "generation": s["generation"] + 1,
        })
        for s in backend.iter_entry_summaries()
    ]
    assert len(backend.rename_entries(renames)) == len(renames)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_kill_in_between_leaves_all_old_or_all_new(tmp_path, backend):
    directory = tmp_path / "killed"
    with UnifiedCache(directory, metadata_backend=backend) as cache:
        for x in range(40):
            cache.put(np.full(10_000, x), f"0 {x}")
    seed = random.Random(5)

    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RENAME), str(directory), backend],
            stdout=subprocess.PIPE,
        )
        assert child.stdout.readline() == b"ready\n"
        time.sleep(seed.uniform(0.0, 0.1))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()

        with UnifiedCache(directory, metadata_backend=backend) as cache:
            entries = list(cache.engine.backend.iter_entry_summaries())
            assert len(entries) == 40
            assert len({entry["cache_key"][0] for entry in entries}) == 1
            assert len({entry["blob"] for entry in entries}) == 40
            for entry in entries:
                x = int(entry["cache_key"][2:])
                np.testing.assert_array_equal(cache.get(entry["cache_key"]), np.full(10_000, x))


@pytest.mark.slow
def test_two_processes_that_adopt_at_once_move_each_result_once(cache, job, tmp_path):
    before = job()
    for x in range(50):
        before.array(x)
    job("RATE = 1", "RATE = 2")
    text = (
        f"import cacheness; cacheness.configure({str(tmp_path / 'cache')!r})\n"
        "import job; told = job.array.cache_adopt(); print(told.moved, sum(told.left.values()))"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", text], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    told = [child.communicate()[0].split() for child in children]

    assert [child.returncode for child in children] == [0, 0, 0]
    assert sum(int(moved) for moved, _ in told) == 50
    after = job("RATE = 1", "RATE = 2")
    assert [after.array(x)[0] for x in range(50)] == list(range(50))
    assert after.CALLS == []
