# SPDX-License-Identifier: MIT
"""What `UnifiedCache.verify_integrity` found, and what it mended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IntegrityReport", "Problem", "ProblemKind"]

ProblemKind: TypeAlias = Literal[
    "missing",
    "corrupt",
    "bad_signature",
    "unsigned",
    "orphaned",
    "store",
    "unverifiable",
    "unreadable",
    "out_of_reach",
    "quarantined",
]

_FAULTS = ("missing", "corrupt", "bad_signature", "unsigned", "orphaned", "store")
"""The others are kept and say nothing against the cache: a plugin or a key is elsewhere."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be."""

    kind: ProblemKind
    """What is the matter; `IntegrityReport` has a list for each."""
    name: str
    """The cache key of an entry, or the name of a blob or file."""
    detail: str
    """What was found, in a sentence."""
    bytes: int = 0
    """The size of the payload in the store, or of the file, in bytes."""
    mended: bool = False
    """Whether it is gone, or in quarantine, by now."""


@dataclass(frozen=True, slots=True)
class IntegrityReport:
    """What was found in a cache. Each list holds the first 10,000; the counts are of all.

    Example:
        >>> report = cache.verify_integrity()
        >>> report.ok, report.entries
        (True, 1)
    """

    entries: int
    """How many entries were looked at."""
    bytes: int
    """The size of all their payloads in the store, in bytes, as the entries say."""
    pending: int
    """Blobs that nothing names but that are younger than an hour: a writer may be about to
    record them."""
    missing: tuple[Problem, ...] = ()
    """Entries whose blob is not there; a repair removes them."""
    corrupt: tuple[Problem, ...] = ()
    """Entries whose payload is not what was stored; a repair puts them into quarantine."""
    bad_signature: tuple[Problem, ...] = ()
    """Entries whose signature is wrong under a key that is held; quarantined likewise."""
    unsigned: tuple[Problem, ...] = ()
    """Entries that need a signature and have none; never read, never signed, kept."""
    orphaned: tuple[Problem, ...] = ()
    """Blobs and temporary files that nothing names; a repair removes them."""
    store: tuple[Problem, ...] = ()
    """What the metadata backend says of its own files."""
    unverifiable: tuple[Problem, ...] = ()
    """Entries signed with a key that is not held here; kept."""
    unreadable: tuple[Problem, ...] = ()
    """Entries whose handler or compressor is not installed, or older; kept."""
    out_of_reach: tuple[Problem, ...] = ()
    """Entries whose blob lies in another store, or one that can't be read now; kept."""
    quarantined: tuple[Problem, ...] = ()
    """What earlier reads and repairs put into ``quarantine/``; kept for inspection."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How many of each kind were found."""
    mended: Mapping[str, int] = field(default_factory=dict)
    """How many of each kind were mended."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong with the cache, or nothing any more after a repair."""
        return all(self.counts.get(kind, 0) == self.mended.get(kind, 0) for kind in _FAULTS)

    @property
    def repaired(self) -> int:
        """How many problems were mended."""
        return sum(self.mended.values())

    def problems(self) -> list[Problem]:
        """All that is listed, the worst kinds first."""
        return [problem for kind in get_args(ProblemKind) for problem in getattr(self, kind)]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        plain = asdict(self)
        return {**plain, "ok": self.ok, "repaired": self.repaired}

    def __str__(self) -> str:
        lines = [f"{self.entries:,} entries, {size_text(self.bytes)}: {self._verdict()}"]
        for kind in get_args(ProblemKind):
            count, mended = self.counts.get(kind, 0), self.mended.get(kind, 0)
            if count:
                so_far = f", {mended:,} mended" if mended else ""
                lines.append(f"{kind.replace('_', ' ')}: {count:,}{so_far}")
                listed = getattr(self, kind)[:_SHOWN]
                lines += [f"  {problem.name}: {problem.detail}" for problem in listed]
                if count > len(listed):
                    lines.append(f"  … and {count - len(listed):,} more")
        return "\n".join(lines)

    def _verdict(self) -> str:
        if self.ok:
            return "all well" if not self.repaired else f"all well, {self.repaired:,} mended"
        left = sum(self.counts.get(kind, 0) - self.mended.get(kind, 0) for kind in _FAULTS)
        return f"{left:,} problems" + (f", {self.repaired:,} mended" if self.repaired else "")


_SHOWN = 10
"""Lines of each kind in the text; the lists have more."""


def size_text(size: float) -> str:
    """A number of bytes for people: ``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
