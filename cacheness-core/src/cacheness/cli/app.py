# SPDX-License-Identifier: MIT
"""All commands under one name."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cacheness.cli import adopt, browse, change, doctor, move, new_plugin, plugins, report, upkeep
from cacheness.cli.command import of_a_cache, of_no_cache
from cacheness.cli.mistakes import MISTAKE, complain

__all__ = ["app"]

_LOOK = "Look"
_CHANGE = "Change"
_KEEP = "Look after"
_MOVE = "Move"
_EXTEND = "Extend"

_EPILOG = (
    "Exit codes: 0 done; 1 a problem was found, or what was named was not; 2 a mistake in the "
    "call; 3 the store can't be used at the moment."
)


class _OneLineGroup(TyperGroup):
    """Says what is wrong with a call in one line, where typer would draw a box."""

    def main(self, *args: Any, **extra: Any) -> Any:
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except typer.Abort:
            complain("aborted")
            sys.exit(MISTAKE)
        except Exception as error:
            told = getattr(error, "format_message", None)
            if told is None:
                raise
            context = getattr(error, "ctx", None)
            path = "cacheness" if context is None else context.command_path
            complain(f"{' '.join(str(told()).split())} (see {path} --help)")
            sys.exit(MISTAKE)
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    name="cacheness",
    cls=_OneLineGroup,
    help="Look into caches, and look after them.",
    epilog=_EPILOG,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version() -> None:
    from importlib.metadata import version

    sys.stdout.write(f"cacheness-core {version('cacheness-core')}\n")


@app.callback(invoke_without_command=True)
def _without_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which this is.")] = False,
) -> None:
    if version:
        _tell_version()
    elif context.invoked_subcommand is None:
        sys.stdout.write(f"{context.get_help()}\n")


for _name, _function, _panel in (
    ("info", of_a_cache(browse.info), _LOOK),
    ("ls", of_a_cache(browse.ls), _LOOK),
    ("query", of_a_cache(browse.query), _LOOK),
    ("show", of_a_cache(browse.show), _LOOK),
    ("stats", of_a_cache(browse.stats), _LOOK),
    ("report", of_a_cache(report.report), _LOOK),
    ("rm", of_a_cache(change.rm), _CHANGE),
    ("touch", of_a_cache(change.touch), _CHANGE),
    ("pin", of_a_cache(change.pin), _CHANGE),
    ("clear", of_a_cache(change.clear), _CHANGE),
    ("adopt", of_a_cache(adopt.adopt), _CHANGE),
    ("gc", of_a_cache(upkeep.gc), _KEEP),
    ("verify", of_a_cache(upkeep.verify), _KEEP),
    ("doctor", of_a_cache(doctor.doctor), _KEEP),
    ("export", of_a_cache(move.export), _MOVE),
    ("import", of_a_cache(move.import_), _MOVE),
    ("copy", of_a_cache(move.copy), _MOVE),
    ("plugins", of_no_cache(plugins.plugins), _EXTEND),
    ("new-plugin", of_no_cache(new_plugin.new_plugin), _EXTEND),
):
    app.command(_name, rich_help_panel=_panel)(_function)
