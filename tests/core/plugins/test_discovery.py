"""Installed entry points are found without importlib.metadata, and only once."""

import importlib.metadata
import json
import subprocess
import sys
import textwrap
import zipfile

import pytest

from cacheness.plugins.discovery import find_entry_points


def install(folder, distribution, text, version="1.0"):
    info = folder / f"{distribution}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    if text is not None:
        (info / "entry_points.txt").write_text(textwrap.dedent(text))
    return info


def test_both_groups_are_found_and_others_are_not(tmp_path):
    install(
        tmp_path,
        "My_Plugin",
        """
        [console_scripts]
        run = my_plugin:main

        [cacheness]
        # a comment
        frames = my_plugin.plugin
        extra=my_plugin.more:thing [fast]

        [cacheness.observers]
        frames = my_plugin.plugin
        """,
    )
    install(tmp_path, "other", "[pytest11]\nx = other\n")
    install(tmp_path, "nothing", None)

    found = [(p.plugin_name, p.group, p.value) for p in find_entry_points([str(tmp_path)])]

    assert found == [
        ("my-plugin:extra", "cacheness", "my_plugin.more:thing"),
        ("my-plugin:frames", "cacheness", "my_plugin.plugin"),
        ("my-plugin:frames", "cacheness.observers", "my_plugin.plugin"),
    ]


def test_the_first_of_a_normalised_name_wins_even_if_it_has_no_entry_points(tmp_path):
    install(tmp_path / "a", "my.plugin", None, "2.0")
    install(tmp_path / "b", "My_Plugin", "[cacheness]\nold = old\n", "1.0")

    assert find_entry_points([str(tmp_path / "a"), str(tmp_path / "b")]) == []
    assert len(find_entry_points([str(tmp_path / "b"), str(tmp_path / "a")])) == 1


def test_source_checkouts_eggs_and_zip_files_are_looked_at(tmp_path):
    egg_info = tmp_path / "src" / "checked_out.egg-info"
    egg_info.mkdir(parents=True)
    (egg_info / "entry_points.txt").write_text("[cacheness]\nx = checked_out\n")
    egg = tmp_path / "old-1.0.egg" / "EGG-INFO"
    egg.mkdir(parents=True)
    (egg / "entry_points.txt").write_text("[cacheness]\ny = old\n")
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(
            "zipped-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: zipped\nVersion: 1.0\n"
        )
        file.writestr("zipped-1.0.dist-info/entry_points.txt", "[cacheness]\nz = zipped\n")

    path = [str(tmp_path / "src"), str(egg.parent), str(archive), str(tmp_path / "missing")]

    assert [p.plugin_name for p in find_entry_points(path)] == [
        "checked-out:x",
        "old:y",
        "zipped:z",
    ]


def test_it_finds_what_importlib_metadata_finds_here():
    theirs = {
        (point.name, point.value) for point in importlib.metadata.entry_points(group="cacheness")
    }

    ours = {(p.name, p.value) for p in find_entry_points() if p.group == "cacheness"}

    assert ours == theirs


@pytest.mark.parametrize(
    "hostile", ["[cacheness]\n= x\nname\n[", "\x00\xff[cacheness]\n", "[cacheness]\n" + "a" * 10**5]
)
def test_a_malformed_file_is_passed_over(tmp_path, hostile):
    info = install(tmp_path, "hostile", None)
    (info / "entry_points.txt").write_bytes(hostile.encode("latin-1"))

    find_entry_points([str(tmp_path)])


@pytest.mark.slow
def test_without_a_plugin_pluggy_and_importlib_metadata_are_never_imported(tmp_path):
    script = """
        import json, sys
        from cacheness import UnifiedCache, plugins
        from cacheness.plugins import discovery
        discovery.sys = type("NoSitePackages", (), {"path": [], "meta_path": []})
        cache = UnifiedCache(sys.argv[1])
        cache.put({"a": 1}, k=1)
        assert cache.get(k=1) == {"a": 1}
        print(json.dumps([m for m in ("pluggy", "importlib.metadata") if m in sys.modules]))
    """

    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(ran.stdout) == []
