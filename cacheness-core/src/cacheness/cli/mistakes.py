# SPDX-License-Identifier: MIT
"""What a command exits with, and how it says what went wrong: in one line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from cacheness.cli.text import printable
from cacheness.errors import (
    BackendUnavailableError,
    BlobCorruptedError,
    CachenessError,
    CachenessWarning,
    SignatureError,
)

__all__ = [
    "DONE",
    "FOUND",
    "MISTAKE",
    "UNAVAILABLE",
    "MistakeError",
    "NoCacheError",
    "complain",
    "guarded",
]

DONE = 0
"""All well."""
FOUND = 1
"""A problem was found, or what was named was not."""
MISTAKE = 2
"""The command was called in a way that can't work."""
UNAVAILABLE = 3
"""The store, or a disk, can't be used at the moment."""

_OF_THE_CALLER = (
    FileExistsError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)


class MistakeError(CachenessError):
    """The command was called in a way that can't work."""


class NoCacheError(MistakeError):
    """There is no cache where the command was told to look."""


@contextmanager
def guarded() -> Iterator[None]:
    """Turn what a command raises on purpose into one line and an exit code.

    Warnings of cacheness become lines, too, since a user of the command has no use for the
    place in the source that gave them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always", CachenessWarning)
        warnings.showwarning = _show
        try:
            yield
        except CachenessError as error:
            complain(str(error))
            raise typer.Exit(_code_of(error)) from None
        except BrokenPipeError:
            raise  # who read our output has gone, which typer deals with
        except OSError as error:
            complain(str(error))
            raise typer.Exit(
                MISTAKE if isinstance(error, _OF_THE_CALLER) else UNAVAILABLE
            ) from None


def complain(message: str) -> None:
    """Say in one line on stderr what went wrong."""
    sys.stderr.write(f"cacheness: {printable(message)}\n")


def _code_of(error: CachenessError) -> int:
    if isinstance(error, BackendUnavailableError):
        return UNAVAILABLE
    return FOUND if isinstance(error, (BlobCorruptedError, SignatureError)) else MISTAKE


def _show(message: Warning | str, *_: object, **__: object) -> None:
    complain(f"warning: {message}")
