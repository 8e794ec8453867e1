# SPDX-License-Identifier: MIT
"""Writes the files of a new plugin package from their templates."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import packages_distributions
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias

from cacheness.cli.mistakes import MistakeError

__all__ = ["Kind", "Plan", "write"]

Kind: TypeAlias = Literal["handler", "backend", "blobs", "compressor"]

_HOOKS: dict[Kind, tuple[str, str, str, str]] = {
    "handler": ("cacheness_handlers", "HandlerSpec", "Handler", "handler"),
    "backend": ("cacheness_metadata_backends", "BackendSpec", "Backend", "metadata backend"),
    "blobs": ("cacheness_blob_backends", "BackendSpec", "BlobBackend", "blob backend"),
    "compressor": ("cacheness_compressors", "CompressorSpec", "Compressor", "compressor"),
}
"""Of each kind: the hook, its spec, what the class's name ends in, what to call it."""
_USES: dict[Kind, str] = {
    "handler": "cache.put(obj, run=1)  # of @TYPE@, or with such parts",
    "backend": 'cache.put({"score": 0.93}, run=1)',
    "blobs": "cache.put(bytes(1_000_000), run=1)",
    "compressor": 'cache.put("what repeats itself shrinks " * 10_000, run=1)',
}
_OPTIONS: dict[Kind, str] = {
    "handler": "",
    "backend": ', metadata_backend="@NAME@"',
    "blobs": ', blob_backend="@NAME@"',
    "compressor": ', compressor="@NAME@"',
}
_FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "LICENSE": "LICENSE.txt",
    ".gitignore": "gitignore.txt",
    ".github/workflows/test.yml": "ci.yml.txt",
    "src/@PACKAGE@/__init__.py": "init.py.txt",
}
_OF_HANDLER = (
    ("import pickle", "from pathlib import Path", "from typing import Any"),
    ("from cacheness import Handler",),
)
_OF_TEST = (
    (
        "from collections.abc import Iterable",
        "from pathlib import Path",
        "from typing import Any",
    ),
    (
        "from cacheness import UnifiedCache",
        "from cacheness.testing import HandlerContract",
        "from hypothesis import HealthCheck, given, settings",
        "from hypothesis import strategies as st",
    ),
)
"""What a module imports of the standard library, and of others."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a package is to be called, and what it is for."""

    name: str
    """What entries or options will call it."""
    kind: Kind
    """What it provides."""
    type_path: str
    """Of a handler: ``package.module.Class``."""
    author: str
    """Who holds the copyright."""

    @classmethod
    def of(cls, name: str, kind: Kind, type_path: str, author: str | None) -> Plan:
        """Check what the user said.

        Raises:
            MistakeError: It can't be a name, or the type is none.
        """
        if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name):
            raise MistakeError(
                f"{name!r} can't be the name: give small letters, digits and single hyphens"
            )
        if kind == "handler":
            _check_type(type_path)
        plan = cls(name.removeprefix("cacheness-"), kind, type_path, author or "")
        return (
            plan if author else cls(plan.name, kind, type_path, f"the {plan.distribution} authors")
        )

    @property
    def distribution(self) -> str:
        """The package's name for pip."""
        return f"cacheness-{self.name.replace('_', '-')}"

    @property
    def package(self) -> str:
        """The package's name for ``import``."""
        return self.distribution.replace("-", "_")

    def substitutions(self) -> dict[str, str]:
        """What stands for each ``@WORD@`` of a template."""
        hook, spec, ending, called = _HOOKS[self.kind]
        module, _, type_name = self.type_path.rpartition(".")
        camel = "".join(part.capitalize() for part in re.split("[-_]", self.name))
        use = f'cache = UnifiedCache("cache"{_OPTIONS[self.kind]})\n{_USES[self.kind]}'
        kept = f"for {self.type_path}" if self.kind == "handler" else f"called {self.name}"
        found = {
            "EXAMPLE": f"from cacheness import UnifiedCache\n\n{use}",
            "DESCRIPTION": f"A {called} of cacheness {kept}",
            "DISTRIBUTION": self.distribution,
            "PACKAGE": self.package,
            "MODULE": self.kind,
            "CLASS": f"{camel}{ending}",
            "HOOK": hook,
            "SPEC": spec,
            "KIND": called,
            "IMPORTS": _imports(_OF_HANDLER, module, type_name),
            "TEST_IMPORTS": _imports(_OF_TEST, module, type_name),
            "TYPENAME": type_name,
            "TYPE": self.type_path,
            "NAME": self.name,
            "AUTHOR": self.author,
            "YEAR": str(datetime.now(UTC).year),
        }
        return {**found, **_needs(module.partition(".")[0])}


def write(plan: Plan, folder: Path) -> list[str]:
    """Write all files of a package into a new folder; give their names in it.

    Raises:
        OSError: A file can't be written.
    """
    templates = files("cacheness.cli") / "templates" / "plugin"
    words = plan.substitutions()
    sources = {
        **_FILES,
        "src/@PACKAGE@/plugin.py": "plugin_handler.py.txt"
        if plan.kind == "handler"
        else "plugin_other.py.txt",
        "src/@PACKAGE@/@MODULE@.py": f"{plan.kind}.py.txt",
        "tests/test_@MODULE@.py": f"test_{plan.kind}.py.txt",
    }
    texts = {
        _filled(name, words): _filled((templates / source).read_text("utf-8"), words).rstrip()
        + "\n"
        for name, source in sources.items()
    }
    texts[f"src/{plan.package}/py.typed"] = ""
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sorted(texts)


def _check_type(path: str) -> None:
    module, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not module:
        raise MistakeError(f"{path!r} is no type: give its import path, such as shapely.Geometry")
    try:
        found = getattr(import_module(module), name, None)
    except ImportError:
        return  # it need not be installed here
    if not isinstance(found, type):
        raise MistakeError(f"{path} is no class: a handler is for the objects of one")


def _imports(own: tuple[tuple[str, ...], ...], module: str, type_name: str) -> str:
    """The imports of a module that needs the type, too, in the order that ruff asks for."""
    standard, others = map(list, own)
    if module and module != "builtins":
        of_python = module.partition(".")[0] in sys.stdlib_module_names
        (standard if of_python else others).append(f"from {module} import {type_name}")
    blocks = (sorted(lines, key=_rank_of_import) for lines in (standard, others))
    return "\n\n".join("\n".join(lines) for lines in blocks)


def _rank_of_import(line: str) -> tuple[bool, str, str]:
    kind, module, rest = line.split(" ", 2) if " import " in line else (*line.split(" "), "")
    return kind == "from", module.lower(), rest


def _needs(library: str) -> dict[str, str]:
    """What the project file says of the library that a type is from."""
    if not library or library in sys.stdlib_module_names:
        return {"DEPENDENCIES": '"cacheness-core"', "MYPY": ""}
    distribution = packages_distributions().get(library, [library])[0]
    untyped = f'\n[[tool.mypy.overrides]]\nmodule = ["{library}.*"]\nignore_missing_imports = true'
    return {"DEPENDENCIES": f'"cacheness-core", "{distribution}"', "MYPY": untyped}


def _filled(template: str, words: dict[str, str]) -> str:
    text = template
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
