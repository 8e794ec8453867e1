"""Entries move between caches and backends whole, and only what may be believed comes in."""

import json
import os
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
import warnings
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from cacheness import (
    BackendUnavailableError,
    CacheConfig,
    CorruptionWarning,
    ReadOnlyError,
    SecurityWarning,
    UnifiedCache,
)
from cacheness.handlers.base import Handler
from cacheness.plugins.registry import register_handler, unregister_handler

LARGE = np.arange(50_000)
SECRET = b"a signing key of this test"
OTHER = b"another signing key, theirs"
BACKENDS = ["sqlite", "json", "memory"]


def opened(path, backend="sqlite", **options):
    options.setdefault("signing_key", SECRET)
    return UnifiedCache(path, metadata_backend=backend, **options)


@pytest.fixture
def source(tmp_path):
    with opened(tmp_path / "source") as cache:
        yield cache


@pytest.fixture
def target(tmp_path):
    with opened(tmp_path / "target") as cache:
        yield cache


@pytest.fixture
def file(tmp_path):
    return tmp_path / "export.tar"


def fill(cache):
    """One of each kind."""
    cache.put(LARGE, "array", tags=("a", "b"), custom_metadata={"run": [1, {"x": None}]})
    cache.put({"a": 1}, params={"description": "x", "lr": 0.1}, prefix="p", description="d")
    cache.put({1, 2}, "pickled", ttl_seconds=1000, cost_seconds=2.5, pin=True)
    cache.put({"frame": LARGE, "name": "parts"}, "parts")
    cache.put({"frame": np.arange(3), "set": {1}}, "small parts")
    cache.put(np.zeros((300, 300)), "compressed", compressor="gzip")
    cache.put(b"", "empty")
    cache.put(None, "ünïcode/key")
    assert cache["array"] is not None


def facts(cache):
    """All that is recorded, but for what is different at every place."""
    cache.engine.flush()
    own = {"generation", "signature", "blob", "blob_store", "namespace", "inline"}
    return {
        summary["cache_key"]: {name: of for name, of in summary.items() if name not in own}
        for summary in cache.engine.backend.iter_entry_summaries()
    }


def same(one, other):
    np.testing.assert_array_equal(one["array"], other["array"])
    np.testing.assert_array_equal(one["compressed"], other["compressed"])
    np.testing.assert_array_equal(one["parts"]["frame"], other["parts"]["frame"])
    assert other["pickled"] == {1, 2}
    assert other["small parts"]["set"] == {1}
    assert other["empty"] == b""
    assert other["ünïcode/key"] is None
    assert other.get(params={"description": "x", "lr": 0.1}) == {"a": 1}
    assert other.verify_integrity().ok


@pytest.mark.parametrize("into", BACKENDS)
@pytest.mark.parametrize("out_of", BACKENDS)
def test_a_cache_moves_between_any_two_backends(tmp_path, file, out_of, into):
    with opened(tmp_path / "s", out_of) as source, opened(tmp_path / "t", into) as target:
        fill(source)

        exported = source.export(file)
        assert exported == exported.copied == 8
        assert exported.bytes == source.engine.backend.total_size()
        imported = target.import_(file)
        assert (imported, imported.skipped, imported.refused) == (8, 0, ())
        assert facts(target) == facts(source)
        same(source, target)


@pytest.mark.parametrize("into", BACKENDS)
@pytest.mark.parametrize("out_of", BACKENDS)
def test_a_cache_is_copied_between_any_two_backends(tmp_path, out_of, into):
    with opened(tmp_path / "s", out_of) as source, opened(tmp_path / "t", into) as target:
        fill(source)

        assert source.copy_to(target) == 8
        assert facts(target) == facts(source)
        same(source, target)
        again = source.copy_to(target)
        assert (again, again.skipped) == (0, 8)


def test_the_file_is_one_that_any_tool_reads(source, file):
    fill(source)
    source.export(file)

    with tarfile.open(file, "r:") as tar:
        names = tar.getnames()
        manifest = [json.loads(line) for line in tar.extractfile("manifest.jsonl")]
        payloads = [tar.extractfile(name).read() for name in names[1:-1]]
    assert names[0] == "cacheness-export.json"
    assert [line["stored_bytes"] for line in manifest] == list(map(len, payloads))
    arrays = [n for n, line in zip(names[1:], manifest, strict=False) if n.endswith(".npy")]
    assert arrays, "an array's payload bears its extension"
    assert file.stat().st_mode & 0o077 == 0


def test_filters_choose(source, target, file):
    for number in range(10):
        source.put(number, x=number, prefix="even" if number % 2 == 0 else "odd")

    assert source.export(file, x__gte=7) == 3
    assert target.import_(file) == 3
    assert sorted(target.get(x=number, default=-1) for number in range(10))[-3:] == [7, 8, 9]
    assert source.copy_to(target, prefix="even") == 4, "one of five is there"
    with pytest.raises(TypeError):
        source.export(file, trust=1)


def test_a_namespace_moves_into_another(tmp_path, file):
    with (
        opened(tmp_path / "c", namespace="one") as one,
        opened(tmp_path / "c", namespace="two") as two,
    ):
        one.put({1}, "k")
        two.put({2}, "other")

        assert one.export(file) == 1
        assert two.import_(file) == 1
        assert two["k"] == {1}
        assert one.copy_to(two) == 0
        assert (len(one), len(two)) == (1, 2)
        assert two.copy_to(one) == 1
        assert one.verify_integrity().ok


def test_copying_a_cache_to_itself_changes_nothing(source):
    fill(source)
    before = facts(source)

    done = source.copy_to(source)
    assert (done, done.skipped) == (0, 8)
    assert facts(source) == before
    assert source.verify_integrity().pending == 0


def test_the_newer_of_two_stays_and_the_displaced_blob_goes(source, target, file):
    source.put(LARGE, "old")
    target.put(LARGE + 1, "old")
    target.put(LARGE + 1, "new")
    source.put(LARGE, "new")
    source.export(file)

    done = target.import_(file)
    assert (done, done.skipped) == (1, 1)
    assert target["old"][0] == 1
    assert target["new"][0] == 0
    assert target.verify_integrity().pending == 0
    assert target.import_(file) == 0


@pytest.mark.slow
def test_what_expired_does_not_travel(source, target, file):
    source.put(1, "gone", ttl_seconds=0.001)
    source.put(2, "stays", ttl_seconds=100)
    source.put(3, "soon", ttl_seconds=0.5)
    source.put(4, "stale", ttl_seconds=0.001)
    source.engine.backend.update_fields("stale", {"stale_until": time.time() + 100})
    time.sleep(0.01)
    source.export(file)
    time.sleep(0.6)

    done = target.import_(file)
    assert (done, done.skipped) == (2, 2)
    assert sorted(target) == ["stale", "stays"]
    entry = target.get_entry("stays")
    assert entry.expires_at == source.get_entry("stays").expires_at


def test_inline_rules_are_the_targets(tmp_path, source, file):
    source.put("x" * 1000, "text")
    source.put(np.arange(100), "array")
    source.put({"a": np.arange(10), "b": "y"}, "parts")
    source.export(file)
    with opened(tmp_path / "tiny", inline_bytes=10) as tiny, opened(tmp_path / "back") as back:
        assert source.copy_to(tiny) == 3
        blobs = {key: tiny.get_entry(key).blob for key in tiny}
        assert blobs["text"].endswith(".json")
        assert blobs["array"].endswith(".npy")
        assert tiny["text"] == "x" * 1000
        np.testing.assert_array_equal(tiny.get("array", mmap=True), np.arange(100))
        np.testing.assert_array_equal(tiny["parts"]["a"], np.arange(10))
        assert tiny.verify_integrity().ok
        assert tiny.copy_to(back) == 3
        assert back.get_entry("text").blob is None
        assert back["text"] == "x" * 1000
        np.testing.assert_array_equal(back["parts"]["a"], np.arange(10))
    with opened(tmp_path / "tiny2", inline_bytes=10) as tiny:
        assert tiny.import_(file) == 3
        assert tiny.get_entry("array").blob.endswith(".npy")
        np.testing.assert_array_equal(tiny.get("array", mmap=True), np.arange(100))


def test_bounds_of_the_target_hold(source, tmp_path):
    for number in range(40):
        source.put(number, str(number))
    with opened(tmp_path / "bounded", max_entries=10) as bounded:
        source.copy_to(bounded)
        assert len(bounded) <= 10


# --- signatures -------------------------------------------------------------------------------


class Ran:
    """Its pickle tells when it is read."""

    log: ClassVar[list[int]] = []

    def __reduce__(self):
        return _note, ()


def _note():
    Ran.log.append(1)
    return "ran"


@pytest.fixture(autouse=True)
def quiet_log():
    Ran.log.clear()


@pytest.fixture(params=["file", "straight"])
def move(request, file):
    """Moves all entries, in one of the two ways."""

    def by_file(source, target, **options):
        source.export(file)
        return target.import_(file, **options)

    def straight(source, target, **options):
        return source.copy_to(target, **options)

    return by_file if request.param == "file" else straight


def test_what_verifies_is_signed_anew(source, target, move):
    source.put(Ran(), "k")

    assert move(source, target) == 1
    one, other = source.get_entry("k"), target.get_entry("k")
    assert one.signature != other.signature
    assert one.generation != other.generation
    assert not Ran.log, "nothing is read on the way"
    assert target["k"] == "ran"


def test_a_foreign_signature_stays_out_unless_it_is_trusted(source, tmp_path, file):
    source.put(Ran(), "k")
    source.put(LARGE, "array")
    source.export(file)
    with opened(tmp_path / "t", signing_key=OTHER) as target:
        with pytest.warns(SecurityWarning, match="left out"):
            done = target.import_(file)
        assert (done, done.refusals) == (1, 1)
        assert done.refused[0].cache_key == "k"
        assert "key" in done.refused[0].reason
        assert list(target) == ["array"]
        assert target.import_(file, trust=True) == 1
        assert target["k"] == "ran"
        assert target.get_entry("k").signature is not None
        assert target.get_entry("array").signature is None
    with opened(tmp_path / "t2", signing_key=OTHER, old_signing_keys=[SECRET]) as target:
        assert target.import_(file) == 2, "a key that is still believed"


def test_what_was_signed_has_to_verify_even_where_its_handler_is_data_only(source, tmp_path, file):
    source.put({"array": np.arange(3), "set": {1}}, "container")
    source.export(file)
    with opened(tmp_path / "t", signing_key=OTHER) as target:
        with pytest.warns(SecurityWarning, match="not held here"):
            assert target.import_(file) == 0
        assert target.import_(file, trust=True) == 1
        assert target["container"]["set"] == {1}


def test_copying_verifies_by_the_keys_of_the_source(source, tmp_path):
    source.put(Ran(), "k")
    with opened(tmp_path / "t", signing_key=OTHER) as target:
        assert source.copy_to(target) == 1
        assert target["k"] == "ran"


@pytest.mark.parametrize("trust", [False, True])
def test_a_wrong_signature_is_refused_even_when_trusted(source, target, move, trust):
    source.put({1}, "k")
    source.put({2}, "other")
    signature = source.get_entry("other").signature
    source.engine.backend.update_fields("k", {"signature": signature})

    with pytest.warns(SecurityWarning):
        done = move(source, target, trust=trust)
    assert (done, done.refusals) == (1, 1)
    assert "k" not in target


def test_what_needs_a_signature_and_has_none_stays_out(tmp_path, target, move):
    with opened(tmp_path / "unsigned", signing="off") as source:
        source.put(Ran(), "k")
        source.put([1], "json")

        with pytest.warns(SecurityWarning):
            done = move(source, target)
        assert (done, done.refusals) == (1, 1)
        assert "k" not in target
        assert target["json"] == [1]
        assert move(source, target, trust=True) == 1
        assert target["k"] == "ran"
        assert target.verify_integrity().ok


def test_a_cache_that_signs_all_takes_only_what_verifies(source, tmp_path, move):
    source.put([1], "json")
    source.put({1}, "pickled")
    with opened(tmp_path / "t", signing="all") as target:
        with pytest.warns(SecurityWarning, match="signing='all'"):
            assert move(source, target) == 1
        assert list(target) == ["pickled"]
        assert move(source, target, trust=True) == 1
        assert target["json"] == [1]
        entry = target.get_entry("json")
        assert entry.signature is not None
        assert entry.checksum.startswith("blake3:")
        assert target.verify_integrity().ok


def test_a_cache_that_believes_all_takes_only_what_verifies(source, tmp_path, move):
    source.put([1], "json")
    source.put({1}, "pickled")
    with opened(tmp_path / "t", signing="off") as target:
        with pytest.warns(SecurityWarning, match="signing='off'"):
            assert move(source, target) == 1
        assert target.get_entry("pickled").signature is None
        assert move(source, target, trust=True) == 1


def test_allow_pickle_false_takes_no_code_even_when_trusted(source, tmp_path, move):
    source.put(Ran(), "k")
    source.put([1], "json")
    with opened(tmp_path / "t", allow_pickle=False) as target:
        with pytest.warns(SecurityWarning, match="allow_pickle"):
            assert move(source, target, trust=True) == 1
        assert list(target) == ["json"]


def test_an_unsigned_container_stays_one_that_runs_nothing(source, target, move):
    """A container that hides a pickle, with its signature taken off."""
    source.put({"a": np.arange(3), "b": Ran()}, "k")
    source.engine.backend.update_fields("k", {"signature": None})

    assert move(source, target) == 1
    with pytest.warns(SecurityWarning):
        assert target.get("k") is None
    assert not Ran.log


def test_without_a_key_what_needs_one_stays_out(source, tmp_path, move, monkeypatch):
    source.put({1}, "k")
    source.put([1], "json")
    monkeypatch.delenv("CACHENESS_SIGNING_KEY", raising=False)
    with UnifiedCache(tmp_path / "t", permissions="group") as target:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)
            done = move(source, target)
        assert (done, done.refusals) == (1, 1)
        assert target.verify_integrity().pending == 0


class Thing:
    def __init__(self, text):
        self.text = text


class ThingHandler(Handler):
    name = "thing_of_transfer"
    extension = ".thing"
    data_only = True

    def can_handle(self, obj):
        return isinstance(obj, Thing)

    def put(self, obj, file_path):
        Path(file_path).write_text(obj.text)
        return {}

    def get(self, file_path):
        assert file_path.endswith(".thing")
        return Thing(Path(file_path).read_text())


def test_what_can_not_be_judged_needs_a_signature(source, target, move):
    register_handler(ThingHandler)
    try:
        source.put(Thing("x" * 50_000), "unsigned")
    finally:
        unregister_handler("thing_of_transfer")

    with pytest.warns(SecurityWarning, match="not known"):
        assert move(source, target) == 0
    assert move(source, target, trust=True) == 1, "kept for when the handler is there"
    register_handler(ThingHandler)
    try:
        assert target["unsigned"].text == "x" * 50_000
    finally:
        unregister_handler("thing_of_transfer")


# --- damage and races ---------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "flipped", "shorter", "longer", "elsewhere"])
def test_a_damaged_entry_is_left_out_and_counted(source, target, move, damage):
    source.put([1], "before")
    source.put(LARGE, "k")
    source.put([2], "behind")
    path = Path(source.config.cache_dir, "blobs", source.get_entry("k").blob)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "elsewhere":
        source.engine.backend.update_fields("k", {"blob_store": "another"})
    else:
        path.write_bytes(
            {
                "flipped": content[:-1] + bytes([content[-1] ^ 1]),
                "shorter": content[:-1],
                "longer": content + b"x",
            }[damage]
        )

    with pytest.warns(CorruptionWarning, match="entry k"):
        done = move(source, target)
    if done.refusals:
        assert done.refused[0].cache_key == "k"
    assert done == 2
    assert sorted(target) == ["before", "behind"]
    assert target.verify_integrity().pending == 0


def test_a_replaced_entry_is_read_again(source, target, move):
    source.put(LARGE, "k")
    blobs = source.engine.blobs()
    inner = blobs.pieces
    seen = []

    def overtaken(name):
        if not seen:
            seen.append(name)
            source.put(LARGE + 1, "k")
        return inner(name)

    blobs.pieces = overtaken
    assert move(source, target) == 1
    assert target["k"][0] == 1
    assert target.get_entry("k").created_at == source.get_entry("k").created_at


@pytest.mark.slow
def test_an_export_beside_writers_is_whole(source, tmp_path, file):
    keys = [str(number) for number in range(20)]
    for key in keys:
        source.put(np.full(5000, 0), key)
    stop = threading.Event()

    def replace_all():
        turn = 1
        while not stop.is_set():
            for key in keys:
                source.put(np.full(5000, turn), key)
            turn += 1

    thread = threading.Thread(target=replace_all)
    thread.start()
    try:
        for turn in range(5):
            assert source.export(file) == 20
            with opened(tmp_path / f"t{turn}") as target:
                assert target.import_(file) == 20
                assert all(len(set(target[key].tolist())) == 1 for key in keys)
                assert target.verify_integrity().ok
    finally:
        stop.set()
        thread.join()


def test_a_put_during_the_import_is_not_undone(source, target, file):
    source.put(LARGE, "k")
    source.export(file)
    blobs = target.engine.blobs()
    inner = blobs.write

    def overtaken(name, stream):
        blobs.write = inner
        size = inner(name, stream)
        target.put("newer", "k")
        return size

    blobs.write = overtaken
    done = target.import_(file)
    assert (done, done.skipped) == (0, 1)
    assert target["k"] == "newer"
    assert target.verify_integrity().pending == 0


def test_a_failed_import_leaves_no_blob(source, target, file):
    for number in range(5):
        source.put(LARGE + number, str(number))
    source.export(file)
    backend = target.engine.backend
    put = backend.put_entries

    def fails(entries):
        raise BackendUnavailableError("gone")

    backend.put_entries = fails
    with pytest.raises(BackendUnavailableError):
        target.import_(file)
    assert len(target) == 0
    assert list(target.engine.blobs().iter_blobs()) == []

    def fails_late(entries):
        put(entries)
        raise KeyboardInterrupt

    backend.put_entries = fails_late
    with pytest.raises(KeyboardInterrupt):
        target.import_(file)
    backend.put_entries = put
    assert len(target) == 5, "what was recorded keeps its blobs"
    assert target.verify_integrity().ok
    np.testing.assert_array_equal(target["3"], LARGE + 3)


def test_a_full_disk_is_told_and_leaves_nothing(source, target, file):
    source.put(LARGE, "k")
    source.export(file)

    def full(name, stream):
        raise OSError(28, "No space left on device")

    target.engine.blobs().write = full
    with pytest.raises(BackendUnavailableError, match="No space"):
        target.import_(file)
    assert len(target) == 0


def test_a_failed_export_leaves_the_old_file(source, file):
    source.put(1, "k")
    source.export(file)
    before = file.read_bytes()

    def stop(done, total):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError):
        source.export(file, progress=stop)
    assert file.read_bytes() == before
    assert set(os.listdir(file.parent)) == {file.name, "source"}
    with pytest.raises(FileNotFoundError):
        source.export(file.parent / "missing" / "x.tar")


def test_read_only_caches_give_and_do_not_take(source, tmp_path, file):
    fill(source)
    source.export(file)
    with opened(source.config.cache_dir, read_only=True) as reader:
        with pytest.raises(ReadOnlyError):
            reader.import_(file)
        with pytest.raises(ReadOnlyError):
            source.copy_to(reader)
        with opened(tmp_path / "t") as target:
            assert reader.copy_to(target) == 8
        assert reader.export(file) == 8


def test_copy_to_takes_a_cache(source):
    with pytest.raises(TypeError, match="UnifiedCache"):
        source.copy_to("somewhere")


def test_progress_counts_and_observers_are_told(source, target, file):
    for number in range(100):
        source.put(number, str(number))
    told, events = [], []
    target.engine.observers = (events.append,)

    source.export(file, progress=lambda *done: told.append(("out", *done)))
    target.import_(file, progress=lambda *done: told.append(("in", *done)))
    assert ("out", 100, 100) in told
    assert told[-1] == ("in", 100, 100)
    assert [event.kind for event in events] == ["put"] * 100


@pytest.mark.slow
def test_large_payloads_and_many_entries_pass_in_flat_memory(tmp_path, file):
    with (
        opened(tmp_path / "s", compressor="none") as source,
        opened(tmp_path / "t", "json") as target,
        opened(tmp_path / "u") as other,
    ):
        source.put(np.zeros(6_000_000), "large")
        entry = source.get_entry("large")
        small = replace(entry, inline=b"1", blob=None, stored_bytes=1, handler="json")
        from cacheness.payloads.checksum import checksum_of

        checksum = checksum_of(b"1", "xxh3-128")
        source.engine.backend.put_entries(
            replace(small, cache_key=str(n), generation=n, checksum=checksum, metadata={})
            for n in range(3000)
        )
        for work in (
            lambda: source.export(file),
            lambda: other.import_(file),
            lambda: source.copy_to(target),
        ):
            tracemalloc.start()
            assert work() == 3001
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 20 << 20
        assert other.verify_integrity().ok
        assert target.verify_integrity().ok
        assert other["large"].sum() == 0


@pytest.mark.slow
def test_frames_travel_without_pandas(tmp_path, file):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": range(50_000), "b": ["x"] * 50_000})
    with opened(tmp_path / "s") as source:
        source.put(frame, "k")
    code = (
        "import sys; from cacheness import UnifiedCache\n"
        f"key = {SECRET!r}\n"
        f"source = UnifiedCache({str(tmp_path / 's')!r}, signing_key=key)\n"
        f"source.export({str(file)!r})\n"
        "print(sorted({'pandas', 'pyarrow'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == "[]"
    with opened(tmp_path / "t", "json") as target:
        assert target.import_(file) == 1
        pd.testing.assert_frame_equal(target["k"], frame)


def test_durable_exports_and_group_files(tmp_path, file):
    config = CacheConfig(
        tmp_path / "s", durability="fsync", permissions="group", signing_key=SECRET
    )
    with UnifiedCache(config) as source:
        source.put([1], "k")
        assert source.export(file) == 1
    assert file.stat().st_mode & 0o777 in (0o660, 0o640)
