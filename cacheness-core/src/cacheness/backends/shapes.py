# SPDX-License-Identifier: MIT
"""The shapes, shorter than an entry, in which a metadata backend takes and gives one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from cacheness.entry import Entry

    StoredPayload: TypeAlias = tuple[
        int,
        str,
        int,
        str,
        str,
        str | None,
        float | None,
        Mapping[str, Any] | str | None,
        bytes | None,
        str | None,
        str | None,
        int,
        int,
        str,
        float,
        str,
    ]
    """What a read needs of an entry, in the order of `stored_payload`; its metadata may be
    their JSON text, or None for none."""

    PlainPayload: TypeAlias = tuple[str, str, float | None, bytes]
    """Handler, checksum, time of expiry and payload."""

    Labels: TypeAlias = tuple[str | None, str, str, float | None]
    """What statistics say of an entry: function, prefix, handler, seconds it cost."""

    Removed: TypeAlias = tuple[str, str, int, str | None, str | None]
    """Of an entry that is gone: key, handler, stored bytes, its blob and the blob's store."""

    Remains: TypeAlias = tuple[str, str | None, str | None]
    """Of an entry that another took the place of: its prefix, its blob and the blob's store."""

    Held: TypeAlias = tuple[str | None, str | None, str, str, int, int, int, int, int, float]
    """What entries are and take together that were stored on the same UTC day and share the
    first four: function, code digest, prefix, handler; how many they are, their stored and
    logical bytes, how many are pinned and how many have expired, when the last was stored. They
    may be told in several parts."""

__all__ = ["plain_payload", "removed_of", "stored_payload"]


def stored_payload(entry: Entry) -> StoredPayload:
    """What a read needs of an entry, in the order of `MetadataBackend.find`."""
    return (
        entry.generation,
        entry.handler,
        entry.handler_version,
        entry.compressor,
        entry.checksum,
        entry.signature,
        entry.expires_at,
        entry.metadata or None,
        entry.inline,
        entry.blob,
        entry.blob_store,
        entry.stored_bytes,
        entry.logical_bytes,
        entry.prefix,
        entry.renewed_at,
        entry.distribution,
    )


def plain_payload(stored: StoredPayload) -> PlainPayload | None:
    """What `MetadataBackend.find_plain` gives of what `MetadataBackend.find` gave."""
    inline = stored[8]
    if inline is None or stored[5] is not None or stored[7] or stored[3] != "none":
        return None
    return (stored[1], stored[4], stored[6], inline) if stored[2] == 1 else None


def removed_of(entry: Entry) -> Removed:
    """What has to be known of an entry that was removed."""
    return (entry.cache_key, entry.handler, entry.stored_bytes, entry.blob, entry.blob_store)
