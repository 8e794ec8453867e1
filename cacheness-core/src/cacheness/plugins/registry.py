# SPDX-License-Identifier: MIT
"""Answers by name or by object which handler, backend or compressor serves."""

from __future__ import annotations

import sys
from _thread import RLock

from cacheness import builtins
from cacheness.errors import (
    ConfigError,
    HandlerNotFoundError,
)
from cacheness.forks import renew_in_child
from cacheness.plugins.discovery import OBSERVERS, find_entry_points
from cacheness.plugins.tables import HOOKS, Table, load_target, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from cacheness.compressors.base import Compressor
    from cacheness.events import Event
    from cacheness.handlers.base import Handler
    from cacheness.handlers.protocols import Update
    from cacheness.plugins.discovery import FoundEntryPoint
    from cacheness.plugins.specs import BackendSpec, CompressorSpec, HandlerSpec

    Spec = HandlerSpec | BackendSpec | CompressorSpec

__all__ = [
    "LoadedHandler",
    "Registry",
    "fingerprinter",
    "list_handlers",
    "register_handler",
    "registry_for",
    "unregister_handler",
]

PROCESS = ""
"""The distribution of a handler that was registered in this process, without packaging."""


class LoadedHandler:
    """A handler that is ready for use, with the capabilities that it has."""

    __slots__ = (
        "buffers_last",
        "compresses",
        "data_only",
        "decides_by_type",
        "describe",
        "distribution",
        "dumps",
        "extension",
        "fingerprint",
        "handler",
        "is_plain",
        "loads",
        "map",
        "maps_payload",
        "name",
        "open",
        "opens_buffers",
        "partial_options",
        "typed",
        "verifies",
        "version",
    )

    def __init__(self, name: str, handler: Handler, distribution: str, *, typed: bool) -> None:
        self.name = name
        self.typed = typed
        self.handler = handler
        self.distribution = distribution
        self.version = handler.version
        self.extension = handler.extension
        self.data_only = handler.data_only
        self.buffers_last = handler.buffers_last
        self.compresses = handler.compresses
        self.opens_buffers = handler.opens_buffers
        self.partial_options = handler.partial_options
        self.maps_payload = handler.maps_payload
        self.verifies = handler.verifies
        # Each is an optional capability, which a handler has by defining it.
        self.dumps = getattr(handler, "dumps", None)
        # The short way of a put records neither a signature nor a version.
        self.is_plain = handler.data_only and handler.version == 1
        self.loads = getattr(handler, "loads", None)
        self.open = getattr(handler, "open", None)
        self.map = getattr(handler, "map", self.open)
        self.fingerprint = getattr(handler, "fingerprint", None)
        self.describe = getattr(handler, "describe", None)
        self.decides_by_type = handler.decides_by_type and _says(
            handler, "decides_by_type", "can_handle"
        )

    @property
    def dumps_plain(self) -> Callable[[Any], bytes | None] | None:
        """Makes all of a payload that needs no metadata; asked for only when something is put."""
        if not (self.is_plain and _says(self.handler, "dumps_plain", "dumps", "loads")):
            return None
        return getattr(self.handler, "dumps_plain", None)


def _says(handler: Handler, name: str, *about: str) -> bool:
    """Whether what a class says by a name holds of what it does, which a subclass may do anew."""
    for one in type(handler).__mro__:
        if name in vars(one):
            return True
        if any(each in vars(one) for each in about):
            return False
    return False


class Registry:
    """All that is registered, for caches that leave the same plugins out.

    The core's own names are found without looking at installed plugins; anything else
    makes them known first, once per process.
    """

    def __init__(self, disabled: frozenset[str]) -> None:
        self._disabled = disabled
        self._lock = RLock()
        self._tables: dict[str, Table] | None = None
        self._observers: tuple[Callable[[Event], None], ...] | None = None
        self._loaded: dict[str, LoadedHandler] = {}
        self._compressors: dict[str, Compressor] = {}
        self._order: list[tuple[HandlerSpec, str]] | None = None
        self._types: dict[str, type] = {}
        self.by_type: dict[type, tuple[int, tuple[LoadedHandler, ...]]] = {}
        """What `candidates` remembers; another one once a handler comes or goes."""
        renew_in_child(self)

    def after_fork(self) -> None:
        """In a child: whichever thread of the parent was looking for plugins is not here."""
        self._lock = RLock()

    # --- by name ----------------------------------------------------------------------

    def handler(self, name: str) -> LoadedHandler:
        """The handler of that name.

        Raises:
            HandlerNotFoundError: None is registered.
            ImportError: It is registered, but what it needs can't be imported.
        """
        loaded = self._loaded.get(name)
        if loaded is not None:
            return loaded
        core = builtins.HANDLERS.get(name)
        if core is not None:
            return self._load(name, core[0], builtins.DISTRIBUTION, typed=bool(core[1]))
        registered = _process_handlers.get(name)
        if registered is not None:
            return self._load(name, registered.target, PROCESS, typed=bool(registered.types))
        table = self.discovered()["cacheness_handlers"]
        spec = table.specs.get(name)
        if spec is None:
            raise HandlerNotFoundError(f"no handler {name!r} is installed")
        return self._load(name, spec.target, table.distributions[name], typed=bool(spec.types))

    def known_handler(self, name: str) -> LoadedHandler | bool:
        """The handler, if that imports no plugin's module; else whether it is registered.

        For who looks at many entries and reads none of them.
        """
        if name in self._loaded or name in builtins.HANDLERS or name in _process_handlers:
            return self.handler(name)
        spec = self.discovered()["cacheness_handlers"].specs.get(name)
        if spec is None:
            return False
        target = spec.target
        if isinstance(target, str) and target.partition(":")[0] not in sys.modules:
            return True
        return self.handler(name)

    def metadata_backend(self, name: str) -> Callable[..., Any]:
        """The class of the metadata backend of that name.

        Raises:
            ConfigError: None is registered, or what it needs can't be imported.
        """
        return self._backend("cacheness_metadata_backends", builtins.METADATA_BACKENDS, name)

    def blob_backend(self, name: str) -> Callable[..., Any]:
        """The class of the blob backend of that name; raises as `metadata_backend`."""
        return self._backend("cacheness_blob_backends", builtins.BLOB_BACKENDS, name)

    def compressor(self, name: str) -> Compressor:
        """The compressor of that name; raises as `metadata_backend`."""
        found = self._compressors.get(name)
        if found is None:
            target = self._target("cacheness_compressors", builtins.COMPRESSORS, name)
            found = target() if isinstance(target, type) else target
            self._compressors[name] = found
        return found

    def check_names(self, compressor: str, blob_backend: str | None) -> None:
        """Make sure that there is what a cache names and needs later; nothing is imported.

        Raises:
            ConfigError: None is registered of that name.
        """
        self._registered("cacheness_compressors", builtins.COMPRESSORS, compressor)
        if blob_backend is not None:
            self._registered("cacheness_blob_backends", builtins.BLOB_BACKENDS, blob_backend)

    def _backend(self, hook: str, core: dict[str, str], name: str) -> Callable[..., Any]:
        target: Callable[..., Any] = self._target(hook, core, name)
        return target

    def _target(self, hook: str, core: dict[str, str], name: str) -> Any:
        target = self._registered(hook, core, name)
        try:
            return load_target(target)
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"the {HOOKS[hook]} {name!r} can't be loaded: {error}") from error

    def _registered(self, hook: str, core: dict[str, str], name: str) -> Any:
        if name in core:
            return core[name]
        table = self.discovered()[hook]
        if name not in table.specs:
            raise ConfigError(
                f"there is no {HOOKS[hook]} {name!r}; installed are: "
                f"{', '.join(sorted(table.specs))}"
            )
        return table.specs[name].target

    def _load(self, name: str, target: Any, distribution: str, *, typed: bool) -> LoadedHandler:
        found = load_target(target)
        handler: Handler = found() if isinstance(found, type) else found
        loaded = LoadedHandler(name, handler, distribution, typed=typed)
        self._loaded[name] = loaded
        return loaded

    # --- by object --------------------------------------------------------------------

    def handlers_for(self, obj: object) -> Iterator[LoadedHandler]:
        """The handlers that say they take the object, in the order in which to try them."""
        for loaded in self.candidates(type(obj)):
            try:
                takes = loaded.handler.can_handle(obj)
            except Exception as error:  # noqa: BLE001  # an author's code must not fail a put
                report(
                    loaded.distribution or "of this process",
                    f"handler {loaded.name}.can_handle",
                    repr(error),
                )
                continue
            if takes:
                yield loaded

    def fingerprinter(self, obj: object) -> Callable[[Any, Update], None] | None:
        """The ``fingerprint`` of the first handler registered for the object's type."""
        for loaded in self.candidates(type(obj)):
            if loaded.fingerprint is not None and loaded.typed and loaded.handler.can_handle(obj):
                fingerprint: Callable[[Any, Update], None] = loaded.fingerprint
                return fingerprint
        return None

    def list_handlers(self) -> list[HandlerSpec]:
        """All handlers, in the order in which they are asked."""
        return [spec for spec, _ in self._ordered()]

    def candidates(self, of: type) -> tuple[LoadedHandler, ...]:
        """[hot] The handlers that a type's objects are shown to, in order.

        Remembered until another module is imported, since that may be the one by whose
        name a spec knows the type. Walking the specs for each object was a tenth of a
        small put.
        """
        imported = len(sys.modules)
        known = self.by_type.get(of)
        if known is None or known[0] != imported:
            ordered = [spec for spec, _ in self._ordered()]
            specs = [spec for spec in ordered if not spec.types or self._matches(spec, of)]
            loaded = tuple(one for one in map(self._loaded_or_reported, specs) if one is not None)
            known = self.by_type[of] = (len(sys.modules), loaded)
        return known[1]

    def _loaded_or_reported(self, spec: HandlerSpec) -> LoadedHandler | None:
        try:
            return self.handler(spec.name)
        except (ImportError, AttributeError, HandlerNotFoundError) as error:
            report(self._origin(spec.name), f"loading the handler {spec.name!r}", str(error))
            return None

    def _origin(self, name: str) -> str:
        return self.discovered()["cacheness_handlers"].distributions.get(name) or "of this process"

    def _matches(self, spec: HandlerSpec, of: type) -> bool:
        """Whether one of the spec's types is in the MRO; imports nothing."""
        mro = of.__mro__
        for path in spec.types:
            named = self._types.get(path)
            if named is None:
                module, _, name = path.rpartition(".")
                named = getattr(sys.modules.get(module), name, None)
                if not isinstance(named, type):
                    continue
                self._types[path] = named
            if named in mro:
                return True
        return False

    def _ordered(self) -> list[tuple[HandlerSpec, str]]:
        order = self._order
        if order is None:
            table = self.discovered()["cacheness_handlers"]
            order = [(spec, table.distributions[spec.name]) for spec in table.specs.values()]
            order += [(spec, PROCESS) for spec in _process_handlers.values()]
            order.sort(key=lambda pair: (-pair[0].priority, pair[0].name))
            self._order = order
        return order

    # --- discovery --------------------------------------------------------------------

    def observers(self) -> tuple[Callable[[Event], None], ...]:
        """What is to be called at each event. Cheap where no observer is installed."""
        if self._observers is None:
            if any(point.group == OBSERVERS for point in self._enabled()):
                self.discovered()
            else:
                self._observers = ()
        return self._observers or ()

    def _enabled(self) -> list[FoundEntryPoint]:
        return [
            point
            for point in _installed()
            if not self._disabled & {point.name, point.distribution, point.plugin_name}
        ]

    def discovered(self) -> dict[str, Table]:
        tables = self._tables
        if tables is None:
            with self._lock:
                if self._tables is None:
                    self._tables = self._discover()
                tables = self._tables
        return tables

    def _discover(self) -> dict[str, Table]:
        tables = {hook: Table(kind) for hook, kind in HOOKS.items()}
        points = self._enabled()
        if points:
            from cacheness.plugins.manager import collect

            self._observers = collect(points, tables)
        else:
            self._observers = ()
            for hook, table in tables.items():
                for spec in getattr(builtins.CorePlugin, hook)():
                    table.add("cacheness-core:core", builtins.DISTRIBUTION, spec)
        return tables

    def forget(self, name: str) -> None:
        """Drop what is remembered of a handler that was registered anew or is gone."""
        with self._lock:
            self._loaded.pop(name, None)
            self._order = None
            self.by_type = {}


_found: list[FoundEntryPoint] | None = None
_registries: dict[frozenset[str], Registry] = {}
_process_handlers: dict[str, HandlerSpec] = {}


def _installed() -> list[FoundEntryPoint]:
    """The entry points of this process, found once."""
    global _found
    if _found is None:
        _found = find_entry_points()
    return _found


def registry_for(disabled: Iterable[str] = ()) -> Registry:
    """The process's registry that leaves these plugins out, besides the environment's."""
    import os

    names = frozenset(disabled) | {
        name.strip()
        for name in os.environ.get("CACHENESS_DISABLED_PLUGINS", "").split(",")
        if name.strip()
    }
    registry = _registries.get(names)
    if registry is None:
        registry = _registries.setdefault(names, Registry(names))
    return registry


def fingerprinter(obj: object) -> Callable[[Any, Update], None] | None:
    """`Registry.fingerprinter` of the plugins that the environment leaves in."""
    return registry_for().fingerprinter(obj)


def register_handler(
    cls: Any = None, /, *, priority: int = 100, types: tuple[str, ...] = ()
) -> Any:
    """Register a handler class for this process, without packaging it.

    Args:
        cls: The class, when used as a plain decorator.
        priority: As `HandlerSpec.priority`.
        types: As `HandlerSpec.types`.

    Raises:
        ConfigError: The core or an installed plugin has a handler of that name.
        TypeError: It is no subclass of `Handler`.

    Example:
        >>> @register_handler(priority=100)
        ... class MyTypeHandler(Handler): ...
    """
    if cls is None:
        return lambda decorated: register_handler(decorated, priority=priority, types=types)
    from cacheness.handlers.base import Handler
    from cacheness.plugins.specs import HandlerSpec

    if not (isinstance(cls, type) and issubclass(cls, Handler)):
        raise TypeError(f"register_handler takes a subclass of cacheness.Handler, not {cls!r}")
    name = cls.name
    holder = builtins.DISTRIBUTION if name in builtins.HANDLERS else None
    if holder is None:
        holder = registry_for().discovered()["cacheness_handlers"].distributions.get(name)
    if holder is not None:
        raise ConfigError(f"{holder} already has a handler {name!r}; give the class another `name`")
    _process_handlers[name] = HandlerSpec(name, cls, types, priority)
    _forget(name)
    return cls


def unregister_handler(name: str, /) -> None:
    """Take back what `register_handler` registered.

    Raises:
        HandlerNotFoundError: This process registered no handler of that name.
    """
    if _process_handlers.pop(name, None) is None:
        raise HandlerNotFoundError(f"this process registered no handler {name!r}")
    _forget(name)


def list_handlers() -> list[HandlerSpec]:
    """All handlers that are installed or registered, in the order in which they are asked."""
    return registry_for().list_handlers()


def _forget(name: str) -> None:
    for registry in list(_registries.values()):
        registry.forget(name)
