# SPDX-License-Identifier: MIT
"""The command ``cacheness``: what a cache holds, and its upkeep, from a shell."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command, or say how to install what it needs."""
    try:
        from cacheness.cli.app import app
    except ModuleNotFoundError as error:
        needed = (error.name or "").partition(".")[0]
        if needed not in {"rich", "typer"}:
            raise
        sys.stderr.write(
            f"cacheness: the command needs {needed}, which is not installed: "
            'pip install "cacheness-core[cli]"\n'
        )
        sys.exit(2)
    app(prog_name="cacheness")
