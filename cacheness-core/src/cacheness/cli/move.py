# SPDX-License-Identifier: MIT
"""Commands that move entries between caches: export, import, copy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cacheness.cli.command import Call
from cacheness.cli.mistakes import DONE, FOUND, MistakeError, NoCacheError
from cacheness.cli.options import Filters, Function, Prefix, Tags, Target, Yes
from cacheness.cli.selection import parse_filters
from cacheness.cli.text import entries, size

if TYPE_CHECKING:
    from cacheness.core import UnifiedCache
    from cacheness.transfer.arrivals import Transferred

__all__ = ["copy", "export", "import_"]

Create = Annotated[
    bool, typer.Option("--create", help="Make the cache that entries go to, if it is not there.")
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Take in, and sign as your own, what bears no signature that can be verified: "
        "reading it may run whatever code its writer put there.",
    ),
]


def export(
    call: Call,
    path: Annotated[Path, typer.Argument(help="The file to write, a tar.")],
    filters: Filters = None,
    prefix: Prefix = None,
    tag: Tags = None,
    function: Function = None,
    yes: Yes = False,
) -> int:
    """Write entries and their payloads to one file."""
    screen = call.screen
    with call.target.open() as cache:
        selected = parse_filters(cache, filters, prefix, tag, function)
        if path.exists():
            screen.confirm(f"Replace {path}?", yes=yes)
        with screen.progress("exporting") as progress:
            done = cache.export(path, progress=progress, **selected)
    return _tell(call, done, "exported", f"to {path}")


def import_(
    call: Call,
    path: Annotated[Path, typer.Argument(help="A file that export wrote.")],
    trust: Trust = False,
    create: Create = False,
    yes: Yes = False,
) -> int:
    """Take in the entries of a file that export wrote; of two of one key the newer stays."""
    screen = call.screen
    if not path.is_file():
        raise MistakeError(f"there is no file {path}")
    if trust:
        screen.confirm(f"Believe {path} whatever it holds?", yes=yes)
    with (
        _receiver(call.target, create) as cache,
        screen.progress("importing") as progress,
    ):
        done = cache.import_(path, trust=trust, progress=progress)
    return _tell(call, done, "imported", f"from {path}")


def copy(
    call: Call,
    to: Annotated[Path, typer.Argument(help="The directory of the other cache.")],
    filters: Filters = None,
    prefix: Prefix = None,
    tag: Tags = None,
    function: Function = None,
    to_backend: Annotated[
        str | None, typer.Option(help="The other cache's metadata backend.", show_default=False)
    ] = None,
    to_namespace: Annotated[
        str | None, typer.Option(help="The namespace in it.", show_default=False)
    ] = None,
    to_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="An option of the other cache.", show_default=False
        ),
    ] = None,
    trust: Trust = False,
    create: Create = False,
    yes: Yes = False,
) -> int:
    """Copy entries to another cache, of whatever backend; of two of one key the newer stays."""
    screen = call.screen
    target = Target(to, to_backend, to_namespace, tuple(to_option or ()))
    with call.target.open() as cache:
        selected = parse_filters(cache, filters, prefix, tag, function)
        if trust:
            screen.confirm(f"Believe {cache.config.cache_dir} whatever it holds?", yes=yes)
        with (
            _receiver(target, create) as other,
            screen.progress("copying") as progress,
        ):
            done = cache.copy_to(other, trust=trust, progress=progress, **selected)
    return _tell(call, done, "copied", f"to {os.fspath(to)}")


def _receiver(target: Target, create: bool) -> UnifiedCache:
    if create:
        return target.make()
    try:
        return target.open(read_only=False)
    except NoCacheError as error:
        raise MistakeError(f"{error}, or have it made by --create") from None


def _tell(call: Call, done: Transferred, verb: str, where: str) -> int:
    screen = call.screen
    data = {
        verb: done.copied,
        "bytes": done.bytes,
        "skipped": done.skipped,
        "refused": done.refusals,
        "reasons": {refusal.cache_key: refusal.reason for refusal in done.refused},
    }

    def tell() -> None:
        skipped = f", {done.skipped:,} not wanted" if done.skipped else ""
        screen.line(f"{verb} {entries(done.copied)} ({size(done.bytes)}) {where}{skipped}")
        for refusal in done.refused:
            screen.note(f"left out {refusal.cache_key}: {refusal.reason}")

    screen.result(data, tell)
    return FOUND if done.refusals else DONE
