# SPDX-License-Identifier: MIT
"""What the package registers with cacheness."""

from __future__ import annotations

from cacheness import BackendSpec, hookimpl

cacheness_api = 1


@hookimpl
def cacheness_blob_backends() -> list[BackendSpec]:
    """Name the backend; fsspec is imported when a cache uses it."""
    return [BackendSpec("fsspec", "cacheness_fsspec.blobs:FsspecBlobBackend")]
