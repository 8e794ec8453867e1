# SPDX-License-Identifier: MIT
"""The commands that look after a cache: gc, verify, doctor."""

import os
import time

import pytest

from cacheness import CacheConfig, UnifiedCache
from cacheness.cli.checkup import (
    check_clock,
    check_directory,
    check_file_system,
    check_format,
    check_key,
    check_space,
)


def blob_of(store):
    (path,) = [path for path in (store / "blobs").glob("??/*") if path.is_file()]
    return path


def test_gc_removes_what_has_expired_and_leaves_what_a_writer_may_be_about_to_name(
    as_json, run, store
):
    young = store / "blobs" / "ab" / ("ab" + "0" * 30 + ".npy")
    young.parent.mkdir(exist_ok=True)
    young.write_bytes(b"x" * 100)

    told = as_json("gc", "-d", store)

    assert (told["expired"], told["orphaned"]) == (1, 0)
    assert young.exists()
    assert "0 expired entries and 0 orphaned files" in run("gc", "-d", store).stdout


def test_verify_exits_with_0_where_all_is_well(as_json, run, store):
    told = as_json("verify", "-d", store)

    assert told["ok"]
    assert told["entries"] == 9
    assert "all well" in run("verify", "-d", store).stdout


def test_verify_finds_damage_and_repair_mends_it(as_json, run, store):
    path = blob_of(store)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"!")

    found = run("verify", "-d", store)
    assert found.exit_code == 1
    assert "corrupt: 1" in found.stdout
    told = as_json("verify", "-d", store, code=1)
    assert told["counts"] == {"corrupt": 1}

    asked = run("verify", "--repair", "-d", store, answer="n\n")
    assert asked.exit_code == 1
    assert path.exists()

    mended = as_json("verify", "--repair", "--yes", "-d", store)
    assert mended["repaired"] == 1
    assert as_json("verify", "-d", store)["counts"] == {"quarantined": 1}


def test_doctor_finds_nothing_wrong_with_a_good_cache(as_json, run, store):
    told = as_json("doctor", "-d", store)

    assert told["healthy"]
    about = {finding["about"]: finding["verdict"] for finding in told["findings"]}
    for name in ("directory", "format", "disk space", "clock", "store", "signing key", "plugins"):
        assert about[name] == "ok", told
    assert "ok       store: sqlite, 9 entries" in run("doctor", "-d", store).stdout


def test_doctor_tells_of_a_newer_format(as_json, store):
    (store / "cacheness.json").write_text('{"format": 99}\n')

    told = as_json("doctor", "-d", store, code=1)

    problems = {one["about"]: one for one in told["findings"] if one["verdict"] == "problem"}
    assert problems["format"]["advice"] == "upgrade cacheness-core"
    assert "store" in problems


def test_doctor_works_where_there_is_no_cache_and_makes_none(as_json, home):
    told = as_json("doctor", code=1)

    assert "there is no cache" in str(told)
    assert not (home / ".cacheness").exists()


def test_doctor_tells_of_a_plugin_that_fails_to_load_and_why(module, store, tmp_path):
    (tmp_path / "site" / "broken-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "broken-1.0.dist-info" / "entry_points.txt").write_text(
        "[cacheness]\nbroken = broken_plugin\n"
    )
    (tmp_path / "site" / "broken_plugin.py").write_text("import not_there_at_all\n")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from cacheness.cli import main; main()"
    )

    for command in (["doctor", "-d", store], ["plugins"]):
        done = module("-c", program, *command)
        assert done.returncode == 1
        assert "broken:broken" in done.stdout + done.stderr
        assert "No module named 'not_there_at_all'" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_doctor_says_that_caching_is_switched_off(command, store):
    done = command("doctor", "-d", store, env={"CACHENESS_DISABLE": "1"})

    assert "CACHENESS_DISABLE" in done.stdout
    assert done.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_directory_that_others_can_read_is_warned_of(store):
    os.chmod(store, 0o755)

    finding = check_directory(CacheConfig(store))

    assert finding.verdict == "warning"
    assert finding.advice == f"chmod 700 {store}"
    assert check_directory(CacheConfig(store, permissions="group")).verdict == "warning"
    os.chmod(store, 0o2770)
    assert check_directory(CacheConfig(store, permissions="group")).verdict == "ok"


def test_a_clock_that_differs_from_the_file_systems_is_a_problem(store):
    assert check_clock(str(store)).verdict == "ok"
    behind = check_clock(str(store), time.time() - 600)
    assert behind.verdict == "problem"
    assert "10 min ahead of" in behind.found
    assert "behind" in check_clock(str(store), time.time() + 600).found


def test_a_full_disk_is_a_problem(store):
    free = check_space(CacheConfig(store))
    full = check_space(CacheConfig(store, min_free="1000TB"))

    assert free.verdict in {"ok", "warning"}
    assert full.verdict == "problem"
    assert "nothing can be stored" in full.found


def test_a_network_file_system_is_warned_of(store, tmp_path):
    device = os.stat(store).st_dev
    table = tmp_path / "mounts"
    table.write_text(f"36 35 {os.major(device)}:{os.minor(device)} / / rw - nfs4 server:/x rw\n")

    finding = check_file_system(str(store), "sqlite", str(table))

    if os.major(device):  # one on a block device is local without a look at the table
        assert finding.verdict == "ok"
    else:
        assert finding.verdict == "warning"
        assert "nfs4" in finding.found
        assert "WAL" in finding.advice


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_signing_key_that_others_can_read_is_a_problem(store):
    from cacheness.payloads.signing import user_key_path

    config = CacheConfig(store)
    assert check_key(config).verdict == "ok"
    os.chmod(user_key_path(), 0o644)

    finding = check_key(config)

    assert finding.verdict == "problem"
    assert "chmod 600" in finding.found
    assert check_key(CacheConfig(store, signing_key="x" * 16)).verdict == "ok"
    assert check_key(CacheConfig(store, signing="off")).verdict == "ok"


def test_a_marker_that_is_damaged_is_a_problem(tmp_path):
    (tmp_path / "cacheness.json").write_text("{")
    assert check_format(str(tmp_path)).verdict == "problem"


def test_a_closed_store_is_told_of(as_json, tmp_path):
    with UnifiedCache(tmp_path / "c") as cache:
        cache.put(1, "x")
    (tmp_path / "c" / "metadata.sqlite3").write_bytes(b"no database" * 1000)

    told = as_json("doctor", "-d", tmp_path / "c", code=1)

    assert any(one["about"] == "store" for one in told["findings"] if one["verdict"] == "problem")
