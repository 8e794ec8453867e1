# SPDX-License-Identifier: MIT
"""The options of `cached`, checked."""

from __future__ import annotations

from cacheness.config import parse_duration, parse_size, parse_ttl
from cacheness.errors import ConfigError
from cacheness.outcomes import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Literal, TypeAlias, TypedDict

    from cacheness.config import Duration, Size

    ExceptionTypes: TypeAlias = type[Exception] | tuple[type[Exception], ...]

    class CachedOptions(TypedDict, total=False):
        """The options of `cached`; durations are seconds, sizes bytes, or text with a unit."""

        prefix: str
        key_prefix: str
        ttl_seconds: Duration | Callable[[Any], Duration | None] | None
        ignore: Iterable[str]
        secret: Iterable[str]
        key: Callable[..., object]
        version: object
        code: Literal["auto", "off"] | Sequence[object]
        tags: Iterable[str]
        cache_if: Callable[[Any], bool]
        cache_exceptions: ExceptionTypes | tuple[ExceptionTypes, Duration | None]
        stale_seconds: Duration | None
        refresh_errors: Literal["raise", "stale"]
        single_flight: bool
        flight_timeout: Duration | None
        check_mutation: bool
        on_error: Literal["compute", "raise"]
        mmap: bool
        memory: bool | Size | Literal["shared"]


__all__ = ["CallOptions", "call_options"]

_MEMORY_BYTES = 64 << 20
_KEPT_FOR_ERRORS = 7 * 86400.0
"""How long an expired entry stays for a refresh that may fail, where no option says longer."""


class CallOptions:
    """How a cached function is to deal with its calls.

    Raises:
        ConfigError: An option can't work.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        key_prefix: str = "",
        ttl_seconds: Duration | Callable[[Any], Duration | None] | None = UNSET,
        ignore: Iterable[str] = (),
        secret: Iterable[str] = (),
        key: Callable[..., object] | None = None,
        version: object = None,
        code: Literal["auto", "off"] | Sequence[object] = "auto",
        tags: Iterable[str] = (),
        cache_if: Callable[[Any], bool] | None = None,
        cache_exceptions: object = (),
        stale_seconds: Duration | None = None,
        refresh_errors: Literal["raise", "stale"] = "raise",
        single_flight: bool = True,
        flight_timeout: Duration | None = None,
        check_mutation: bool = False,
        on_error: Literal["compute", "raise"] | None = None,
        mmap: bool = False,
        memory: bool | Size | Literal["shared"] = False,
    ) -> None:
        self.prefix = _text("prefix", prefix)
        self.key_prefix = _text("key_prefix", key_prefix)
        self.ttl_of = _function("ttl_seconds", ttl_seconds) if callable(ttl_seconds) else None
        self.ttl_seconds: float | None = UNSET
        if ttl_seconds is not UNSET and self.ttl_of is None:
            self.ttl_seconds = parse_ttl(ttl_seconds)
        self.ignore = frozenset(_names("ignore", ignore))
        self.secret = _names("secret", secret)
        self.key = None if key is None else _function("key", key)
        self.version = version
        self.code = _code(code)
        self.tags = _names("tags", tags)
        self.cache_if = None if cache_if is None else _function("cache_if", cache_if)
        self.exceptions, self.exceptions_ttl = _exceptions(cache_exceptions)
        self.stale_seconds = (
            0.0
            if stale_seconds is None
            else parse_duration("stale_seconds", stale_seconds, zero=True)
        )
        _one_of("refresh_errors", refresh_errors, "raise", "stale")
        self.stale_on_error = refresh_errors == "stale"
        self.single_flight = single_flight
        self.flight_timeout = (
            None
            if flight_timeout is None
            else parse_duration("flight_timeout", flight_timeout, zero=True)
        )
        self.check_mutation = check_mutation
        if on_error is not None:
            _one_of("on_error", on_error, "compute", "raise")
        self.on_error = on_error
        self.mmap = mmap
        self.memory_shared = memory == "shared"
        self.memory_bytes = _memory(memory == "shared" or memory)

    @property
    def kept_after_expiry(self) -> float:
        """For how many seconds an expired entry stays, to be served stale."""
        return max(self.stale_seconds, _KEPT_FOR_ERRORS if self.stale_on_error else 0.0)

    def refuse_for_streams(self, name: str) -> None:
        """Make sure that nothing is asked for that a stream can't do.

        Raises:
            ConfigError: An option needs a result, which a generator has none of.
        """
        for option, given in (
            ("cache_if", self.cache_if is not None),
            ("ttl_seconds as a callable", self.ttl_of is not None),
            ("cache_exceptions", bool(self.exceptions)),
            ("stale_seconds", self.stale_seconds > 0),
            ("refresh_errors", self.stale_on_error),
            ("mmap", self.mmap),
        ):
            if given:
                raise ConfigError(
                    f"{option} can't be used with the generator {name}, which gives no single "
                    "result; cache a function that returns a list instead"
                )


def call_options(given: Mapping[str, Any]) -> CallOptions:
    """The options that `cached` was given.

    Raises:
        ConfigError: An option can't work.
        TypeError: There is no such option.
    """
    known = CallOptions.__init__.__kwdefaults__ or {}
    for name in given:
        if name not in known:
            raise TypeError(f"cached has no option {name!r}; there are: cache, {', '.join(known)}")
    return CallOptions(**given)


def _one_of(name: str, value: Any, *allowed: str) -> Any:
    if value not in allowed:
        more = " or a list" if name == "code" else ""
        choice = ", ".join(map(repr, allowed)) if more else " or ".join(map(repr, allowed))
        raise ConfigError(f"{name}={value!r} is not allowed: give {choice}{more}")
    return value


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise ConfigError(f"{name}={value!r} is no text: give a str")


def _code(value: Any) -> Any:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return _one_of("code", value, "auto", "off")
    return value


def _names(name: str, value: Iterable[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        raise ConfigError(f"{name}={value!r} is one str: give a tuple or list of them")
    names: tuple[Any, ...] = tuple(value) if hasattr(value, "__iter__") else (value,)
    if not all(isinstance(one, str) for one in names):
        raise ConfigError(f"{name}={value!r} is no list of names: give a tuple of str")
    return names


def _function(name: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise ConfigError(f"{name}={value!r} can't be called: give a function")
    function: Callable[..., Any] = value
    return function


def _exceptions(given: Any) -> tuple[tuple[type[Exception], ...], float | None]:
    """The types, and their time to live: ``ValueError``, ``(ValueError, "1m")``, or both nested."""
    ttl: float | None = UNSET
    types = given
    if isinstance(given, tuple) and len(given) == 2 and not isinstance(given[1], type):
        types = given[0]
        ttl = None if given[1] is None else parse_duration("cache_exceptions' ttl", given[1])
    types = types if isinstance(types, tuple) else (types,)
    for one in types:
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise ConfigError(
                f"cache_exceptions={given!r} names {one!r}, which is no subclass of Exception: "
                "give a type, a tuple of types, or a pair of these and a time to live"
            )
    return types, ttl


def _memory(value: bool | Size) -> int:
    if isinstance(value, bool):
        return _MEMORY_BYTES if value else 0
    return parse_size("memory", value)
