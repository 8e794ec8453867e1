# SPDX-License-Identifier: MIT
"""Finds the entry points of installed plugins, by reading ``entry_points.txt`` itself.

`importlib.metadata` takes 30 to 60 ms to import and to visit 100 distributions; this
takes about 1 ms, which is what a first hit can afford.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OBSERVERS", "PLUGINS", "FoundEntryPoint", "find_entry_points", "normalised"]

PLUGINS = "cacheness"
"""The group of plugins that provide something."""
OBSERVERS = "cacheness.observers"
"""The group of plugins that want to be told of events."""

_LARGEST = 1 << 20
"""No entry_points.txt is read beyond this, in bytes."""


class FoundEntryPoint:
    """One line of a distribution's ``entry_points.txt``."""

    __slots__ = ("distribution", "group", "name", "value")

    def __init__(self, distribution: str, group: str, name: str, value: str) -> None:
        self.distribution = distribution
        """The distribution's normalised name."""
        self.group = group
        self.name = name
        self.value = value
        """``package.module`` or ``package.module:attribute``."""

    @property
    def plugin_name(self) -> str:
        """How the plugin is registered and reported: ``distribution:entry point``."""
        return f"{self.distribution}:{self.name}"


def normalised(name: str) -> str:
    """A distribution's name as the packaging standards compare it."""
    return "-".join(
        part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part
    )


def find_entry_points(path: list[str] | None = None) -> list[FoundEntryPoint]:
    """Give our groups' entry points of all distributions on ``sys.path``, sorted by name.

    Where a distribution is on the path twice, the first one counts, as for imports.

    Args:
        path: Searched instead of ``sys.path``.
    """
    texts: dict[str, str] = {}
    for folder in dict.fromkeys(sys.path if path is None else path):
        for distribution, text in _distributions(folder or os.getcwd()):
            texts.setdefault(distribution, text)
    if path is None and any(map(_is_foreign_finder, sys.meta_path)):
        for distribution, text in _by_importlib(None):
            texts.setdefault(distribution, text)
    found = [point for name, text in texts.items() for point in _parse(name, text)]
    found.sort(key=lambda point: (point.plugin_name, point.group))
    return found


def _distributions(folder: str) -> Iterator[tuple[str, str]]:
    """The distributions of one place of the path, with their entry points' text."""
    try:
        names = sorted(os.listdir(folder))
    except NotADirectoryError:
        yield from _by_importlib([folder])
        return
    except OSError:
        return
    if folder.endswith(".egg"):
        yield _name_of(os.path.basename(folder)), _read(f"{folder}/EGG-INFO/entry_points.txt")
    for name in names:
        if name.endswith((".dist-info", ".egg-info")):
            yield _name_of(name), _read(f"{folder}/{name}/entry_points.txt")


def _name_of(folder: str) -> str:
    """``my_plugin-1.0.dist-info`` and ``my.plugin.egg-info`` → ``my-plugin``."""
    return normalised(folder.rpartition(".")[0].partition("-")[0])


def _read(file_path: str) -> str:
    """The file's text where it names one of our groups, else nothing."""
    try:
        descriptor = os.open(file_path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        content = os.read(descriptor, _LARGEST)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return content.decode("utf-8", "replace") if b"[cacheness" in content else ""


def _parse(distribution: str, text: str) -> Iterator[FoundEntryPoint]:
    group = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif group in {PLUGINS, OBSERVERS} and "=" in line and line[0] not in "#;":
            name, _, value = line.partition("=")
            # Extras after the target, `module:attr [extra]`, were dropped by the standard.
            yield FoundEntryPoint(
                distribution, group, name.strip(), value.partition("[")[0].strip()
            )


def _is_foreign_finder(finder: object) -> bool:
    """Whether it may know distributions that lie in no directory of the path."""
    module = getattr(finder, "__module__", "")
    return hasattr(finder, "find_distributions") and module != "_frozen_importlib_external"


def _by_importlib(path: list[str] | None) -> Iterator[tuple[str, str]]:
    """The same for what is no plain directory: a zip file, or an import hook's own store."""
    if path is not None and not os.path.isfile(path[0]):
        return
    from importlib.metadata import distributions

    for distribution in distributions() if path is None else distributions(path=path):
        text = distribution.read_text("entry_points.txt") or ""
        yield normalised(distribution.metadata["Name"] or ""), text if "[cacheness" in text else ""
