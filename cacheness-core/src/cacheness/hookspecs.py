# SPDX-License-Identifier: MIT
"""The hooks a plugin may implement: a module with any of these, marked ``@hookimpl``.

Name the module in your ``pyproject.toml``::

    [project.entry-points.cacheness]
    my-plugin = "my_plugin.plugin"

Keep it cheap to import: specs name their targets as strings.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from cacheness.events import Event
from cacheness.plugins.specs import BackendSpec, CompressorSpec, HandlerSpec

hookspec = pluggy.HookspecMarker("cacheness")


@hookspec
def cacheness_handlers() -> Iterable[HandlerSpec]:  # type: ignore[empty-body]  # a spec has none
    """Give the handlers of types that the plugin keeps (`cacheness.Handler`)."""


@hookspec
def cacheness_metadata_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]  # a spec has none
    """Give the stores that record entries (`cacheness.MetadataBackend`)."""


@hookspec
def cacheness_blob_backends() -> Iterable[BackendSpec]:  # type: ignore[empty-body]  # a spec has none
    """Give the stores of payloads too large to inline (`cacheness.BlobBackend`)."""


@hookspec
def cacheness_compressors() -> Iterable[CompressorSpec]:  # type: ignore[empty-body]  # a spec has none
    """Give byte codecs (`cacheness.Compressor`)."""


@hookspec
def cacheness_on_event(event: Event) -> None:
    """Be told of each put, hit, miss, expire, evict, invalidate, corrupt and error.

    Called in the thread that caused it, so be quick; what it raises is reported and
    dropped. Name the plugin in the entry-point group ``cacheness.observers`` too.
    """
