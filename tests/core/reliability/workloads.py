"""What the reliability tests do to a cache: one change each, with what may be read after it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import warnings
from dataclasses import dataclass
from typing import ClassVar

from cacheness import (
    CorruptionWarning,
    Handler,
    UnifiedCache,
    register_handler,
    unregister_handler,
)
from cacheness.decorator import cached
from cacheness.integrity.integrity import collect_garbage, verify_integrity

SECRET = b"a signing key of this test"
SMALL, LARGE = 200, 50_000
"""Inline, and in a blob."""
KEYS = ("a", "b", "c", "d", "new")


KNOWN_FILES = re.compile(
    r"CACHEDIR\.TAG|\.gitignore|cacheness\.json|store-id|metadata\.(sqlite3(-wal|-shm)?|jsonl)"
    r"|locks/[a-z.]+\.lock|blobs/(store-id|owner-[0-9a-f]{32}|[0-9a-f]{2}/[0-9a-f]{32}(\.\w+)+)"
    r"|quarantine/[0-9a-f]{16}\.(json|payload)"
)
"""Of a cache's directory when all is well."""
NOISE = random.Random(1).randbytes(400_000)
"""What no compressor makes smaller."""


def value(letter: str, size: int) -> bytes:
    return letter.encode() * size


@dataclass(frozen=True)
class Written:
    """What a handler writes to a file itself, which then becomes the blob."""

    content: bytes


class WrittenHandler(Handler):
    """Stores `Written`."""

    data_only = True

    def can_handle(self, obj):
        return type(obj) is Written

    def put(self, obj, file_path):
        with open(file_path, "wb") as file:
            file.write(obj.content)
        return {}

    def get(self, file_path):
        with open(file_path, "rb") as file:
            return Written(file.read())


@contextlib.contextmanager
def written_is_handled():
    register_handler(WrittenHandler)
    try:
        yield
    finally:
        unregister_handler("written")


def opened(directory, backend, **options):
    options = {"signing_key": SECRET, "min_free": 0, **options}
    return UnifiedCache(str(directory), metadata_backend=backend, **options)


def fill(directory, backend, size, **options):
    """Four entries of the letter ``o``, for old."""
    with opened(directory, backend, **options) as cache:
        for key in "abcd":
            cache.put(value("o", size) + key.encode(), key, tags=(key,))


class Workload:
    """A change: ``prepare`` before it, ``run``, and the states that are allowed after it."""

    options: ClassVar[dict[str, object]] = {}
    whole = False
    """Whether the keys change all at once."""
    touched: tuple[str, ...] = ("a",)
    keys = KEYS

    def prepare(self, directory, backend, size):
        fill(directory, backend, size, **self.options)

    def has_happened(self, directory):
        return True

    def run(self, cache, size, directory):
        raise TypeError

    def before(self, size):
        return {key: value("o", size) + key.encode() for key in "abcd"}

    def after(self, size):
        raise TypeError


class Put(Workload):
    touched = ("new",)

    def run(self, cache, size, directory):
        cache.put(value("n", size), "new")

    def after(self, size):
        return {**self.before(size), "new": value("n", size)}


class Replace(Workload):
    def run(self, cache, size, directory):
        cache.put(value("n", size), "a")

    def after(self, size):
        return {**self.before(size), "a": value("n", size)}


class Create(Put):
    """The first put of all, which makes the directory."""

    def prepare(self, directory, backend, size):
        """Nothing is there."""

    def before(self, size):
        return {}


class ReplaceDurably(Replace):
    """With a wait for the disk after each step."""

    options: ClassVar = {"durability": "fsync"}


class Add(Put):
    def run(self, cache, size, directory):
        assert cache.add(value("n", size), "new")
        assert not cache.add(value("x", size), "a")


class Signed(Replace):
    """A value that needs a signature."""

    def run(self, cache, size, directory):
        cache.put({size, "n"}, "a")

    def after(self, size):
        return {**self.before(size), "a": {size, "n"}}


class UpdateData(Replace):
    def run(self, cache, size, directory):
        assert cache.update_data(value("n", size), "a")


class Invalidate(Workload):
    def run(self, cache, size, directory):
        assert cache.invalidate("a")

    def after(self, size):
        return {key: old for key, old in self.before(size).items() if key != "a"}


class Pop(Invalidate):
    def run(self, cache, size, directory):
        assert cache.pop("a") is not None


class Clear(Workload):
    whole = True
    touched = ("a", "b", "c", "d")

    def run(self, cache, size, directory):
        assert cache.clear() == 4

    def after(self, size):
        return {}


class Touch(Workload):
    def run(self, cache, size, directory):
        cache.get("b")
        assert cache.touch("a")
        assert cache.update_entry("b", description="d")

    def after(self, size):
        return self.before(size)


class PutBatch(Workload):
    """Of files with an inline value among them, so that it takes several statements."""

    whole = True
    touched = ("a", "b", "new")

    def run(self, cache, size, directory):
        cache.put_batch([(obj, key) for key, obj in self.new(size).items()])

    def new(self, size):
        sizes = {"a": size, "b": SMALL, "new": size}
        return {key: value("n", sizes[key]) + key.encode() for key in self.touched}

    def after(self, size):
        return {**self.before(size), **self.new(size)}


class Evict(Workload):
    """A put over the bound, which drives the oldest out."""

    options: ClassVar = {"max_entries": 4, "policy": "fifo"}
    touched = ("a", "b", "c", "d", "new")

    def run(self, cache, size, directory):
        cache.put(value("n", size), "new")

    def after(self, size):
        # The newest stay; how many go is the evictor's to say.
        return {"new": value("n", size)}


class Compact(Workload):
    """A log that is mostly of the past, and is replaced by a shorter one."""

    def prepare(self, directory, backend, size):
        fill(directory, backend, size)
        with opened(directory, backend) as cache:
            for _ in range(5):
                cache.put(value("p", size), "a")
            cache.put(value("o", size) + b"a", "a")

    def run(self, cache, size, directory):
        cache.engine.backend.check_store(repair=True)

    def after(self, size):
        return self.before(size)


class CompactByPut(Replace):
    """The same, by the put that makes it too long."""

    options: ClassVar = {"inline_bytes": 1 << 20}

    def prepare(self, directory, backend, size):
        fill(directory, backend, size, **self.options)
        with opened(directory, backend, **self.options) as cache:
            for _ in range(1 if size == SMALL else 2):
                cache.put(NOISE, "p")
            cache.invalidate("p")

    def run(self, cache, size, directory):
        cache.put(NOISE, "a")
        cache.put(value("n", size), "a")

    def also(self, size):
        return {"a": NOISE}

    def has_happened(self, directory):
        return os.path.getsize(f"{directory}/metadata.jsonl") < len(NOISE)


class Import(Workload):
    """Of two keys that are there and one that is new."""

    touched = ("a", "new")

    def prepare(self, directory, backend, size):
        fill(directory, backend, size)
        # Where both are on one server, they differ by their namespaces alone.
        namespace = os.environ.get("CACHENESS_NAMESPACE", "") + "source"
        with opened(f"{directory}-source", backend, namespace=namespace) as source:
            for key in self.touched:
                source.put(value("n", size) + key.encode(), key)
            source.export(f"{directory}.tar")

    def run(self, cache, size, directory):
        cache.import_(f"{directory}.tar")

    def after(self, size):
        new = {key: value("n", size) + key.encode() for key in self.touched}
        return {**self.before(size), **new}


class Copy(Import):
    """The same, straight from the other cache."""

    def run(self, cache, size, directory):
        namespace = os.environ.get("CACHENESS_NAMESPACE", "") + "source"
        backend = cache.config.metadata_backend
        with opened(f"{directory}-source", backend, namespace=namespace) as source:
            source.copy_to(cache)


class Compute(Put):
    """A miss, which one process computes while the others wait; then the same once more."""

    def run(self, cache, size, directory):
        for _ in range(2):
            assert cache.get_or_compute(lambda: value("n", size), "new") == value("n", size)


class WriteFile(Put):
    """A value whose handler writes the file itself."""

    def run(self, cache, size, directory):
        cache.put(Written(NOISE[:size]), "new")

    def after(self, size):
        return {**self.before(size), "new": Written(NOISE[:size])}


class Stream(Put):
    """The items of a generator, which come one by one."""

    keys = tuple("abcd")

    def run(self, cache, size, directory):
        @cached(cache=cache, code="off")
        def items():
            yield from (NOISE[start:] for start in range(4))

        assert len(list(items())) == 4

    after = Workload.before


class Collect(Workload):
    """What expired and what nothing names goes."""

    touched = ("a", "b")

    def prepare(self, directory, backend, size):
        fill(directory, backend, size)
        with opened(directory, backend) as cache:
            for key in "ab":
                cache.engine.backend.update_fields(key, {"expires_at": 1.0, "ttl_seconds": 1.0})
            for number in range(3):
                cache.engine.blobs().write(f"ab/{number:032x}.bin", [b"orphan"])

    def run(self, cache, size, directory):
        collected = collect_garbage(cache.engine, grace=-1)
        assert (collected.expired, collected.orphaned) == (2, 3)

    def before(self, size):
        return {key: value("o", size) + key.encode() for key in "cd"}

    after = before


class Adopt(Workload):
    """Results of older code, renamed to those of the newer."""

    keys = ()

    @staticmethod
    def function(cache, code):
        made = {}
        source = f"def aged(x, size):\n    return (b'o' * size + b'%d' % x, {code})[0]\n"
        exec(source, {"__name__": "aged"}, made)  # two versions of one function
        return cached(cache=cache, code="off" if code else "auto", version=1)(made["aged"])

    def prepare(self, directory, backend, size):
        with opened(directory, backend) as cache:
            for x in range(3):
                self.function(cache, 0)(x, size)
            assert len(cache) == 3

    def run(self, cache, size, directory):
        adoption = self.function(cache, 1).cache_adopt()
        assert adoption.moved == 3, adoption

    def before(self, size):
        return {}

    after = before


class Repair(Workload):
    """A damaged blob, a missing one, and one that nothing names are mended."""

    touched = ("a", "b")

    def prepare(self, directory, backend, size):
        fill(directory, backend, LARGE)
        with opened(directory, backend) as cache:
            paths = [f"{directory}/blobs/{cache.get_entry(key).blob}" for key in "ab"]
            cache.engine.blobs().write("ab/" + "0" * 32 + ".bin", [b"orphan"])
        os.unlink(paths[0])
        with open(paths[1], "r+b") as file:
            file.write(b"damaged")

    def run(self, cache, size, directory):
        verify_integrity(cache.engine, repair=True, grace=-1)

    def before(self, size):
        return {key: value("o", LARGE) + key.encode() for key in "cd"}

    after = before


class DeleteMany(Workload):
    whole = True
    touched = ("a", "b")

    def run(self, cache, size, directory):
        removed = cache.delete_batch(["a", "b"])
        assert removed == 2

    def after(self, size):
        return {key: old for key, old in self.before(size).items() if key in "cd"}


class Expire(Workload):
    touched = ("a", "b", "c", "d")

    def prepare(self, directory, backend, size):
        fill(directory, backend, size)
        with opened(directory, backend) as cache:
            for key in "ab":
                cache.engine.backend.update_fields(key, {"expires_at": 1.0, "ttl_seconds": 1.0})

    def run(self, cache, size, directory):
        assert cache.get("a") is None
        assert cache.cleanup_expired() == 1

    def before(self, size):
        return {key: value("o", size) + key.encode() for key in "cd"}

    after = before


WORKLOADS = {
    of.__name__: of()
    for of in (
        Create,
        Put,
        Replace,
        ReplaceDurably,
        Add,
        Signed,
        UpdateData,
        Invalidate,
        Pop,
        Clear,
        Touch,
        PutBatch,
        DeleteMany,
        Evict,
        Expire,
        Compact,
        CompactByPut,
        Import,
        Adopt,
        Repair,
    )
}

MORE_WORKLOADS = {of.__name__: of() for of in (Copy, Compute, WriteFile, Stream, Collect)}
"""Of which the steps are looked at, and no more."""
ALL_WORKLOADS = WORKLOADS | MORE_WORKLOADS


def cases(backend):
    """All workloads with the sizes that make a difference to them."""
    for name in WORKLOADS:
        if name == "CompactByPut" and backend != "json":
            continue
        for size in (LARGE,) if name in ("Repair", "Adopt", "ReplaceDurably") else (SMALL, LARGE):
            yield name, size


def faults_after(directory, backend, workload, size, *, finished, crashed=True):
    """What is wrong with a cache after a change that may not have come to its end.

    Args:
        directory: The cache's.
        backend: Its metadata backend.
        workload: What was done.
        size: Of the values.
        finished: Whether its caller was told that it is done.
        crashed: Whether files that nothing names may be left.
    """
    faults = []
    before, after = workload.before(size), workload.after(size)
    also = workload.also(size) if hasattr(workload, "also") else {}
    with opened(directory, backend) as cache:
        half_repaired = isinstance(workload, Repair) and (crashed or not finished)
        # Before anything is read, which removes the entries whose payloads are gone.
        faults += unsound(cache, crashed=crashed, half_repaired=half_repaired)
        with warnings.catch_warnings():
            if half_repaired:
                warnings.simplefilter("ignore", CorruptionWarning)
            found = {key: cache.get(key) for key in workload.keys}
        for key in workload.keys:
            allowed = [after.get(key)]
            if not finished or isinstance(workload, (Evict,)):
                allowed += [before.get(key), *([also[key]] if key in also else [])]
            if found[key] not in allowed:
                faults.append(f"{key} reads {found[key]!r:.60}")
        if isinstance(workload, Adopt) and len(cache) != 3:
            faults.append(f"{len(cache)} results of 3 are left")
        if workload.whole and len({found[k] == after.get(k) for k in workload.touched}) > 1:
            faults.append(f"a part of it was done: { {k: v and v[:1] for k, v in found.items()} }")
        verify_integrity(cache.engine, repair=True, grace=-1)
        report = verify_integrity(cache.engine, grace=-1)
        if set(report.counts) - {"quarantined"}:
            faults.append(f"the repair left {report}")
        if len(cache) != len(list(cache)):
            faults.append(f"{len(cache)} entries are counted, {len(list(cache))} are there")
        named = {
            entry.blob
            for entry in cache.entries(all_namespaces=True)
            if entry.blob is not None and entry.blob_store == cache.engine.blobs().store_id
        }
        cache.put(value("z", size), "z")
        if cache.get("z") != value("z", size):
            faults.append("it takes no new entry")
        cache.invalidate("z")
        there = blobs_of(cache, directory)
        if there != named:
            faults.append(f"files are left: {there ^ named}")
    strange = [name for name in files_in(directory) if not KNOWN_FILES.fullmatch(name)]
    return [*faults, *(f"{name} is left" for name in strange)]


def state_of(place):
    """Tells apart what the disk holds, for who was killed at one step or at the next.

    What is equal needs but one look. The index of SQLite's log is made anew by who comes
    first, so it does not count.
    """
    digest = hashlib.sha256()
    for top in (place, f"{place}-source"):
        for folder, _, names in sorted(os.walk(top)):
            digest.update(f"{os.path.relpath(folder, top)}\0".encode())
            for name in sorted(names):
                if not name.endswith("-shm"):
                    path = os.path.join(folder, name)
                    with open(path, "rb") as file:
                        content = file.read()
                    about = f"{name}\0{os.stat(path).st_mode}\0{len(content)}\0"
                    digest.update(about.encode() + content)
    return digest.digest()


def unsound(cache, *, crashed, half_repaired):
    """What a look finds that may not be there."""
    report = verify_integrity(cache.engine, grace=-1)
    allowed = {"quarantined", *(["orphaned"] if crashed else [])}
    if half_repaired:
        allowed |= {"corrupt", "missing", "orphaned"}
        if {problem.name for problem in report.missing} - {"a"}:
            return [f"the repair lost a payload: {report}"]
    if set(report.counts) - allowed or report.pending:
        return [f"it is not sound: {report}"]
    return []


def blobs_of(cache, directory):
    """The names of all blobs, as the disk tells, or the server that has them."""
    if cache.config.blob_backend == "postgres":
        return {name for name, *_ in cache.engine.blobs().iter_blobs()}
    # Beside the folders lies what says whose store it is.
    return {name for name in files_in(f"{directory}/blobs") if "/" in name}


def files_in(directory):
    """The paths of all files, relative to the directory."""
    for folder, _, names in os.walk(directory):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), directory)


@contextlib.contextmanager
def descriptors_kept():
    """Nothing that is opened meanwhile stays open."""
    before = set(os.listdir("/dev/fd"))
    yield
    left = set(os.listdir("/dev/fd")) - before
    assert len(left) <= 1, left  # the listing's own
