# SPDX-License-Identifier: MIT
"""Commands that look after a cache: gc, verify."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cacheness.cli.command import Call
from cacheness.cli.mistakes import DONE, FOUND
from cacheness.cli.options import Yes

__all__ = ["gc", "verify"]


def gc(call: Call) -> None:
    """Remove what is of no use to anybody: expired entries, and files that nothing names."""
    from cacheness.integrity.integrity import collect_garbage

    with call.target.open(read_only=False) as cache:
        found = collect_garbage(cache.engine)
    call.screen.result(asdict(found), lambda: call.screen.line(str(found)))


def verify(
    call: Call,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Mend it, too: remove what is missing and what nothing names, put what is "
            "damaged into quarantine. Nothing is ever signed.",
        ),
    ] = False,
    yes: Yes = False,
) -> int:
    """Compare every payload with its checksum, and look for files without an entry.

    Exits with 1 where something is wrong, and was not mended.
    """
    screen = call.screen
    with call.target.open(read_only=not repair) as cache:
        if repair:
            screen.confirm(
                f"Remove from {cache.config.cache_dir} what is missing or damaged?", yes=yes
            )
        with screen.progress("verifying") as progress:
            report = cache.verify_integrity(repair=repair, progress=progress)

    def tell() -> None:
        for line in str(report).splitlines():
            screen.line(line)

    screen.result(report.as_dict(), tell)
    return DONE if report.ok else FOUND
