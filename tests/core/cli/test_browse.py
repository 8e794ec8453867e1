# SPDX-License-Identifier: MIT
"""The commands that look: info, ls, query, show, stats."""

import json
import os

import pytest

from cacheness import UnifiedCache


def keys_of(entries):
    return [entry["cache_key"] for entry in entries]


def models_of(entries):
    return [entry["params"].get("model") for entry in entries]


def test_info_says_where_the_cache_is_and_how_much_is_in_it(run, as_json, store):
    told = as_json("info", "-d", store)
    shown = run("info", "-d", store).stdout

    assert told["directory"] == str(store)
    assert (told["backend"], told["entries"]) == ("sqlite", 9)
    assert told["stored_bytes"] > 400_000
    assert told["free_bytes"] > 0
    assert str(store) in shown
    assert "9" in shown
    assert "kB" in shown


def test_the_directory_is_that_of_the_environment_or_of_the_working_folder(command, store, home):
    here = command("info", "--json")
    named = command("info", "--json", env={"CACHENESS_CACHE_DIR": str(store)})
    os.symlink(store, home / ".cacheness")
    found = command("info", "--json")

    assert here.returncode == 2
    assert json.loads(named.stdout)["directory"] == str(store)
    assert json.loads(found.stdout)["entries"] == 9


def test_ls_lists_the_newest_first_and_tells_the_state_of_each(as_json, store):
    entries = as_json("ls", "-d", store)

    times = [entry["created_at"] for entry in entries]
    states = {entry["cache_key"]: entry["state"] for entry in entries}
    assert times == sorted(times, reverse=True)
    assert len(entries) == 9
    assert "inline" not in entries[0]
    assert (states["alpha-1"], states["signed"], states["short-lived"]) == (
        *("fresh", "pinned", "expired"),
    )


def test_ls_shows_people_a_table_and_says_how_many_it_left_out(run, store):
    done = run("ls", "-d", store, "--sort", "-size", "--limit", "2")

    lines = done.stdout.splitlines()
    assert lines[0].split() == ["key", "value", "size", "hits", "stored", "of", "state"]
    assert "float64 (50000,)" in lines[1]
    assert "400.1 kB" in lines[1]
    assert len(lines) == 3
    assert "7 more of 9" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        (["lr__gte=0.1"], ["a", "b"]),
        (["lr__gte=0.1", "--sort", "-size"], ["b", "a"]),
        (["lr__gte=0.01", "--sort", "-size", "--limit", "2"], ["c", "b"]),
        (["model=a"], ["a"]),
        (['model="a"'], ["a"]),
        (['model__in=["a", "c"]'], ["a", "c"]),
        (["--prefix", "runs"], ["a", "b"]),
        (["--tag", "nightly", "--tag", "big"], ["b"]),
        (["meta__owner=me"], ["c"]),
        (["entry__stored_bytes__gt=100000"], ["c"]),
    ],
)
def test_query_selects_by_filters(as_json, store, arguments, models):
    assert models_of(as_json("query", *arguments, "-d", store)) == models


def test_filters_are_the_same_everywhere(as_json, store):
    assert models_of(as_json("ls", "lr__gte=0.1", "--sort", "created", "-d", store)) == ["a", "b"]


def test_a_function_is_known_by_its_whole_name_and_by_its_own(as_json, store):
    with UnifiedCache(store, read_only=True) as cache:
        (name,) = {entry.function for entry in cache.entries() if entry.function}

    whole = as_json("ls", "--function", name, "-d", store)
    own = as_json("ls", "--function", "double", "-d", store)

    assert name.endswith(":double")
    assert len(whole) == 2
    assert keys_of(whole) == keys_of(own)
    assert as_json("ls", "--function", "doubl", "-d", store) == []


def test_keys_alone_can_be_piped(run, store):
    done = run("query", "--prefix", "runs", "--keys", "-d", store)

    with UnifiedCache(store, read_only=True) as cache:
        assert done.stdout.splitlines() == cache.query_meta(prefix="runs")


def test_query_without_any_match_exits_with_1(run, as_json, store):
    assert as_json("query", "model=z", "-d", store, code=1) == []
    assert run("query", "model=z", "-d", store).stderr == "cacheness: no entries\n"


def test_show_tells_all_about_an_entry_by_the_beginning_of_its_key(as_json, run, store):
    with UnifiedCache(store, read_only=True) as cache:
        entry = cache.get_entry(lr=0.01, model="c")

    told = as_json("show", entry.cache_key[:6], "-d", store)
    shown = run("show", entry.cache_key[:6], "-d", store).stdout

    assert told["cache_key"] == entry.cache_key
    assert told["params"] == {"lr": 0.01, "model": "c"}
    assert told["checksum"] == entry.checksum
    assert os.path.getsize(told["path"]) == entry.stored_bytes
    assert "lr=0.01, model='c'" in shown
    assert "numpy 1 of cacheness-core" in shown


def test_a_whole_key_wins_over_longer_ones_and_a_beginning_has_to_be_the_only_one(run, store):
    with UnifiedCache(store) as cache:
        cache.put(1, "alpha")

    assert "alpha\n" in run("show", "alpha", "-d", store).stdout.replace(" ", "")
    several = run("show", "alpha-", "-d", store)
    assert several.exit_code == 2
    assert several.stderr == ("cacheness: several keys begin with 'alpha-': alpha-1, alpha-2, …\n")
    none = run("show", "beta", "-d", store)
    assert none.exit_code == 1
    assert none.stderr.count("\n") == 1


def test_stats_tells_what_the_cache_was_good_for(as_json, run, store):
    told = as_json("stats", "-d", store)
    shown = run("stats", "-d", store).stdout

    assert told["entries"] == 9
    assert (told["hits"], told["misses"]) == (1, 2)
    assert [name.partition(":")[2] for name in told["functions"]] == ["double"]
    assert "1 hits, 2 misses (33.3%)" in shown
    assert "numpy" in shown


def test_looking_changes_nothing(run, store):
    with UnifiedCache(store, read_only=True) as cache:
        before = {entry.cache_key: entry for entry in cache.entries()}
    for arguments in (["info"], ["ls"], ["show", "alpha-1"], ["stats"], ["verify"], ["doctor"]):
        assert run(*arguments, "-d", store).exit_code == 0

    with UnifiedCache(store, read_only=True) as cache:
        assert {entry.cache_key: entry for entry in cache.entries()} == before


def test_a_json_cache_is_recognised(as_json, run, tmp_path):
    with UnifiedCache(tmp_path / "log", metadata_backend="json") as cache:
        cache.put(1, "one")

    assert as_json("info", "-d", tmp_path / "log")["backend"] == "json"
    assert keys_of(as_json("ls", "-d", tmp_path / "log", "--backend", "json")) == ["one"]
    wrong = run("ls", "-d", tmp_path / "log", "--backend", "sqlite")
    assert wrong.exit_code == 2
    assert "is kept by json, not sqlite" in wrong.stderr


def test_namespaces_are_apart(as_json, store):
    with UnifiedCache(store, namespace="other") as cache:
        cache.put(1, "theirs")

    assert keys_of(as_json("ls", "-d", store, "-n", "other")) == ["theirs"]
    assert keys_of(as_json("ls", "-d", store, "-o", "namespace=other")) == ["theirs"]
    assert as_json("info", "-d", store)["namespaces"] == ["", "other"]


def test_hostile_names_do_nothing_to_the_terminal(run, as_json, store):
    key = "red \x1b[31m\x1b]0;title\x07\u202e [bold]x[/bold] :smile:\nnext"
    with UnifiedCache(store) as cache:
        cache.put(1, key, description="\x1b[2J")

    shown = run("ls", "-d", store).stdout + run("show", key, "-d", store).stdout

    assert not set(shown) & {"\x1b", "\x07", "\u202e"}
    assert "[bold]x[/bold] :smile: next" in shown
    assert as_json("show", key, "-d", store)["cache_key"] == key
