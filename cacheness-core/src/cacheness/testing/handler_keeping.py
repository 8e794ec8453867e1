# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""That a handler keeps what it takes, exactly, and leaves the rest to others."""

from __future__ import annotations

import json
import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from cacheness.errors import CannotHandleError, SerializationError
from cacheness.handlers.base import Handler
from cacheness.payloads.context import GetContext, Parts, PutContext
from cacheness.plugins.registry import registry_for
from cacheness.testing.handler_base import HandlerSubject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cacheness.core import UnifiedCache
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["KeepingPromises", "contexts"]

_EXTENSION = r"(\.[a-z0-9_]{1,16}){1,3}"


class KeepingPromises(HandlerSubject):
    """Round trips, refusals, threads."""

    def test_it_is_a_handler(self, loaded: LoadedHandler) -> None:
        handler = loaded.handler
        assert isinstance(handler, Handler), "derive it from cacheness.Handler"
        assert type(handler.version) is int, "version is an int, from 1 on"
        assert handler.version >= 1, "version is an int, from 1 on"
        assert re.fullmatch(_EXTENSION, handler.extension), (
            f"extension={handler.extension!r} names no file: give something like '.npy'"
        )
        assert type(handler.data_only) is bool, "data_only is a promise: True or False"
        assert handler.name == loaded.name, (
            f"the class is called {handler.name!r} and its spec {loaded.name!r}: name both the "
            "same, since entries remember one of them"
        )

    def test_can_handle_answers_for_any_object(self, loaded: LoadedHandler) -> None:
        for obj in _oddities():
            answer = loaded.handler.can_handle(obj)
            assert answer is True or answer is False, (
                f"can_handle answered {answer!r} for a {type(obj).__name__}: give a bool"
            )

    def test_every_object_comes_back_exactly(
        self, loaded: LoadedHandler, cache: UnifiedCache
    ) -> None:
        def check(obj: Any) -> None:
            assert loaded.handler.can_handle(obj), (
                f"can_handle refused a {type(obj).__name__} that objects() says it keeps"
            )
            cache.put(obj, "it", handler=loaded.name)
            self.assert_same(cache["it"], obj, "from an entry")

        self.for_each(check)

    def test_every_object_comes_back_from_a_file(
        self, loaded: LoadedHandler, filed: UnifiedCache
    ) -> None:
        def check(obj: Any) -> None:
            filed.put(obj, "it", handler=loaded.name)
            self.assert_same(filed["it"], obj, "from a file")

        self.for_each(check)

    def test_every_object_comes_back_compressed(
        self, loaded: LoadedHandler, filed: UnifiedCache
    ) -> None:
        def check(obj: Any) -> None:
            filed.put(obj, "it", handler=loaded.name, compressor="gzip")
            self.assert_same(filed["it"], obj, "compressed")

        self.for_each(check)

    def test_a_part_of_a_nest_comes_back(self, cache: UnifiedCache) -> None:
        def check(obj: Any) -> None:
            cache["it"] = {"one": obj, "more": [obj, 1]}
            back = cache["it"]
            self.assert_same(back["one"], obj, "as a part")
            self.assert_same(back["more"][0], obj, "as a part of a part")

        self.for_each(check)

    def test_a_put_leaves_the_object_as_it_was(
        self, loaded: LoadedHandler, cache: UnifiedCache
    ) -> None:
        def check(obj: Any) -> None:
            before = self.copy_of(obj)
            cache.put(obj, "it", handler=loaded.name)
            assert self.equal(obj, before), "put changed the object: work on a copy"

        self.for_each(check)

    def test_what_it_gives_is_the_callers_own(
        self, loaded: LoadedHandler, cache: UnifiedCache
    ) -> None:
        def check(obj: Any) -> None:
            cache.put(obj, "it", handler=loaded.name)
            if self.change_in_place(cache["it"]):
                assert self.equal(cache["it"], obj), (
                    "a caller's change shows in the next get: give each get an object of its own"
                )

        self.for_each(check)

    def test_it_writes_exactly_the_file_that_it_is_told(
        self, loaded: LoadedHandler, tmp_path: Path
    ) -> None:
        folder = tmp_path / "a folder, naïve"
        folder.mkdir()
        path = os.fspath(folder / f"payload{loaded.extension}")
        moved = os.fspath(tmp_path / f"moved{loaded.extension}")

        def check(obj: Any) -> None:
            putting, getting = contexts(self.options)
            metadata = loaded.handler.put_with(obj, path, putting)
            if putting.parts.objects:
                return  # a payload of parts has no file of its own; the tests above read it
            assert os.listdir(folder) == [os.path.basename(path)], (
                "put has to write the one file that it is told, and no other"
            )
            kept = json.loads(json.dumps(metadata))
            assert kept == metadata, f"put's metadata are changed by JSON: {metadata!r}"
            os.replace(path, moved)
            back = loaded.handler.get_with(moved, kept, getting)
            os.remove(moved)
            self.assert_same(back, obj, "from a file that was moved, and removed after get")

        self.for_each(check)

    def test_what_it_can_not_keep_it_refuses(
        self, loaded: LoadedHandler, filed: UnifiedCache
    ) -> None:
        for obj in self.refused():
            self._assert_refused_or_kept(loaded, filed, obj, must_refuse=True)

    def test_a_subclass_is_refused_or_comes_back_as_such(
        self, loaded: LoadedHandler, filed: UnifiedCache
    ) -> None:
        def check(obj: Any) -> None:
            changed = _as_subclass(obj)
            if changed is not None:
                self._assert_refused_or_kept(loaded, filed, changed, must_refuse=False)

        self.for_each(check, examples=5)

    def _assert_refused_or_kept(
        self, loaded: LoadedHandler, cache: UnifiedCache, obj: Any, *, must_refuse: bool
    ) -> None:
        if loaded.handler.can_handle(obj):
            try:
                cache.put(obj, "refused", handler=loaded.name)
            except SerializationError:
                pass
            else:
                what = f"a {type(obj).__name__} was taken"
                assert not must_refuse, f"{what}: answer False in can_handle, or {_REFUSE}"
                back = cache["refused"]
                same = type(back) is type(obj) if self.keeps_class else self.equal(back, obj)
                assert same, (
                    f"{what} and came back as a {type(back).__name__}: compare type(obj), or "
                    f"{_REFUSE}"
                )
                del cache["refused"]
        assert "refused" not in cache
        left = [name for name, _, _ in cache.engine.blobs().iter_blobs()]
        assert not left, f"a refused put left {left}"

    def test_one_instance_serves_all_threads(self, loaded: LoadedHandler, tmp_path: Path) -> None:
        def put_and_get(numbered: tuple[int, Any]) -> Any:
            number, obj = numbered
            path = os.fspath(tmp_path / f"{number}{loaded.extension}")
            putting, getting = contexts(self.options)
            metadata = loaded.handler.put_with(obj, path, putting)
            if putting.parts.objects:
                return obj
            return loaded.handler.get_with(path, metadata, getting)

        def check(objects: list[Any]) -> None:
            with ThreadPoolExecutor(8) as pool:
                backs = list(pool.map(put_and_get, enumerate(objects)))
            for back, obj in zip(backs, objects, strict=True):
                assert self.equal(back, obj), (
                    "threads got each other's objects: keep no state in the handler"
                )

        self.for_each_of(st.lists(self.objects(), min_size=8, max_size=24), check, examples=5)

    def test_every_older_version_is_read(self, loaded: LoadedHandler, tmp_path: Path) -> None:
        path = tmp_path / f"older{loaded.extension}"
        read = set()
        for version, payload, metadata, obj in self.older():
            path.write_bytes(payload)
            _, getting = contexts(self.options)
            back = loaded.handler.get_with(os.fspath(path), metadata, getting)
            self.assert_same(back, obj, f"from version {version}")
            read.add(version)
        missing = sorted(set(range(1, loaded.version)) - read)
        assert not missing, (
            f"the handler is at version {loaded.version}: give a payload of each older one in "
            f"older(); missing: {missing}"
        )


_REFUSE = "raise CannotHandleError in put"


def contexts(options: Mapping[str, Any], *, verified: bool = True) -> tuple[PutContext, GetContext]:
    """What the core would tell the handler about a put, and about the get of its payload.

    Args:
        options: The handler's.
        verified: Whether a signature holds for the payload.
    """
    registry = registry_for()
    raw = registry.compressor("none")
    putting = PutContext(registry, Parts(), options, raw, allow_pickle=True)
    getting = GetContext("", options, raw, _no_parts, verified=verified, allow_pickle=True)
    return putting, getting


def _no_parts(number: int, _context: GetContext) -> Any:
    raise CannotHandleError(f"part {number} of a payload without parts")


def _oddities() -> Iterator[object]:
    """Objects of every common type, and some that are a nuisance to look at."""
    import decimal
    from pathlib import PurePath

    yield from (None, True, 0, 1.5, 2j, "", b"", bytearray(), memoryview(b""), (), [], {}, set())
    yield from (frozenset(), range(3), slice(1), ..., NotImplemented, decimal.Decimal(1))
    yield from (object(), object, type, len, lambda: None, PurePath("x"), Exception("x"))
    yield from (_Shy(), _Liar(), iter([]), [*range(1000)], {"a": {"b": [1, {}]}})


class _Shy:
    """Raises at every look at its attributes, but for those that Python itself needs."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"somebody asked for {name}")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("somebody compared it")

    __hash__ = object.__hash__

    def __len__(self) -> int:
        raise RuntimeError("somebody asked for its length")


class _Liar:
    """Claims to have every attribute, and to be a str."""

    @property  # type: ignore[misc]  # a class may lie about itself, as proxies do
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]  # it lies on purpose
        return str

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def _as_subclass(obj: Any) -> Any:
    """An equal object of a subclass of its type; None where there can't be one."""
    of = type(obj)
    try:
        subclass = type(f"Sub{of.__name__}", (of,), {})
    except TypeError:
        return None
    if of in (bool, int, float, str, bytes, bytearray, tuple, list, dict, set, frozenset):
        return subclass(obj)
    try:
        if hasattr(obj, "__array__") and hasattr(obj, "view"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # pandas 2 gives its own views up
                return obj.view(subclass)
        changed = obj.__copy__() if hasattr(obj, "__copy__") else _shallow(obj)
        changed.__class__ = subclass
    except (TypeError, AttributeError, ValueError, NotImplementedError):
        return None
    return changed


def _shallow(obj: Any) -> Any:
    import copy

    changed = copy.copy(obj)
    if changed is obj:
        raise TypeError("immutable")
    return changed
