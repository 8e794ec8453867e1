# SPDX-License-Identifier: MIT
"""The command new-plugin: starts a package for a handler, a backend or a compressor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cacheness.cli.command import Call
from cacheness.cli.mistakes import MistakeError
from cacheness.cli.scaffold import Kind, Plan, write

__all__ = ["new_plugin"]


def new_plugin(
    call: Call,
    name: Annotated[
        str, typer.Argument(help="What entries or options will call it, such as 'geometry'.")
    ],
    handler: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="For a type, by its import path, such as 'shapely.Geometry'.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[bool, typer.Option("--backend", help="For a metadata backend.")] = False,
    blobs: Annotated[bool, typer.Option("--blobs", help="For a blob backend.")] = False,
    compressor: Annotated[bool, typer.Option("--compressor", help="For a compressor.")] = False,
    author: Annotated[
        str | None, typer.Option(help="Who holds the copyright.", show_default=False)
    ] = None,
    into: Annotated[Path, typer.Option(help="The folder to make the package's own in.")] = Path(),
) -> None:
    """Write a whole package: plugin, contract test, README, licence, a CI file."""
    asked: tuple[tuple[Kind, bool], ...] = (
        ("handler", handler is not None),
        ("backend", backend),
        ("blobs", blobs),
        ("compressor", compressor),
    )
    chosen: list[Kind] = [kind for kind, wanted in asked if wanted]
    if len(chosen) != 1:
        raise MistakeError("say what for: one of --handler TYPE, --backend, --blobs, --compressor")
    plan = Plan.of(name, chosen[0], handler or "", author)
    folder = into / plan.distribution
    if folder.exists():
        raise MistakeError(f"{folder} is there already: give another name, or --into")
    files = write(plan, folder)

    def tell() -> None:
        for file in files:
            call.screen.line(str(folder / file))
        if handler is not None:
            call.screen.note(
                f"where hypothesis can't make a {handler}, write how in tests/test_handler.py"
            )
        call.screen.note(f'next: cd {folder} && pip install -e ".[test]" && pytest -n auto')

    call.screen.result({"folder": str(folder), "files": files}, tell)
