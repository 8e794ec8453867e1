# SPDX-License-Identifier: MIT
"""The canonical bytes of values, from which keys are made (specified in docs/KEYS.md)."""

from __future__ import annotations

from marshal import dumps
from struct import Struct

from blake3 import blake3

from cacheness.errors import UnhashableParameterError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypeAlias

    Plan: TypeAlias = tuple[tuple[str, bytes], ...]

__all__ = [
    "SCALARS",
    "CallKeys",
    "FunctionKey",
    "Memo",
    "Unstable",
    "call_key",
    "encode",
    "encode_params",
    "exact_bytes",
    "named",
    "params_bytes",
    "params_digest",
    "params_key",
    "part_digests",
    "scalars_key",
]

PARAMS_DOMAIN = b"cacheness 1 params\n"
CALL_DOMAIN = b"cacheness 1 call\n"

LONGEST_BODY = 1024
"""A longer body is replaced by its digest, so that encodings stay small at any depth; and a
longer short form by the long one."""

_LONG_TEXT = 1 << 20
"""Of a longer text no copy in UTF-8 is made as a whole."""

KEY_BYTES = 16
PART_BYTES = 8

SCALARS = frozenset({str, int, float, bool, type(None)})
"""The types of values that `exact_bytes` takes apart, themselves and not their subclasses."""

_WITHOUT_REFERENCES = 2
"""The last version of `marshal` whose bytes depend on the value alone, and not on how often
something refers to it."""
_MOST_KNOWN = 1024
_MOST_PLANS = 1024
_PLANS: dict[tuple[str, ...], Plan] = {}
_ORDERS: dict[tuple[str, ...], tuple[str, ...]] = {}

_STR_HEADS = [b"s%d:" % length for length in range(64)]
_INT_HEADS = [b"i%d:" % length for length in range(64)]
_CONSTANTS = {None: b"n0:", True: b"t0:", False: b"f0:"}
_NAN = b"d8:\x7f\xf8\x00\x00\x00\x00\x00\x00"
_float_bytes = Struct(">d").pack
_STR = frozenset({str})
_text = str.__str__
"""A name as it is, where a subclass of `str` shows another one."""


class Unstable(Exception):  # noqa: N818 - a verdict on a value; callers turn it into the public error
    """A value has no stable fingerprint."""

    def __init__(self, kind: type, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.trail: list[str] = []


class Memo(dict[int, "tuple[object, bytes]"]):
    """What one encoding has seen: id → (the value, kept alive, and its bytes).

    Only values with long bodies are held, which is enough to make shared parts cheap.
    """

    __slots__ = ()

    def refer(self, code: object) -> bytes:
        """The encoding of the code of a function, class or module."""
        from cacheness.keys.code import object_digest

        return encode(object_digest(code))


def params_key(params: Mapping[str, object]) -> str:
    """The key of a mapping of parameters: 32 hex characters.

    Args:
        params: The parameters, in a mapping that nobody changes meanwhile.

    Raises:
        UnhashableParameterError: A parameter has no stable fingerprint.
    """
    key = scalars_key(params) if type(params) is dict else None
    return _hashed(params) if key is None else key


def scalars_key(params: dict[str, object]) -> str | None:
    """[hot] `params_key` of scalars; None where there is anything else among them.

    Keys that were asked for lately are remembered, which takes 1 µs for three parameters. Of the
    others the bytes by which they are remembered are, in order, those that are hashed.
    """
    if not SCALARS.issuperset(map(type, params.values())):
        return None
    try:
        exact = dumps(params, _WITHOUT_REFERENCES)  # as `exact_bytes`
    except ValueError:
        return None  # a name of a subclass of str
    key = _known.get(exact)
    if key is None:
        names = tuple(params)
        if (
            names != (_ORDERS.get(names) or _order(names))
            or len(exact) > LONGEST_BODY
            or ((0x7F in exact or 0xFF in exact) and _has_no_short_form(params))
        ):
            key = _hashed(params)
            _remember(_known, exact, key)
        else:
            # As there: they are the short form already. Its `hexdigest` takes 0.2 µs more.
            key = blake3(PARAMS_DOMAIN + exact).digest(KEY_BYTES).hex()
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[exact] = key
    return key


def _hashed(params: Mapping[str, object]) -> str:
    return blake3(PARAMS_DOMAIN + params_bytes(params)).hexdigest(KEY_BYTES)


def params_bytes(params: Mapping[str, object], pieces: list[bytes] | None = None) -> bytes:
    """The canonical bytes of parameters: the short form where there is one, else the long.

    Args:
        params: The parameters.
        pieces: What `encode_params` gave for them, where it is at hand.

    Raises:
        UnhashableParameterError: A parameter has no stable fingerprint.
    """
    params = _by_text(params)
    short = _short_form(params)
    return b"".join(pieces or encode_params(params)) if short is None else short


def _short_form(params: Mapping[str, object]) -> bytes | None:
    """What C makes of scalars, in a quarter of the time that their long form takes.

    Its bytes are those of the second version of `marshal`, which docs/KEYS.md spells out. None
    begins like an encoded name.
    """
    names = tuple(params)
    if not SCALARS.issuperset(map(type, params.values())) or _has_no_short_form(params):
        return None
    order = _ORDERS.get(names) or _order(names)
    short = dumps({name: params[name] for name in order}, _WITHOUT_REFERENCES)
    return short if len(short) <= LONGEST_BODY else None


def _has_no_short_form(params: Mapping[str, Any]) -> bool:
    """Whether one of these scalars is a NaN, which has many bit patterns, or a long text."""
    return any(
        value != value or (type(value) is str and len(value) > LONGEST_BODY)
        for value in params.values()
    )


def _by_text(params: Mapping[str, object]) -> Mapping[str, object]:
    """The parameters by names that are `str` itself, and no subclass that shows another text."""
    if _STR.issuperset(map(type, params)):
        return params
    return {
        _text(name): value for name, value in zip(_checked(params), params.values(), strict=True)
    }


def _checked(names: Iterable[object]) -> list[str]:
    for name in names:
        if not isinstance(name, str):
            raise UnhashableParameterError(
                f"a parameter is named {name!r}; names of parameters are strings"
            )
    return list(names)  # type: ignore[arg-type]  # as was seen


def _order(names: tuple[str, ...]) -> tuple[str, ...]:
    order = tuple(name for name, _ in _plan(names))
    if len(_ORDERS) >= _MOST_PLANS:
        _ORDERS.clear()
    _ORDERS[tuple(map(_text, names))] = order
    return order


_known: dict[bytes, str] = {}
"""Keys by the exact bytes of the parameters that they were made of."""


def _remember(known: dict[bytes, str], named: bytes, key: str) -> None:
    """Keep a key, unless it was made of something long; threads at worst keep one more."""
    if len(named) <= LONGEST_BODY:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[named] = key


def call_key(
    function_name: str,
    key_prefix: str,
    version: object,
    code_digest: str,
    params: Mapping[str, object],
) -> str:
    """The key of a call: `FunctionKey` for those who call once."""
    return FunctionKey(function_name, key_prefix, version).key(code_digest, params)


class FunctionKey:
    """Makes the keys of one function's calls.

    `key` is all that a hit needs. Who wants the digests of the parts as well, without
    a second pass over large arguments, takes `encode_params`, and then `part_digests` and
    `params_digest` with the same pieces.

    The parameters are hashed apart from the code, so that `rekeyed` can name a call again
    after an edit by their digest alone; that takes 0.45 µs more than one hash of both.
    """

    __slots__ = ("_head", "key_prefix", "version")

    def __init__(self, function_name: str, key_prefix: str, version: object) -> None:
        try:
            counted = encode(version)
        except Unstable as error:
            raise _unhashable("version", version, error) from None
        self.key_prefix = key_prefix
        self.version = version
        self._head = CALL_DOMAIN + encode(function_name) + encode(key_prefix) + counted

    def key(self, code_digest: str, params: Mapping[str, object]) -> str:
        """The key of a call with these bound arguments: 32 hex characters.

        Raises:
            UnhashableParameterError: An argument has no stable fingerprint.
        """
        return self.rekeyed(code_digest, params_digest(params))

    def rekeyed(self, code_digest: str, params_digest: str) -> str:
        """The same from what `params_digest` gave."""
        params = bytes.fromhex(params_digest)
        return blake3(self.head(code_digest) + params).hexdigest(KEY_BYTES)

    def head(self, code_digest: str) -> bytes:
        """What comes before the parameters in the encoding of a call."""
        return b"%bs%d:%b" % (self._head, len(code_digest), code_digest.encode())


class CallKeys:
    """Makes the same keys as `FunctionKey`, in fewer steps.

    Args:
        of: The function's part of the keys.
        names: The parameters that count.
    """

    __slots__ = ("_current", "_of", "names")

    def __init__(self, of: FunctionKey, names: Iterable[str]) -> None:
        self.names = _order(tuple(names))
        """The order in which `key` takes the values."""
        self._of = of
        # In one tuple, so that no thread takes the head of another digest than it has.
        self._current: tuple[str | None, bytes, dict[bytes, str]] = (None, b"", {})

    def key(self, code_digest: str, values: tuple[Any, ...]) -> str:
        """[hot] The key of a call: 32 hex characters.

        Remembered as in `scalars_key`, as long as the code is the same.

        Raises:
            UnhashableParameterError: An argument has no stable fingerprint.
        """
        digest, head, known = self._current
        if digest is not code_digest:
            head, known = self._of.head(code_digest), {}
            self._current = (code_digest, head, known)
        if not SCALARS.issuperset(map(type, values)):
            return self._hashed(head, values)
        named = exact_bytes(values)
        key = known.get(named)
        if key is None:
            key = self._hashed(head, values)
            _remember(known, named, key)
        return key

    def _hashed(self, head: bytes, values: tuple[Any, ...]) -> str:
        """[hot] The key of arguments that were not seen lately."""
        params = params_bytes(dict(zip(self.names, values, strict=True)))
        return blake3(head + blake3(params).digest()).hexdigest(KEY_BYTES)


def params_digest(params: Mapping[str, object], pieces: list[bytes] | None = None) -> str:
    """The digest of parameters, by which a call is named again: 64 hex characters.

    Tells no more about the parameters than the key does. The arguments are those of
    `params_bytes`.
    """
    return blake3(params_bytes(params, pieces)).hexdigest()


def part_digests(params: Mapping[str, object], pieces: list[bytes] | None = None) -> dict[str, str]:
    """A short digest of each parameter, by name: what tells later which one differs.

    A digest of what is easily guessed gives it away: leave secrets out.

    Args:
        params: The parameters.
        pieces: What `encode_params` gave for them, where it is at hand.

    Returns:
        16 hex characters for each name.
    """
    if pieces is None:
        pieces = encode_params(params)
    return {
        name: blake3(piece).digest(PART_BYTES).hex()
        for (name, _), piece in zip(_plan(tuple(params)), pieces[1::2], strict=True)
    }


def exact_bytes(value: Any) -> bytes:
    """[hot] Bytes that are equal only for values of the same types, to the bit and in order.

    For values made of `SCALARS`, lists, tuples, sets and dicts, and for what is compared with
    the bytes of one: anything that has a buffer looks like `bytes` here. Made in C, those of
    a dict of three scalars take 0.5 µs, where `encode` takes 4. They are of use in this
    process only, and never stored.

    Raises:
        ValueError: There is something else in it.
    """
    return dumps(value, _WITHOUT_REFERENCES)


def encode_params(params: Mapping[str, object]) -> list[bytes]:
    """The encoded names and values in turn, ordered by encoded name.

    Raises:
        UnhashableParameterError: A parameter has no stable fingerprint.
    """
    params = _by_text(params)
    names = tuple(params)
    plan = _PLANS.get(names) or _plan(names)
    pieces: list[bytes] = []
    name = ""
    value: Any = None
    try:
        for name, head in plan:
            value = params[name]
            pieces += head, encode(value)
    except Unstable as error:
        raise _unhashable(name, value, error) from None
    except RecursionError:
        from cacheness.keys.recursion import recursion_error

        raise recursion_error(name, value) from None
    return pieces


def encode(value: Any, memo: Memo | None = None) -> bytes:
    """The canonical encoding of a value.

    Raises:
        Unstable: The value, or something in it, has no stable fingerprint.
        RecursionError: It contains itself or is nested too deeply.
    """
    kind = type(value)
    if kind is str:
        size = len(value)
        if size < 64 and value.isascii():
            raw: bytes = value.encode()
            return _STR_HEADS[size] + raw
        if size > _LONG_TEXT:
            from cacheness.keys.hashing import digest_of_text

            return b"s#" + digest_of_text(value)
        return _sized(b"s", value.encode("utf-8", "surrogatepass"))
    if kind is int:
        return _sized(b"i", b"%x" % value)
    if kind is float:
        return b"d8:" + _float_bytes(value) if value == value else _NAN
    if value is None or kind is bool:
        return _CONSTANTS[value]
    if kind is bytes:
        return _sized(b"y", value)
    if memo is None:
        memo = Memo()
    if memo and (seen := memo.get(id(value))) is not None:
        return seen[1]
    if kind is list:
        body = b"".join([encode(element, memo) for element in value])
        return _held(_sized(b"l", body), value, memo)
    if kind is tuple:
        body = b"".join([encode(element, memo) for element in value])
        return _held(_sized(b"u", body), value, memo)
    if kind is dict:
        pairs = [(encode(key, memo), encode(each, memo)) for key, each in value.items()]
        pairs.sort()
        return _held(_sized(b"m", b"".join([part for pair in pairs for part in pair])), value, memo)
    if kind is set:
        body = b"".join(sorted([encode(element, memo) for element in value]))
        return _held(_sized(b"e", body), value, memo)
    from cacheness.keys.fingerprint import encode_other

    return _held(encode_other(value, memo), value, memo)


def named(name: str, *parts: bytes) -> bytes:
    """The encoding of a value of a type that has no tag of its own.

    Args:
        name: The type's public path.
        parts: Encodings, in an order that the type fixes.
    """
    return _sized(b"o", encode(name) + b"".join(parts))


def _sized(tag: bytes, body: bytes) -> bytes:
    size = len(body)
    if size <= LONGEST_BODY:
        return b"%b%d:%b" % (tag, size, body)
    from cacheness.keys.hashing import digest

    return tag + b"#" + digest(body)


def _held(encoded: bytes, value: object, memo: Memo) -> bytes:
    # A digest stands for more than a kilobyte of work; with those held, a structure whose
    # parts are shared many times over is encoded once, and small values cost no memory.
    if encoded[1:2] == b"#":
        memo[id(value)] = (value, encoded)
    return encoded


def _plan(names: tuple[str, ...]) -> Plan:
    plan = _PLANS.get(names)
    if plan is None:
        texts = tuple(map(_text, _checked(names)))
        plan = tuple(sorted([(name, encode(name)) for name in texts], key=lambda p: p[1]))
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        _PLANS[texts] = plan
    return plan


def _unhashable(name: str, value: object, error: Unstable) -> UnhashableParameterError:
    where = f" (in {''.join([name, *reversed(error.trail)])})" if error.trail else ""
    return UnhashableParameterError(
        f"parameter {name!r} of type {_path(type(value))} can't be part of a key: "
        f"a {_path(error.kind)}{where} {error.reason}. Leave the parameter out "
        f"(ignore=({name!r},)), make the key yourself (key=...), register a handler with "
        f"`fingerprint` for the type, or give it a method __cacheness_key__(self)"
    )


def _path(kind: type) -> str:
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
