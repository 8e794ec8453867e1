# SPDX-License-Identifier: MIT
"""The canonical bytes of the standard library's types."""

from __future__ import annotations

import sys
import types

from cacheness.keys.encoding import LONGEST_BODY, Memo, Unstable, encode, named
from cacheness.keys.naming import function_name
from cacheness.keys.origin import own_functions
from cacheness.keys.parts import class_label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Encoder: TypeAlias = Callable[[Any, Memo], bytes]

__all__ = ["encode_function", "standard_encoder"]

_MOST_TYPES = 2048
_KNOWN: dict[type, Encoder | None] = {}
_WITHOUT_METHODS: dict[type, int] = {}


def standard_encoder(kind: type) -> Encoder | None:
    """What encodes values of exactly this type, or of an enum or a metaclass; else None."""
    if kind in _KNOWN:
        return _KNOWN[kind]
    encoder = _find(kind)
    if len(_KNOWN) >= _MOST_TYPES:
        _KNOWN.clear()
    _KNOWN[kind] = encoder
    return encoder


def encode_function(value: Any, memo: Memo) -> bytes:
    """A function, or a callable that wraps one, by its name and its code."""
    return named("function", encode(function_name(value)), memo.refer(value))


def _find(kind: type) -> Encoder | None:
    encoder = _BUILTIN.get(kind)
    if encoder is not None:
        return encoder
    path = f"{kind.__module__}.{kind.__qualname__}"
    encoder = _BY_PATH.get(path)
    # Anyone may name a class like one of the table; only the module's own is meant.
    if encoder is not None and getattr(sys.modules.get(kind.__module__), kind.__name__, 0) is kind:
        return encoder
    if issubclass(kind, type):
        return _class
    enum = sys.modules.get("enum")
    if enum is not None and issubclass(kind, enum.Enum):
        return _enum_member
    return None


def _complex(value: complex, _memo: Memo) -> bytes:
    return named("complex", encode(value.real), encode(value.imag))


def _constant(value: object, _memo: Memo) -> bytes:
    return named("constant", encode(repr(value)))


def _bytearray(value: bytearray, _memo: Memo) -> bytes:
    return named("bytearray", _contents(memoryview(value)))


def _memoryview(value: memoryview, _memo: Memo) -> bytes:
    return named("memoryview", encode(value.format), encode(value.shape), _contents(value))


def _contents(view: memoryview) -> bytes:
    """`encode` of the bytes, of which no copy is made where they are many and lie together."""
    if view.nbytes > LONGEST_BODY and view.c_contiguous:
        from cacheness.keys.hashing import digest

        try:
            return b"y#" + digest(view.cast("B"))
        except TypeError:
            pass  # a format that `cast` does not know, such as one of another byte order
    return encode(view.tobytes())


def _frozenset(value: frozenset[object], memo: Memo) -> bytes:
    return named("frozenset", *sorted([encode(element, memo) for element in value]))


def _range(value: range, _memo: Memo) -> bytes:
    return named("range", encode(value.start), encode(value.stop), encode(value.step))


def _slice(value: slice, memo: Memo) -> bytes:
    return named(
        "slice", encode(value.start, memo), encode(value.stop, memo), encode(value.step, memo)
    )


def _class(value: type, memo: Memo) -> bytes:
    own_key = vars(value).get("__cacheness_key__")
    if isinstance(own_key, classmethod):
        return named(
            "key", encode(class_label(value)), encode(own_key.__get__(None, value)(), memo)
        )
    return named("class", encode(class_label(value)), memo.refer(value))


def _method(value: types.MethodType, memo: Memo) -> bytes:
    return named("method", encode_function(value.__func__, memo), encode(value.__self__, memo))


def _builtin(value: types.BuiltinFunctionType, memo: Memo) -> bytes:
    owner = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return encode_function(value, memo)
    return named("method", encode(value.__name__), encode(owner, memo))


def _bound_slot(value: Any, memo: Memo) -> bytes:
    return named("method", encode(value.__name__), encode(value.__self__, memo))


def _descriptor(value: Any, _memo: Memo) -> bytes:
    return named("descriptor", encode(class_label(value.__objclass__)), encode(value.__name__))


def _module(value: types.ModuleType, memo: Memo) -> bytes:
    return named("module", encode(value.__name__), memo.refer(value))


def _mapping_proxy(value: types.MappingProxyType[Any, Any], memo: Memo) -> bytes:
    return named("mappingproxy", encode(dict(value), memo))


def _namespace(value: types.SimpleNamespace, memo: Memo) -> bytes:
    return named("types.SimpleNamespace", encode(vars(value), memo))


def _code(value: types.CodeType, _memo: Memo) -> bytes:
    from cacheness.keys.bytecode import code_bytes

    return named("code", encode(code_bytes(value)))


def _ordered(value: Any, memo: Memo) -> bytes:
    return named("collections.OrderedDict", encode(list(value.items()), memo))


def _default_dict(value: Any, memo: Memo) -> bytes:
    return named(
        "collections.defaultdict", encode(value.default_factory, memo), encode(dict(value), memo)
    )


def _counter(value: Any, memo: Memo) -> bytes:
    return named("collections.Counter", encode(dict(value), memo))


def _deque(value: Any, memo: Memo) -> bytes:
    return named("collections.deque", encode(value.maxlen), encode(list(value), memo))


def _array(value: Any, _memo: Memo) -> bytes:
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    size = encode(value.itemsize)
    return named("array.array", encode(value.typecode), size, encode(value.tobytes()))


def _decimal(value: Any, _memo: Memo) -> bytes:
    return named("decimal.Decimal", encode(str(value)))


def _fraction(value: Any, _memo: Memo) -> bytes:
    return named("fractions.Fraction", encode(value.numerator), encode(value.denominator))


def _uuid(value: Any, _memo: Memo) -> bytes:
    return named("uuid.UUID", encode(value.bytes))


def _date(value: Any, _memo: Memo) -> bytes:
    return named("datetime.date", encode((value.year, value.month, value.day)))


def _time(value: Any, memo: Memo) -> bytes:
    clock = (value.hour, value.minute, value.second, value.microsecond, value.fold)
    return named("datetime.time", encode(clock), encode(value.tzinfo, memo))


def _datetime(value: Any, memo: Memo) -> bytes:
    moment = (value.year, value.month, value.day, value.hour, value.minute, value.second)
    fine = (value.microsecond, value.fold)
    return named("datetime.datetime", encode(moment + fine), encode(value.tzinfo, memo))


def _timedelta(value: Any, _memo: Memo) -> bytes:
    return named("datetime.timedelta", encode((value.days, value.seconds, value.microseconds)))


def _timezone(value: Any, memo: Memo) -> bytes:
    return named("datetime.timezone", encode(value.__getinitargs__(), memo))


def _zone(value: Any, _memo: Memo) -> bytes:
    if value.key is None:
        raise Unstable(type(value), "was read from a file and has no key")
    return named("zoneinfo.ZoneInfo", encode(value.key))


def _path(value: Any, _memo: Memo) -> bytes:
    return named("pathlib.Path", encode(str(value)))


def _pure_path(value: Any, _memo: Memo) -> bytes:
    return named(f"pathlib.{type(value).__name__}", encode(str(value)))


def _pattern(value: Any, _memo: Memo) -> bytes:
    return named("re.Pattern", encode(value.pattern), encode(value.flags))


def _partial(value: Any, memo: Memo) -> bytes:
    return named(
        "functools.partial",
        encode(value.func, memo),
        encode(value.args, memo),
        encode(dict(value.keywords), memo),
    )


def _logger(value: Any, _memo: Memo) -> bytes:
    return named("logging.Logger", encode(value.name))


def _file_content(value: Any, _memo: Memo) -> bytes:
    return named("cacheness.FileContent", encode(value.digest()))


def _enum_member(value: Any, memo: Memo) -> bytes:
    kind = type(value)
    try:
        content = encode(value.value, memo)
    except Unstable:
        # A member whose value is a bare object(): its name says all.
        content = b""
    # Its methods' code, but not its class's: a new member leaves the others what they are.
    attributes = vars(kind)
    methods = []
    if _WITHOUT_METHODS.get(kind) != len(attributes):
        methods = [encode(name) + memo.refer(method) for name, method in own_functions(kind)]
        if not methods:
            if len(_WITHOUT_METHODS) >= _MOST_TYPES:
                _WITHOUT_METHODS.clear()
            _WITHOUT_METHODS[kind] = len(attributes)
    return named("enum", encode(class_label(kind)), encode(value.name), content, *methods)


_BUILTIN: dict[type, Encoder] = {
    complex: _complex,
    frozenset: _frozenset,
    bytearray: _bytearray,
    memoryview: _memoryview,
    range: _range,
    slice: _slice,
    type(...): _constant,
    type(NotImplemented): _constant,
    type: _class,
    types.FunctionType: encode_function,
    types.BuiltinFunctionType: _builtin,
    types.MethodType: _method,
    types.MethodWrapperType: _bound_slot,
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.ModuleType: _module,
    types.MappingProxyType: _mapping_proxy,
    types.SimpleNamespace: _namespace,
    types.CodeType: _code,
}

_BY_PATH: dict[str, Encoder] = {
    "array.array": _array,
    "cacheness.keys.files.FileContent": _file_content,
    "collections.Counter": _counter,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _default_dict,
    "collections.deque": _deque,
    "datetime.date": _date,
    "datetime.datetime": _datetime,
    "datetime.time": _time,
    "datetime.timedelta": _timedelta,
    "datetime.timezone": _timezone,
    "decimal.Decimal": _decimal,
    "fractions.Fraction": _fraction,
    "functools._lru_cache_wrapper": encode_function,
    "functools.partial": _partial,
    "logging.Logger": _logger,
    "logging.RootLogger": _logger,
    "re.Pattern": _pattern,
    "uuid.UUID": _uuid,
    "zoneinfo.ZoneInfo": _zone,
}
# pathlib moved its classes to a private module and back between Python versions.
for _module_name in ("pathlib", "pathlib._local"):
    _BY_PATH[f"{_module_name}.PosixPath"] = _path
    _BY_PATH[f"{_module_name}.WindowsPath"] = _path
    _BY_PATH[f"{_module_name}.PurePosixPath"] = _pure_path
    _BY_PATH[f"{_module_name}.PureWindowsPath"] = _pure_path
