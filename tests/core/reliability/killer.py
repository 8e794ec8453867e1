"""A process that forks one child after another, each killed at the next step of a change.

Run as ``killer.py DIRECTORY BACKEND WORKLOAD SIZE WAY``; it prints what went wrong, a JSON
list. A step is a call of a function in C that changes files, or makes SQLite do so: all of
them, whoever calls, as the interpreter's own profile hook tells them. ``WAY`` is ``step``
to die before each in turn, or ``torn`` to die half-way through each `os.write`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import traceback
import warnings

from children import in_child
from workloads import ALL_WORKLOADS, faults_after, opened, state_of, written_is_handled

STEPS = frozenset(
    {
        "chmod",
        "close",
        "commit",
        "execute",
        "executemany",
        "executescript",
        "fchmod",
        "fdatasync",
        "flush",
        "fsync",
        "ftruncate",
        "link",
        "mkdir",
        "open",
        "pwrite",
        "remove",
        "rename",
        "replace",
        "rmdir",
        "rollback",
        "sendfile",
        "symlink",
        "tofile",
        "truncate",
        "unlink",
        "utime",
        "write",
        "writelines",
        "writev",
    }
)


def main(directory, backend, name, size, way):
    workload = ALL_WORKLOADS[name]
    prepared = f"{directory}/prepared"
    workload.prepare(prepared, backend, size)
    # Here, so that whatever is imported at first use is there when the children count.
    place = copied(prepared, f"{directory}/rehearsal")
    with opened(place, backend, **workload.options) as cache:
        workload.run(cache, size, place)
    assert workload.has_happened(place)
    found = faults_after(place, backend, workload, size, finished=True, crashed=False)
    assert not found, f"without being killed: {found}"
    problems = []
    seen = set()
    step = 0
    while True:
        place = f"{directory}/{step}"
        copied(prepared, place)
        finished, code = played(place, backend, workload, size, step, way)
        state = state_of(place), finished, code != 0
        if state not in seen:
            seen.add(state)
            found = look(place, backend, workload, size, finished, crashed=code != 0)
            problems += [f"{name}, {size}, step {step}: {fault}" for fault in found]
        for left in (place, f"{place}-source", f"{place}.tar"):
            shutil.rmtree(left, ignore_errors=True)
        if code == 0:
            break
        if code != -signal.SIGKILL:
            problems.append(f"{name}: it ended with {code} at step {step}")
            break
        step += 1
    sys.stdout.write(json.dumps({"steps": step, "problems": problems}))


def copied(prepared, place):
    for suffix in ("", "-source"):
        if os.path.exists(prepared + suffix):
            shutil.copytree(prepared + suffix, place + suffix)
    if os.path.exists(f"{prepared}.tar"):
        shutil.copy(f"{prepared}.tar", f"{place}.tar")
    return place


def played(place, backend, workload, size, step, way):
    """Do it in a child that dies at a step; whether it was done before, and how it ended."""

    def work(tell):
        dies_at(step, way)
        cache = opened(place, backend, **workload.options)
        workload.run(cache, size, place)
        tell(b"done")
        cache.close()
        sys.setprofile(None)

    told, code = in_child(work)
    return told == b"done", code


def dies_at(step, way):
    """Have this process die at its step of that number."""
    left = [step]
    write = os.write

    def before_call(frame, event, function):
        if event == "c_call" and function.__name__ in STEPS and changes_files(function):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    def torn_write(descriptor, data):
        if left[0] == 0:
            write(descriptor, memoryview(data)[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return write(descriptor, data)

    if way == "torn":
        os.write = torn_write
    else:
        threading.setprofile(before_call)
        sys.setprofile(before_call)


def changes_files(function):
    """Not the methods of text that are called alike."""
    owner = function.__self__
    return type(owner) not in (str, bytes) and not (
        owner is sys.modules["posix"] and function is os.close
    )


def look(place, backend, workload, size, finished, crashed):
    """What is wrong afterwards, as another process finds it."""

    def work(tell):
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = faults_after(
                    place, backend, workload, size, finished=finished, crashed=crashed
                )
            if not (workload.__class__.__name__ == "Repair" and not finished):
                found += [f"{type(w.message).__name__}: {w.message}" for w in caught]
        except BaseException as error:
            found = [f"{error!r} {traceback.format_exc()}"]
        tell(json.dumps(found).encode())

    told, _ = in_child(work)
    return json.loads(told)


if __name__ == "__main__":
    with written_is_handled():
        main(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])
