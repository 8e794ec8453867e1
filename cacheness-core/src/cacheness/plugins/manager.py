# SPDX-License-Identifier: MIT
"""Asks installed plugins through pluggy what they provide, one failure never touching another."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import pluggy

from cacheness import builtins, hookspecs
from cacheness.plugins.specs import BackendSpec, CompressorSpec, HandlerSpec
from cacheness.plugins.tables import HOOKS, load_target, report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cacheness.events import Event
    from cacheness.plugins.discovery import FoundEntryPoint
    from cacheness.plugins.tables import Table

__all__ = ["API_VERSION", "collect", "hookimpl"]

API_VERSION = 1
"""What a plugin may state as ``cacheness_api``; another number than ours leaves it out."""

hookimpl = pluggy.HookimplMarker("cacheness")
"""Marks a function of a plugin module as one of the hooks in `cacheness.hookspecs`."""

_SPECS: dict[str, type] = {
    "cacheness_handlers": HandlerSpec,
    "cacheness_metadata_backends": BackendSpec,
    "cacheness_blob_backends": BackendSpec,
    "cacheness_compressors": CompressorSpec,
}


def collect(
    points: Iterable[FoundEntryPoint], tables: dict[str, Table]
) -> tuple[Callable[[Event], None], ...]:
    """Fill the tables with what the core and the plugins provide; give the observers.

    The core comes first, so that no plugin can take a name of its; the plugins follow in
    the order of their names, ``distribution:entry point``.
    """
    manager = pluggy.PluginManager("cacheness")
    manager.add_hookspecs(hookspecs)
    distributions = {"cacheness-core:core": builtins.DISTRIBUTION}
    for hook in HOOKS:
        hookimpl(getattr(builtins.CorePlugin, hook))
    manager.register(builtins.CorePlugin, "cacheness-core:core")
    for point in points:
        if manager.has_plugin(point.plugin_name):
            continue  # named in both groups
        if _register(manager, point):
            distributions[point.plugin_name] = point.distribution
    for name, distribution in distributions.items():
        for hook, table in tables.items():
            for spec in _specs_of(manager, name, hook):
                table.add(name, distribution, spec)
    return tuple(_observers(manager, distributions))


def _register(manager: pluggy.PluginManager, point: FoundEntryPoint) -> bool:
    """Import and register one plugin, or report why not."""
    name, where = point.plugin_name, f"its entry point {point.value!r}"
    try:
        plugin = load_target(point.value)
        module = import_module(point.value.partition(":")[0])
        stated = getattr(plugin, "cacheness_api", getattr(module, "cacheness_api", API_VERSION))
        if stated != API_VERSION:
            report(name, where, f"it is written for plugin API {stated!r}, this is {API_VERSION}")
            return False
        manager.register(plugin, name)
        manager.check_pending()
    except Exception as error:  # noqa: BLE001  # whatever an author's module raises is reported
        if manager.has_plugin(name):
            manager.unregister(name=name)
        report(name, where, f"{type(error).__name__}: {error}")
        return False
    return True


def _implementation(
    manager: pluggy.PluginManager, plugin: str, hook: str
) -> pluggy.HookImpl | None:
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        if implementation.plugin_name == plugin:
            found: pluggy.HookImpl = implementation
            return found
    return None


def _specs_of(manager: pluggy.PluginManager, plugin: str, hook: str) -> list[Any]:
    """The specs that one plugin returns from one hook; what is none is reported."""
    implementation = _implementation(manager, plugin, hook)
    if implementation is None:
        return []
    try:
        returned: list[Any] = list(cast("Iterable[Any]", implementation.function()))
    except Exception as error:  # noqa: BLE001  # whatever an author's hook raises is reported
        report(plugin, hook, f"{type(error).__name__}: {error}")
        return []
    specs = []
    for spec in returned:
        reason = _fault_of(spec, _SPECS[hook])
        if reason is None:
            specs.append(spec)
        else:
            report(plugin, hook, reason)
    return specs


def _fault_of(spec: object, expected: type) -> str | None:
    """What is wrong with a spec, or None."""
    if not isinstance(spec, expected):
        return f"it returned {type(spec).__name__}, which is no {expected.__name__}"
    name, target = getattr(spec, "name", None), getattr(spec, "target", None)
    if not isinstance(name, str) or not name:
        return f"its {expected.__name__} has the name {name!r}; give a str"
    if isinstance(target, str) and ":" not in target:
        return (
            f"its {expected.__name__} {name!r} has the target {target!r}; give 'module:attribute'"
        )
    if isinstance(spec, HandlerSpec) and not (_are_paths(spec.types)):
        return (
            f"its HandlerSpec {name!r} has the types {spec.types!r}; give a tuple of import paths"
        )
    return None


def _are_paths(types: object) -> bool:
    return isinstance(types, tuple) and all(isinstance(path, str) for path in types)


def _observers(
    manager: pluggy.PluginManager, names: Iterable[str]
) -> Iterable[Callable[[Event], None]]:
    for name in names:
        implementation = _implementation(manager, name, "cacheness_on_event")
        if implementation is not None:
            yield _observer(name, implementation)


def _observer(name: str, implementation: pluggy.HookImpl) -> Callable[[Event], None]:
    def tell(event: Event) -> None:
        arguments = [event] * len(implementation.argnames)
        try:
            implementation.function(*arguments)
        except Exception as error:  # noqa: BLE001  # an observer must not fail a get or a put
            report(name, "cacheness_on_event", f"{type(error).__name__}: {error}")

    return tell
