"""Options are checked where they are given, and the message says what is allowed."""

import datetime
import json
import os
import pickle
import subprocess
import sys

import pytest

from cacheness import CacheConfig, ConfigError, UnifiedCache


def test_the_defaults_are_the_documented_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = CacheConfig()

    assert config.cache_dir == str(tmp_path / ".cacheness")
    assert config.metadata_backend == "sqlite"
    assert config.inline_bytes == 32 << 10
    assert config.signing == "auto"
    assert config.lock_timeout == 60.0
    assert config.memory_staleness == 0.05
    assert config.implicit_dir


@pytest.mark.parametrize(
    ("given", "size"),
    [(5, 5), ("5GB", 5 * 10**9), ("512 MiB", 512 << 20), ("1.5kB", 1500), ("0", 0), ("7 b", 7)],
)
def test_sizes(given, size):
    assert CacheConfig(max_size=given).max_size == size


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (5, 5.0),
        ("36h", 129600.0),
        (datetime.timedelta(minutes=2), 120.0),
        ("250 ms", 0.25),
        ("1d", 86400.0),
    ],
)
def test_durations(given, seconds):
    assert CacheConfig(default_ttl_seconds=given).default_ttl_seconds == seconds


@pytest.mark.parametrize(
    ("option", "bad", "allowed"),
    [
        ("max_size", "5XB", "GiB"),
        ("max_size", -1, "GiB"),
        ("max_size", 1.5, "GiB"),
        ("max_entries", 0, "above zero"),
        ("default_ttl_seconds", 0, "above zero"),
        ("default_ttl_seconds", "soon", "36h"),
        ("default_ttl_seconds", float("nan"), "36h"),
        ("policy", "random", "'lru', 'lfu', 'fifo', 'cost'"),
        ("signing", True, "'auto', 'all', 'off'"),
        ("verify", "sometimes", "'always', 'open', 'never'"),
        ("durability", "none", "'process', 'fsync'"),
        ("permissions", "public", "'private', 'group'"),
        ("read_only", "maybe", "True or False"),
        ("metadata_options", 5, "a dict"),
        ("metadata_backend", "", "name"),
        ("namespace", "a\0b", "UTF-8"),
        ("disabled_plugins", 5, "a tuple"),
        ("signing_key", "short", "16"),
        ("cache_dir", 5, "pathlib.Path"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(option, bad, allowed):
    with pytest.raises(ConfigError, match=option) as caught:
        CacheConfig(**{option: bad})
    assert allowed in str(caught.value)


def test_an_unknown_option_is_a_type_error_that_lists_them():
    with pytest.raises(TypeError, match="max_size"):
        CacheConfig(maxsize=1)


def test_argument_then_environment_then_file_then_default(tmp_path, monkeypatch):
    toml = tmp_path / "c.toml"
    toml.write_text('[tool.cacheness]\nmax_size = "1GB"\npolicy = "lfu"\nnamespace = "file"\n')
    as_json = tmp_path / "c.json"
    as_json.write_text(json.dumps({"max_entries": 7}))
    monkeypatch.setenv("CACHENESS_POLICY", "fifo")
    monkeypatch.setenv("CACHENESS_NAMESPACE", "environment")
    monkeypatch.setenv("CACHENESS_METADATA_OPTIONS", '{"url": "x"}')
    monkeypatch.setenv("CACHENESS_DISABLED_PLUGINS", "a, b")
    monkeypatch.setenv("CACHENESS_READ_ONLY", "yes")

    config = CacheConfig.from_file(toml, namespace="argument")

    assert (config.max_size, config.policy, config.namespace) == (10**9, "fifo", "argument")
    assert config.metadata_options == {"url": "x"}
    assert config.disabled_plugins == ("a", "b")
    assert config.read_only
    assert CacheConfig.from_file(as_json).max_entries == 7


@pytest.mark.parametrize("name", ["POLICY", "MAX_SIZE", "CACHE_DIR", "READ_ONLY", "SIGNING_KEY"])
def test_an_empty_environment_variable_counts_as_not_set(monkeypatch, name):
    default = CacheConfig()
    monkeypatch.setenv(f"CACHENESS_{name}", "")

    assert CacheConfig() == default
    assert CacheConfig().implicit_dir


def test_a_file_that_can_not_be_read_is_a_config_error(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text("= nonsense")
    for path in (bad, tmp_path / "missing.toml"):
        with pytest.raises(ConfigError, match=path.name):
            CacheConfig.from_file(path)


def test_it_is_frozen_equal_by_value_and_pickled_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = CacheConfig(max_size="1GB", handler_options={"json": {"x": 1}})
    with pytest.raises(AttributeError, match="replace"):
        config.max_size = 5
    monkeypatch.chdir("/")

    again = pickle.loads(pickle.dumps(config))

    assert again == config
    assert again.cache_dir == str(tmp_path / ".cacheness")
    assert config.replace(max_size=7).max_size == 7
    assert config.replace(max_size=7) != config


def test_secrets_are_not_shown():
    config = CacheConfig(
        signing_key="the secret signing key", metadata_options={"url": "postgresql://u:pass@h/d"}
    )

    assert "secret" not in repr(config)
    assert "pass" not in repr(config)


def test_a_directory_that_can_not_be_used_is_a_config_error(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="can't be used"):
        UnifiedCache(file / "inside")
    with pytest.raises(ConfigError, match="holds no cache"):
        UnifiedCache(tmp_path / "absent", read_only=True)


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="needs root to become another user"
)
def test_an_unwritable_directory_is_a_config_error(tmp_path):
    script = """
import os, sys
from cacheness import ConfigError, UnifiedCache
UnifiedCache(sys.argv[1] + "/warm").close()  # all that is needed is imported before
os.mkdir(sys.argv[1] + "/locked", 0o555)
os.chdir(sys.argv[1] + "/locked")
os.setuid(65534)
try:
    UnifiedCache("cache")
except ConfigError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert "can't be used (Permission denied)" in ran.stdout, ran.stderr


def test_a_directory_of_a_newer_format_is_refused(tmp_path):
    UnifiedCache(tmp_path / "c").close()
    (tmp_path / "c" / "cacheness.json").write_text('{"format": 99}')

    with pytest.raises(ConfigError, match="format 99.*upgrade"):
        UnifiedCache(tmp_path / "c")


def test_a_damaged_marker_is_refused_with_what_it_should_say(tmp_path):
    UnifiedCache(tmp_path / "c").close()
    (tmp_path / "c" / "cacheness.json").write_text("garbage")

    with pytest.raises(ConfigError, match="damaged"):
        UnifiedCache(tmp_path / "c")


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="needs root to give a directory away"
)
def test_an_implicit_directory_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    UnifiedCache().close()
    os.chown(tmp_path / ".cacheness", 65534, 65534)

    with pytest.raises(ConfigError, match="CACHENESS_CACHE_DIR"):
        UnifiedCache()
    UnifiedCache(tmp_path / ".cacheness").close()


def test_the_layout_is_the_documented_one(tmp_path):
    with UnifiedCache(tmp_path / "c") as cache:
        cache.put(bytes(100_000), "k")
    made = tmp_path / "c"

    assert (
        (made / "CACHEDIR.TAG")
        .read_text()
        .startswith("Signature: 8a477f597d28d172789f06886806bc55")
    )
    assert (made / ".gitignore").read_text() == "*\n"
    assert json.loads((made / "cacheness.json").read_text()) == {"format": 1}
    assert (made / "metadata.sqlite3").exists()
    if os.name == "posix":
        assert made.stat().st_mode & 0o777 == 0o700
        for path in made.rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_a_groups_directory_is_group_writable(tmp_path):
    with UnifiedCache(tmp_path / "c", permissions="group", signing_key="k" * 16) as cache:
        cache.put(bytes(100_000), "k")
        for path in (tmp_path / "c").rglob("*"):
            mode = path.stat().st_mode & 0o777
            assert mode == (0o770 if path.is_dir() else 0o660), (path, oct(mode))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"metadata_backend": "nonesuch"}, "there is no metadata backend 'nonesuch'"),
        ({"blob_backend": "nonesuch"}, "there is no blob backend 'nonesuch'.* file, memory"),
        ({"compressor": "nonesuch"}, "there is no compressor 'nonesuch'.* auto, .* zstd"),
        (
            {"metadata_options": {"jornal": "wal"}},
            "metadata_options: .*'jornal'; it takes .*journal",
        ),
    ],
)
def test_what_a_cache_names_and_is_not_there_is_refused_at_its_opening(tmp_path, options, named):
    with pytest.raises(ConfigError, match=named):
        UnifiedCache(tmp_path, **options)


def test_options_that_a_blob_backend_does_not_take_are_refused_at_its_opening(tmp_path):
    with (
        UnifiedCache(tmp_path, blob_options={"nonesuch": 1}) as cache,
        pytest.raises(ConfigError, match="blob_options: .*'nonesuch'"),
    ):
        cache.put(bytes(100_000), a=1)
