# SPDX-License-Identifier: MIT
"""What a wrapped function offers beside being called, for methods bound to their object."""

from __future__ import annotations

from functools import partial, update_wrapper
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from cacheness.calls.base import Calls

__all__ = ["ABOUT_A_CALL", "ABOUT_THE_FUNCTION", "BoundMethod", "CachedMethod", "attach"]

ABOUT_THE_FUNCTION: dict[str, str] = {
    "cache_info": "cache_info",
    "cache_clear": "cache_clear",
    "cache_adopt": "cache_adopt",
}
"""Attribute of the wrapped function → method of `Calls`."""

ABOUT_A_CALL: dict[str, str] = {
    "cache_key": "cache_key",
    "cache_invalidate": "cache_invalidate",
    "cache_refresh": "cache_refresh",
    "cache_explain": "cache_explain",
    "cache_ref": "cache_ref",
    "is_cached": "is_cached",
}
"""The same, of what takes the arguments of a call: a bound method's takes its object first."""


def attach(wrapper: Callable[..., Any], calls: Calls) -> Any:
    """Make the wrapper look like the function, and give it what a wrapped function offers."""
    wrapped: Any = update_wrapper(wrapper, calls.function)
    if not hasattr(calls.function, "__name__"):  # a partial
        wrapped.__module__, _, wrapped.__qualname__ = calls.name.partition(":")
        wrapped.__name__ = wrapped.__qualname__.rpartition(".")[2]
    calls.wrapped = wrapped
    for name, method in (ABOUT_THE_FUNCTION | ABOUT_A_CALL).items():
        setattr(wrapped, name, getattr(calls, method))
    return wrapped


class CachedMethod:
    """A wrapped function that was defined in a class.

    ``obj.method`` then binds what it offers as well: ``obj.method.cache_key(x)``. A plain
    function could not tell its attributes whom it was looked up on.
    """

    def __init__(self, wrapper: Callable[..., Any]) -> None:
        # Also copies what the wrapped function offers, and makes `inspect` take this
        # for a function of the same kind.
        update_wrapper(self, wrapper)
        self._wrapper = wrapper
        self.__wrapped__ = wrapper.__wrapped__  # type: ignore[attr-defined]  # by `attach`

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._wrapper(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self._wrapper if instance is None else BoundMethod(self._wrapper, instance)

    def __getattr__(self, name: str) -> Any:
        # Not in a copy that is being made, which has no wrapper yet.
        if name.startswith("_wrapper"):
            raise AttributeError(name)
        return getattr(self._wrapper, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedMethod, (self._wrapper,)

    def __repr__(self) -> str:
        return repr(self._wrapper)


class BoundMethod(partial):  # type: ignore[type-arg]  # at run time it takes no parameters
    """A wrapped method with its object; a `partial`, since that is called without a frame."""

    @property
    def __self__(self) -> Any:
        return self.args[0]

    @property
    def __func__(self) -> Any:
        return self.func

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # the method's own
        return self.func.__doc__

    @property
    def __signature__(self) -> Signature:
        of = signature(self.func)
        return of.replace(parameters=list(of.parameters.values())[1:])

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.func, name)
        return partial(found, *self.args) if name in ABOUT_A_CALL else found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundMethod):
            return NotImplemented
        return self.func == other.func and self.__self__ is other.__self__

    def __hash__(self) -> int:
        return hash((self.func, id(self.__self__)))

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound, (self.__self__, self.func.__name__, self.func)

    def __repr__(self) -> str:
        return f"<cached method {self.func.__qualname__} of {self.__self__!r}>"


def _bound(instance: Any, name: str, function: Any) -> Any:
    """Look a bound method up anew; one that is no attribute of its object is made of both."""
    found = getattr(instance, name, None)
    return found if isinstance(found, BoundMethod) else BoundMethod(function, instance)
