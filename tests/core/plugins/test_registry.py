"""Plugins provide through hooks; what is wrong with one is reported and touches nothing else."""

import subprocess
import sys
import textwrap

import pytest

import cacheness
from cacheness import ConfigError, Handler, HandlerNotFoundError, HandlerSpec, UnifiedCache


class Temperature:
    def __init__(self, degrees):
        self.degrees = degrees

    def __eq__(self, other):
        return type(other) is Temperature and other.degrees == self.degrees

    __hash__ = None


class TemperatureHandler(Handler):
    extension = ".txt"
    data_only = True

    def can_handle(self, obj):
        return isinstance(obj, Temperature)

    def put(self, obj, file_path):
        with open(file_path, "w") as file:
            file.write(repr(obj.degrees))
        return {"storage_format": "text"}

    def get(self, file_path):
        with open(file_path) as file:
            return Temperature(float(file.read()))


@pytest.fixture
def registered():
    cacheness.register_handler(priority=100)(TemperatureHandler)
    yield TemperatureHandler
    cacheness.unregister_handler("temperature")


def run_with_plugins(tmp_path, plugins, script):
    """Run a script in a new process in which these modules are installed as plugins."""
    site = tmp_path / "site"
    for name, (entry_points, source) in plugins.items():
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        (site / f"{name}.py").write_text(textwrap.dedent(source))
    prelude = (
        "import sys, warnings; sys.path.insert(0, sys.argv[1]); warnings.simplefilter('always')\n"
    )
    return subprocess.run(
        [
            sys.executable,
            "-c",
            prelude + textwrap.dedent(script),
            str(site),
            str(tmp_path / "cache"),
        ],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin", "HOME": str(tmp_path)},
    )


def test_the_shortest_handler_keeps_its_type(tmp_path, registered):
    with UnifiedCache(tmp_path) as cache:
        cache.put(Temperature(36.6), day=1)

        entry = cache.get_entry(day=1)
        assert cache.get(day=1) == Temperature(36.6)
        assert (entry.handler, entry.distribution) == ("temperature", "")
        assert entry.metadata == {"storage_format": "text"}


def test_registering_again_replaces_and_unregistering_takes_back(tmp_path, registered):
    cacheness.register_handler(priority=7)(TemperatureHandler)

    names = [spec.name for spec in cacheness.list_handlers()]
    assert names.count("temperature") == 1
    assert names.index("temperature") > names.index("json")

    with pytest.raises(HandlerNotFoundError, match="'celsius'"):
        cacheness.unregister_handler("celsius")


def test_an_entry_of_a_process_handler_that_is_gone_is_kept_and_says_so(tmp_path):
    cacheness.register_handler(TemperatureHandler)
    with UnifiedCache(tmp_path) as cache:
        cache.put(Temperature(1.0), "t")
        cacheness.unregister_handler("temperature")

        with pytest.raises(cacheness.PluginNotInstalledError, match="register_handler"):
            cache.get("t")
        assert cache.exists("t")


def test_a_core_name_can_not_be_registered():
    class Mine(TemperatureHandler):
        name = "json"

    with pytest.raises(ConfigError, match="cacheness-core already has a handler 'json'"):
        cacheness.register_handler(Mine)


@pytest.mark.slow
def test_a_plugin_is_found_by_its_entry_point_alone(tmp_path):
    plugin = """
        from cacheness import hookimpl, HandlerSpec, CompressorSpec, BackendSpec, Handler
        class TextHandler(Handler):
            data_only = True
            def can_handle(self, obj): return type(obj) is complex
            def put(self, obj, file_path): open(file_path, "w").write(repr(obj)); return {}
            def get(self, file_path): return complex(open(file_path).read())
        @hookimpl
        def cacheness_handlers():
            return [HandlerSpec("cplx", "myplug:TextHandler", ("builtins.complex",), 100)]
        @hookimpl
        def cacheness_metadata_backends():
            return [BackendSpec("mine", "cacheness.backends.memory:MemoryBackend")]
    """
    script = """
        from cacheness import UnifiedCache
        cache = UnifiedCache(sys.argv[2])
        cache.put(1j, k=1)
        print(cache.get(k=1), cache.get_entry(k=1).handler, cache.get_entry(k=1).distribution)
        print(repr(UnifiedCache(sys.argv[2], metadata_backend="mine")))
    """

    ran = run_with_plugins(tmp_path, {"myplug": ("[cacheness]\nx = myplug\n", plugin)}, script)

    assert ran.stdout.splitlines()[0] == "1j cplx myplug"
    assert "mine" in ran.stdout.splitlines()[1]


BROKEN = {
    "raises": "raise RuntimeError('boom')",
    "imports": "import no_such_module_anywhere",
    "newer": "cacheness_api = 99",
    "nospec": """
        from cacheness import hookimpl
        @hookimpl
        def cacheness_handlers(): return ["not a spec"]
    """,
    "hookraises": """
        from cacheness import hookimpl
        @hookimpl
        def cacheness_compressors(): raise KeyError("hook")
    """,
    "takesjson": """
        from cacheness import hookimpl, HandlerSpec
        @hookimpl
        def cacheness_handlers(): return [HandlerSpec("json", "os:path")]
    """,
    "unknownhook": """
        from cacheness import hookimpl
        @hookimpl
        def cacheness_no_such_hook(): return []
    """,
    "wrongarguments": """
        from cacheness import hookimpl
        @hookimpl
        def cacheness_handlers(surprise): return []
    """,
}


@pytest.mark.slow
def test_a_broken_plugin_is_reported_and_skipped_and_the_others_work(tmp_path):
    plugins = {name: (f"[cacheness]\nx = {name}\n", source) for name, source in BROKEN.items()}
    plugins["zgood"] = (
        "[cacheness]\nx = zgood\n",
        """
        from cacheness import hookimpl, CompressorSpec
        @hookimpl
        def cacheness_compressors():
            return [CompressorSpec("good", "cacheness.compressors.none:NoneCompressor")]
        """,
    )
    script = """
        from cacheness import UnifiedCache
        with UnifiedCache(sys.argv[2]) as cache:
            cache.put({"a": 1}, k=1)
            cache.put({"a": 2}, k=2, compressor="good")
            print(cache.get(k=1), cache.get(k=2))
    """

    ran = run_with_plugins(tmp_path, plugins, script)

    assert ran.stdout == "{'a': 1} {'a': 2}\n"
    for name in BROKEN:
        assert f"PluginWarning: plugin {name}:x was skipped" in ran.stderr, name
    assert "boom" in ran.stderr
    assert "plugin API 99" in ran.stderr
    assert "cacheness-core already has the handler 'json'" in ran.stderr
    assert "zgood" not in ran.stderr


@pytest.mark.slow
def test_of_two_plugins_with_one_name_the_first_keeps_it(tmp_path):
    source = """
        from cacheness import hookimpl, CompressorSpec
        @hookimpl
        def cacheness_compressors():
            return [CompressorSpec("squeeze", "cacheness.compressors.none:NoneCompressor")]
    """
    plugins = {name: (f"[cacheness]\nx = {name}\n", source) for name in ("bbb", "aaa")}
    script = "from cacheness import UnifiedCache; UnifiedCache(sys.argv[2]).put(1, k=1)"

    ran = run_with_plugins(tmp_path, plugins, script)

    assert "plugin bbb:x was skipped" in ran.stderr
    assert "aaa already has the compressor 'squeeze'" in ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x", "myplug", "myplug:x"])
def test_disabled_plugins_are_left_out_by_any_of_their_names(tmp_path, name):
    script = f"""
        import os
        from cacheness import UnifiedCache
        UnifiedCache(sys.argv[2], disabled_plugins=({name!r},)).put(1, k=1)
        os.environ["CACHENESS_DISABLED_PLUGINS"] = {name!r}
        UnifiedCache(sys.argv[2]).put(1, k=1)
        print("myplug" in sys.modules)
    """

    ran = run_with_plugins(tmp_path, {"myplug": ("[cacheness]\nx = myplug\n", "1 / 0")}, script)

    assert ran.stdout == "False\n"


@pytest.mark.slow
def test_an_observer_is_told_of_everything_and_can_not_fail_a_call(tmp_path):
    source = """
        from cacheness import hookimpl
        @hookimpl
        def cacheness_on_event(event):
            print(event.kind, event.cache_key, event.handler)
            if event.kind == "hit": raise ValueError("observer broke")
    """
    script = """
        from cacheness import UnifiedCache
        with UnifiedCache(sys.argv[2]) as cache:
            cache.put({"a": 1}, "k")
            assert cache.get("k") == {"a": 1}
            cache.get("absent")
            cache.invalidate("k")
    """

    ran = run_with_plugins(
        tmp_path, {"watcher": ("[cacheness.observers]\nw = watcher\n", source)}, script
    )

    assert ran.stdout.split("\n") == [
        "put k json",
        "hit k json",
        "miss absent None",
        "invalidate k json",
        "",
    ]
    assert "observer broke" in ran.stderr


@pytest.mark.slow
def test_a_type_is_matched_along_the_mro_without_importing_its_module(tmp_path):
    source = """
        from cacheness import hookimpl, HandlerSpec
        @hookimpl
        def cacheness_handlers():
            return [HandlerSpec("far", "no_such_module:Handler", ("decimal.Decimal",), 100)]
    """
    script = """
        from cacheness import UnifiedCache
        with UnifiedCache(sys.argv[2]) as cache:
            cache.put({"a": 1}, k=1)
            print("decimal" in sys.modules)
            import decimal
            class Sub(decimal.Decimal): pass
            cache.put(Sub("1.5"), k=2)
    """

    ran = run_with_plugins(tmp_path, {"far": ("[cacheness]\nx = far\n", source)}, script + "")

    assert ran.stdout == "False\n"
    assert "loading the handler 'far'" in ran.stderr


def test_unknown_names_say_what_there_is(tmp_path):
    for option, allowed in (
        ("metadata_backend", "json, memory"),
        ("blob_backend", "file, memory"),
        ("compressor", "blosc2-lz4"),
    ):
        with pytest.raises(ConfigError, match=rf"'no-such'.*{allowed}"):
            UnifiedCache(tmp_path, **{option: "no-such"}).put(bytes(10**5), k=1)
    with UnifiedCache(tmp_path) as cache, pytest.raises(HandlerNotFoundError, match="'no-such'"):
        cache.put(1, k=1, handler="no-such")


def test_specs_are_frozen():
    spec = HandlerSpec("x", "a:b")
    with pytest.raises(AttributeError):
        spec.name = "y"


class Pair:
    def __init__(self, left, right):
        self.left, self.right = left, right


class PairHandler(Handler):
    """Writes a file itself and hands a part on; not data-only, so its entries are signed."""

    extension = ".pair"

    def can_handle(self, obj):
        return isinstance(obj, Pair)

    def put_with(self, obj, file_path, context):
        with open(file_path, "w") as file:
            file.write(obj.left)
        return {"right": context.put_part(obj.right)} if obj.right is not None else {}

    def get_with(self, file_path, metadata, context):
        with open(file_path) as file:
            left = file.read()
        return Pair(left, context.get_part(metadata["right"]) if "right" in metadata else None)


@pytest.mark.parametrize("size", [10, 100_000], ids=["inline", "blob"])
@pytest.mark.parametrize("with_part", [False, True])
def test_a_handler_of_files_is_signed_and_may_hand_parts_on(tmp_path, size, with_part):
    cacheness.register_handler(PairHandler)
    try:
        with UnifiedCache(tmp_path) as cache:
            cache.put(Pair("l" * size, list(range(size)) if with_part else None), "k")
            got = cache["k"]
            assert cache.get_entry("k").signature is not None
            assert got.left == "l" * size
            assert got.right == (list(range(size)) if with_part else None)
    finally:
        cacheness.unregister_handler("pair")
