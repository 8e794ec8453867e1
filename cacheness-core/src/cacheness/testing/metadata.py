# SPDX-License-Identifier: MIT
"""The suite for metadata backends."""

from __future__ import annotations

from cacheness.testing.metadata_bulk import ManyEntriesPromises
from cacheness.testing.metadata_entries import SingleEntryPromises
from cacheness.testing.metadata_records import RecordPromises
from cacheness.testing.metadata_sharing import SharingPromises
from cacheness.testing.metadata_upkeep import UpkeepPromises

__all__ = ["MetadataBackendContract"]


class MetadataBackendContract(
    SingleEntryPromises, ManyEntriesPromises, RecordPromises, SharingPromises, UpkeepPromises
):
    """Everything that cacheness relies on in a metadata backend.

    Subclass it in a test file, set `target`, and tell the store's reach by `shared` and
    `persistent`. What a test needs of the outside, such as a server's URL, `options` gives.

    Example:
        >>> class TestMyBackend(MetadataBackendContract):
        ...     target = "my_plugin.backend:MyBackend"
        ...     shared = True
        ...     persistent = True
    """
