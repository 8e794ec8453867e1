# SPDX-License-Identifier: MIT
"""The command plugins: what is installed, and what it provides."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cacheness.cli.command import Call
from cacheness.cli.installed import installed
from cacheness.cli.mistakes import DONE, FOUND
from cacheness.cli.text import shortened

__all__ = ["plugins"]


def plugins(
    call: Call,
    load: Annotated[
        bool,
        typer.Option(
            "--load", help="Import each, too, and tell what fails; may take heavy libraries."
        ),
    ] = False,
) -> int:
    """List handlers, backends and compressors, and plugins that were left out.

    Exits with 1 where a plugin was left out or, with --load, anything can't be imported.
    """
    found = installed(load=load)
    screen = call.screen

    def tell() -> None:
        columns = ("kind", "name", "from", ">priority", "for")
        rows = [
            (
                one.kind,
                one.name,
                one.distribution or "this process",
                "" if one.priority is None else str(one.priority),
                shortened(", ".join(one.types), 50),
                *((one.failure or "yes",) if load else ()),
            )
            for one in found.provided
        ]
        screen.table((*columns, "loads") if load else columns, rows)
        for failure in found.failures:
            screen.note(failure)

    screen.result(asdict(found), tell)
    failed = found.failures or any(one.failure for one in found.provided)
    return FOUND if failed else DONE
