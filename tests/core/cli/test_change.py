# SPDX-License-Identifier: MIT
"""The commands that change entries: rm, touch, pin, clear. What destroys asks first."""

import pytest

from cacheness import UnifiedCache


def keys_in(store, **options):
    with UnifiedCache(store, read_only=True, **options) as cache:
        return set(cache)


def entry_in(store, key):
    with UnifiedCache(store, read_only=True) as cache:
        return cache.engine.backend.get_entry(key)


def test_rm_asks_and_removes_once_it_was_told_so(run, store):
    refused = run("rm", "alpha-1", "-d", store, answer="n\n")
    assert refused.exit_code == 1
    assert "Remove the entry alpha-1" in refused.stderr
    assert "alpha-1" in keys_in(store)

    agreed = run("rm", "alpha-1", "-d", store, answer="y\n")
    assert agreed.exit_code == 0
    assert "alpha-1" not in keys_in(store)


def test_rm_removes_payloads_too(run, store):
    blobs = [path for path in (store / "blobs").glob("??/*") if path.is_file()]

    assert run("rm", "model=c", "-d", store, "--yes").exit_code == 0

    assert len(blobs) == 1
    assert not blobs[0].exists()


@pytest.mark.parametrize("arguments", [["rm", "alpha-1"], ["clear"], ["verify", "--repair"]])
def test_what_destroys_does_nothing_where_nobody_answers(command, store, arguments):
    for more in ([], ["--json"]):
        done = command(*arguments, *more, "-d", store)
        assert done.returncode == 2
        assert "say --yes" in done.stderr
        assert "Traceback" not in done.stderr
    assert len(keys_in(store)) == 9


def test_rm_takes_several_keys_filters_and_shorthands(as_json, store):
    assert as_json("rm", "alpha-1", "alpha-2", "-y", "-d", store)["removed"] == 2
    assert as_json("rm", "lr__gt=0.2", "-y", "-d", store)["removed"] == 1
    assert as_json("rm", "--tag", "nightly", "-y", "-d", store)["removed"] == 1
    assert as_json("rm", "--function", "double", "-y", "-d", store)["removed"] == 2
    assert as_json("rm", "--tag", "nightly", "-y", "-d", store, code=1)["removed"] == 0
    assert len(keys_in(store)) == 3


def test_a_dry_run_removes_nothing(as_json, store):
    told = as_json("rm", "--prefix", "runs", "--dry-run", "-d", store)

    assert len(told["keys"]) == 2
    assert told["removed"] == 0
    assert len(keys_in(store)) == 9


def test_touch_renews_and_may_give_another_time_to_live(as_json, store):
    before = entry_in(store, "alpha-1")

    assert as_json("touch", "alpha-1", "--ttl", "36h", "-d", store) == {"touched": 1}
    after = entry_in(store, "alpha-1")
    assert after.renewed_at > before.renewed_at
    assert after.ttl_seconds == 36 * 3600
    assert after.generation == before.generation

    assert as_json("touch", "alpha-1", "--ttl", "never", "-d", store) == {"touched": 1}
    assert entry_in(store, "alpha-1").expires_at is None


def test_touch_leaves_what_has_expired(as_json, store):
    assert as_json("touch", "short-lived", "-d", store, code=1) == {"touched": 0}
    assert as_json("touch", "--prefix", "runs", "-d", store) == {"touched": 2}


def test_pin_and_unpin(as_json, store):
    assert as_json("pin", "alpha-1", "alpha-2", "-d", store) == {"pinned": 2}
    assert entry_in(store, "alpha-1").pinned
    assert as_json("pin", "alpha-1", "--off", "-d", store) == {"unpinned": 1}
    assert not entry_in(store, "alpha-1").pinned


def test_clear_removes_a_prefix_a_namespace_or_all(as_json, store):
    with UnifiedCache(store, namespace="other") as cache:
        cache.put(1, "theirs")

    assert as_json("clear", "--prefix", "runs", "-y", "-d", store) == {"removed": 2}
    assert as_json("clear", "-y", "-d", store) == {"removed": 7}
    assert keys_in(store, namespace="other") == {"theirs"}
    assert as_json("clear", "-y", "--all-namespaces", "-d", store) == {"removed": 1}


def test_clear_says_what_it_is_about_to_remove(run, store):
    done = run("clear", "-d", store, answer="n\n")

    assert done.exit_code == 1
    assert f"every entry of this namespace of {store}" in done.stderr
    assert len(keys_in(store)) == 9


def test_a_key_with_an_equals_sign_is_named_by_its_field(as_json, store):
    with UnifiedCache(store) as cache:
        cache.put(1, "a=b")

    assert as_json("rm", 'entry__cache_key="a=b"', "-y", "-d", store)["keys"] == ["a=b"]
