"""With ``durability="fsync"`` a put that has returned survives a power loss, whole.

Without, what has been on the disk for long does.
"""

import itertools
import os
import shutil
import sys
import warnings

import pytest

from cacheness import CorruptionWarning

from .power import Recorder, build, states
from .workloads import NOISE, Written, opened, written_is_handled

SMALL, LARGE = b"s" * 200, b"L" * 40_000
WRITTEN = Written(NOISE[:40_000])


def evict(cache):
    """The two oldest, as a put over the bound does."""
    victims = cache.engine.backend.evict("fifo", max_size=None, max_entries=2, slack=0.0)
    cache.engine.dispose(victims, "evict")


def exported(directory):
    """A file with two entries to import."""
    with opened(f"{directory}/source", "sqlite") as source:
        source.put(LARGE + b"5", "a")
        source.put(SMALL, "b")
        source.export(f"{directory}/export.tar")
    return f"{directory}/export.tar"


def changes(cache, export):
    """What is done one after another, and all that is to be read after each."""
    yield "small", lambda: cache.put(SMALL, "a"), {"a": SMALL}
    yield "large", lambda: cache.put(LARGE, "b"), {"b": LARGE}
    yield "replaced", lambda: cache.put(LARGE + b"2", "b"), {"b": LARGE + b"2"}
    yield "smaller", lambda: cache.put(SMALL, "b"), {"b": SMALL}
    yield "larger", lambda: cache.update_data(LARGE + b"3", "b"), {"b": LARGE + b"3"}
    batch = {key: LARGE + key.encode() for key in "acd"}
    yield "batch", lambda: cache.put_batch([(v, k) for k, v in batch.items()]), batch
    yield "removed", lambda: cache.invalidate("c"), {"c": None}
    yield "compacted", lambda: cache.engine.backend.check_store(repair=True), {}
    yield "again", lambda: cache.put(LARGE + b"4", "c"), {"c": LARGE + b"4"}
    yield "popped", lambda: cache.pop("d"), {"d": None}
    yield "by its handler", lambda: cache.put(WRITTEN, "d"), {"d": WRITTEN}
    yield "evicted", lambda: evict(cache), {"a": None, "b": None}
    brought = {"a": LARGE + b"5", "b": SMALL}
    yield "imported", lambda: cache.import_(export), brought


def recorded(root, backend, export, first):
    """The log of all changes, and what is to be read after so many of them."""
    after = [dict.fromkeys("abcd")]
    # Made by others, who did not wait for the disk: nothing of it need be there.
    with Recorder(root) as recorder:
        recorder.say("start")
        with opened(f"{root}/cache", backend, durability="fsync") as cache:
            for _, run, then in itertools.islice(changes(cache, export), first):
                run()
                after.append(after[-1] | then)
                recorder.say("ack")
            recorder.say("idle")
        # Closing a SQLite file moves its log into it, which is SQLite's own business.
    return recorder.log, after


@pytest.fixture(autouse=True)
def handler():
    with written_is_handled():
        yield


def lose_power(quick_path, backend, *, first=None, at_random):
    os.makedirs(f"{quick_path}/root")
    export = exported(quick_path)
    log, after = recorded(f"{quick_path}/root", backend, export, first)
    problems = []
    looked = 0
    for looked, (happened, files) in enumerate(states(log, at_random=at_random), 1):
        acknowledged = sum(event[0] == "ack" for event in log[:happened])
        allowed = after[acknowledged : acknowledged + 2]
        place = f"{quick_path}/{looked}"
        os.makedirs(place)
        build(files, place)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with opened(f"{place}/cache", backend) as cache:
                    found = {key: cache.get(key) for key in "abcd"}
                    cache.put(LARGE, "e")
                    found["e"] = cache.get("e") == LARGE
            except Exception as error:
                found = {"e": repr(error)}
        # One of the states as a whole: a batch is there, or is not.
        is_right = any(of.items() <= found.items() for of in allowed)
        # A line of the log that was being written may be torn, and is said to be.
        told = [str(w.message) for w in caught if "damaged lines" not in str(w.message)]
        if not is_right or told or found.get("e") is not True:
            what = {key: f"{found.get(key)!r:.20}" for key in "abcd"}
            problems.append(
                f"after {acknowledged} changes, event {happened} {log[happened - 1]!r:.90}: "
                f"{what} {found.get('e')} {told}"
            )
        shutil.rmtree(place)
    assert not problems, f"{len(problems)} of {looked}:\n" + "\n".join(problems[:30])
    assert looked > 50


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_what_has_long_been_on_the_disk_stays_there_whatever_the_durability(quick_path, backend):
    held = {key: SMALL + key.encode() for key in "abcd"}
    os.makedirs(f"{quick_path}/root")
    with Recorder(f"{quick_path}/root") as recorder:
        recorder.say("start")
        with opened(f"{quick_path}/root/cache", backend) as cache:
            for key, value in held.items():
                cache.put(value, key)
            recorder.say("all synced")
            long_ago = len(recorder.log)
            cache.engine.backend.check_store(repair=True)
            cache.put(LARGE, "new")

    looked = 0
    for happened, files in states(recorder.log, at_random=8):
        if happened < long_ago:
            continue
        looked += 1
        place = f"{quick_path}/{looked}"
        build(files, place)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CorruptionWarning)  # the new one may be torn
            with opened(f"{place}/cache", backend) as cache:
                found = {key: cache.get(key) for key in held}
                assert found == held, f"event {happened} {recorder.log[happened - 1]!r:.90}"
                assert cache.get("new") in (None, LARGE)
                cache.put(SMALL, "newer")
                assert cache.get("newer") == SMALL
    assert looked > 10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="says by XDG_DATA_HOME where the key lies")
def test_the_key_that_signed_what_is_acknowledged_survives_a_power_loss(quick_path, monkeypatch):
    signed, root = {1, 2}, f"{quick_path}/root"
    os.makedirs(root)
    monkeypatch.setenv("XDG_DATA_HOME", f"{root}/home/share")
    with Recorder(root) as recorder:
        recorder.say("start")
        with opened(f"{root}/cache", "json", durability="fsync", signing_key=None) as cache:
            cache.put(signed, "a")
            recorder.say("ack")
        recorder.say("closed")

    looked = 0
    for looked, (happened, files) in enumerate(states(recorder.log, at_random=4), 1):
        is_acknowledged = ("ack",) in recorder.log[:happened]
        place = f"{quick_path}/{looked}"
        os.makedirs(place)
        build(files, place)
        monkeypatch.setenv("XDG_DATA_HOME", f"{place}/home/share")
        with warnings.catch_warnings():
            warnings.simplefilter("error" if is_acknowledged else "ignore")
            with opened(f"{place}/cache", "json", signing_key=None) as cache:
                assert cache.get("a") in ([signed] if is_acknowledged else [None, signed])
                cache.put(signed, "b")
                assert cache.get("b") == signed
    assert is_acknowledged
    assert looked > 50


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_the_first_puts_survive_a_power_loss(quick_path, backend):
    lose_power(quick_path, backend, first=2, at_random=1)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_what_was_done_survives_a_power_loss_at_any_moment(quick_path, backend):
    lose_power(quick_path, backend, at_random=4)
