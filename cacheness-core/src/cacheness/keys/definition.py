# SPDX-License-Identifier: MIT
"""What a piece of code says by itself: the digest of its form, and the names that it uses."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Definition"]

_FIELDS = 6


class Definition:
    """The digest of one function's or module's own form, and what it names beyond itself.

    Found by parsing, or from bytecode where there is no source that can be believed;
    then remembered under the hash of the bytecode that it was verified against.
    """

    __slots__ = ("changed", "digest", "imports", "names", "origin", "writes")

    def __init__(
        self,
        digest: str,
        origin: str,
        names: Iterable[str],
        writes: Iterable[str] = (),
        imports: Iterable[str] = (),
        changed: Iterable[str] = (),
    ) -> None:
        self.digest = digest
        """Of the canonical form: hex."""
        self.origin = origin
        """``"source"`` or ``"bytecode"``."""
        self.names = tuple(names)
        """Dotted names that are looked up outside: ``"helper"``, ``"np.linalg.norm"``."""
        self.writes = tuple(writes)
        """Those of them that the code itself changes, so that they are its state."""
        self.imports = tuple(imports)
        """Modules imported inside: ``"0:package.module:name,name"``, dots counted first."""
        self.changed = tuple(changed)
        """Its own parameters that it changes in place: their defaults are its state."""

    def line(self) -> str:
        """As one line of text without a newline, for `parse`."""
        groups = (self.names, self.writes, self.imports, self.changed)
        return "\t".join((self.digest, self.origin, *(" ".join(group) for group in groups)))

    @classmethod
    def parse(cls, line: str) -> Definition | None:
        """Read what `line` gave; None where it is something else."""
        fields = line.split("\t")
        if len(fields) != _FIELDS:
            return None
        return cls(fields[0], fields[1], *(field.split() for field in fields[2:]))
