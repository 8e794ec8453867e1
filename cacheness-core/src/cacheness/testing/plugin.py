# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What the suites ask of whatever a plugin provides: found, cheap to import, documented."""

from __future__ import annotations

import inspect
import json
import pickle
from typing import Any

from cacheness.plugins.registry import registry_for
from cacheness.plugins.tables import HOOKS, load_target
from cacheness.testing.processes import in_fresh_process

__all__ = ["PluginPromises"]

HEAVY = frozenset(
    {"blosc2", "importlib.metadata", "keras", "logging", "numpy", "pandas", "polars", "pyarrow"}
    | {"rich", "scipy", "sklearn", "sqlalchemy", "tensorflow", "torch", "typer", "xarray"}
)
"""What each user of a script would pay for, at every start."""


class PluginPromises:
    """For a thing that is provided through an entry point, or is only a class so far."""

    hook: str = ""
    """The hook that gives the spec."""

    def provided(self) -> str | type:
        """The name in the spec, or the class of what is not packaged yet."""
        raise AssertionError(f"override {type(self).__name__}.provided")

    def test_its_spec_can_be_pickled(self) -> None:
        spec = self._spec()
        assert spec is None or pickle.loads(pickle.dumps(spec)) == spec, (
            "a spec that can't be pickled can't be told to other processes: name targets by text"
        )

    def test_it_is_documented(self) -> None:
        found = self._found()
        of = found if isinstance(found, type) else type(found)
        assert of.__doc__, (
            f"{of.__qualname__} has no docstring: say what it keeps, and what it refuses"
        )
        bases = [set(vars(base)) for base in of.__mro__[1:]]
        for name, member in vars(of).items():
            added = not name.startswith("_") and not any(name in base for base in bases)
            if added and inspect.isfunction(member):
                assert inspect.getdoc(member) or name in _PROTOCOLS, (
                    f"{of.__qualname__}.{name} has no docstring"
                )

    def test_its_plugin_is_cheap_to_import(self) -> None:
        spec = self._spec()
        point = None if spec is None else self._entry_point(spec.name)
        if point is None:
            return  # a class that is not packaged yet; the core's own table is tested there
        assert isinstance(spec.target, str), (  # pyright: ignore[reportOptionalMemberAccess]  # a spec, where it has a point
            f"the spec {spec.name!r} holds its target: name it as 'module:attribute', so that it "  # pyright: ignore[reportOptionalMemberAccess]  # a spec, where it has a point
            "is imported at first use"
        )
        module = spec.target.partition(":")[0]  # pyright: ignore[reportOptionalMemberAccess]  # a spec, where it has a point
        types = {path.partition(".")[0] for path in getattr(spec, "types", ())} - {"builtins"}
        imported = _imported_by(point.partition(":")[0])
        found = sorted((HEAVY | types | {module}) & imported)
        assert not found, (
            f"importing the plugin module imports {', '.join(found)}, which every user pays for "
            "at every start: import them in the functions that use them"
        )

    def _found(self) -> Any:
        provided = self.provided()
        return provided if isinstance(provided, type) else load_target(self._spec().target)

    def _spec(self) -> Any:
        provided = self.provided()
        if isinstance(provided, type):
            return None
        table = registry_for().discovered()[self.hook]
        assert provided in table.specs, (
            f"no {HOOKS[self.hook]} {provided!r} is installed: name the plugin module in "
            "[project.entry-points.cacheness] and install the package (pip install -e .)"
        )
        return table.specs[provided]

    def _entry_point(self, name: str) -> str | None:
        """The module of the plugin that provides it; None for the core's own."""
        from cacheness.plugins.discovery import find_entry_points

        table = registry_for().discovered()[self.hook]
        distribution = table.distributions[name]
        points = [p for p in find_entry_points() if p.distribution == distribution]
        return points[0].value if points else None


_PROTOCOLS = frozenset({"dumps", "loads", "fingerprint", "open", "map", "describe"})
"""Documented where they are declared, in `cacheness.handlers.protocols`."""

_LISTING = """
import json, sys
import cacheness, pluggy
from cacheness import hookimpl
before = set(sys.modules)
__import__(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def _imported_by(module: str) -> set[str]:
    """What a fresh process imports for this module, beside cacheness and pluggy themselves."""
    names: list[str] = json.loads(in_fresh_process(_LISTING, module))
    return set(names)
