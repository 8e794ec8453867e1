# SPDX-License-Identifier: MIT
"""What a caller says to pick an entry, by key or by parameters, checked."""

from __future__ import annotations

from cacheness.config import parse_ttl
from cacheness.errors import ConfigError, InvalidKeyError
from cacheness.outcomes import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cacheness.config import Duration

__all__ = ["RESERVED", "check_options", "checked_age", "checked_key", "entry_name"]

RESERVED = frozenset(
    {
        "cache_key",
        "params",
        "default",
        "prefix",
        "description",
        "custom_metadata",
        "tags",
        "ttl_seconds",
        "cost_seconds",
        "handler",
        "compressor",
        "options",
        "mmap",
        "pin",
        "secret",
        "flight_timeout",
        "trust",
        "progress",
        "where",
        "all_namespaces",
    }
)
"""Names that are never hashed into a key, so that a typo in one is no silent parameter."""

_LONGEST = 512


def checked_key(cache_key: object) -> str:
    """[hot] The key itself, if it is 1 to 512 bytes of UTF-8 without NUL.

    Of plain ASCII, as nearly all are, no bytes are made.

    Raises:
        InvalidKeyError: It is not.
    """
    if (
        type(cache_key) is str
        and cache_key.isascii()
        and 0 < len(cache_key) <= _LONGEST
        and "\0" not in cache_key
    ):
        return cache_key
    if isinstance(cache_key, str):
        try:
            size = len(cache_key.encode())
        except UnicodeEncodeError:
            size = 0
        if 0 < size <= _LONGEST and "\0" not in cache_key:
            return str(cache_key)
    shown = repr(cache_key)
    if len(shown) > 80:
        shown = f"{shown[:80]}…"
    raise InvalidKeyError(
        f"cache_key={shown} is no key: give a str of 1 to 512 bytes of UTF-8 without NUL, "
        "or name the entry by parameters"
    )


def entry_name(
    cache_key: object, params: Mapping[str, object] | None, fields: dict[str, object]
) -> dict[str, object] | None:
    """The parameters that name the entry, in a dict of their own, or None where a key does.

    Raises:
        TypeError: Nothing names it, more than one thing does, or a reserved name is among
            the parameters.
    """
    if params is None:  # as nearly always
        if cache_key is None and fields and RESERVED.isdisjoint(fields):
            return fields
        if cache_key is not None and not fields:
            return None
    if fields and not RESERVED.isdisjoint(fields):
        name = min(RESERVED & fields.keys())
        raise TypeError(
            f"this method has no option {name!r}; if it is a parameter of yours, pass "
            f"params={{{name!r}: …}}"
        )
    if (cache_key is not None) + (params is not None) + bool(fields) != 1:
        raise TypeError(
            "name one entry: by a cache_key, by parameters as keywords, or by params={…}"
            + (
                ""
                if fields or cache_key is not None or params is not None
                else "; nothing was given"
            )
        )
    if cache_key is not None:
        return None
    if params is None:
        return fields
    if not hasattr(params, "keys"):
        raise TypeError(f"params={type(params).__name__} is no mapping of names to values")
    if not all(isinstance(name, str) for name in params):
        raise TypeError("the names in params={…} are not all str")
    return dict(params)


def checked_age(prefix: object, ttl_seconds: Duration | None, options: object = None) -> Any:
    """How old the entry may be, in seconds; None is any age, and ``UNSET`` stays.

    Raises:
        ConfigError: One of them can't be asked for, whether or not there is an entry.
    """
    if prefix is not None and not isinstance(prefix, str):
        raise ConfigError(f"prefix={prefix!r} is no text: give a str, or None for any prefix")
    if options is not None:
        check_options(options)
    return ttl_seconds if ttl_seconds is UNSET else parse_ttl(ttl_seconds)


def check_options(options: object) -> None:
    """Make sure that a handler can be given the options.

    Raises:
        ConfigError: They are no mapping of names to values.
    """
    if options is None:
        return
    names = getattr(options, "keys", lambda: [None])()
    if all(isinstance(name, str) for name in names):
        return
    raise ConfigError(
        f"options={options!r} is no mapping of names to values: give a dict for the handler, "
        "such as {'format': 'parquet'}"
    )
