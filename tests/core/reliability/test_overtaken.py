"""A read overtaken between the entry and its blob looks again, and removes nothing newer."""

import subprocess
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cacheness import (
    BackendUnavailableError,
    CorruptionWarning,
    Handler,
    UnifiedCache,
    cached,
    register_handler,
    unregister_handler,
)
from cacheness.compressors.gzip import GzipCompressor
from cacheness.integrity.integrity import collect_garbage, verify_integrity

OLD, NEW = np.zeros(20_000), np.ones(20_000)


def item(cache):
    try:
        return cache["k"]
    except KeyError:
        return None


WAYS = {
    "get": lambda cache: cache.get("k"),
    "item": lambda cache: item(cache),
    "mmap": lambda cache: cache.get("k", mmap=True),
    "batch": lambda cache: cache.get_batch(["k"])[0],
    "metadata": lambda cache: (cache.get_with_metadata("k") or [None])[0],
    "computed": lambda cache: cache.get_or_compute(lambda: NEW.copy(), cache_key="k"),
    "cached entry": lambda cache: cache.get("k", ttl_seconds=1000),
}


def replace(other):
    other.put(NEW, "k")


def evict(other):
    victims = other.engine.backend.evict("lru", max_size=None, max_entries=0)
    other.engine.dispose(victims, "evict")


def evict_and_put_again(other):
    evict(other)
    other.put(NEW, "k")


def repair(other):
    other.put(NEW, "k")
    assert verify_integrity(other.engine, repair=True, grace=-1).ok
    collect_garbage(other.engine, grace=-1)


@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("overtake", [replace, evict, evict_and_put_again, repair])
def test_a_reader_that_is_overtaken_reads_again(tmp_path, backend, way, overtake):
    with (
        UnifiedCache(tmp_path, metadata_backend=backend) as cache,
        UnifiedCache(tmp_path, metadata_backend=backend) as other,
    ):
        cache.put(OLD, "k")
        overtaken = []
        # The reader has the entry, and asks for its blob.
        for name in ("_open",):
            inner = getattr(cache.engine.blobs(), name)

            def first_be_overtaken(blob, inner=inner):
                if not overtaken:
                    overtaken.append(blob)
                    overtake(other)
                return inner(blob)

            setattr(cache.engine.blobs(), name, first_be_overtaken)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            value = WAYS[way](cache)
        assert overtaken
        gone = overtake is evict and way != "computed"
        assert value is None if gone else (np.asarray(value) == NEW).all()
        standing = other.get("k")
        assert standing is None if gone else (standing == NEW).all()
        assert other.verify_integrity().counts == {}


def when_first_called(owner, name, act):
    """Have something done right before the first call of a method."""
    inner, done = getattr(owner, name), []

    def first(*arguments, **options):
        if not done:
            done.append(name)
            act()
        return inner(*arguments, **options)

    setattr(owner, name, first)
    return done


class Text:
    def __init__(self, letter):
        self.text = letter * 200_000


class TextFile(Handler):
    """Keeps a text in a file that it opens by itself, and tells failures in its own way."""

    name = "text-file"
    data_only = True
    before = staticmethod(lambda: None)

    def can_handle(self, obj):
        return isinstance(obj, Text)

    def put(self, obj, file_path):
        Path(file_path).write_text(obj.text)
        return {}

    def get(self, file_path):
        self.before()
        try:
            return Path(file_path).read_text()
        except OSError as error:
            raise ValueError("no text") from error


def items(cache, letter):
    """A cached generator, whose stream has one key whatever it gives."""

    @cached(cache=cache, code="off")
    def letters():
        yield from [letter.encode() * 20_000] * 9

    return letters


HANDED_OVER = {
    "file": (lambda cache, letter: cache.put(Text(letter), "k"), lambda cache: cache.get("k")),
    "array": (
        lambda cache, letter: cache.put(np.full(50_000, ord(letter)), "k"),
        lambda cache: cache.get("k", mmap=True),
    ),
    "stream": (
        lambda cache, letter: list(items(cache, letter)()),
        lambda cache: cache.get(items(cache, "").cache_key()),
    ),
}
"""How what a handler reads by the path of its blob is stored, and read."""


@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.parametrize("kind", HANDED_OVER)
@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "gone"])
def test_a_handler_that_is_overtaken_before_it_opens_its_file_reads_again(
    tmp_path, monkeypatch, backend, kind, replaced
):
    put, read = HANDED_OVER[kind]
    options = {"metadata_backend": backend, "compressor": "none"}
    register_handler(priority=1000)(TextFile)
    try:
        with UnifiedCache(tmp_path, **options) as cache, UnifiedCache(tmp_path, **options) as other:
            put(cache, "o")
            overtaken = []
            inner = cache.engine.blobs().local_path

            def be_overtaken():
                if not overtaken:
                    overtaken.append(True)
                    other.clear()
                    if replaced:
                        put(other, "n")

            @contextmanager
            def local_path(blob):
                with inner(blob) as path:
                    be_overtaken()
                    yield path

            if kind == "file":  # of which the checksum is taken first
                monkeypatch.setattr(TextFile, "before", staticmethod(be_overtaken))
            else:
                cache.engine.blobs().local_path = local_path
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = read(cache)
                value = b"".join(found) if hasattr(found, "__next__") else found

            assert overtaken
            expected = {"file": "n", "array": ord("n"), "stream": ord("n")}[kind]
            assert value is None if not replaced else value[-1] == expected
            assert other.verify_integrity().counts == {}
    finally:
        unregister_handler("text-file")


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_who_looks_again_before_it_computes_is_overtaken(tmp_path, backend):
    with (
        UnifiedCache(tmp_path, metadata_backend=backend) as cache,
        UnifiedCache(tmp_path, metadata_backend=backend) as other,
    ):
        when_first_called(cache.engine.flights, "hold", lambda: other.put(OLD, "k"))
        overtaken = when_first_called(cache.engine.blobs(), "_open", lambda: replace(other))

        value = cache.get_or_compute(lambda: pytest.fail("it was computed"), "k")

        assert overtaken
        assert (value == NEW).all()


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_who_is_served_a_stale_result_is_overtaken(tmp_path, backend):
    with (
        UnifiedCache(tmp_path, metadata_backend=backend) as cache,
        UnifiedCache(tmp_path, metadata_backend=backend) as other,
    ):

        @cached(cache=cache, ttl_seconds=60, stale_seconds=3600, code="off")
        def compute():
            return OLD

        compute()
        key = compute.cache_key()
        assert cache.engine.backend.update_fields(key, {"expires_at": time.time() - 1})
        overtaken = when_first_called(cache.engine.blobs(), "_open", lambda: other.put(NEW, key))

        try:
            assert (compute() == NEW).all()
            assert overtaken
        finally:
            for thread in threading.enumerate():
                if thread.name == "cacheness-refresh":
                    thread.join()


def unlink(path):
    path.unlink()


def damage(path):
    path.write_bytes(b"damaged")


def read(cache):
    with pytest.warns(CorruptionWarning):
        assert cache.get("k") is None


def mend(cache):
    verify_integrity(cache.engine, repair=True)


@pytest.mark.parametrize("backend", ["sqlite", "json"])
@pytest.mark.parametrize("spoil", [unlink, damage])
@pytest.mark.parametrize("look", [read, mend])
def test_who_found_an_entry_at_fault_does_not_remove_the_one_that_replaced_it(
    tmp_path, backend, spoil, look
):
    with (
        UnifiedCache(tmp_path, metadata_backend=backend) as cache,
        UnifiedCache(tmp_path, metadata_backend=backend) as other,
    ):
        cache.put(OLD, "k")
        spoil(tmp_path / "blobs" / cache.get_entry("k").blob)
        overtaken = []
        inner = cache.engine.backend.delete_entry

        def first_be_overtaken(*arguments, **options):
            if not overtaken:
                overtaken.append(arguments)
                other.put(NEW, "k")
            return inner(*arguments, **options)

        cache.engine.backend.delete_entry = first_be_overtaken
        look(cache)

        assert overtaken
        assert (other["k"] == NEW).all()
        assert (cache["k"] == NEW).all()
        assert verify_integrity(other.engine, grace=-1).counts.keys() <= {"quarantined"}


WRITER = """
import sys, time, numpy as np
from cacheness import UnifiedCache
ends = time.monotonic() + float(sys.argv[3])
with UnifiedCache(sys.argv[1], metadata_backend=sys.argv[2], max_entries=6) as cache:
    number = 0
    while time.monotonic() < ends:
        number += 1
        cache.put(np.full(20_000, number), f"k{number % 10}")
        if number % 7 == 0:
            cache.invalidate(f"k{number % 10}")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_readers_beside_writers_that_replace_and_evict_meet_no_damage(tmp_path, backend):
    code = [sys.executable, "-c", WRITER, str(tmp_path), backend, "4"]
    with (
        UnifiedCache(tmp_path, metadata_backend=backend) as cache,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        writers = [subprocess.Popen(code, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        read = 0
        while any(writer.poll() is None for writer in writers):
            for number in range(10):
                value = cache.get(f"k{number}")
                if value is not None:
                    assert (value == value[0]).all()
                    assert value[0] % 10 == number
                    read += 1
            verify_integrity(cache.engine, repair=True, grace=60)
        for writer in writers:
            assert writer.communicate()[1] == ""
            assert writer.returncode == 0
        assert read > 50
        assert cache.verify_integrity().counts == {}
        assert verify_integrity(cache.engine, repair=True, grace=-1).counts == {}


@pytest.mark.parametrize("inline_bytes", [0, 100_000])
@pytest.mark.parametrize("backend", ["sqlite", "json", "memory"])
def test_who_misses_something_else_than_the_blob_removes_nothing(
    tmp_path, monkeypatch, backend, inline_bytes
):
    options = {"metadata_backend": backend, "compressor": "gzip", "inline_bytes": inline_bytes}

    def needs_a_file(*_, **__):
        raise FileNotFoundError(2, "No such file or directory", "dictionary")

    with UnifiedCache(tmp_path, **options) as cache:
        cache.put(OLD, "k")
        with monkeypatch.context() as patched:
            patched.setattr(GzipCompressor, "decompress", needs_a_file)
            with pytest.raises(BackendUnavailableError, match="dictionary"):
                cache.get("k")

        assert (cache["k"] == OLD).all()
