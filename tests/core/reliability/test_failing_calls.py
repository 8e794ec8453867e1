"""Each call of the operating system fails once, at each change: the cache says so and is sound."""

import errno
import itertools
import os
import shutil
import warnings

import pytest

from cacheness import CachenessError

from .failing import Failing
from .workloads import LARGE, WORKLOADS, blobs_of, cases, faults_after, opened, state_of, value

ALL = [(backend, *case) for backend in ("sqlite", "json") for case in cases(backend)]
SOME = [case for case in ALL if case[1] in ("Replace", "PutBatch") and case[2] == LARGE]
OTHERS = (errno.ENOSPC, errno.EACCES, errno.EMFILE)


def descriptors():
    return len(os.listdir("/dev/fd"))


def fail_each_call(quick_path, backend, name, size, code):
    workload = WORKLOADS[name]
    prepared = f"{quick_path}/prepared"
    workload.prepare(prepared, backend, size)
    problems = []
    looked_at = set()
    for number in itertools.count(-1):
        place = f"{quick_path}/{number}"
        if os.path.exists(prepared):
            shutil.copytree(prepared, place)
        if os.path.exists(f"{prepared}.tar"):
            shutil.copy(f"{prepared}.tar", f"{place}.tar")
        before = descriptors()
        # The first time nothing fails, and whatever is imported at first use is imported.
        failing = Failing(10**9 if number < 0 else number, code)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            raised, faults = attempt(failing, place, backend, workload, size)
        where = f"call {number}, {failing.reached}"
        done = raised is None
        # The file of an import is the user's own, and so are its errors.
        own = "export_file" in failing.reached and isinstance(raised, OSError)
        told = isinstance(raised, KeyboardInterrupt if code is None else CachenessError)
        if not (done or own or (told and (code is None or str(raised)))):
            problems.append(f"{where}: raised {raised!r}")
        problems += [f"{where}: warned {w.message}" for w in caught if name != "Repair"]
        raised = None
        # Of a call that is interrupted as it returns, what it opened is known to nobody.
        if code is not None and descriptors() > before:
            problems.append(f"{where}: {descriptors() - before} descriptors stay open")
        with warnings.catch_warnings():
            # What was to be repaired may still be damaged.
            warnings.simplefilter("ignore" if name == "Repair" and not done else "error")
            # What an interruption leaves is for a repair, as what a kill leaves is; and a
            # repair that can't ask whose a file is leaves it.
            left = code is None or failing.in_removal or name == "Repair"
            state = state_of(place), done, left
            if state not in looked_at:
                looked_at.add(state)
                faults += faults_after(place, backend, workload, size, finished=done, crashed=left)
        problems += [f"{where}: {fault}" for fault in faults]
        shutil.rmtree(place, ignore_errors=True)  # it may not have been made
        if number >= 0 and not failing.reached:
            break
    assert not problems, "\n".join(problems)
    assert number > 5


def attempt(failing, place, backend, workload, size):
    """Do it while a call fails; what it raised, and what is wrong with that cache afterwards."""
    cache, ran = None, False
    try:
        with failing:
            cache = opened(place, backend, **workload.options)
            workload.run(cache, size, place)
            ran = True
            cache.close()
    except BaseException as error:
        raised = error.with_traceback(None)
    else:
        return None, []
    if cache is None:
        return raised, []
    with cache:
        return raised, [] if ran else faults_of(cache, place, backend, workload, size)


def faults_of(cache, place, backend, workload, size):
    """What is wrong with a cache that goes on after a call of it failed."""
    faults = []
    with opened(place, backend) as other:
        found, seen = ({key: one.get(key) for key in workload.keys} for one in (cache, other))
        if found != seen:
            faults.append("it reads what another cache does not")
        if workload.whole and other.get(workload.touched[0]) == workload.before(size).get(
            workload.touched[0]
        ):
            # A file may have been on its way; those of the others are known.
            named = {other.get_entry(key).blob for key in other} - {None}
            unnamed = blobs_of(other, place) - named
            if len(unnamed) > 1:
                faults.append(f"files of what was not recorded are left: {unnamed}")
        cache.put(value("y", size), "y")
        if other.get("y") != value("y", size):
            faults.append("what it puts afterwards is not there for others")
        cache.invalidate("y")
        if other.exists("y"):
            faults.append("what it removes afterwards is still there for others")
    return faults


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "name", "size"), ALL)
def test_whatever_call_fails_in_whatever_change(quick_path, backend, name, size):
    fail_each_call(quick_path, backend, name, size, errno.EIO)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["Replace", "ReplaceDurably", "UpdateData", "PutBatch", "Pop", "Import", "Repair"]
)
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_an_interruption_after_any_call_leaves_old_or_new_values(quick_path, backend, name):
    fail_each_call(quick_path, backend, name, 50_000, None)


@pytest.mark.slow
@pytest.mark.parametrize("code", OTHERS, ids=[errno.errorcode[code] for code in OTHERS])
@pytest.mark.parametrize(("backend", "name", "size"), SOME)
def test_whatever_is_the_matter_with_a_call(quick_path, backend, name, size, code):
    fail_each_call(quick_path, backend, name, size, code)
