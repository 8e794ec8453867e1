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
import warnings

from workloads import WORKLOADS, faults_after, opened

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
    workload = WORKLOADS[name]
    prepared = f"{directory}/prepared"
    workload.prepare(prepared, backend, size)
    # Here, so that whatever is imported at first use is there when the children count.
    place = copied(prepared, f"{directory}/rehearsal")
    with opened(place, backend, **workload.options) as cache:
        workload.run(cache, size, place)
    assert workload.has_happened(place)
    found = faults_after(place, backend, workload, size, finished=True)
    assert not found, f"without being killed: {found}"
    problems = []
    step = 0
    while True:
        place = f"{directory}/{step}"
        copied(prepared, place)
        finished, code = played(place, backend, workload, size, step, way)
        found = look(place, backend, workload, size, finished)
        problems += [f"{name}, {size}, step {step}: {fault}" for fault in found]
        for left in (place, f"{place}.tar"):
            shutil.rmtree(left, ignore_errors=True)
        if code == 0:
            break
        if code != -signal.SIGKILL:
            problems.append(f"{name}: it ended with {code} at step {step}")
            break
        step += 1
    sys.stdout.write(json.dumps({"steps": step, "problems": problems}))


def copied(prepared, place):
    if os.path.exists(prepared):
        shutil.copytree(prepared, place)
    if os.path.exists(f"{prepared}.tar"):
        shutil.copy(f"{prepared}.tar", f"{place}.tar")
    return place


def played(place, backend, workload, size, step, way):
    """Do it in a child that dies at a step; whether it was done before, and how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            dies_at(step, way)
            cache = opened(place, backend, **workload.options)
            workload.run(cache, size, place)
            os.write(writing, b"done")
            cache.close()
            sys.setprofile(None)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as file:
        finished = file.read() == b"done"
    _, status = os.waitpid(child, 0)
    return finished, os.waitstatus_to_exitcode(status)


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
    return type(owner) is not str and not (owner is sys.modules["posix"] and function is os.close)


def look(place, backend, workload, size, finished):
    """What is wrong afterwards, as another process finds it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = faults_after(place, backend, workload, size, finished=finished)
            if not (workload.__class__.__name__ == "Repair" and not finished):
                found += [f"{type(w.message).__name__}: {w.message}" for w in caught]
        except BaseException as error:
            import traceback

            found = [f"{error!r} {traceback.format_exc()}"]
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        found = json.loads(file.read())
    os.waitpid(child, 0)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])
