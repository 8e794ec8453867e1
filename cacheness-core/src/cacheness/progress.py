# SPDX-License-Identifier: MIT
"""Tells the caller of a long operation how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from cacheness.errors import CachenessWarning, ConfigError, warn

__all__ = ["Advance", "Progress", "reporting"]

Progress: TypeAlias = Callable[[int, int | None], object] | bool | None
"""What long operations take as ``progress``: a callable that is given how many are done, and
of how many, or None where nobody knows; True for a bar in the terminal, which rich draws;
None or False for nothing. What the callable raises ends the operation."""

Advance: TypeAlias = Callable[[int], None]
"""Called by the operation with the number of entries it has done since it last called."""


@contextmanager
def reporting(progress: Progress, total: int | None, label: str) -> Iterator[Advance]:
    """Give the operation what it calls as it goes on.

    Args:
        progress: As the caller gave it.
        total: How many there will be, where that is known.
        label: What is being done, in a word or two: ``"deleting"``.

    Raises:
        ConfigError: ``progress`` is none of what is allowed.

    Example:
        >>> def show(done, total):
        ...     print(f"{done} of {total}")
        >>> with reporting(show, 2, "copying") as advance:
        ...     for _ in range(2):
        ...         advance(1)
        1 of 2
        2 of 2
    """
    if progress is None or progress is False:
        yield _nothing
    elif progress is True:
        with _bar(total, label) as advance:
            yield advance
    elif callable(progress):
        yield _Counter(progress, total)
    else:
        raise ConfigError(
            f"progress={progress!r} can't be called: give a function of (done, total), or True "
            "for a bar"
        )


def _nothing(count: int) -> None:
    """Nobody wants to know."""


class _Counter:
    """Adds up what is done for a callable that wants the sum."""

    __slots__ = ("_done", "_tell", "_total")

    def __init__(self, tell: Callable[[int, int | None], object], total: int | None) -> None:
        self._tell = tell
        self._total = total
        self._done = 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._tell(self._done, self._total)


@contextmanager
def _bar(total: int | None, label: str) -> Iterator[Advance]:
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar
    except ImportError:
        warn(
            "progress=True needs rich, which is not installed (pip install rich); the operation "
            "goes on without a bar",
            CachenessWarning,
        )
        yield _nothing
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn()) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)
