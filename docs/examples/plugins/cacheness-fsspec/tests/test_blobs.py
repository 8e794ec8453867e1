# SPDX-License-Identifier: MIT
"""The backend keeps cacheness's promises on a folder and on S3."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from cacheness_fsspec.blobs import FsspecBlobBackend

from cacheness import BackendContext, CacheConfig, ConfigError, UnifiedCache
from cacheness.testing import BlobBackendContract

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "cacheness_fsspec.blobs:FsspecBlobBackend"


class TestOnAFolder(BlobBackendContract):
    target = TARGET
    shared = True
    persistent = True

    def options(self, context: BackendContext) -> dict[str, Any]:
        return {"url": f"file://{context.directory}/blobs"}


class TestOnS3(BlobBackendContract):
    target = TARGET
    shared = True
    persistent = True

    @pytest.fixture(autouse=True)
    def endpoint(self, s3: str) -> None:
        self._endpoint = s3

    def options(self, context: BackendContext) -> dict[str, Any]:
        folder = hashlib.sha256(context.directory.encode()).hexdigest()
        return {
            "url": f"s3://cache/{folder}",
            "storage": {"endpoint_url": self._endpoint},
        }


def test_two_caches_share_arrays_through_a_bucket(s3: str, tmp_path: Path) -> None:
    options = {"url": "s3://cache/shared", "storage": {"endpoint_url": s3}}
    array = np.random.default_rng(0).random(100_000)

    with UnifiedCache(tmp_path, blob_backend="fsspec", blob_options=options) as cache:
        cache.put(array, run=1)
    with UnifiedCache(tmp_path, blob_backend="fsspec", blob_options=options) as cache:
        back = cache.get(run=1)
        view = cache.get(run=1, mmap=True)

    assert np.array_equal(back, array)
    assert np.array_equal(view, array)


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_who_comes_second_takes_the_id_of_the_first(
    kind: str, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = BackendContext(str(tmp_path), "", CacheConfig(tmp_path))
    options: dict[str, Any] = {"url": f"file://{tmp_path}/blobs"}
    if kind == "s3":
        options = {"url": "s3://cache/second", "storage": {"endpoint_url": s3}}
    first, second = (FsspecBlobBackend(context, **options) for _ in range(2))
    looked = second._fs.cat_file

    def before_the_first_has_one(path: str) -> bytes:
        monkeypatch.setattr(second._fs, "cat_file", looked)
        assert first.store_id
        raise FileNotFoundError(path)

    monkeypatch.setattr(second._fs, "cat_file", before_the_first_has_one)

    assert second.store_id == first.store_id
    assert FsspecBlobBackend(context, **options).store_id == first.store_id


def test_a_url_is_needed(tmp_path: Path) -> None:
    with (
        UnifiedCache(tmp_path, blob_backend="fsspec") as cache,
        pytest.raises(ConfigError, match="blob_options"),
    ):
        cache.put(np.zeros(100_000), run=1)
