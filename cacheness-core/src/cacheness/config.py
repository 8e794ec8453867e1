# SPDX-License-Identifier: MIT
"""Every option of a cache: its default, its meaning, its check."""

from __future__ import annotations

import os

from cacheness.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta
    from typing import Any, Literal, TypeAlias, TypedDict

    from typing_extensions import Unpack

    Size: TypeAlias = int | str
    Duration: TypeAlias = float | str | timedelta

    class Options(TypedDict, total=False):
        """The keyword arguments of `CacheConfig` and of `UnifiedCache`."""

        metadata_backend: str
        metadata_options: Mapping[str, Any]
        blob_backend: str | None
        blob_options: Mapping[str, Any]
        compressor: str
        inline_bytes: Size
        namespace: str
        default_ttl_seconds: Duration | None
        superseded_ttl_seconds: Duration | None
        max_size: Size | None
        max_entries: int | None
        min_free: Size | None
        policy: Literal["lru", "lfu", "fifo", "cost"]
        memory_bytes: Size
        memory_staleness: Duration
        read_only: bool
        permissions: Literal["private", "group"]
        signing: Literal["auto", "all", "off"]
        signing_key: str | bytes | None
        old_signing_keys: tuple[str | bytes, ...] | list[str | bytes]
        on_bad_signature: Literal["miss", "raise"]
        allow_pickle: bool
        durability: Literal["process", "fsync"]
        verify: Literal["always", "open", "never"]
        lock_timeout: Duration
        disabled_plugins: tuple[str, ...] | list[str]
        handler_options: Mapping[str, Mapping[str, Any]]
        on_error: Literal["compute", "raise"]


__all__ = ["CacheConfig", "as_config", "parse_duration", "parse_size", "parse_ttl"]

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
_SECONDS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}


def _split_unit(text: str) -> tuple[float, str] | None:
    """``"5 GB"`` → ``(5.0, "gb")``; None where it is no number with a unit."""
    compact = text.strip().replace("_", "")
    digits = compact.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    try:
        number = float(digits)
    except ValueError:
        return None
    return number, compact[len(digits) :].strip().lower()


def parse_size(name: str, value: object) -> int:
    """Bytes from an int or from ``"5GB"``, ``"512 MiB"``.

    Raises:
        ConfigError: It is neither, or negative.
    """
    size: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str):
        parts = _split_unit(value)
        if parts is not None and parts[1] in _UNITS:
            size = parts[0] * _UNITS[parts[1]]
    if size is None or not 0 <= size < 1 << 62:
        raise ConfigError(
            f"{name}={value!r} is no size: give bytes as an int, or a number with one of "
            "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, such as '5GB' or '512 MiB'"
        )
    return int(size)


def parse_duration(name: str, value: object, *, zero: bool = False) -> float:
    """Seconds from a number, a timedelta or ``"36h"``.

    Raises:
        ConfigError: It is none of these, not finite, or not above zero (``zero=True``
            allows zero itself).
    """
    seconds: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str):
        parts = _split_unit(value)
        if parts is not None and parts[1] in _SECONDS:
            seconds = parts[0] * _SECONDS[parts[1]]
    elif hasattr(value, "total_seconds"):
        seconds = float(value.total_seconds())  # pyright: ignore[reportAttributeAccessIssue]  # hasattr has looked
    if seconds is None or not 0 <= seconds < 1e12 or (seconds == 0 and not zero):
        least = "of zero or more" if zero else "above zero"
        raise ConfigError(
            f"{name}={value!r} is no duration: give seconds {least}, a timedelta, "
            "or a number with one of ms, s, m, h, d, w, such as '36h'"
        )
    return seconds


def parse_ttl(value: object) -> float | None:
    """A time to live in seconds; None is for ever."""
    return None if value is None else parse_duration("ttl_seconds", value)


# --- the checks of single options ---------------------------------------------------------


def _size(name: str, value: object) -> int:
    return parse_size(name, value)


def _optional_size(name: str, value: object) -> int | None:
    return None if value is None else parse_size(name, value)


def _count(name: str, value: object) -> int | None:
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ConfigError(f"{name}={value!r} is no count: give an int above zero, or None for no bound")


def _duration(name: str, value: object) -> float:
    return parse_duration(name, value, zero=True)


def _optional_duration(name: str, value: object) -> float | None:
    return None if value is None else parse_duration(name, value)


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in {"1", "true", "yes", "on"}:
            return True
        if word in {"0", "false", "no", "off", ""}:
            return False
    raise ConfigError(f"{name}={value!r} is no flag: give True or False")


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    raise ConfigError(f"{name}={value!r} is no text: give a str")


def _plugin_name(name: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ConfigError(f"{name}={value!r} is no name: give the name of an installed plugin's {name}")


def _optional_name(name: str, value: object) -> str | None:
    return None if value is None else _plugin_name(name, value)


def _namespace(name: str, value: object) -> str:
    text = _text(name, value)
    try:
        usable = len(text.encode()) <= 512 and "\0" not in text
    except UnicodeEncodeError:
        usable = False
    if usable:
        return text
    raise ConfigError(
        f"{name}={value!r} is no namespace: give up to 512 bytes of UTF-8 without NUL"
    )


def _mapping(name: str, value: object) -> dict[str, Any]:
    if isinstance(value, str):
        import json

        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):
        mapping: dict[str, Any] = {key: value[key] for key in value.keys()}  # noqa: SIM118  # any mapping's  # pyright: ignore[reportAttributeAccessIssue, reportIndexIssue, reportOptionalMemberAccess, reportOptionalSubscript]  # hasattr has looked
        if all(isinstance(key, str) for key in mapping):
            return mapping
    raise ConfigError(
        f"{name} is no mapping of names to values: give a dict (JSON in the environment)"
    )


def _handler_options(name: str, value: object) -> dict[str, dict[str, Any]]:
    return {key: _mapping(f"{name}[{key!r}]", of) for key, of in _mapping(name, value).items()}


def _names(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, (tuple, list, set, frozenset)) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise ConfigError(f"{name}={value!r} is no list of names: give a tuple of str")


def _key(name: str, value: object) -> bytes | None:
    if value is None:
        return None
    key = value.encode() if isinstance(value, str) else value
    if isinstance(key, bytes) and len(key) >= 16:
        return key
    raise ConfigError(f"{name} is too short or no str or bytes: give at least 16 secret bytes")


def _keys(name: str, value: object) -> tuple[bytes, ...]:
    if isinstance(value, (str, bytes)):
        value = tuple(value.split(",")) if isinstance(value, str) else (value,)
    if isinstance(value, (tuple, list)):
        return tuple(key for one in value if (key := _key(name, one)) is not None)
    raise ConfigError(f"{name} is no list of keys: give a tuple of str or bytes")


def _one_of(*allowed: str) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if isinstance(value, str) and value in allowed:
            return value
        raise ConfigError(
            f"{name}={value!r} is not allowed: give one of {', '.join(map(repr, allowed))}"
        )

    return check


def _directory(name: str, value: object) -> str:
    if value is None:
        value = ".cacheness"
    if not isinstance(value, (str, os.PathLike)):
        raise ConfigError(f"{name}={value!r} is no path: give a str or a pathlib.Path")
    path = os.fspath(value)
    if not isinstance(path, str) or not path or "\0" in path:
        raise ConfigError(f"{name}={value!r} is no path: give a str or a pathlib.Path")
    return os.path.abspath(os.path.expanduser(path))


_OPTIONS: dict[str, tuple[Any, Callable[[str, object], Any]]] = {
    "cache_dir": (None, _directory),
    "metadata_backend": ("sqlite", _plugin_name),
    "metadata_options": ({}, _mapping),
    "blob_backend": (None, _optional_name),
    "blob_options": ({}, _mapping),
    "compressor": ("auto", _plugin_name),
    "inline_bytes": (32 << 10, _size),
    "namespace": ("", _namespace),
    "default_ttl_seconds": (None, _optional_duration),
    "superseded_ttl_seconds": (None, _optional_duration),
    "max_size": (None, _optional_size),
    "max_entries": (None, _count),
    "min_free": (None, _optional_size),
    "policy": ("lru", _one_of("lru", "lfu", "fifo", "cost")),
    "memory_bytes": (0, _size),
    "memory_staleness": (0.05, _duration),
    "read_only": (False, _flag),
    "permissions": ("private", _one_of("private", "group")),
    "signing": ("auto", _one_of("auto", "all", "off")),
    "signing_key": (None, _key),
    "old_signing_keys": ((), _keys),
    "on_bad_signature": ("miss", _one_of("miss", "raise")),
    "allow_pickle": (True, _flag),
    "durability": ("process", _one_of("process", "fsync")),
    "verify": ("always", _one_of("always", "open", "never")),
    "lock_timeout": (60.0, _duration),
    "disabled_plugins": ((), _names),
    "handler_options": ({}, _handler_options),
    "on_error": ("compute", _one_of("compute", "raise")),
}
_SECRET = frozenset({"signing_key", "old_signing_keys"})
_PRIVATE = frozenset({"metadata_options", "blob_options"})
"""May hold a URL with a password, so `repr` tells only their names."""


class CacheConfig:
    """The options of a cache, checked and frozen.

    Each is taken from the argument, else from its environment variable
    (``CACHENESS_CACHE_DIR``, …; mappings as JSON, lists separated by commas; an empty one
    counts as not set), else from the file of `from_file`, else it is the default. Sizes are
    bytes or text such as ``"5GB"``; durations are seconds, a timedelta or text such as
    ``"36h"``.

    Example:
        >>> CacheConfig(max_size="5GB").max_size
        5000000000

    Raises:
        ConfigError: An option has a value that can't work.
        TypeError: There is no option of that name.
    """

    __slots__ = (*_OPTIONS, "implicit_dir")

    cache_dir: str
    """The directory, absolute; ``./.cacheness`` by default."""
    metadata_backend: str
    """The name of the backend that records entries: sqlite, json, memory, or a plugin's."""
    metadata_options: dict[str, Any]
    """Options of the metadata backend itself, such as ``{"url": …}``."""
    blob_backend: str | None
    """The name of the backend that keeps large payloads; None is the metadata backend's own."""
    blob_options: dict[str, Any]
    """Options of the blob backend itself."""
    compressor: str
    """The name of the compressor; ``"auto"`` measures whether compressing pays."""
    inline_bytes: int
    """Up to so many bytes a payload lives in its entry, not in a blob of its own."""
    namespace: str
    """What separates two users of one store."""
    default_ttl_seconds: float | None
    """The time to live in seconds where a put names none; None is for ever."""
    superseded_ttl_seconds: float | None
    """After this, what older code of a function left behind is removed: once newer code has
    been storing results for so many seconds, and nobody read the older ones for as long."""
    max_size: int | None
    """The bytes that the payloads of this namespace may take in the store, once no put is under
    way; None is no bound. A value that is larger than all of it is not stored."""
    max_entries: int | None
    """The number of entries that this namespace may have; None is no bound."""
    min_free: int | None
    """The bytes to leave free on the disk; None is 1 % of it, at most 512 MiB. A put that
    would leave less evicts first, where there is a bound, or else is refused."""
    policy: Literal["lru", "lfu", "fifo", "cost"]
    """What eviction removes first: what was read longest ago, read least often, stored
    longest ago, or what costs the least seconds to compute again for the bytes it takes."""
    memory_bytes: int
    """The bytes that the in-process tier may take, roughly; 0 is none."""
    memory_staleness: float
    """For how many seconds the in-process tier may miss other processes' changes."""
    read_only: bool
    """Whether this cache changes nothing in the store."""
    permissions: Literal["private", "group"]
    """Who else may use the directory: nobody, or the directory's group."""
    signing: Literal["auto", "all", "off"]
    """What is signed: what reading could run code of, everything, nothing."""
    signing_key: bytes | None
    """The key to sign with; None is the user's own, made at first need."""
    old_signing_keys: tuple[bytes, ...]
    """Keys that are still believed, but no longer signed with."""
    on_bad_signature: Literal["miss", "raise"]
    """What a read does where a signature that it needs does not verify."""
    allow_pickle: bool
    """Whether payloads that are not data-only are stored and read at all."""
    durability: Literal["process", "fsync"]
    """What an acknowledged put survives: a killed process, or a power loss."""
    verify: Literal["always", "open", "never"]
    """When a payload's checksum is compared: at each read, at a process's first, never."""
    lock_timeout: float
    """For how many seconds a call waits for a locked store before it fails."""
    disabled_plugins: tuple[str, ...]
    """Plugins to leave out, by entry-point or distribution name."""
    handler_options: dict[str, dict[str, Any]]
    """Options for handlers by name, under those of the single call."""
    on_error: Literal["compute", "raise"]
    """What a cached function does where the cache fails."""
    implicit_dir: bool
    """Whether `cache_dir` is the default one, which nobody named."""

    def __init__(
        self, cache_dir: str | os.PathLike[str] | None = None, **options: Unpack[Options]
    ) -> None:
        self._fill(_named(cache_dir, options), {})

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        **options: Unpack[Options],
    ) -> CacheConfig:
        """Read options from a TOML or JSON file, under the environment and the arguments.

        In TOML they stand at the top, or in a table ``[cacheness]`` or ``[tool.cacheness]``.

        Args:
            path: The file: JSON where its name ends in ``.json``, else TOML.
            cache_dir: As in ``CacheConfig(cache_dir)``.
            options: Fields that are not to come from the file.

        Raises:
            ConfigError: The file can't be read, or an option in it can't work.
        """
        config = cls.__new__(cls)
        config._fill(_named(cache_dir, options), _read_file(os.fspath(path)))
        return config

    def _fill(self, given: dict[str, Any], file: Mapping[str, Any]) -> None:
        for name in (*given, *file):
            if name not in _OPTIONS:
                where = "" if name in given else " (in the configuration file)"
                raise TypeError(f"no option {name!r}{where}; there are: {', '.join(_OPTIONS)}")
        environment = os.environ
        for name, (default, check) in _OPTIONS.items():
            value = given.get(name, _UNSET)
            if value is _UNSET:
                value = environment.get("CACHENESS_" + name.upper()) or _UNSET
            if value is _UNSET:
                value = file.get(name, default)
            if name == "cache_dir":
                object.__setattr__(self, "implicit_dir", value is None)
            object.__setattr__(self, name, check(name, value))

    def replace(
        self, *, cache_dir: str | os.PathLike[str] | None = None, **changes: Unpack[Options]
    ) -> CacheConfig:
        """The same options but for ``cache_dir`` and the other ``changes``."""
        config = CacheConfig.__new__(CacheConfig)
        config._fill({**dict(self._given()), **_named(cache_dir, changes)}, {})
        return config

    def _given(self) -> Iterator[tuple[str, Any]]:
        for name in _OPTIONS:
            if name != "cache_dir" or not self.implicit_dir:
                yield name, getattr(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"CacheConfig is frozen; use config.replace({name}=…)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("CacheConfig is frozen")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CacheConfig):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _OPTIONS)

    __hash__ = None  # type: ignore[assignment]  # it holds mappings

    def __reduce__(self) -> tuple[Any, ...]:
        self._keep_secrets()
        return _restore, (dict(self._given()), self.cache_dir if self.implicit_dir else None)

    def _keep_secrets(self) -> None:
        """Refuse to be stored with a key or a password; a worker process is sent both."""
        held = [name for name in _SECRET if getattr(self, name)]
        held += [name for name in _PRIVATE if getattr(self, name)]
        if not held:
            return
        from cacheness.storing import SecretError, is_storing

        if is_storing():
            raise SecretError(
                f"it holds the configuration of a cache with {' and '.join(sorted(held))}, which "
                "would lie in the open; keep the cache out of what you store, as by a "
                "__getstate__ that leaves it out"
            )

    def __repr__(self) -> str:
        shown = []
        for name, (default, check) in _OPTIONS.items():
            value = getattr(self, name)
            if value == check(name, default):
                continue
            if name in _SECRET:
                value = "…"
            elif name in _PRIVATE:
                value = dict.fromkeys(value, "…")
            shown.append(f"{name}={value!r}")
        return f"CacheConfig({', '.join(shown)})"


_UNSET: Any = object()


def as_config(
    config: CacheConfig | str | os.PathLike[str] | None,
    cache_dir: str | os.PathLike[str] | None,
    options: Options,
) -> CacheConfig:
    """The configuration that `UnifiedCache` or `configure` was called with.

    Raises:
        ConfigError: An option can't work.
        TypeError: The directory was named twice.
    """
    if isinstance(config, CacheConfig):
        return config.replace(cache_dir=cache_dir, **options) if options or cache_dir else config
    if config is not None and cache_dir is not None:
        raise TypeError("the cache's directory was given twice, by position and as cache_dir")
    return CacheConfig(cache_dir if config is None else config, **options)


def _named(cache_dir: str | os.PathLike[str] | None, options: Options) -> dict[str, Any]:
    """All options that were given; a directory of None was not."""
    given: dict[str, Any] = dict(options)
    if cache_dir is not None:
        given["cache_dir"] = cache_dir
    return given


def _restore(options: dict[str, Any], implicit: str | None) -> CacheConfig:
    """Unpickle: the directory stays where it was resolved, whatever the new process's is."""
    config = CacheConfig(**{**options, "cache_dir": implicit} if implicit else options)  # pyright: ignore[reportArgumentType]  # checked when it was made
    object.__setattr__(config, "implicit_dir", implicit is not None)
    return config


def _read_file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read().decode()
        if path.endswith(".json"):
            import json

            loaded = json.loads(text)
        else:
            import tomllib

            loaded = tomllib.loads(text)
            loaded = loaded.get("tool", loaded).get("cacheness", loaded)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the configuration file {path} can't be read: {error}") from error
    return _mapping(f"the configuration file {path}", loaded)
