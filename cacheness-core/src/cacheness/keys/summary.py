# SPDX-License-Identifier: MIT
"""What of the parameters an entry keeps, so that it can be queried and shown."""

from __future__ import annotations

from orjson import OPT_STRICT_INTEGER, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

__all__ = ["as_recorded", "summarise_params"]

LONGEST_TEXT = 200
MOST_ELEMENTS = 16
DEEPEST = 3
LARGEST_INT = 2**63
"""Beyond 64 bits JSON readers, SQLite among them, lose digits."""

_LONGEST = LONGEST_TEXT + len('{"params":}')
"""In JSON of so many characters no text among the parameters can be too long."""
_NULL, _NUL = "null", "\\u0000"
_INFINITY = float("inf")
_SCALARS = frozenset((str, int, float, bool, type(None)))
_SIZED = (str, bytes, bytearray, list, tuple, dict, set, frozenset)


def summarise_params(
    params: Mapping[str, object],
    secret: Collection[str] = (),
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The parameters as an entry records them.

    JSON scalars and short containers of them stay as they are; of anything larger there
    is one line with a digest: ``"float64 (1000, 50), digest 90e1…"``.

    Args:
        params: The parameters.
        secret: The names of those of which nothing is recorded.
        digests: What `part_digests` gave for them, where it is at hand.
    """
    if secret:
        params = {name: value for name, value in params.items() if name not in secret}
    if as_recorded({"params": params}) is not None:
        return dict(params)
    return {name: _summary(name, value, digests) for name, value in params.items()}


def as_recorded(details: Mapping[str, Any], are_scalars: bool = False) -> str | None:
    """[hot] What an entry tells of a value, in JSON, if its ``params`` are recorded as they are.

    None where `summarise_params` has to look at them one by one: what is no scalar, or is long,
    or what JSON has other digits, "null" or an escape for. Those that are plain are told by loops
    in C, as `_is_plain` sees it; ``are_scalars`` says that their types were looked at already.
    """
    if not are_scalars and not _SCALARS.issuperset(map(type, details["params"].values())):
        return None
    try:
        text = dumps(details, None, OPT_STRICT_INTEGER).decode()
    except TypeError:
        return None
    return text if len(text) <= _LONGEST and _NULL not in text and _NUL not in text else None


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return len(value) <= LONGEST_TEXT and (value.isprintable() or _is_text(value))
    if kind is float:
        return bool(-_INFINITY < value < _INFINITY)
    if kind is int:
        return bool(-LARGEST_INT <= value < LARGEST_INT)
    return kind in _SCALARS


def _is_text(value: str) -> bool:
    # Databases refuse a NUL, and half of a surrogate pair is no text in JSON.
    return "\0" not in value and not any("\ud800" <= char <= "\udfff" for char in value)


def _summary(name: str, value: Any, digests: Mapping[str, str] | None) -> Any:
    if _is_short(value, DEEPEST):
        return value
    digest = digests[name] if digests and name in digests else _digest(value)
    return f"{_description(value)}, digest {digest}"


def _is_short(value: Any, depth: int) -> bool:
    if _is_plain(value):
        return True
    if depth == 0 or type(value) not in (list, dict) or len(value) > MOST_ELEMENTS:
        return False
    if type(value) is list:
        return all(_is_short(element, depth - 1) for element in value)
    return all(
        type(key) is str and _is_plain(key) and _is_short(each, depth - 1)
        for key, each in value.items()
    )


def _description(value: Any) -> str:
    kind = type(value)
    if kind is int:
        return f"int of {value.bit_length()} bits"
    if kind is float:
        return f"float {value!r}"
    if kind in _SIZED:
        return f"{kind.__name__} of {len(value)}"
    name = getattr(value, "__qualname__", None)
    if isinstance(name, str):
        return f"{kind.__qualname__} {name}"
    return _described(value) or kind.__qualname__


def _described(value: object) -> str:
    """What the value's handler says of it in a line, or nothing."""
    from cacheness.plugins.registry import registry_for

    for loaded in registry_for().handlers_for(value):
        if loaded.describe is None:
            return ""
        try:
            return str(loaded.describe(value))
        except Exception:  # noqa: BLE001 - an author's code must not fail a put
            return ""
    return ""


def _digest(value: object) -> str:
    from blake3 import blake3

    from cacheness.keys.encoding import PART_BYTES, Unstable, encode

    try:
        return blake3(encode(value)).digest(PART_BYTES).hex()
    except (Unstable, RecursionError):
        # One that is ignored in the key may well have none.
        return "none"
