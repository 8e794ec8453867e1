# SPDX-License-Identifier: MIT
"""What the caller of a put says about an entry, checked."""

from __future__ import annotations

from cacheness.config import parse_ttl
from cacheness.errors import ConfigError
from cacheness.outcomes import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from cacheness.config import CacheConfig, Duration

__all__ = ["checked_changes", "checked_details", "checked_names", "checked_secret"]


def checked_details(
    config: CacheConfig,
    named: Mapping[str, object] | None,
    *,
    prefix: str = "",
    description: str = "",
    custom_metadata: object = None,
    tags: Iterable[str] = (),
    ttl_seconds: Duration | None = UNSET,
    cost_seconds: float | None = None,
    pin: bool = False,
    secret: Iterable[str] = (),
) -> dict[str, Any]:
    """The fields of an entry that its caller decides, with words that mean what they do in `put`.

    Of ``config`` comes the time to live where none is given; ``named`` are the parameters
    that name the entry, if they do.

    Raises:
        ConfigError: One of them is not what the entry can keep; the message names it.
    """
    ttl = config.default_ttl_seconds if ttl_seconds is UNSET else parse_ttl(ttl_seconds)
    details: dict[str, Any] = {"ttl_seconds": ttl}
    hidden = checked_secret(secret, named or {}) if secret else ()
    if named:
        from cacheness.keys.summary import summarise_params

        details["params"] = summarise_params(named, hidden)
    if prefix:
        details["prefix"] = _text(prefix, "prefix")
    if description:
        details["description"] = _text(description, "description")
    if custom_metadata is not None:
        details["custom_metadata"] = _custom(custom_metadata)
    if tags:
        details["tags"] = checked_names(tags, "tags")
    if cost_seconds is not None:
        details["cost_seconds"] = _seconds(cost_seconds)
    if pin:
        details["pinned"] = True
    return details


def checked_changes(
    *,
    description: str = UNSET,
    custom_metadata: object = UNSET,
    tags: Iterable[str] = UNSET,
) -> dict[str, Any]:
    """What of an entry's own words its caller changes; what is not given is left out.

    Raises:
        ConfigError: One of them is not what the entry can keep; the message names it.
    """
    changes: dict[str, Any] = {}
    if description is not UNSET:
        changes["description"] = _text(description, "description")
    if custom_metadata is not UNSET:
        changes["custom_metadata"] = _custom(custom_metadata)
    if tags is not UNSET:
        changes["tags"] = checked_names(tags, "tags")
    return changes


def checked_names(value: Iterable[str], name: str) -> tuple[str, ...]:
    """Several words of the caller's.

    Raises:
        ConfigError: They are no words, or only one.
    """
    if isinstance(value, str):
        raise ConfigError(f"{name}={value!r} is one str: give a tuple or list of them")
    if not hasattr(value, "__iter__"):
        raise ConfigError(f"{name}={value!r} is no list of names: give a tuple of str")
    return tuple(_text(one, name) for one in value)


def checked_secret(secret: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """The names of parameters of which nothing is recorded.

    Raises:
        ConfigError: There is no parameter of such a name: one that is misspelt here would be
            recorded.
    """
    names = checked_names(secret, "secret")
    for name in sorted(set(names).difference(known)):
        there = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"secret={name!r} is no parameter of the entry; there are: {there}")
    return names


def _text(value: object, name: str) -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            pass
        else:
            if "\0" not in value:
                return str(value)
    raise ConfigError(f"{name}={value!r} is no text: give a str of UTF-8 without NUL")


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and 0 <= value < 1e12:
        return float(value)
    raise ConfigError(f"cost_seconds={value!r} is no duration: give seconds of zero or more")


def _custom(value: Any) -> dict[str, Any]:
    """The caller's own JSON, or an instance of a registered class as such."""
    if value is None:
        return {}
    if hasattr(value, "keys"):
        return _json_object(value)
    from cacheness.custom_metadata import typed_metadata

    return typed_metadata(value)


def _json_object(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that JSON keeps exactly; what it would change is refused."""
    import json

    try:
        kept = json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"custom_metadata can't be kept as JSON: {error}") from None
    if kept != dict(value):
        raise ConfigError(
            "custom_metadata would come back from JSON as something else: use str keys, lists "
            "rather than tuples, and plain str, int, float, bool and None"
        )
    return dict(kept)
