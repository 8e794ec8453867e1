# SPDX-License-Identifier: MIT
"""The commands that move entries: export, import, copy."""

from cacheness import UnifiedCache


def keys_in(store, **options):
    with UnifiedCache(store, read_only=True, **options) as cache:
        return set(cache)


def test_entries_go_through_a_file_into_another_cache(as_json, store, tmp_path):
    file, other = tmp_path / "all.tar", tmp_path / "other"

    exported = as_json("export", file, "--prefix", "runs", "-d", store)
    imported = as_json("import", file, "--create", "-d", other)

    assert (exported["exported"], exported["refused"]) == (2, 0)
    assert imported["imported"] == 2
    with UnifiedCache(other) as cache:
        assert cache.get(lr=0.1, model="a") == {"score": 0.9}
    assert as_json("import", file, "-d", other)["skipped"] == 2


def test_where_there_is_no_cache_yet_it_is_said_how_to_make_one(run, store, tmp_path):
    run("export", tmp_path / "all.tar", "-d", store)

    for command in (
        ("import", tmp_path / "all.tar", "-d", tmp_path / "none"),
        ("copy", tmp_path / "none", "-d", store),
    ):
        done = run(*command)
        assert done.exit_code == 2
        assert "or have it made by --create" in done.stderr
    assert not (tmp_path / "none").exists()


def test_export_asks_before_it_replaces_a_file(run, store, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("precious")

    assert run("export", file, "-d", store, answer="n\n").exit_code == 1
    assert file.read_text() == "precious"
    done = run("export", file, "-d", store, answer="y\n")
    assert done.exit_code == 0
    assert "exported" in done.stdout


def test_import_and_copy_make_no_cache_unless_they_are_told_to(run, store, tmp_path):
    file, other = tmp_path / "all.tar", tmp_path / "other"
    run("export", file, "-d", store)

    for arguments in (["import", file, "-d", other], ["copy", other, "-d", store]):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "there is no cache" in done.stderr
        assert not other.exists()


def test_copy_goes_to_another_backend_and_namespace(as_json, store, tmp_path):
    other = tmp_path / "other"
    told = as_json(
        *("copy", other, "lr__gte=0.1", "--create", "--to-backend", "json"),
        *("--to-namespace", "n", "-d", store),
    )

    assert told["copied"] == 2
    assert len(keys_in(other, metadata_backend="json", namespace="n")) == 2


def test_what_is_left_out_is_told_with_its_reason(as_json, run, store, tmp_path):
    file, other = tmp_path / "all.tar", tmp_path / "other"
    run("export", file, "-d", store)
    foreign = ("-d", other, "--create", "-o", "signing_key=a key of somebody else")

    told = as_json("import", file, *foreign, code=1)
    assert list(told["reasons"]) == ["signed"]
    assert "signed" not in keys_in(other)

    asked = run("import", file, "--trust", *foreign, answer="n\n")
    assert asked.exit_code == 1
    assert "signed" not in keys_in(other)
    assert as_json("import", file, "--trust", "--yes", *foreign)["refused"] == 0
    assert "signed" in keys_in(other)


def test_a_file_that_is_no_export_is_refused_in_one_line(run, store, tmp_path):
    (tmp_path / "x.tar").write_bytes(b"no export" * 1000)

    damaged = run("import", tmp_path / "x.tar", "-d", store)
    missing = run("import", tmp_path / "y.tar", "-d", store)

    assert damaged.exit_code == 1
    assert missing.exit_code == 2
    for done in (damaged, missing):
        assert done.stderr.startswith("cacheness: ")
        assert done.stderr.count("\n") == 1
