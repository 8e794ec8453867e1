# SPDX-License-Identifier: MIT
"""Forks in the middle of calls, and has the children go on with them.

Run as ``forking_within.py DIRECTORY BACKEND END``: one process makes one change after the other,
and forks a child at some of the places where Python may run a signal handler, others for each
change. The child stores and reads an entry of its own, and then ends as ``END`` says: ``raise``
through all that it interrupted, or ``go-on`` with its parent's call. It prints how many there
were, and what went wrong, as JSON.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
import traceback
import warnings

from cacheness import BackendUnavailableError, Handler, UnifiedCache, register_handler
from cacheness.integrity.integrity import verify_integrity

LARGE = bytes(range(256)) * 400
HUGE = bytes(17 << 20)
"""Of which a thread takes the checksum."""
PATIENCE = 30
"""Seconds after which a child hangs; it takes hundredths."""
EVERY = int(os.environ.get("EVERY", "60"))
"""Of so many places one is taken."""
_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_ELSEWHERE = ("sqlite", "statements.py", "forks.py", "weakref", "worth.py")
"""Whose forks other tests see to, or which SQL calls."""


class Page:
    """What a handler writes to a file, by its own means."""

    def __init__(self, lines):
        self.lines = lines

    def __eq__(self, other):
        return isinstance(other, Page) and other.lines == self.lines

    def __hash__(self):
        return 0


@register_handler(priority=100)
class PageHandler(Handler):
    def can_handle(self, obj):
        return isinstance(obj, Page)

    def put(self, obj, file_path):
        with open(file_path, "w") as file:
            for line in obj.lines:
                file.write(line)
                file.flush()
        return {}

    def get(self, file_path):
        lines = []
        with open(file_path, buffering=1) as file:
            while line := file.readline(60_000):
                lines.append(line)
        return Page(lines)


PAGE = Page([str(number) * 50_000 + "\n" for number in range(4)])


def items(cache):
    @cache.cached(key_prefix=os.urandom(4).hex())
    def items():
        yield from [LARGE] * 20

    return list(items()) == [LARGE] * 20 and list(items()) == [LARGE] * 20


def export(cache):
    cache.export(os.path.join(cache.config.cache_dir, "..", "moved.tar"), entry__cache_key="page")
    with UnifiedCache(signing_key=b"of this test only", metadata_backend="memory") as other:
        other.import_(os.path.join(cache.config.cache_dir, "..", "moved.tar"))
        return other.get("page") == PAGE


def import_(cache):
    cache.import_(os.path.join(cache.config.cache_dir, "..", "moved.tar"))
    return cache.get("page") == PAGE


def update(cache):
    cache.put(PAGE, "own")
    cache.update_data(LARGE, "own")
    return cache.get("own") == LARGE


def put(value, **options):
    def change(cache):
        cache.put(value, "own", **options)
        return cache.get("own") == value

    return change


CHANGES = {
    "put": put(LARGE),
    "replace": put(LARGE, compressor="gzip"),
    "put of what is huge": put(HUGE, compressor="none"),
    "put of a file": put(PAGE),
    "put of parts": put({"a": LARGE, "b": [LARGE, PAGE]}),
    "update": update,
    "get": lambda cache: cache.get("page") == PAGE and cache.get("old") == LARGE,
    "batch": lambda cache: bool(cache.put_batch([(LARGE, "own"), (LARGE, "a"), (1, "b")])),
    "items": items,
    "export": export,
    "import": import_,
}


class Forking:
    """Forks at some places of the package's own code, and of the handler's."""

    def __init__(self, cache, end):
        self.children = {}
        self.seen = set()
        self.cache = cache
        self.end = end
        self.number = None
        """The child's, in a child."""

    def __enter__(self):
        sys.setprofile(self._see)

    def __exit__(self, *_):
        sys.setprofile(None)

    def _see(self, frame, event, _argument):
        if event not in ("call", "c_return") or not self._is_wanted(frame, event):
            return
        where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} at {event}"
        if where in self.seen:
            return  # a loop, which may be one that waits for the children
        self.seen.add(where)
        if len(self.seen) % EVERY:
            return
        number = len(self.children)
        child = os.fork()
        if child:
            self.children[child] = number, where
            return
        sys.setprofile(None)
        self.number = number
        signal.alarm(PATIENCE)
        ending(self.work)
        if self.end == "raise":
            raise SystemExit

    def _is_wanted(self, frame, event):
        code = frame.f_code
        if code.co_filename == __file__:
            # Where its file is not open yet, the child would open it, too.
            return event == "c_return" and code.co_name in ("put", "get")
        if "cacheness-core" not in code.co_filename or is_importing(frame):
            return False
        name = os.path.basename(code.co_filename)
        if name.startswith(_ELSEWHERE) or code.co_name in ("put_with", "check"):
            return False
        # What is raised as a generator goes on would pass by its own handlers here.
        return self.end != "raise" or event != "call" or not code.co_flags & _GENERATORS

    def work(self):
        name, value = f"child {os.getpid()}", LARGE + b"%d" % os.getpid()
        self.cache.put(value, name)
        assert self.cache.get(name) == value


def is_importing(frame):
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def ending(work):
    """Do it; where that fails, end with what it was."""
    try:
        work()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def main(directory, backend, end):
    warnings.simplefilter("error")
    warnings.simplefilter("default", ResourceWarning)  # of what the handler was interrupted in
    warnings.filterwarnings("ignore", message=".* forked in the middle")
    options = {"metadata_backend": backend, "signing_key": b"of this test only", "min_free": 0}
    found = {}
    with UnifiedCache(os.path.join(directory, "cache"), **options) as cache:
        cache.put(LARGE, "old")
        cache.put(PAGE, "page")
        for name, change in CHANGES.items():  # so that what they need is imported
            assert change(cache), name
        for change in CHANGES:
            found[change] = forks_in(cache, change, end)
    sys.stdout.write(json.dumps(found))


def forks_in(cache, change, end):
    """How many children a change had, and what went wrong."""
    forking = Forking(cache, end)
    done = None
    if change == "import":
        cache.invalidate("page")
    try:
        with forking:
            done = CHANGES[change](cache)
    except (SystemExit, BackendUnavailableError):
        if forking.number is None:
            raise
    except BaseException:
        if forking.number is None:
            raise
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    if forking.number is not None:
        ending(forking.work)
        ending(cache.close)
        os._exit(0)
    problems = [] if done else ["it does not read what it stored"]
    problems += failures(forking.children)
    problems += faults(cache, forking.children)
    return {"children": len(forking.children), "problems": problems}


def failures(children):
    for child, (_, where) in children.items():
        _, status = os.waitpid(child, 0)
        if code := os.waitstatus_to_exitcode(status):
            yield f"the child that was forked in {where} ended with {code}"


def faults(cache, children):
    """What is wrong with what all of them left."""
    if cache.config.metadata_backend != "memory":
        for child in children:
            if cache.get(f"child {child}") != LARGE + b"%d" % child:
                yield f"child {child} has lost its entry"
    if cache.get("old") != LARGE or cache.get("page") != PAGE:
        yield "it has lost an entry"
    report = verify_integrity(cache.engine, grace=-1)
    if set(report.counts) - {"orphaned"}:
        yield f"it is not sound: {report}"
    verify_integrity(cache.engine, repair=True, grace=-1)


if __name__ == "__main__":
    main(*sys.argv[1:4])
