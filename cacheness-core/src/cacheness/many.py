# SPDX-License-Identifier: MIT
"""What a cache does with many of its entries at once."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def __len__(self) -> int:
        return self.engine.backend.count()

    def __iter__(self) -> Iterator[str]:
        return self.engine.backend.iter_keys()
