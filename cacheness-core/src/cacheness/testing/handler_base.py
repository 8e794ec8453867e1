# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""What the suite for handlers asks of an author, and a cache to try the handler in."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from cacheness.core import UnifiedCache
from cacheness.plugins.registry import register_handler, registry_for, unregister_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from hypothesis.strategies import SearchStrategy

    from cacheness.handlers.base import Handler
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["HandlerSubject"]

_T = TypeVar("_T")
_KEY = b"the key of a test, known to all!"


class HandlerSubject:
    """Says which handler a suite tests, and with what.

    Set `handler` and override `objects`; the others have defaults that suit plain types.
    """

    handler: str | type[Handler] = ""
    """The name that the handler's spec has, so that it is found as users find it: through
    the entry point. A class that is not packaged yet may stand here itself."""
    types: tuple[str, ...] = ()
    """The types of a class that stands there itself; a spec names its own."""
    examples: int = 30
    """How many objects hypothesis tries in each test."""
    options: Mapping[str, Any] = {}
    """Options that the handler is given, where it keeps nothing without them."""
    keeps_class: bool = True
    """Whether an object of a subclass has to come back as one. False of a handler that
    takes a family of classes for what they do: `equal` then says whether it came back."""

    # --- what an author says ------------------------------------------------------------

    def objects(self) -> SearchStrategy[Any]:
        """A hypothesis strategy for the objects that the handler keeps, odd ones included."""
        raise AssertionError(
            f"override {type(self).__name__}.objects: give a strategy of what the handler keeps"
        )

    def refused(self) -> Iterable[object]:
        """Objects that it must leave to others, above all those that are almost its own."""
        return ()

    def equal(self, one: Any, other: Any) -> bool:
        """Whether ``one`` is the same as ``other`` in every respect that a user could notice.

        Override it where ``==`` is not the whole truth: a NaN, a dtype, an attribute.
        """
        return type(one) is type(other) and bool(one == other)

    def copy_of(self, obj: Any) -> Any:
        """An equal object that shares nothing mutable with this one."""
        return copy.deepcopy(obj)

    def changed(self, obj: Any) -> Any:
        """An object that differs from this one in something small; None where there is none."""
        return None

    def change_in_place(self, obj: Any) -> bool:
        """Change the object itself; False where it can't be changed."""
        return _change(obj)

    def older(self) -> Iterable[tuple[int, bytes, dict[str, Any], Any]]:
        """Payloads of every version before this one: version, bytes, metadata, the object."""
        return ()

    # --- what the tests use -------------------------------------------------------------

    @pytest.fixture
    def loaded(self) -> Iterator[LoadedHandler]:
        """The handler as the registry gives it."""
        assert self.handler, (
            f"set {type(self).__name__}.handler to the name in your HandlerSpec, or to the class"
        )
        if isinstance(self.handler, str):
            yield registry_for().handler(self.handler)
            return
        register_handler(self.handler, priority=1000, types=self.types)
        try:
            yield registry_for().handler(self.handler.name)
        finally:
            unregister_handler(self.handler.name)

    @pytest.fixture
    def cache(self, tmp_path: Path, loaded: LoadedHandler) -> Iterator[UnifiedCache]:
        """A cache that keeps small payloads in their entries, as it does by default."""
        with UnifiedCache(
            tmp_path / "inline", signing_key=_KEY, handler_options=self._options_of(loaded)
        ) as cache:
            yield cache

    @pytest.fixture
    def filed(self, tmp_path: Path, loaded: LoadedHandler) -> Iterator[UnifiedCache]:
        """A cache that keeps every payload in a file."""
        with UnifiedCache(
            tmp_path / "filed",
            signing_key=_KEY,
            inline_bytes=0,
            handler_options=self._options_of(loaded),
        ) as cache:
            yield cache

    def _options_of(self, loaded: LoadedHandler) -> dict[str, Mapping[str, Any]]:
        # A handler that has options does without the short way of a small value.
        return {loaded.name: self.options} if self.options else {}

    def for_each(self, check: Callable[[Any], None], examples: int | None = None) -> None:
        """Call ``check`` with objects of the strategy: ``examples`` of them, or the suite's."""
        self.for_each_of(self.objects(), check, examples)

    def for_each_of(
        self,
        strategy: SearchStrategy[_T],
        check: Callable[[_T], None],
        examples: int | None = None,
    ) -> None:
        """Call ``check`` with what a ``strategy`` gives.

        Few ``examples`` are of a costly check, which is not repeated to find the smallest.
        """
        phases = list(Phase) if examples is None else [Phase.explicit, Phase.generate]

        @settings(
            max_examples=min(examples or self.examples, self.examples),
            phases=phases,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  # its members
        )
        @given(strategy)
        def run(value: _T) -> None:
            check(value)

        run()

    def assert_same(self, back: Any, obj: Any, how: str) -> None:
        """Fail with both objects where ``back`` is not ``obj``, saying ``how`` it was read."""
        assert self.equal(back, obj), (
            f"{how}, {_shown(obj)} came back as {_shown(back)}: keep type, dtype, shape, order and "
            "attributes, or raise CannotHandleError"
        )


def _shown(obj: object) -> str:
    text = repr(obj)
    return f"{type(obj).__name__} {text if len(text) < 200 else text[:200] + '…'}"


def _change(obj: Any) -> bool:
    """Change an object of a common type."""
    if isinstance(obj, list):
        obj.append("changed")
    elif isinstance(obj, dict):
        obj["changed"] = "changed"
    elif isinstance(obj, set):
        obj.add("changed")
    elif isinstance(obj, bytearray):
        obj += b"changed"
    elif hasattr(obj, "__dict__") and not isinstance(obj, type):
        try:
            obj.cacheness_testing_change = "changed"
        except (AttributeError, TypeError):
            return False
    else:
        return False
    return True
