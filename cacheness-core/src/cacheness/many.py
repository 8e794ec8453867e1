# SPDX-License-Identifier: MIT
"""What a cache does with many of its entries at once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import Any

    from cacheness.arrivals import Transferred
    from cacheness.engine import Engine
    from cacheness.integrity_report import IntegrityReport
    from cacheness.progress import Progress

__all__ = ["ManyEntries"]


class ManyEntries:
    """The half of `UnifiedCache` that is about more than one entry."""

    engine: Engine

    def clear(self, prefix: str | None = None) -> int:
        """Remove every entry of this namespace, or of one prefix; give their number."""
        return self.engine.clear({} if prefix is None else {"prefix": prefix})

    def verify_integrity(self, repair: bool = False, progress: Progress = None) -> IntegrityReport:
        """Look for damage: entries whose payload is missing or differs, blobs without entry.

        Runs beside readers and writers. The entries are those of this namespace; a blob is
        an orphan if no namespace names it.

        Args:
            repair: Mend it: what is missing is removed, what is damaged goes to
                quarantine, orphans go once they are an hour old. Nothing is ever signed.
            progress: A callable of (done, total), or True for a bar in the terminal.

        Raises:
            ReadOnlyError: With ``repair`` in a read-only cache.
        """
        from cacheness.integrity import verify_integrity

        return verify_integrity(self.engine, repair=repair, progress=progress)

    def export(
        self, path: str | os.PathLike[str], /, *, progress: Progress = None, **filters: Any
    ) -> Transferred:
        """Write entries with their payloads to one file, an uncompressed tar.

        The file is there whole or not at all. An entry that is replaced meanwhile is in it
        as it was or as it became; one whose payload is damaged is left out.

        Args:
            path: The file; one that is there is replaced.
            progress: A callable of (done, total), or True for a bar in the terminal.
            filters: Which entries, as in `query_meta`; all where there are none.

        Returns:
            The number of entries, with what was left out and why.

        Raises:
            OSError: The file can't be written.
        """
        from cacheness.transfer import export_entries

        return export_entries(self.engine, path, filters, progress)

    def import_(
        self, path: str | os.PathLike[str], /, *, trust: bool = False, progress: Progress = None
    ) -> Transferred:
        """Take in the entries of a file that `export` wrote, into this namespace.

        Of two entries of one key the newer stays (by ``created_at``), of two of the same
        time the one that stands, so importing a file again changes nothing. Times, hits,
        tags and all else come along; what has expired does not.

        A file that is damaged or no export is refused before anything of it is stored. An
        entry is left out, and counted, whose payload differs from its checksum, whose
        signature does not verify under a key that is held here, or which needs a signature
        and has none.

        Args:
            path: The file.
            trust: Take in, and sign as one's own, what bears no signature that can be
                verified. Reading such an entry may run whatever code the file's writer put
                there: only for a file that you know where it comes from. A signature that is
                wrong under a key that is held is refused even so.
            progress: A callable of (done, total), or True for a bar in the terminal.

        Returns:
            The number of entries that came in, with what was left out and why.

        Raises:
            BlobCorruptedError: The file is damaged, or no export.
            ConfigError: It is of a newer format.
            OSError: It can't be read.
            BackendUnavailableError: An entry can't be stored; those before it are.
        """
        from cacheness.transfer import import_entries

        return import_entries(self.engine, path, progress, trust=trust)

    def copy_to(
        self,
        other_cache: ManyEntries,
        /,
        *,
        trust: bool = False,
        progress: Progress = None,
        **filters: Any,
    ) -> Transferred:
        """Copy entries to another cache, of any backends, into its namespace.

        As `export` and `import_` at once, without the file; signatures are verified with the
        keys of this cache and made anew with the other's.

        Args:
            other_cache: Where to.
            trust: Copy, and sign anew, what bears no signature that can be verified, too.
            progress: A callable of (done, total), or True for a bar in the terminal.
            filters: Which entries, as in `query_meta`; all where there are none.
        """
        from cacheness.transfer import copy_entries

        if not isinstance(other_cache, ManyEntries):
            raise TypeError(f"copy_to takes a UnifiedCache, not a {type(other_cache).__name__}")
        return copy_entries(self.engine, other_cache.engine, filters, progress, trust=trust)

    def __len__(self) -> int:
        return self.engine.backend.count()

    def __iter__(self) -> Iterator[str]:
        return self.engine.backend.iter_keys()
