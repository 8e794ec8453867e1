# SPDX-License-Identifier: MIT
"""TensorFlow is imported for those who ask for a tensor, and for nobody else."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from cacheness import UnifiedCache

STEPS = {
    "open": "",
    "list": "[cache.get_entry(key) for key in cache]; len(cache)",
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

directory, step, = sys.argv[1:]
with UnifiedCache(directory) as cache:
    @cache.cached
    def made(n):
        return n
    exec(step)
print(json.dumps([name for name in ("tensorflow", "keras") if name in sys.modules]))
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


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> str:
    """A cache of every kind of tensor, on disk."""
    directory = str(tmp_path_factory.mktemp("cache"))
    with UnifiedCache(directory) as cache:
        for name, make in VALUES.items():
            cache.put(make(), name)
    return directory


def output_of(script: str, *arguments: str) -> list:
    run = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize("step", STEPS)
def test_this_imports_no_tensorflow(directory, step):
    assert output_of(SCRIPT, directory, STEPS[step]) == []


WITHOUT = """
import json, sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
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
    read = output_of(WITHOUT, directory, *VALUES)

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
