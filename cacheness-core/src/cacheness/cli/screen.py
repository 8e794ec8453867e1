# SPDX-License-Identifier: MIT
"""What a command shows: tables for people, or one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cacheness.cli.mistakes import FOUND, MistakeError, complain
from cacheness.cli.text import printable

__all__ = ["Screen"]

_WIDE = 10_000
"""Columns where no terminal is: what reads a pipe wants whole lines."""


class Screen:
    """Shows one command's result, and asks before what can't be taken back.

    Args:
        as_json: Whether the result is for programs.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else _WIDE
        self._out = Console(width=width, highlight=False, markup=False, emoji=False)

    # --- results ----------------------------------------------------------------------

    def result(self, data: Any, show: Callable[[], object]) -> None:
        """Print the data as JSON, or call what shows it to people."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")
        else:
            show()

    def line(self, text: str, style: str = "") -> None:
        """Print one line for people; a name in it can't do anything to the terminal."""
        self._out.print(Text(printable(text), style), soft_wrap=True)

    def facts(self, rows: Iterable[tuple[str, object]]) -> None:
        """Print names and values below each other, but those without a value."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in rows:
            if value is not None and value != "":
                table.add_row(name, Text(printable(str(value))))
        self._out.print(table)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; a column whose name begins with ``>`` holds numbers."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number, name in enumerate(columns):
            right = name.startswith(">")
            table.add_column(
                name.removeprefix(">"),
                justify="right" if right else "left",
                no_wrap=right or number == 0,
                overflow="ellipsis",
            )
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._out.print(table)

    # --- on the way -------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Tell people something beside the result."""
        if not self.as_json:
            complain(text)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only if the user says so.

        Raises:
            Exit: They don't.
            MistakeError: There is nobody to ask.
        """
        if yes:
            return
        if self.as_json:
            raise MistakeError(f"{question} Nothing was done: with --json, say --yes to do it")
        try:
            agreed = typer.confirm(printable(question), err=True)
        except typer.Abort:
            sys.stderr.write("\n")
            raise MistakeError("nothing was done: nobody answered; say --yes to do it") from None
        if not agreed:
            complain("nothing was done")
            raise typer.Exit(FOUND)

    @contextmanager
    def progress(self, label: str) -> Iterator[Callable[[int, int | None], None] | None]:
        """Give what long operations take as ``progress``: a bar with rate and time left.

        It is drawn on stderr, and only where that is a terminal.
        """
        if self.as_json or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(label, total=None, rate="")

            def tell(done: int, total: int | None) -> None:
                speed = bar.tasks[0].speed
                rate = "" if speed is None else f"{speed:,.0f}/s"
                bar.update(task, completed=done, total=total, rate=rate)

            yield tell
