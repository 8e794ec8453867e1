# SPDX-License-Identifier: MIT
"""Suites by which a plugin's author proves what cacheness relies on.

Each is a class of tests. Subclass it in a test file, say what it is to test, and run
pytest::

    from cacheness.testing import MetadataBackendContract

    class TestMyBackend(MetadataBackendContract):
        target = "my_plugin.backend:MyBackend"
        shared = True
        persistent = True
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.testing.blobs import BlobBackendContract
    from cacheness.testing.compressors import CompressorContract
    from cacheness.testing.handlers import HandlerContract
    from cacheness.testing.metadata import MetadataBackendContract
    from cacheness.testing.observers import ObserverContract

__all__ = [
    "BlobBackendContract",
    "CompressorContract",
    "HandlerContract",
    "MetadataBackendContract",
    "ObserverContract",
]

_MODULES = {
    "BlobBackendContract": "cacheness.testing.blobs",
    "CompressorContract": "cacheness.testing.compressors",
    "HandlerContract": "cacheness.testing.handlers",
    "MetadataBackendContract": "cacheness.testing.metadata",
    "ObserverContract": "cacheness.testing.observers",
}
_WITH_ASSERTIONS = (
    "blobs",
    "compressors",
    "handler_base",
    "handler_keeping",
    "handler_keys",
    "handler_reading",
    "metadata_bulk",
    "metadata_entries",
    "metadata_records",
    "metadata_sharing",
    "metadata_upkeep",
    "observers",
    "plugin",
    "store",
)


def __getattr__(name: str) -> object:
    # At first use: the suites' own worker processes need neither pytest nor hypothesis.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    modules = [f"{__name__}.{module}" for module in _WITH_ASSERTIONS]
    pytest.register_assert_rewrite(*(name for name in modules if name not in sys.modules))
    return getattr(import_module(_MODULES[name]), name)
