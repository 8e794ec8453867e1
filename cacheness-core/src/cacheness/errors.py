# SPDX-License-Identifier: MIT
"""The errors and warnings that cacheness raises."""

from __future__ import annotations

__all__ = [
    "BackendUnavailableError",
    "BlobCorruptedError",
    "CacheClosedError",
    "CachenessError",
    "CachenessWarning",
    "CannotHandleError",
    "ConfigError",
    "CorruptionWarning",
    "HandlerNotFoundError",
    "InvalidKeyError",
    "PluginNotInstalledError",
    "PluginWarning",
    "ReadOnlyError",
    "SecurityWarning",
    "SerializationError",
    "SignatureError",
    "UnhashableParameterError",
]


class CachenessError(Exception):
    """Base of every error that cacheness raises on purpose."""


class ConfigError(CachenessError, ValueError):
    """An option has a value that can't work; the message names it and what is allowed."""


class InvalidKeyError(CachenessError, ValueError):
    """An explicit cache key is not 1 to 512 bytes of UTF-8 without NUL."""


class UnhashableParameterError(CachenessError, TypeError):
    """A parameter has no stable fingerprint, so no key can be made of it."""


class HandlerNotFoundError(CachenessError, LookupError):
    """No handler of that name is registered, or none takes this object."""


class CannotHandleError(CachenessError):
    """A handler looked closer and can't keep this object exactly; the next one tries."""


class PluginNotInstalledError(CachenessError, LookupError):
    """An entry needs a plugin that is not installed here; the entry is kept."""


class SerializationError(CachenessError):
    """An object could not be written by any handler, or a payload not be decoded."""


class BlobCorruptedError(CachenessError):
    """A payload is missing, or its length or checksum is not what the entry says."""


class SignatureError(CachenessError):
    """An entry that needs a signature has none that verifies; it was not decoded."""


class BackendUnavailableError(CachenessError):
    """The store can't be reached at the moment; nothing was lost."""


class ReadOnlyError(CachenessError):
    """The cache was opened with ``read_only=True`` and this call would write."""


class CacheClosedError(CachenessError):
    """The cache was closed before this call."""


class CachenessWarning(UserWarning):
    """Base of every warning that cacheness gives."""


class PluginWarning(CachenessWarning):
    """A plugin was skipped; the message names it, the hook and the reason."""


class CorruptionWarning(CachenessWarning):
    """An entry was found damaged and counts as a miss."""


class SecurityWarning(CachenessWarning):
    """An entry was left unread because its signature is missing, foreign or wrong."""


def warn(message: str, category: type[CachenessWarning]) -> None:
    """Give a warning about the line that called us, however many of our functions are between."""
    import sys
    import warnings

    frame, level = sys._getframe(1), 2
    while (
        frame.f_back is not None
        and str(frame.f_globals.get("__name__")).partition(".")[0] in _BETWEEN
    ):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


_BETWEEN = frozenset({"cacheness", "contextlib"})
