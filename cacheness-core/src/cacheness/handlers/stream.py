# SPDX-License-Identifier: MIT
"""The handler of what a generator gave: items that are read back one by one."""

from __future__ import annotations

import os

from cacheness import forks
from cacheness.handlers.base import Handler
from cacheness.payloads.stream_reader import StoredStream
from cacheness.payloads.stream_writer import RecordedStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cacheness.handlers.base import HandlerContext

__all__ = ["StreamHandler"]


class StreamHandler(Handler):
    """The streams of cached generators, which come back as iterators.

    The items are kept each by its own handler. A stream is compared with its checksums
    piece by piece while it is read: the entry's metadata, which a signature covers, have
    the checksum of the index, and that has those of the rest.
    """

    name = "stream"
    extension = ".tar"
    data_only = True
    opens_buffers = True
    verifies = True

    def can_handle(self, obj: object) -> bool:
        return type(obj) is RecordedStream

    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        stream: RecordedStream = obj
        if not stream.data_only:
            context.require_signature()
        if stream.path is None:
            with open(file_path, "wb") as file:
                file.writelines(stream.small)
        else:
            forks.check(stream.begun)
            os.replace(stream.path, file_path)
            stream.path = None
        return stream.metadata

    def get_with(
        self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext
    ) -> StoredStream:
        return self.open(file_path, metadata, context)

    def open(
        self, source: str | memoryview, metadata: Mapping[str, Any], context: HandlerContext
    ) -> StoredStream:
        """An iterator over the items; it holds the file open until it is at its end."""
        if not isinstance(source, str):
            return StoredStream(source, dict(metadata), context)  # type: ignore[arg-type]  # a get's
        file = open(source, "rb", buffering=0)  # noqa: SIM115  # the stream closes it
        try:
            return StoredStream(file, dict(metadata), context)  # type: ignore[arg-type]  # a get's
        except BaseException:
            file.close()
            raise

    def describe(self, obj: Any) -> str:
        return f"stream of {obj.items}"
