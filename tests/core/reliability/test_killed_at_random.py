"""A process killed at a random moment, again and again, loses nothing that it acknowledged."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from cacheness.integrity.integrity import verify_integrity

from .workloads import opened

WRITER = """
import os, random, sys
from workloads import opened
place, backend, seed = sys.argv[1:]
chance = random.Random(int(seed))
def value(key, number, size):
    return (key + str(number)).encode() + bytes(size)
number = int(seed) * 1_000_000
# Whatever is imported at first use is there when the children begin.
with opened(place + "-first", backend) as cache:
    cache.put_batch([(value("a", 0, size), "a") for size in (10, 40_000)])
    cache.update_data(value("a", 0, 40_000), "a")
    cache.get("a")
    cache.delete_batch(["a"])
while True:
    # A child for each kill, so that nothing has to be imported anew.
    if not sys.stdin.readline():
        break
    number += 1000
    told, telling = os.pipe()
    child = os.fork()
    if child:
        os.write(1, f"{child}\\n".encode())
        os.write(telling, b"go")
        os.waitpid(child, 0)
        os.write(1, b"dead\\n")
        os.close(told)
        os.close(telling)
        continue
    os.read(told, 2)
    chance.seed(number)
    with opened(place, backend) as cache:
        while True:
            number += 1
            keys = chance.sample("abcdef", chance.choice([1, 1, 1, 3]))
            size = chance.choice([10, 40_000])
            what = chance.choice(["put", "put", "put", "update", "invalidate"])
            told = f"{what} {','.join(keys)} {number} {size}"
            os.write(1, f"begin {told}\\n".encode())
            if what == "invalidate":
                cache.delete_batch(keys)
            elif what == "update":
                keys = keys[:1]
                cache.update_data(value(keys[0], number, size), keys[0])
            else:
                cache.put_batch([(value(key, number, size), key) for key in keys])
            os.write(1, b"end\\n")
"""


def kill_at_random(place, backend, kills, look_each):
    folder = str(Path(__file__).parent)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, f"{place}/cache", backend, "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": folder},
    )
    with writer:
        return kill_children(writer, place, backend, kills, look_each)


def kill_children(writer, place, backend, kills, look_each):
    chance = random.Random(2)
    sure = dict.fromkeys("abcdef")
    cut_off = 0
    for turn in range(kills):
        writer.stdin.write("go\n")
        writer.stdin.flush()
        child = int(writer.stdout.readline())
        time.sleep(chance.uniform(0.001, 0.05))
        os.kill(child, signal.SIGKILL)
        unsure = read_acknowledgements(writer.stdout, sure)
        cut_off += bool(unsure)
        with warnings.catch_warnings(), opened(f"{place}/cache", backend) as cache:
            warnings.simplefilter("error")
            found = {key: cache.get(key) for key in sure}
            for key, value in found.items():
                allowed = [sure[key], *unsure.get(key, ())]
                assert value in allowed, f"kill {turn}: {key} is {value and value[:20]}"
            sure.update(found)
            if turn % look_each == 0:
                report = verify_integrity(cache.engine, grace=-1)
                assert set(report.counts) <= {"orphaned"}, str(report)
                verify_integrity(cache.engine, repair=True, grace=-1)
                assert not verify_integrity(cache.engine, grace=-1).counts
    return cut_off


def read_acknowledgements(lines, sure):
    """Bring up to date what is sure to be there; give what may be there besides."""
    unsure = {}
    while (line := lines.readline()) != "dead\n":
        if not line.endswith("\n"):
            continue
        word, *told = line.removesuffix("dead\n").split()
        if word == "begin":
            what, keys, number, size = told
            keys = keys.split(",")[: 1 if what == "update" else None]
            new = dict.fromkeys(keys)
            if what != "invalidate":
                new = {key: f"{key}{number}".encode() + bytes(int(size)) for key in keys}
            if what == "update":
                # Of an entry that is not there nothing is updated.
                new = {key: new[key] for key in keys if sure[key] is not None}
            unsure = {key: (value,) for key, value in new.items()}
        elif word == "end":
            sure.update({key: value for key, (value,) in unsure.items()})
            unsure = {}
    return unsure


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_a_few_kills_at_random_moments(quick_path, backend):
    kill_at_random(quick_path, backend, 10, 5)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_hundreds_of_kills_at_random_moments(quick_path, backend):
    assert kill_at_random(quick_path, backend, 250, 25) > 25, "it was always killed in between"
