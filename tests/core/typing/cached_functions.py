# SPDX-License-Identifier: MIT
"""What type checkers are to see of `cached`; read by them alone, never run."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from datetime import timedelta
from functools import partial
from typing import assert_type

from cacheness import UnifiedCache, cached

cache = UnifiedCache()


@cached
def plain(a: int, b: str = "") -> list[int]:
    return [a, len(b)]


@cached(cache=cache, ttl_seconds="1h", ignore=("b",), cache_exceptions=(ValueError, 60))
def called(a: int, *, b: bytes = b"") -> dict[str, int]:
    return {str(b): a}


@cached(
    ttl_seconds=lambda result: timedelta(seconds=len(result)),
    stale_seconds=60,
    refresh_errors="stale",
    memory="64 MiB",
    flight_timeout=None,
)
def many_options(*args: int, **kwargs: str) -> str:
    return ""


assert_type(plain(1), list[int])
assert_type(plain(1, b="x"), list[int])
assert_type(called(1, b=b"x"), dict[str, int])
assert_type(many_options(1, 2, x="y"), str)
assert_type(plain.cache_key(1, "x"), str)
assert_type(plain.is_cached(1), bool)
assert_type(plain.cache_invalidate(1), bool)
assert_type(plain.cache_refresh(1), list[int])
assert_type(plain.cache_info().hits, int)
assert_type(plain.cache_clear(), int)
assert_type(plain.__name__, str)

plain("1")  # error
plain()  # error
plain(1, c=2)  # error
called(1, b"x")  # error
plain.cache_key("1")  # error
plain.is_cached(1, 2)  # error
plain.no_such_thing()  # error


@cached
async def coroutine(a: int) -> str:
    return str(a)


@cached
def generator(n: int) -> Iterator[int]:
    yield from range(n)


@cached
def returning(n: int) -> Generator[int, None, str]:
    yield n
    return ""


@cached
async def async_generator(n: int) -> AsyncIterator[int]:
    yield n


@cached(tags=("x",))
async def async_returning(n: int) -> AsyncGenerator[bytes, None]:
    yield b""


async def use() -> None:
    assert_type(await coroutine(1), str)
    assert_type(await coroutine.cache_refresh(1), str)
    async for item in async_generator(1):
        assert_type(item, int)
    async for chunk in async_returning(1):
        assert_type(chunk, bytes)
    await coroutine("1")  # error


assert_type(list(generator(1)), list[int])
assert_type(returning(1), Generator[int, None, str])


class Model:
    @cached
    def method(self, a: int) -> float:
        return float(a)

    @cached(ignore=("self",))
    async def coroutine(self, a: int) -> str:
        return ""

    @classmethod
    @cached
    def below(cls, a: int) -> str:
        return ""

    @cached(version=1)
    @classmethod
    def above(cls, a: int) -> str:
        return ""

    @staticmethod
    @cached
    def static(a: int) -> bytes:
        return b""

    @cached
    @staticmethod
    def static_below(a: int) -> bytes:
        return b""

    @property
    @cached
    def area(self) -> int:
        return 1


model = Model()
assert_type(model.method(1), float)
assert_type(Model.method(model, 1), float)
assert_type(model.method.cache_key(1), str)
assert_type(model.method.cache_refresh(1), float)
assert_type(model.method.is_cached(a=1), bool)
assert_type(Model.static(1), bytes)
assert_type(model.static(1), bytes)
assert_type(Model.static_below(1), bytes)
assert_type(Model.below(1), str)
assert_type(model.below(1), str)
assert_type(Model.above(1), str)
assert_type(Model.below.cache_key(1), str)
assert_type(model.area, int)

model.method("1")  # error
model.method(model, 1)  # error
model.method.cache_key("1")  # error
Model.static("1")  # error
Model.below("1")  # error

assert_type(cached(partial(int, base=2))("1"), int)
assert_type(cached(lambda: 1)(), int)

cached(3)  # error
cached(no_such_option=3)  # error
cached(ttl_seconds=[])  # error
cached(cache_exceptions=int)  # error


@cache.cached
def of_a_cache(a: int) -> str:
    return ""


@cache.cached(version=2)
def of_a_cache_called(a: int) -> str:
    return ""


assert_type(of_a_cache(1), str)
assert_type(of_a_cache_called(1), str)
of_a_cache("1")  # error
