# SPDX-License-Identifier: MIT
"""TensorFlow is imported for those who ask for a tensor, and for nobody else."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from uv import find_uv_bin

from cacheness import UnifiedCache

# Keras makes arrays of variables in a way that NumPy 2 wants changed.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

ROOT = Path(__file__).parents[2]
STEPS = {
    "open": "",
    "list": "[cache.get_entry(key) for key in cache]; len(cache)",
    "entries": "assert {e.handler for e in cache.entries()} >= {'tensorflow', 'json'}",
    "a query": "assert cache.query_meta(entry__handler='tensorflow')",
    "statistics": "assert cache.stats().entries == len(cache)",
    "explaining a miss": "assert str(stored('tensor_of').cache_explain(2))",
    "explaining a hit": "assert stored('tensor_of').cache_explain(1).verdict == 'hit'",
    "explaining a nested hit": "assert stored('nest_of').cache_explain(1).verdict == 'hit'",
    "explaining a model": "assert stored('model_of').cache_explain(1).verdict == 'hit'",
    "verifying": "assert not cache.verify_integrity().corrupt",
    "mending": "assert not cache.verify_integrity(repair=True).corrupt",
    "another value": "cache.put({'a': 1}, 'other'); cache.get('other')",
    "a miss": "cache.get(tensor=3)",
    "the handlers": "import cacheness; cacheness.list_handlers()",
    "summaries": "[cache.get_entry(key).summary for key in cache]",
    "a cached function": "made(2); made(2); made.is_cached(3)",
    "as numpy": "assert cache.get('small', options={'as_numpy': True}).shape == (2,)",
}

SCRIPT = """
import json, sys
from cacheness import UnifiedCache

directory, steps = sys.argv[1], json.loads(sys.argv[2])
imported = {}
for name, step in steps.items():
    before = set(sys.modules)
    with UnifiedCache(directory) as cache:
        def stored(name):
            def function(n):
                raise AssertionError(f"{name}({n}) is stored")
            function.__module__, function.__qualname__ = "project", name
            return cache.cached(function, code="off")
        @cache.cached
        def made(n):
            return n
        exec(step)
    imported[name] = sorted({"tensorflow", "keras"} & (set(sys.modules) - before))
print(json.dumps(imported))
"""


VALUES = {
    "small": lambda: tf.constant([1.0, 2.0]),
    "narrow": lambda: tf.cast([[1.0, 2.5]], tf.bfloat16),
    "large": lambda: tf.random.normal([300, 400]),
    "strings": lambda: tf.constant(["a", "b\0"]),
    "variable": lambda: tf.Variable([1, 2]),
    "ragged": lambda: tf.ragged.constant([[1], [2, 3]]),
    "sparse": lambda: tf.sparse.from_dense([[1, 0]]),
    "nested": lambda: {"a": tf.constant([1.0]), "b": "text"},
}
RESULTS = {
    "tensor_of": lambda n: tf.ones([n]),
    "nest_of": lambda n: {"a": [tf.ones([n])]},
    "model_of": lambda n: keras.Sequential([keras.Input((n,)), keras.layers.Dense(1)]),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    """A cache of every kind of tensor, and of results that hold some, on disk."""
    directory = str(tmp_path_factory.mktemp("cache"))
    with UnifiedCache(directory) as cache:
        for name, make in VALUES.items():
            cache.put(make(), name)
        cache.put({"a": 1}, "no tensor")
        for name, function in RESULTS.items():
            function.__module__, function.__qualname__ = "project", name
            cache.cached(function, code="off")(1)
    return directory


def output_of(script: str, *arguments: str, python: str | Path = sys.executable) -> Any:
    run = subprocess.run(
        [python, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_none_of_these_imports_tensorflow(directory):
    imported = output_of(SCRIPT, directory, json.dumps(STEPS))

    assert imported == {step: [] for step in STEPS}


BLOCKED = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
WITHOUT = """
import json, sys
from cacheness import UnifiedCache

def plain(value):
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str):
        return value
    return [str(value.dtype), [str(element) for element in value.reshape(-1)[:3]]]

with UnifiedCache(sys.argv[1]) as cache:
    read = {key: plain(cache.get(key, options={"as_numpy": True})) for key in sys.argv[2:]}
print(json.dumps(read))
"""


def test_as_numpy_works_where_tensorflow_is_not_installed(directory):
    check(output_of(BLOCKED + WITHOUT, directory, *VALUES))


@pytest.mark.slow
def test_as_numpy_works_in_an_environment_of_these_packages_alone(directory, tmp_path):
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    uv = find_uv_bin()
    packages = [ROOT / "cacheness-core", ROOT / "cacheness-tensorflow"]
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, tmp_path / "venv"], check=True)
    subprocess.run([uv, "pip", "install", "-q", "-p", python, *packages], check=True)
    found = "from importlib.util import find_spec; print(int(find_spec('tensorflow') is None))"

    assert output_of(found, python=python) == 1
    check(output_of(WITHOUT, directory, *VALUES, python=python))


def check(read):
    """What the script read is what was put."""
    assert read["small"] == ["float32", ["1.0", "2.0"]]
    assert read["narrow"] == ["bfloat16", ["1", "2.5"]]
    assert read["large"][0] == "float32"
    assert read["strings"] == ["object", ["b'a'", "b'b\\x00'"]]
    assert read["variable"] == ["int32", ["1", "2"]]
    assert read["ragged"]["flat_values"] == ["int32", ["1", "2", "3"]]
    assert read["sparse"]["values"] == ["int32", ["1"]]
    assert read["nested"] == {"a": ["float32", ["1.0"]], "b": "text"}


MISSING = """
import sys, warnings
sys.modules["tensorflow"] = sys.modules["keras"] = None
from cacheness import CachenessWarning, UnifiedCache
with UnifiedCache(sys.argv[1]) as cache, warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    assert cache.get("small") is None
    assert "small" in cache
assert any("tensorflow" in str(warning.message) for warning in seen)
print("[]")
"""


def test_a_tensor_where_tensorflow_is_not_installed_is_kept(directory):
    assert output_of(MISSING, directory) == []


def test_the_plugin_is_found_by_its_entry_point_alone(cache):
    cache.put(tf.constant([1.0]), "t")

    entry = cache.get_entry("t")
    assert (entry.handler, entry.distribution) == ("tensorflow", "cacheness-tensorflow")
    assert np.array_equal(cache.get("t"), [1.0])
