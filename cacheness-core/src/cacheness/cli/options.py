# SPDX-License-Identifier: MIT
"""The options that all commands share, and the cache that they name."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from cacheness.cli.mistakes import MistakeError, NoCacheError
from cacheness.config import CacheConfig
from cacheness.core import UnifiedCache

__all__ = [
    "AsJson",
    "Backend",
    "Directory",
    "Filters",
    "Function",
    "Namespace",
    "Options",
    "Prefix",
    "Tags",
    "Target",
    "Yes",
    "parse_pairs",
    "parse_value",
]

_SHARED = "Which cache"
_SELECTED = "Which entries"

Directory: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        "-d",
        help="The cache's directory; else CACHENESS_CACHE_DIR, else ./.cacheness.",
        show_default=False,
        rich_help_panel=_SHARED,
    ),
]
Backend: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="The metadata backend: sqlite, json, or a plugin's.",
        show_default=False,
        rich_help_panel=_SHARED,
    ),
]
Namespace: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="The namespace within the store.",
        show_default=False,
        rich_help_panel=_SHARED,
    ),
]
Options: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        "-o",
        metavar="NAME=VALUE",
        help='Any option of CacheConfig, such as \'metadata_options={"url": "…"}\'.',
        show_default=False,
        rich_help_panel=_SHARED,
    ),
]
AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document, for programs.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

Filters: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME=VALUE]...",
        help="Filters such as lr__gte=0.1 entry__hits=0 meta__owner=me; a value is JSON, "
        "or else text.",
        show_default=False,
    ),
]
Prefix: TypeAlias = Annotated[
    str | None, typer.Option(help="Of this prefix.", rich_help_panel=_SELECTED)
]
Tags: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--tag", help="With this tag; several are all needed.", rich_help_panel=_SELECTED),
]
Function: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Of this cached function: module:name, or its name alone.", rich_help_panel=_SELECTED
    ),
]

_FILES = {"sqlite": "metadata.sqlite3", "json": "metadata.jsonl"}
"""The backends that keep a file in the cache's directory, and the file."""
_MARKER = "cacheness.json"


@dataclass(frozen=True, slots=True)
class Target:
    """The cache that a command is about, as its options name it."""

    directory: Path | None
    """What ``--dir`` says."""
    backend: str | None
    """What ``--backend`` says."""
    namespace: str | None
    """What ``--namespace`` says."""
    options: tuple[str, ...] = ()
    """What each ``--option`` says."""

    def config(self, *, read_only: bool) -> CacheConfig:
        """The configuration, with what the options leave open from the environment.

        Raises:
            ConfigError: An option can't work.
            MistakeError: An option does not exist.
        """
        given: dict[str, Any] = parse_pairs(self.options)
        if self.backend is not None:
            given["metadata_backend"] = self.backend
        if self.namespace is not None:
            given["namespace"] = self.namespace
        if read_only:
            given["read_only"] = True
        try:
            config = CacheConfig(given.pop("cache_dir", self.directory), **given)
        except TypeError as error:
            raise MistakeError(str(error)) from None
        if "metadata_backend" in given or os.environ.get("CACHENESS_METADATA_BACKEND"):
            return config
        return config.replace(metadata_backend=_backend_of(config.cache_dir))

    def open(self, *, read_only: bool = True) -> UnifiedCache:
        """The cache, which has to be there: a command makes none by the way.

        Raises:
            NoCacheError: There is none.
        """
        config = self.config(read_only=read_only)
        kind = config.metadata_backend
        if kind == "memory":
            raise MistakeError("a cache in memory is of its own process: no command can see it")
        if kind in _FILES:
            _check_directory(config.cache_dir, kind)
        elif not config.read_only:
            # A store elsewhere would be made where there is none; a reader makes nothing.
            UnifiedCache(config.replace(read_only=True)).close()
        return UnifiedCache(config)

    def make(self) -> UnifiedCache:
        """The cache, made where there is none."""
        return UnifiedCache(self.config(read_only=False))


def _backend_of(directory: str) -> str:
    """The backend whose file is there; sqlite where there is none."""
    there = [kind for kind, name in _FILES.items() if os.path.exists(os.path.join(directory, name))]
    return there[0] if there else "sqlite"


def _check_directory(directory: str, kind: str) -> None:
    if not os.path.exists(os.path.join(directory, _MARKER)):
        raise NoCacheError(
            f"there is no cache in {directory}: name one by --dir or CACHENESS_CACHE_DIR"
        )
    kept_by = _backend_of(directory)
    if kept_by != kind and os.path.exists(os.path.join(directory, _FILES[kept_by])):
        raise MistakeError(f"the cache in {directory} is kept by {kept_by}, not {kind}")


def parse_pairs(pairs: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """``["lr=0.1", "name=a"]`` → ``{"lr": 0.1, "name": "a"}``.

    Raises:
        MistakeError: One is no pair, or a name is there twice.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise MistakeError(f"{pair!r} is no NAME=VALUE")
        if name in found:
            raise MistakeError(f"{name} is given twice, and only one value can hold")
        found[name] = parse_value(value)
    return found


def parse_value(text: str) -> Any:
    """A value that is JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
