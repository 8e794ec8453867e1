# SPDX-License-Identifier: MIT
"""The command report: one page about a cache, for a browser, without a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cacheness.cli.command import Call
from cacheness.cli.options import Yes
from cacheness.cli.page import MARK, as_page
from cacheness.cli.page_data import gather
from cacheness.cli.text import size

__all__ = ["report"]


def report(
    call: Call,
    path: Annotated[Path, typer.Argument(help="The HTML file to write.")],
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify", help="Compare every payload with its checksum on the way."
        ),
    ] = True,
    yes: Yes = False,
) -> None:
    """Write a page that shows what is in the cache, what it saved, and how it is.

    The page is one file that asks no network for anything: sizes by function, handler and
    prefix, reads and time saved day by day, tables to sort and search.
    """
    screen = call.screen
    with call.target.open() as cache:
        if path.exists() and not _is_report(path):
            screen.confirm(f"Replace {path}, which is no report?", yes=yes)
        with screen.progress("verifying") as progress:
            data = gather(cache, verify=verify, progress=progress)
    text = as_page(data)
    _write(path, text)
    screen.result(
        {
            "path": os.fspath(path.absolute()),
            "bytes": len(text),
            "entries": data["totals"]["entries"],
        },
        lambda: screen.line(f"wrote {path} ({size(len(text))})"),
    )


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return MARK.encode() in file.read(200)


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
