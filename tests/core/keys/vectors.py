# SPDX-License-Identifier: MIT
"""Makes the key vectors: values as Python expressions, their encodings, and their keys.

Run as a script it prints those whose libraries are installed, as JSON; with ``--quick``
those of the language and numpy; with ``--write`` it puts them into
``tests/data/key_vectors.json``, where those that it can't make stay.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile

from cacheness.keys.encoding import call_key, encode, params_bytes, params_key
from cacheness.keys.files import FileContent

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "..", "data", "key_vectors.json")
MODULES = (
    "array",
    "collections",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "logging",
    "math",
    "operator",
    "pathlib",
    "re",
    "types",
    "uuid",
    "zoneinfo",
)

STANDARD = """
None
True
False
0
1
-1
255
2**63
-(2**200)
10**5000
0.0
-0.0
0.1
5e-324
float('inf')
float('-inf')
float('nan')
-float('nan')
1+2j
complex('nan-0j')
''
'a'
'é😀'
'\\ud800'
'x' * 1024
'x' * 1025
b''
b'\\x00\\xff'
b'x' * 2000
bytearray(b'ab')
memoryview(b'ab')
[]
[1, 2]
[[1], 2]
[1, [2]]
list(range(1000))
()
(1, 2)
(1.0, True, None)
set()
{1, 2, 3}
{'b', 'a', 'c'}
frozenset({1, 2, 3})
{}
{'a': 1, 'b': 2}
{'b': 2, 'a': 1}
{1: 'int', '1': 'str', (1,): 'tuple', None: 0}
{'nested': {'deep': [{'x': {1, 2}}]}}
collections.OrderedDict([('b', 1), ('a', 2)])
collections.defaultdict(list, {'a': [1]})
collections.Counter('abca')
collections.deque([1, 2], maxlen=3)
types.MappingProxyType({'a': 1})
types.SimpleNamespace(b=1, a=2)
array.array('d', [1.0, 2.0])
range(3)
range(1, 10, 2)
slice(1, None, 2)
...
NotImplemented
decimal.Decimal('1.0')
decimal.Decimal('1.00')
decimal.Decimal('-0')
decimal.Decimal('NaN')
decimal.Decimal('1E+3')
fractions.Fraction(1, 3)
datetime.date(2024, 2, 29)
datetime.time(12, 30, 1, 5)
datetime.time(12, 30, fold=1)
datetime.datetime(2024, 2, 29, 12)
datetime.datetime(2024, 10, 27, 2, 30, fold=1)
datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone.utc)
datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))
datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.timezone(datetime.timedelta(0), 'Z'))
datetime.timedelta(days=-1, microseconds=5)
uuid.UUID(int=5)
pathlib.Path('a/b')
pathlib.PurePosixPath('a/b')
pathlib.PureWindowsPath('a/b')
re.compile('a+')
re.compile(b'a+', re.I | re.M)
functools.partial(int, base=2)
functools.partial(vector_types.helper, 1)
logging.getLogger('a.b')
len
math.sqrt
operator.itemgetter
operator.itemgetter(1)
str.upper
'ab'.upper
int
dict
collections.OrderedDict
list[int]
math
vector_types.Color.RED
vector_types.Color.BLUE
vector_types.Level.LOW
vector_types.Flags.A | vector_types.Flags.B
vector_types.Point(1)
vector_types.Point(1, 2.0, ['a'])
vector_types.Frozen('n')
vector_types.Pair(1, 'r')
vector_types.Triple(1, 2, 3)
vector_types.Plain()
vector_types.Plain(b=1, a=[2])
vector_types.Slotted(5)
vector_types.Keyed('name', object())
vector_types.Text('a')
vector_types.Numbers([1, 2])
vector_types.Bag({1, 2, 3})
vector_types.Point
vector_types.Color
vector_types.Pair
vector_types.helper
vector_types.make_adder(1)
vector_types.make_adder(2)
vector_types.Holder.make
vector_types.Holder().method
FileContent(folder + '/tree/a.txt')
FileContent(folder + '/tree')
"""

ZONES = """
datetime.datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin'))
zoneinfo.ZoneInfo('UTC')
"""

NUMPY = """
numpy.int64(1)
numpy.int32(1)
numpy.float64(1.0)
numpy.bool_(True)
numpy.datetime64('2024-01-01', 'D')
numpy.str_('a')
numpy.dtype('f8')
numpy.array(1.0)
numpy.array([])
numpy.arange(6)
numpy.arange(6, dtype='>i4')
numpy.arange(6).reshape(2, 3)
numpy.asfortranarray(numpy.arange(6).reshape(2, 3))
numpy.arange(12)[::2]
numpy.array(['a', 'bc'])
numpy.array([b'a', b'bc'])
numpy.array(['2024-01-01'], dtype='M8[ns]')
numpy.array([1, 2], dtype='m8[s]')
numpy.array([True, False])
numpy.array([1 + 2j])
numpy.array([1.5], dtype='f2')
numpy.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')])
numpy.array([None, 'a', [1]], dtype=object)
numpy.zeros((2, 0, 3))
numpy.ma.array([1, 2], mask=[0, 1])
[numpy.zeros(3), {'a': numpy.ones(2)}]
"""

GROUPS = {
    (): STANDARD,
    ("tzdata",): ZONES,
    ("numpy",): NUMPY,
    ("attrs",): "vector_attrs.Box(3)\nvector_attrs.Box\n",
    ("pydantic",): "vector_pydantic.Model(size=4)\nvector_pydantic.Model\n",
    ("pandas", "cacheness_pandas"): (
        "pandas.DataFrame({'a': [1, 2], 'b': ['x', None]})\n"
        "pandas.Series([1.0, 2.0], name='s')\n"
        "pandas.Index([1, 2], name='i')\n"
    ),
    ("pyarrow", "cacheness_pandas"): "pyarrow.table({'a': [1, None], 'b': ['x', 'y']})\n",
    ("tensorflow", "cacheness_tensorflow"): "tensorflow.constant([1, 2])\n",
    ("scipy",): "scipy.sparse.csr_matrix([[0, 1], [2, 0]])\nscipy.sparse.coo_array([[0, 1]])\n",
    ("polars",): "polars.Series('s', [1, 2, None])\n",
}
"""Vectors of libraries' own types. They hold for the versions of the libraries that keep
their state the same; numpy's and the standard library's hold for all."""

PARAMS = """
{}
{'lr': 0.1, 'step': 3, 'model': 'a'}
{'aaaaaaaaaa': None, 'b': True, 'a': False}
{'a': 2**31 - 1, 'b': 2**31, 'c': -(2**31), 'd': -(2**31) - 1, 'e': 10**30}
{'é': 'é', 'half': '\\ud800', '': ''}
{'zero': 0.0, 'minus': -0.0, 'inf': float('inf')}
{'x': float('nan'), 'y': 1}
{'x': 'y' * 1011}
{'x': 'y' * 1012}
{'x': b'bytes', 'y': 1}
"""

CALLS = [
    ("module:function", "", None, "", {}),
    ("module:function", "", 1, "ab" * 16, {"x": 1, "y": "a"}),
    ("module:function", "prefix", "v2", "ab" * 16, {"x": 1, "y": "a"}),
]


def make(groups) -> dict[str, list[dict[str, object]]]:
    """The vectors of these groups of libraries that can be made here."""
    with tempfile.TemporaryDirectory() as folder:
        os.makedirs(folder + "/tree/empty")
        for name, text in (("a.txt", b"hello"), ("b.bin", b"\x00" * 5000)):
            with open(f"{folder}/tree/{name}", "wb") as file:
                file.write(text)
        scope = {"FileContent": FileContent, "folder": folder}
        scope |= {name: importlib.import_module(name) for name in (*MODULES, "vector_types")}
        values = []
        for needs, text in groups.items():
            if all(importlib.util.find_spec(name) for name in needs):
                scope |= _modules(needs)
                values += [_vector(line, needs, scope) for line in text.split("\n") if line]
    params = [_params(line, scope) for line in PARAMS.split("\n") if line]
    calls = [{"call": list(call), "key": call_key(*call)} for call in CALLS]
    return {"values": values, "params": params, "calls": calls}


def _modules(needs: tuple[str, ...]) -> dict[str, object]:
    own = {"attrs": "vector_attrs", "pydantic": "vector_pydantic", "scipy": "scipy.sparse"}
    names = [own.get(name, name) for name in needs if name != "tzdata"]
    for name in names:
        importlib.import_module(name)
    return {name.partition(".")[0]: sys.modules[name.partition(".")[0]] for name in names}


def _versions(needs: tuple[str, ...]) -> dict[str, str]:
    """The versions on which a vector depends; numpy's handler keeps its bytes in all of them."""
    names = [name for name in needs if name not in ("numpy", "tzdata")]
    names = [name for name in names if not name.startswith("cacheness_")]
    return {name: _version(name) for name in names}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return sys.modules[name].__version__


def _vector(text: str, needs: tuple[str, ...], scope: dict[str, object]) -> dict[str, object]:
    value = eval(text, scope)
    encoding = encode(value)
    return {
        "value": text,
        "with": _versions(needs),
        "encoding": encoding.hex(),
        "key": params_key({"x": value}),
    }


def _params(text: str, scope: dict[str, object]) -> dict[str, object]:
    params = eval(text, scope)
    return {"params": text, "bytes": params_bytes(params).hex(), "key": params_key(params)}


def _write() -> None:
    made = make(GROUPS)
    done = {vector["value"] for vector in made["values"]}
    if os.path.exists(DATA):
        with open(DATA, encoding="utf-8") as file:
            kept = json.load(file)["values"]
        wanted = {line for text in GROUPS.values() for line in text.split("\n")}
        made["values"] += [v for v in kept if v["value"] in wanted - done]
    with open(DATA, "w", encoding="utf-8") as file:
        json.dump(made, file, indent=1, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    if "--write" in sys.argv:
        _write()
    elif "--quick" in sys.argv:
        json.dump(make({needs: GROUPS[needs] for needs in ((), ("numpy",))}), sys.stdout)
    else:
        json.dump(make(GROUPS), sys.stdout)
