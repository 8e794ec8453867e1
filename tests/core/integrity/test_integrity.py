"""What verifying a cache finds, and what a repair does about it."""

import json
import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cacheness import CacheConfig, ReadOnlyError, UnifiedCache
from cacheness.disk.folder import Folder
from cacheness.entry import Entry
from cacheness.integrity.integrity import collect_garbage, verify_integrity
from cacheness.payloads.checksum import checksum_of

LARGE = np.arange(50_000)
SECRET = b"a signing key of this test"
BACKENDS = ["sqlite", "json", "memory"]


@pytest.fixture(params=BACKENDS)
def cache(request, tmp_path):
    with UnifiedCache(
        tmp_path / "cache", metadata_backend=request.param, signing_key=SECRET
    ) as made:
        yield made


@pytest.fixture
def on_disk(tmp_path):
    with UnifiedCache(tmp_path / "cache", signing_key=SECRET) as made:
        yield made


def change(cache, key="k", **fields):
    """Change an entry behind the cache's back."""
    assert cache.engine.backend.update_fields(key, fields)


def repaired(cache):
    """A repair for which everything is old enough."""
    return verify_integrity(cache.engine, repair=True, grace=-1)


def found(report):
    return {kind: count for kind, count in report.counts.items() if count}


def blob_path(cache, key="k"):
    return Path(cache.config.cache_dir, "blobs", cache.get_entry(key).blob)


def test_a_cache_that_is_well_is_ok(cache):
    cache.put(LARGE, "large")
    cache.put({"a": 1}, "small")
    cache.put({1, 2}, "signed")

    report = cache.verify_integrity()
    assert report.ok
    assert (report.entries, report.repaired, found(report)) == (3, 0, {})
    assert report.bytes == cache.engine.backend.total_size()
    assert "3 entries" in str(report)
    assert "all well" in str(report)
    assert cache.verify_integrity(repair=True) == report
    np.testing.assert_array_equal(cache["large"], LARGE)


def test_a_missing_blob_is_found_and_its_entry_removed_by_a_repair(cache):
    cache.put(LARGE, "k")
    cache.put(LARGE, "whole")
    cache.engine.blobs().delete(cache.get_entry("k").blob)

    report = cache.verify_integrity()
    assert found(report) == {"missing": 1}
    assert not report.ok
    assert report.missing[0].name == "k"
    assert "k" in cache, "looking changes nothing"
    report = repaired(cache)
    assert report.ok
    assert report.mended == {"missing": 1}
    assert list(cache) == ["whole"]
    assert found(cache.verify_integrity()) == {}


@pytest.mark.parametrize("field", ["stored_bytes", "checksum", "inline", "nothing"])
def test_a_corrupt_payload_goes_to_quarantine(cache, field):
    cache.put([1, 2, 3], "k")
    damage = {
        "stored_bytes": {"stored_bytes": 5},
        "checksum": {"checksum": checksum_of(b"other", "xxh3-128")},
        "inline": {"inline": b"[1,2,4]"},
        "nothing": {"inline": None},
    }[field]
    change(cache, **damage)

    report = cache.verify_integrity()
    assert found(report) == {"corrupt": 1}
    assert report.corrupt[0].name == "k"
    assert not report.ok
    assert repaired(cache).ok
    assert "k" not in cache


def test_a_corrupt_blob_goes_to_quarantine_and_is_listed_there(on_disk):
    on_disk.put(LARGE, "k")
    path = blob_path(on_disk)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)

    assert found(on_disk.verify_integrity()) == {"corrupt": 1}
    report = repaired(on_disk)
    assert (report.ok, report.repaired) == (True, 1)
    assert report.corrupt[0].mended
    assert not path.exists()
    report = on_disk.verify_integrity()
    assert report.ok
    assert found(report) == {"quarantined": 1}
    assert "k" in report.quarantined[0].detail
    stem = Path(on_disk.config.cache_dir, report.quarantined[0].name).with_suffix(".payload")
    assert stem.read_bytes() == content, "kept for inspection"


@pytest.mark.parametrize("checksum", ["", "md5:00", "blake3"])
def test_a_checksum_of_no_known_kind_is_damage(cache, checksum):
    cache.put([1], "k")
    change(cache, checksum=checksum)

    assert found(cache.verify_integrity()) == {"corrupt": 1}


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "", "ab/x"])
def test_a_hostile_blob_name_is_damage_and_leads_nowhere(cache, name):
    cache.put(LARGE, "k")
    change(cache, blob=name)

    assert found(cache.verify_integrity()) == {"corrupt": 1}
    assert cache.verify_integrity(repair=True).ok


def test_signatures_are_told_apart_and_nothing_is_ever_signed(cache):
    for key in ("good", "wrong", "foreign", "none"):
        cache.put({1, 2}, key)
    good = cache.get_entry("good").signature
    change(cache, "wrong", signature=good)
    change(cache, "foreign", signature="0123456789abcdef:" + good.partition(":")[2])
    change(cache, "none", signature=None)

    report = cache.verify_integrity()
    assert found(report) == {"bad_signature": 1, "unverifiable": 1, "unsigned": 1}
    assert report.bad_signature[0].name == "wrong"
    assert report.unverifiable[0].name == "foreign"
    assert report.unsigned[0].name == "none"
    report = repaired(cache)
    assert report.mended == {"bad_signature": 1}
    assert not report.ok, "what is unsigned is left as it is"
    assert sorted(cache) == ["foreign", "good", "none"]
    assert cache.get_entry("none").signature is None


def test_data_that_needs_no_signature_is_not_missing_one(cache):
    cache.put([1], "k")
    strict = CacheConfig(cache.config.cache_dir, signing="all", signing_key=SECRET)

    assert found(cache.verify_integrity()) == {}
    cache.engine.config = strict
    assert found(cache.verify_integrity()) == {"unsigned": 1}


def test_what_can_not_be_read_here_is_listed_and_kept(cache):
    for key in ("handler", "newer", "compressor", "store"):
        cache.put(LARGE, key)
    change(cache, "handler", handler="elsewhere")
    change(cache, "newer", handler_version=99)
    change(cache, "compressor", compressor="elsewhere")
    change(cache, "store", blob_store="another")

    report = repaired(cache)
    assert report.ok
    assert found(report) == {"unreadable": 3, "out_of_reach": 1}
    assert sorted(p.name for p in report.unreadable) == ["compressor", "handler", "newer"]
    assert report.out_of_reach[0].name == "store"
    assert report.repaired == 0
    assert len(cache) == 4


def test_a_store_that_is_not_mounted_loses_nothing(on_disk):
    on_disk.put(LARGE, "k")
    blobs = os.path.join(on_disk.config.cache_dir, "blobs")
    os.rename(blobs, f"{blobs}-unmounted")

    assert found(repaired(on_disk)) == {"out_of_reach": 1}
    shutil.rmtree(blobs)
    os.rename(f"{blobs}-unmounted", blobs)
    np.testing.assert_array_equal(on_disk["k"], LARGE)
    assert on_disk.verify_integrity().ok


# --- what nothing names -----------------------------------------------------------------------


def orphan(cache, content=b"nobody's", name="ab/" + "ab" * 16 + ".npy"):
    cache.engine.blobs().write(name, [content])
    return name


def test_a_young_orphan_may_be_a_writers_and_stays(cache):
    name = orphan(cache)

    report = cache.verify_integrity(repair=True)
    assert report.ok
    assert (report.pending, found(report)) == (1, {})
    assert cache.engine.blobs().exists(name)


def test_an_old_orphan_is_removed_by_a_repair(cache):
    cache.put(LARGE, "k")
    name = orphan(cache)

    report = verify_integrity(cache.engine, grace=-1)
    assert found(report) == {"orphaned": 1}
    assert (report.orphaned[0].name, report.orphaned[0].bytes) == (name, 8)
    assert cache.engine.blobs().exists(name)
    assert repaired(cache).ok
    assert not cache.engine.blobs().exists(name)
    np.testing.assert_array_equal(cache["k"], LARGE)


def test_a_blob_with_an_old_date_that_was_stored_just_now_is_young(on_disk):
    name = orphan(on_disk)
    os.utime(os.path.join(on_disk.config.cache_dir, "blobs", name), (0, 0))

    assert on_disk.verify_integrity(repair=True).pending == 1
    assert on_disk.engine.blobs().exists(name)


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_the_blobs_of_other_namespaces_are_no_orphans(tmp_path, backend):
    with (
        UnifiedCache(tmp_path / "c", metadata_backend=backend, namespace="a") as one,
        UnifiedCache(tmp_path / "c", metadata_backend=backend, namespace="b") as other,
    ):
        one.put(LARGE, "k")
        other.put(LARGE, "k")

        assert repaired(one).ok
        assert one.verify_integrity().entries == 1
        np.testing.assert_array_equal(other["k"], LARGE)


@pytest.mark.parametrize(("first", "second"), [("sqlite", "json"), ("json", "sqlite")])
def test_what_another_backend_recorded_in_the_directory_is_no_orphan(tmp_path, first, second):
    with (
        UnifiedCache(tmp_path / "c", metadata_backend=first) as one,
        UnifiedCache(tmp_path / "c", metadata_backend=second) as other,
    ):
        one.put(LARGE, "k")
        other.put(LARGE, "k")

        assert repaired(other).repaired == 0
        np.testing.assert_array_equal(one["k"], LARGE)


def test_entries_in_memory_do_not_make_orphans_of_everybody_elses_blobs(on_disk):
    on_disk.put(LARGE, "k")
    with UnifiedCache(
        on_disk.config.cache_dir, metadata_backend="memory", blob_backend="file"
    ) as other:
        assert repaired(other).repaired == 0
    np.testing.assert_array_equal(on_disk["k"], LARGE)


def test_what_another_object_holds_in_memory_is_no_orphan(tmp_path):
    options = {"metadata_backend": "memory", "blob_backend": "file"}
    with (
        UnifiedCache(tmp_path / "c", **options) as one,
        UnifiedCache(tmp_path / "c", **options) as other,
    ):
        one.put(LARGE, "k")

        assert repaired(other).repaired == 0
        np.testing.assert_array_equal(one["k"], LARGE)


def apart(tmp_path, name, **options):
    """A cache that shares only its blobs with others."""
    blobs = {"blob_backend": "file", "blob_options": {"path": str(tmp_path / "blobs")}}
    return UnifiedCache(tmp_path / name, **blobs, **options)


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_where_two_caches_share_their_blobs_none_is_an_orphan(tmp_path, backend):
    with (
        apart(tmp_path, "one", metadata_backend=backend) as one,
        apart(tmp_path, "two", metadata_backend=backend) as two,
    ):
        one.put(LARGE, "k")
        orphan(one)
        assert found(verify_integrity(one.engine, grace=-1)) == {"orphaned": 1}

        assert found(repaired(two)) == {"out_of_reach": 1}, "also before it put any blob itself"
        two.put(LARGE, "k")
        for cache in (one, two):
            report = repaired(cache)
            assert report.ok
            assert found(report) == {"out_of_reach": 1}
            assert "1 other metadata store may name it" in report.out_of_reach[0].detail
            assert collect_garbage(cache.engine, grace=-1).orphaned == 0
            np.testing.assert_array_equal(cache["k"], LARGE)


def test_a_copy_of_a_cache_shares_the_blobs_that_lie_elsewhere(tmp_path):
    with apart(tmp_path, "one") as one:
        one.put(LARGE, "k")
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    with apart(tmp_path, "one") as one, apart(tmp_path, "copy") as copy:
        one.put(LARGE + 1, "new")

        assert repaired(copy).repaired == 0
        np.testing.assert_array_equal(one["new"], LARGE + 1)


def test_a_cache_that_was_moved_with_its_blobs_still_finds_its_orphans(tmp_path):
    with UnifiedCache(tmp_path / "old") as cache:
        cache.put(LARGE, "k")
        orphan(cache)
    (tmp_path / "old").rename(tmp_path / "new")

    with UnifiedCache(tmp_path / "new") as cache:
        assert found(repaired(cache)) == {"orphaned": 1}
        np.testing.assert_array_equal(cache["k"], LARGE)


def test_an_owner_that_comes_while_blobs_are_listed_is_heeded(tmp_path):
    with apart(tmp_path, "one") as one, apart(tmp_path, "two") as two:
        one.put(LARGE, "k")
        blobs = one.engine.blobs()
        inner = blobs.iter_blobs

        def put_meanwhile():
            two.put(LARGE, "k")
            return inner()

        blobs.iter_blobs = put_meanwhile
        assert found(repaired(one)) == {"out_of_reach": 1}
        np.testing.assert_array_equal(two["k"], LARGE)


def test_a_blob_that_is_named_while_blobs_are_listed_is_no_orphan(cache):
    cache.put(LARGE, "k")
    name = orphan(cache)
    blobs = cache.engine.blobs()
    inner = blobs.iter_blobs

    def named_meanwhile():
        change(cache, blob=name)
        return inner()

    blobs.iter_blobs = named_meanwhile
    assert repaired(cache).repaired == 0
    assert blobs.exists(name)


def test_temporary_files_of_the_killed_are_removed(on_disk):
    on_disk.put(LARGE, "k")
    root = Path(on_disk.config.cache_dir)
    left = [
        blob_path(on_disk).parent / ".999-0123456789abcdef.tmp",
        blob_path(on_disk).parent / ".999-0123456789abcdef.npy",
        root / "metadata.jsonl.999.01234567.tmp",
        root / "cacheness.json.999.01234567.tmp",
        root / "blobs" / "store-id.999.01234567.tmp",
        root / "quarantine" / "00000000000000ff.payload",
    ]
    (root / "quarantine").mkdir()
    for path in left:
        path.write_bytes(b"half")
    own = root / "notes.txt"
    own.write_text("the user's")

    report = on_disk.verify_integrity(repair=True)
    assert (report.ok, report.repaired) == (True, 0), "a writer may still be at it"
    assert all(path.exists() for path in left)
    report = verify_integrity(on_disk.engine, grace=-1)
    assert found(report) == {"orphaned": 6}
    report = repaired(on_disk)
    assert report.mended == {"orphaned": 6}
    assert not any(path.exists() for path in left)
    assert own.exists()
    assert on_disk.verify_integrity().ok


def test_a_temporary_file_that_is_gone_before_it_is_looked_at_is_nobodys_fault(
    on_disk, monkeypatch
):
    """As that of a compaction in another process."""
    path = Path(on_disk.config.cache_dir, "metadata.jsonl.17.0123abcd.tmp")
    path.touch()
    inner = Folder.names

    def renamed_meanwhile(folder):
        names = inner(folder)
        path.unlink(missing_ok=True)
        return names

    monkeypatch.setattr(Folder, "names", renamed_meanwhile)
    report = repaired(on_disk)

    assert not path.exists()
    assert found(report) == {}


def test_links_in_the_directory_are_not_followed(on_disk, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"somebody's")
    for folder, name in (("", "x.1.ab.tmp"), ("quarantine", "01.payload"), ("blobs/ab", ".1.tmp")):
        path = Path(on_disk.config.cache_dir, folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / name).symlink_to(outside)

    repaired(on_disk)
    assert outside.read_bytes() == b"somebody's"


@pytest.mark.parametrize("folder", ["blobs", "quarantine", "blobs/ab"])
def test_no_folder_is_swept_through_a_link(on_disk, tmp_path, folder):
    outside = tmp_path / "outside"
    outside.mkdir()
    own = [outside / name for name in ("a.1.ab.tmp", "a.payload", "a.json", ".1.tmp")]
    for path in own:
        path.write_text('{"cache_key": "somebody\'s", "handler": "x", "stored_bytes": 1}')
    path = Path(on_disk.config.cache_dir, folder)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside)

    report = repaired(on_disk)

    assert all(path.exists() for path in own)
    assert "somebody's" not in str(report)
    assert not report.quarantined


# --- the store, and the rest of the house -----------------------------------------------------


def test_a_damaged_log_is_reported_and_compacted(tmp_path):
    with UnifiedCache(tmp_path / "c", metadata_backend="json") as cache:
        cache.put(1, "a")
        cache.put(2, "b")
        cache.put(3, "b")
    log = tmp_path / "c" / "metadata.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"a"', b'"x"')
    log.write_bytes(b"".join(lines))
    os.utime(log, (0, 0))

    with pytest.warns(UserWarning, match="damaged"):
        cache = UnifiedCache(tmp_path / "c", metadata_backend="json")
    with cache:
        orphan(cache)
        report = cache.verify_integrity()
        assert found(report) == {"store": 1}
        assert not report.ok
        before = log.stat().st_size
        repair = repaired(cache)
        assert repair.mended == {"store": 1}
        assert found(repair) == {"store": 1, "orphaned": 1}, "its name may have been lost"
        assert log.stat().st_size < before
        assert found(cache.verify_integrity()) == {}
        assert cache["b"] == 3


@pytest.mark.slow
def test_a_damaged_database_is_reported(tmp_path):
    with UnifiedCache(tmp_path / "c") as cache:
        for number in range(2000):
            cache.put("x" * 100, str(number))
    path = tmp_path / "c" / "metadata.sqlite3"
    content = bytearray(path.read_bytes())
    content[40_000:40_400] = os.urandom(400)
    path.write_bytes(content)

    with UnifiedCache(tmp_path / "c") as cache:
        orphan(cache)
        report = repaired(cache)
        assert not report.ok
        assert report.counts["store"] >= 1
        assert report.mended == {}
        assert not any(problem.mended for problem in report.orphaned)


def test_a_read_only_cache_is_looked_at_and_not_mended(on_disk):
    on_disk.put(LARGE, "k")
    os.unlink(blob_path(on_disk))
    before = sorted(os.listdir(on_disk.config.cache_dir))

    with UnifiedCache(on_disk.config.cache_dir, read_only=True, signing_key=SECRET) as reader:
        assert found(reader.verify_integrity()) == {"missing": 1}
        with pytest.raises(ReadOnlyError):
            reader.verify_integrity(repair=True)
        assert "k" in reader
    assert sorted(os.listdir(on_disk.config.cache_dir)) == before


def test_observers_are_told(on_disk):
    told = []
    on_disk.engine.observers = (told.append,)
    on_disk.put([1], "k")
    change(on_disk, inline=b"[2]")
    told.clear()

    on_disk.verify_integrity()
    assert [(event.kind, event.cache_key) for event in told] == [("corrupt", "k")]
    on_disk.verify_integrity(repair=True)
    assert [event.kind for event in told] == ["corrupt", "corrupt", "invalidate"]


def test_progress_counts_every_entry(cache):
    for number in range(600):
        cache.put(number, str(number))
    told = []

    cache.verify_integrity(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (600, 600)
    assert len(told) >= 3


def test_a_report_is_json_and_counts_more_than_it_lists(on_disk, monkeypatch):
    monkeypatch.setattr("cacheness.integrity.integrity._LISTED", 3)
    for number in range(5):
        on_disk.put([number], str(number))
        change(on_disk, str(number), stored_bytes=1)

    report = on_disk.verify_integrity()
    assert (report.counts, len(report.corrupt)) == ({"corrupt": 5}, 3)
    assert len(report.problems()) == 3
    plain = json.loads(json.dumps(report.as_dict()))
    assert (plain["ok"], plain["counts"], len(plain["corrupt"])) == (False, {"corrupt": 5}, 3)
    assert "… and 2 more" in str(report)


def test_garbage_is_what_expired_and_what_nothing_names(cache):
    cache.put([1], "short", ttl_seconds=0.001)
    cache.put([1], "stale", ttl_seconds=0.001)
    change(cache, "stale", stale_until=time.time() + 1000)
    cache.put([1], "past", ttl_seconds=0.001)
    change(cache, "past", stale_until=time.time())
    cache.put(LARGE, "kept")
    orphan(cache)
    time.sleep(0.01)

    garbage = collect_garbage(cache.engine, grace=-1)
    assert (garbage.expired, garbage.orphaned) == (2, 1)
    assert sorted(cache) == ["kept", "stale"]
    assert "2 expired" in str(garbage)
    garbage = collect_garbage(cache.engine)
    assert (garbage.expired, garbage.orphaned, garbage.bytes) == (0, 0, 0)


def test_a_reader_overtaken_by_a_replace_looks_again(on_disk):
    """The blob is gone since the entry was replaced between listing and looking."""
    on_disk.put(LARGE, "k")
    blobs = on_disk.engine.blobs()
    inner = blobs.pieces
    seen = []

    def overtaken(name):
        if not seen:
            seen.append(name)
            on_disk.put(LARGE + 1, "k")
        return inner(name)

    blobs.pieces = overtaken
    report = repaired(on_disk)
    assert (report.ok, report.repaired, found(report)) == (True, 0, {})
    assert on_disk["k"][0] == 1


@pytest.mark.slow
def test_the_checksums_of_frames_take_no_pandas(tmp_path):
    pd = pytest.importorskip("pandas")
    with UnifiedCache(tmp_path / "c") as cache:
        cache.put(pd.DataFrame({"a": range(100_000)}), "k")
        cache.put(pd.DataFrame({"a": range(3)}), "small")
        assert cache.get_entry("k").handler == "dataframe"
    code = (
        "import sys; from cacheness import UnifiedCache\n"
        f"report = UnifiedCache({str(tmp_path / 'c')!r}).verify_integrity()\n"
        "assert report.ok and report.entries == 2, report\n"
        "print(sorted({'pandas', 'pyarrow', 'tensorflow'} & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert output.strip() == "[]"


@pytest.mark.slow
def test_a_large_cache_is_verified_in_flat_memory(tmp_path):
    """20,000 entries and a blob of 64 MB: a few megabytes at a time."""
    with UnifiedCache(tmp_path / "c") as cache:
        cache.put(np.zeros(8_000_000), "large", compressor="none")
        entries = [
            Entry(
                "",
                f"{number:05d}",
                number + 1,
                handler="json",
                inline=b"x" * 2000,
                stored_bytes=2000,
                checksum=checksum_of(b"x" * 2000, "xxh3-128"),
            )
            for number in range(20_000)
        ]
        cache.engine.backend.put_entries(entries)
        del entries
        cache.verify_integrity()
        tracemalloc.start()
        report = cache.verify_integrity()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert report.ok
    assert report.entries == 20_001
    assert peak < 16 << 20
