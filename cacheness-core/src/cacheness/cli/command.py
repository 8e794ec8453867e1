# SPDX-License-Identifier: MIT
"""Gives a command the options that all share, and its errors their exit codes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import typer

from cacheness.cli.mistakes import guarded
from cacheness.cli.options import AsJson, Backend, Directory, Namespace, Options, Target
from cacheness.cli.screen import Screen

__all__ = ["Call", "of_a_cache", "of_no_cache"]

_OF_A_CACHE: dict[str, Any] = {
    "directory": Directory,
    "backend": Backend,
    "namespace": Namespace,
    "option": Options,
}


@dataclass(frozen=True, slots=True)
class Call:
    """What each command is given besides its own options."""

    screen: Screen
    """Where its result goes."""
    target: Target
    """The cache that it is about."""


def of_a_cache(function: Callable[..., int | None]) -> Callable[..., None]:
    """Make a command of a function of a `Call` and of options of its own.

    What it returns is the exit code; None is zero.
    """
    return _command(function, {**_OF_A_CACHE, "as_json": AsJson})


def of_no_cache(function: Callable[..., int | None]) -> Callable[..., None]:
    """The same for a command that is about no cache in particular."""
    return _command(function, {"as_json": AsJson})


def _command(function: Callable[..., int | None], shared: dict[str, Any]) -> Callable[..., None]:
    @wraps(function)
    def run(**given: Any) -> None:
        common = {name: given.pop(name) for name in shared}
        target = Target(
            common.get("directory"),
            common.get("backend"),
            common.get("namespace"),
            tuple(common.get("option") or ()),
        )
        with guarded():
            code = function(Call(Screen(as_json=common["as_json"]), target), **given)
        if code:
            raise typer.Exit(code)

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    for name, annotation in shared.items():
        default = False if name == "as_json" else None
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
            )
        )
    # typer reads both.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # any callable may have one
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run
