# SPDX-License-Identifier: MIT
"""The command adopt: keeps what older code of a function stored."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from cacheness.cli.command import Call
from cacheness.cli.mistakes import DONE, FOUND, MistakeError
from cacheness.cli.options import Yes
from cacheness.defaults import configure

__all__ = ["adopt"]


def adopt(
    call: Call,
    function: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="A cached function; it is imported.")
    ],
    from_digest: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIGEST",
            help="The older code's digest, or its beginning; needed where there are several.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
) -> int:
    """Keep the results of a function's older code, after an edit that changes no result.

    Exits with 1 where nothing was adopted. --dir and its like are of functions that name no
    cache of their own.
    """
    screen = call.screen
    configure(call.target.config(read_only=False))
    found = _import(function)
    if not found.cache_adopt.__self__.names_cache:
        call.target.open().close()  # it has to be there
    screen.confirm(f"Take the results of older code for those of {function} as it is?", yes=yes)
    adoption = found.cache_adopt(from_digest)

    def tell() -> None:
        for line in str(adoption).splitlines():
            screen.line(line)

    screen.result(adoption.as_dict(), tell)
    return DONE if adoption.adopted is not None else FOUND


def _import(name: str) -> Any:
    module, separator, path = name.partition(":")
    if not separator or not module or not path:
        raise MistakeError(f"{name!r} is no MODULE:FUNCTION")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = import_module(module)
    except ImportError as error:
        raise MistakeError(f"{module} can't be imported: {error}") from None
    for part in path.split("."):
        found = getattr(found, part, None)
    if not hasattr(found, "cache_adopt"):
        raise MistakeError(f"{name} is no function that cacheness keeps results of")
    return found
