# SPDX-License-Identifier: MIT
"""Blobs on any file system of fsspec."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cacheness import BlobBackend, CacheClosedError, ConfigError, check_blob_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from cacheness import BackendContext

__all__ = ["FsspecBlobBackend"]

_PART = 8 << 20
"""Uploaded at a time; S3 takes no smaller parts than 5 MiB, but for the last."""


class FsspecBlobBackend(BlobBackend):
    """Keeps each blob as one object below a URL.

    A blob shows whole or not at all: its upload is committed at the end, or its file is
    written beside its place and moved there.
    """

    def __init__(
        self, context: BackendContext, *, url: str = "", storage: Mapping[str, Any] | None = None
    ) -> None:
        """Open the store.

        Args:
            context: Not used; the blobs lie at the URL, wherever the cache's directory is.
            url: Where the blobs lie: ``s3://bucket/blobs``, ``file:///mnt/share/blobs``.
            storage: What fsspec's file system is to be told.

        Raises:
            ConfigError: The URL is missing, or nothing that fsspec knows.
        """
        if not url:
            raise ConfigError('give blob_options={"url": "s3://bucket/blobs"} to the cache')
        self._url = url
        self._storage = dict(storage or {})
        self._process = 0
        self._closed = False
        self._id: str | None = None
        try:
            self._fs  # noqa: B018  # so that a wrong URL shows here
        except (ValueError, ImportError) as error:
            raise ConfigError(f"url={url!r} can't be opened: {error}") from error

    @property
    def _fs(self) -> Any:
        """This process's file system: an inherited one has the parent's event loop."""
        if self._closed:
            raise CacheClosedError("the cache is closed")
        if self._process != os.getpid():
            protocol, _, _ = self._url.partition("://")
            self._made: Any = fsspec.filesystem(
                protocol, skip_instance_cache=True, use_listings_cache=False, **self._storage
            )
            self._root = self._made._strip_protocol(self._url).rstrip("/")
            self._process = os.getpid()
        return self._made

    def _path(self, name: str) -> str:
        return f"{self._root}/{check_blob_name(name)}"

    @property
    def store_id(self) -> str:
        if self._id is None:
            fs = self._fs
            path = f"{self._root}/store-id"
            made = os.urandom(16).hex()
            with suppress(FileNotFoundError):
                self._id = fs.cat_file(path).decode()
                return self._id
            self._create(path, made.encode())
            # Of several who made one at once, all take the one that was first.
            self._id = fs.cat_file(path).decode()
        return self._id

    def _create(self, path: str, content: bytes) -> None:
        """Write an object; where somebody else was first, theirs stays.

        In one step where the store has one for it, as a folder and S3 have.
        """
        fs = self._fs
        try:
            if isinstance(fs, LocalFileSystem):
                self._write_beside(path, [content], place=os.link)
            else:
                fs.pipe_file(path, content, mode="create")
        except OSError:  # stores tell it in many ways
            if not fs.exists(path):
                raise

    def claim(self, owner: str) -> None:
        digest = blake2b(owner.encode(), digest_size=16).hexdigest()
        self._write(f"{self._root}/owner-{digest}", [owner.encode()])

    def owners(self) -> frozenset[str]:
        found = self._fs.glob(f"{self._root}/owner-*")
        return frozenset(self._fs.cat_file(path).decode() for path in found)

    def write(self, name: str, source: Iterable[bytes | bytearray | memoryview]) -> int:
        return self._write(self._path(name), source)

    def _write(self, path: str, source: Iterable[Any]) -> int:
        if isinstance(self._fs, LocalFileSystem):
            return self._write_beside(path, source)
        return self._upload(path, source)

    def _upload(self, path: str, source: Iterable[Any]) -> int:
        """Send an object in parts, of which nothing shows before the commit."""
        file = self._fs.open(path, "wb", block_size=_PART, autocommit=False)
        try:
            size = _copy(source, file)
        except BaseException:
            file.close()
            file.discard()
            raise
        file.close()
        file.commit()
        return size

    def _write_beside(
        self,
        path: str,
        source: Iterable[Any],
        place: Callable[[str, str], None] = os.replace,
    ) -> int:
        """Write a file beside its place and move it there, which is one step."""
        fs = self._fs
        temporary = f"{path}.{os.urandom(4).hex()}.tmp"
        fs.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            with fs.open(temporary, "wb") as file:
                size = _copy(source, file)
            place(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                fs.rm_file(temporary)
        return size

    def read(self, name: str) -> bytes:
        whole: bytes = self._fs.cat_file(self._path(name))
        return whole

    @contextmanager
    def local_path(self, name: str) -> Iterator[str]:
        fs = self._fs
        path = self._path(name)
        with tempfile.TemporaryDirectory(prefix="cacheness-") as folder:
            local = os.path.join(folder, name.rpartition("/")[2])
            fs.get_file(path, local)
            yield local

    def delete(self, name: str) -> bool:
        fs = self._fs
        path = self._path(name)
        if not fs.exists(path):
            return False
        with suppress(FileNotFoundError):
            fs.rm_file(path)
        return True

    def exists(self, name: str) -> bool:
        fs = self._fs
        return bool(fs.exists(self._path(name)))

    def iter_blobs(self) -> Iterator[tuple[str, int, float]]:
        fs = self._fs
        for path, about in fs.find(self._root, detail=True).items():
            name = path.removeprefix(f"{self._root}/")
            with suppress(ValueError):  # of something else that lies here
                changed = about.get("LastModified") or about.get("mtime") or 0.0
                at = changed.timestamp() if hasattr(changed, "timestamp") else float(changed)
                yield check_blob_name(name), int(about["size"]), at

    def close(self) -> None:
        self._closed = True


def _copy(source: Iterable[Any], file: Any) -> int:
    size = 0
    for buffer in source:
        view = memoryview(buffer)
        # A copy, since the source may use its buffer again before the part is sent.
        file.write(bytes(view))
        size += view.nbytes
    return size
