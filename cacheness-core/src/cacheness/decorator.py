# SPDX-License-Identifier: MIT
"""`cached`: keeps the results of a function, by its arguments and its code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from types import FunctionType, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    overload,
)

from cacheness.calls.base import CacheInfo, Calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from cacheness.calls.options import CachedOptions
    from cacheness.calls.ref import CacheRef
    from cacheness.core import UnifiedCache
    from cacheness.explaining.adopt import Adoption
    from cacheness.explaining.explanation import Explanation

__all__ = ["CacheInfo", "CachedDecorator", "CachedFunction", "cached"]

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_S = TypeVar("_S")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)


class CachedFunction(ABC, Generic[_P, _R_co]):
    """A function wrapped by `cached`, as type checkers see it; at run time it is a function.

    It is no protocol, since mypy does not compare what a protocol's ``self`` takes.
    """

    __wrapped__: Callable[..., Any]
    """The function itself."""
    __name__: str
    __qualname__: str

    @abstractmethod
    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Give the stored result of this call, or compute and store it."""

    # In turn: a class method, a function or method of the class, a class method and a
    # method of an object, and a static method of an object.
    @overload
    def __get__(  # type: ignore[misc]  # only for those whose first parameter is a class
        self: Callable[Concatenate[type[_S], _Q], _R], instance: None, owner: type[_S], /
    ) -> CachedFunction[_Q, _R]: ...
    @overload
    def __get__(self, instance: None, owner: type, /) -> CachedFunction[_P, _R_co]: ...
    @overload
    def __get__(  # type: ignore[misc]  # as above
        self: Callable[Concatenate[type[_S], _Q], _R],
        instance: _S,
        owner: type[_S] | None = None,
        /,
    ) -> CachedFunction[_Q, _R]: ...
    @overload
    def __get__(
        self: Callable[Concatenate[_S, _Q], _R], instance: _S, owner: type | None = None, /
    ) -> CachedFunction[_Q, _R]: ...
    @overload
    def __get__(
        self, instance: object, owner: type | None = None, /
    ) -> CachedFunction[_P, _R_co]: ...
    @abstractmethod
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        """Bind a method, with what it offers, to its object."""

    @abstractmethod
    def cache_info(self) -> CacheInfo:
        """What this function did in this process."""

    @abstractmethod
    def cache_clear(self) -> int:
        """Remove all results of this function; give their number."""

    @abstractmethod
    def cache_key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> str:
        """The cache key of this call."""

    @abstractmethod
    def cache_invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Remove the result of this call; whether there was one."""

    @abstractmethod
    def cache_refresh(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Compute this call anew, store the result and give it."""

    @abstractmethod
    def cache_explain(self, /, *args: _P.args, **kwargs: _P.kwargs) -> Explanation:
        """Why this call would be answered from the cache or not; changes nothing."""

    @abstractmethod
    def cache_ref(self, /, *args: _P.args, **kwargs: _P.kwargs) -> CacheRef[_R_co]:
        """A small picklable handle on the result of this call; computes nothing."""

    @abstractmethod
    def cache_adopt(self, from_digest: str | None = None) -> Adoption:
        """Keep the results of older code, after an edit that changes no result.

        Names the stored results anew, as those of the code as it is now, without computing
        anything. Where there are results of several older codes, nothing is changed and
        the answer lists them.

        Args:
            from_digest: The code digest of the results to keep, or the beginning of it.

        Raises:
            ConfigError: There are no results of that code.
            ReadOnlyError: The cache is read-only.
        """

    @abstractmethod
    def is_cached(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Whether this call would be answered from the cache."""


class CachedDecorator(Protocol):
    """What `cached` gives where it is called with options alone."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # one is callable, too, and comes first
        self, function: staticmethod[_P, _R], /
    ) -> staticmethod[_P, _R]: ...
    @overload
    def __call__(self, function: classmethod[_S, _P, _R], /) -> classmethod[_S, _P, _R]: ...
    @overload
    def __call__(self, function: property, /) -> property: ...
    @overload
    def __call__(self, function: Callable[_P, _R], /) -> CachedFunction[_P, _R]: ...


@overload
def cached(
    function: None = None, /, *, cache: UnifiedCache | None = None, **options: Unpack[CachedOptions]
) -> CachedDecorator: ...
@overload
def cached(  # type: ignore[overload-overlap]  # one is callable, too, and comes first
    function: staticmethod[_P, _R],
    /,
    *,
    cache: UnifiedCache | None = None,
    **options: Unpack[CachedOptions],
) -> staticmethod[_P, _R]: ...
@overload
def cached(
    function: classmethod[_S, _P, _R],
    /,
    *,
    cache: UnifiedCache | None = None,
    **options: Unpack[CachedOptions],
) -> classmethod[_S, _P, _R]: ...
@overload
def cached(
    function: property,
    /,
    *,
    cache: UnifiedCache | None = None,
    **options: Unpack[CachedOptions],
) -> property: ...
@overload
def cached(
    function: Callable[_P, _R],
    /,
    *,
    cache: UnifiedCache | None = None,
    **options: Unpack[CachedOptions],
) -> CachedFunction[_P, _R]: ...
def cached(
    function: Any = None,
    /,
    *,
    cache: UnifiedCache | None = None,
    **options: Unpack[CachedOptions],
) -> Any:
    """Keep the results of a function, and give them back at equal calls.

    Two calls are equal when their arguments are, with defaults applied, and the code is:
    an edit that changes what the function does makes a miss.

    Works on functions, methods (whose object counts by its fingerprint, or not at all with
    ``ignore=("self",)``), above and below ``@classmethod``, ``@staticmethod`` and
    ``@property``, on coroutine functions, and on generators and async generators, whose
    items are stored while they are first consumed, and replayed one by one. What a
    generator is sent is refused; of one that is not consumed to its end nothing is kept.

    Args:
        function: The function, or anything that can be called.
        cache: The cache to keep results in; the default one where none is named.
        options:
            ``prefix`` and ``tags`` label the entries. ``key_prefix`` and ``version`` are
            hashed into their keys. ``ttl_seconds`` is a time to live, or a function that
            gives one for a result; it is in seconds, a timedelta or text such as ``"36h"``,
            as all durations are. ``ignore`` names arguments that make no difference,
            ``secret`` those of which nothing is recorded. ``key`` is called with the arguments
            and gives what the key is made of instead of them. ``code="off"`` leaves the
            code out of the key, and a list adds functions, classes, modules or values that
            the code does not name.
            ``cache_if`` is asked of a result whether to keep it. ``cache_exceptions``
            names types of exceptions that are kept and raised again, alone or with a time
            to live: ``(LookupError, "1m")``.
            ``stale_seconds`` is how long an expired result is still served while one thread
            or task computes it anew. With ``refresh_errors="stale"`` an expired result is
            given where computing it anew raises; it is kept for that for a week, or as
            long as ``stale_seconds`` if that is longer.
            ``single_flight=False`` lets all who miss at once compute, ``flight_timeout``
            bounds the wait for whoever computes. ``check_mutation=True`` warns of a call
            that changes its arguments. ``on_error="raise"`` lets the cache's failures
            through. ``mmap=True`` gives read-only views. ``memory=True``, or a size in bytes
            or as text such as ``"64 MiB"``, which ``True`` stands for, keeps small results in
            the memory of the process too, each hit an object of its own;
            ``memory="shared"`` gives all callers one object, of any size, which they must
            not change.

    Raises:
        ConfigError: An option can't work.
        TypeError: It can't be called, or there is no such option.

    Example:
        >>> @cached(ttl_seconds="36h", ignore=("verbose",))
        ... def load(day, verbose=False): ...
    """
    if cache is not None:
        _check_cache(cache)
    if function is None:
        return lambda decorated: cached(decorated, cache=cache, **options)
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(cached(function.__func__, cache=cache, **options))
    if isinstance(function, property):
        if function.fget is None:
            raise TypeError("a property without a getter has no result to keep")
        getter = cached(function.fget, cache=cache, **options)
        return property(getter, function.fset, function.fdel, function.__doc__)
    if not callable(function):
        raise TypeError(
            f"cached can't keep the results of a {type(function).__qualname__}, which can't be "
            "called: put @cached directly above the function, and other decorators above it"
        )
    return _wrapped(function, cache, dict(options))


def _check_cache(cache: object) -> None:
    if not hasattr(cache, "engine"):
        raise TypeError(
            f"cache={cache!r} is no cache: give a UnifiedCache, such as "
            'cache=UnifiedCache("results")'
        )


def _wrapped(function: Any, cache: UnifiedCache | None, options: dict[str, Any]) -> Any:
    from cacheness.calls.attached import BoundMethod, CachedMethod

    if isinstance(function, MethodType):
        return BoundMethod(_wrapped_function(function.__func__, cache, options), function.__self__)
    if _is_callable_instance(function):
        called = type(function).__call__
        return BoundMethod(_wrapped_function(called, cache, options), function)
    wrapped = _wrapped_function(function, cache, options)
    return CachedMethod(wrapped) if _is_defined_in_class(function) else wrapped


def _wrapped_function(
    function: Callable[..., Any], cache: UnifiedCache | None, options: dict[str, Any]
) -> Any:
    from cacheness.calls.attached import attach

    calls = _kind_of(function)(function, cache, options)
    return attach(calls.wrapper(), calls)


def _kind_of(function: Callable[..., Any]) -> type[Calls]:
    if iscoroutinefunction(function):
        from cacheness.calls.coroutines import CoroutineCalls

        return CoroutineCalls
    if isgeneratorfunction(function):
        from cacheness.calls.streams import StreamCalls

        return StreamCalls
    if isasyncgenfunction(function):
        from cacheness.calls.async_streams import AsyncStreamCalls

        return AsyncStreamCalls
    from cacheness.calls.plain import PlainCalls

    return PlainCalls


def _is_callable_instance(function: Any) -> bool:
    """Whether it is an object of a class with ``__call__`` of its own, whose state counts."""
    from functools import partial

    if isinstance(function, (type, partial)):
        return False
    return isinstance(getattr(type(function), "__call__", None), FunctionType)  # noqa: B004


def _is_defined_in_class(function: Any) -> bool:
    """Whether its qualified name says so: ``Model.predict``, but not ``f.<locals>.g``."""
    outer, _, _ = getattr(function, "__qualname__", "").rpartition(".")
    return isinstance(function, FunctionType) and bool(outer) and not outer.endswith("<locals>")
