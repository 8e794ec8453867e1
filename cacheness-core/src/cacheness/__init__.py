# SPDX-License-Identifier: MIT
"""Keeps the results of expensive Python computations and gives them back in microseconds."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.backends.base import BackendContext, MetadataBackend
    from cacheness.backends.json import JsonBackend
    from cacheness.backends.memory import MemoryBackend
    from cacheness.backends.sqlite import SQLiteBackend
    from cacheness.backends.wrapper import MemoryCacheWrapper
    from cacheness.blobs.base import BlobBackend, check_blob_name
    from cacheness.blobs.file import FileBlobBackend
    from cacheness.calls.ref import CacheRef
    from cacheness.compressors.base import Compressor
    from cacheness.config import CacheConfig
    from cacheness.core import UnifiedCache
    from cacheness.custom_metadata import custom_metadata_model
    from cacheness.decorator import cached
    from cacheness.defaults import configure
    from cacheness.disabling import disabled
    from cacheness.entry import Entry
    from cacheness.errors import (
        BackendUnavailableError,
        BlobCorruptedError,
        CacheClosedError,
        CachenessError,
        CachenessWarning,
        CannotHandleError,
        ConfigError,
        CorruptionWarning,
        HandlerNotFoundError,
        InvalidKeyError,
        PluginNotInstalledError,
        PluginWarning,
        ReadOnlyError,
        SecurityWarning,
        SerializationError,
        SignatureError,
        UnhashableParameterError,
    )
    from cacheness.events import Event
    from cacheness.explaining.adopt import Adoption
    from cacheness.explaining.differences import Difference
    from cacheness.explaining.explanation import Explanation
    from cacheness.handlers.base import BufferHandler, Handler, HandlerContext
    from cacheness.handlers.bytes import BytesHandler
    from cacheness.handlers.container import ContainerHandler
    from cacheness.handlers.json import JsonHandler
    from cacheness.handlers.numpy import NumpyHandler
    from cacheness.handlers.pickle import PickleHandler
    from cacheness.handlers.protocols import (
        SupportsBuffers,
        SupportsDescribe,
        SupportsFingerprint,
        SupportsMap,
        SupportsOpen,
    )
    from cacheness.integrity.report import IntegrityReport, Problem
    from cacheness.keys.files import FileContent
    from cacheness.plugins.manager import API_VERSION, hookimpl
    from cacheness.plugins.registry import list_handlers, register_handler, unregister_handler
    from cacheness.plugins.specs import BackendSpec, CompressorSpec, HandlerSpec
    from cacheness.statistics.stats import CacheStats, Usage
    from cacheness.transfer.arrivals import Refusal, Transferred

_HOMES = {
    "explaining.adopt": ("Adoption",),
    "transfer.arrivals": ("Refusal", "Transferred"),
    "backends.base": ("BackendContext", "MetadataBackend"),
    "backends.json": ("JsonBackend",),
    "backends.memory": ("MemoryBackend",),
    "backends.sqlite": ("SQLiteBackend",),
    "backends.wrapper": ("MemoryCacheWrapper",),
    "blobs.base": ("BlobBackend", "check_blob_name"),
    "blobs.file": ("FileBlobBackend",),
    "compressors.base": ("Compressor",),
    "config": ("CacheConfig",),
    "core": ("UnifiedCache",),
    "custom_metadata": ("custom_metadata_model",),
    "decorator": ("cached",),
    "defaults": ("configure",),
    "explaining.differences": ("Difference",),
    "entry": ("Entry",),
    "errors": (
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
    ),
    "events": ("Event",),
    "explaining.explanation": ("Explanation",),
    "handlers.base": ("BufferHandler", "Handler", "HandlerContext"),
    "handlers.bytes": ("BytesHandler",),
    "handlers.container": ("ContainerHandler",),
    "handlers.json": ("JsonHandler",),
    "handlers.numpy": ("NumpyHandler",),
    "handlers.pickle": ("PickleHandler",),
    "handlers.protocols": (
        "SupportsBuffers",
        "SupportsDescribe",
        "SupportsFingerprint",
        "SupportsMap",
        "SupportsOpen",
    ),
    "integrity.report": ("IntegrityReport", "Problem"),
    "keys.files": ("FileContent",),
    "plugins.manager": ("API_VERSION", "hookimpl"),
    "plugins.registry": ("list_handlers", "register_handler", "unregister_handler"),
    "plugins.specs": ("BackendSpec", "CompressorSpec", "HandlerSpec"),
    "statistics.stats": ("CacheStats", "Usage"),
    "calls.ref": ("CacheRef",),
    "disabling": ("disabled",),
}
"""Where each public name is defined; it is imported when it is first asked for, since a
script that only reads one small value should not pay for the rest."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "API_VERSION",
    "Adoption",
    "BackendContext",
    "BackendSpec",
    "BackendUnavailableError",
    "BlobBackend",
    "BlobCorruptedError",
    "BufferHandler",
    "BytesHandler",
    "CacheClosedError",
    "CacheConfig",
    "CacheRef",
    "CacheStats",
    "CachenessError",
    "CachenessWarning",
    "CannotHandleError",
    "Compressor",
    "CompressorSpec",
    "ConfigError",
    "ContainerHandler",
    "CorruptionWarning",
    "Difference",
    "Entry",
    "Event",
    "Explanation",
    "FileBlobBackend",
    "FileContent",
    "Handler",
    "HandlerContext",
    "HandlerNotFoundError",
    "HandlerSpec",
    "IntegrityReport",
    "InvalidKeyError",
    "JsonBackend",
    "JsonHandler",
    "MemoryBackend",
    "MemoryCacheWrapper",
    "MetadataBackend",
    "NumpyHandler",
    "PickleHandler",
    "PluginNotInstalledError",
    "PluginWarning",
    "Problem",
    "ReadOnlyError",
    "Refusal",
    "SQLiteBackend",
    "SecurityWarning",
    "SerializationError",
    "SignatureError",
    "SupportsBuffers",
    "SupportsDescribe",
    "SupportsFingerprint",
    "SupportsMap",
    "SupportsOpen",
    "Transferred",
    "UnhashableParameterError",
    "UnifiedCache",
    "Usage",
    "cached",
    "check_blob_name",
    "configure",
    "custom_metadata_model",
    "disabled",
    "hookimpl",
    "list_handlers",
    "register_handler",
    "unregister_handler",
]


def __getattr__(name: str) -> object:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'cacheness' has no attribute {name!r}")
    # Importing `importlib` for this takes a short process 0.6 ms.
    found = getattr(__import__(f"cacheness.{module}", fromlist=(name,)), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
