# SPDX-License-Identifier: MIT
"""The calls of an async generator function."""

from __future__ import annotations

from asyncio import to_thread
from time import perf_counter

from cacheness.calls.base import Calls, Miss
from cacheness.calls.streams import Recording, refuse_sent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Any

__all__ = ["AsyncStreamCalls"]


class AsyncStreamCalls(Calls):
    """As `StreamCalls`, with all that may take longer than microseconds left to threads.

    That is looking up, reading and decoding members, and encoding and writing items that
    are more than a number or a short text.
    """

    way = "lazy"
    template = """\
async def {name}{signature}:
    {source} = {missed}({values}, {params}, {args}, {kwargs})
    try:
        async for {item} in {source}:
            {lookup}((yield {item}))
    finally:
        await {source}.aclose()
"""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.options.refuse_for_streams(self.name)

    def lookup(self, values: Any) -> None:
        """Refuse what a consumer sends."""
        refuse_sent(self.name, values)

    async def missed(
        self, miss: Any, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        """Give the items that are stored for the call with these values, or compute."""
        found = await to_thread(self._look_up, miss)
        given = 0
        if found.__class__ is not Miss:
            stored, found = found, None
            try:
                while True:
                    try:
                        batch = await to_thread(stored.next_batch)
                    except Exception as error:  # noqa: BLE001  # whatever a damaged stream gives
                        self.hits -= 1
                        self.errors += 1
                        self.failed(error)
                        break
                    if not batch:
                        return
                    for item in batch:
                        yield item
                    given += len(batch)
            finally:
                stored.close()
            found = Miss(await to_thread(self.key_of, miss), keep=True)
        params = self.params_to_record(params, args, kwargs)
        source = self._computed(found, params, args, kwargs, given)
        try:
            async for item in source:
                yield item
        finally:
            await source.aclose()

    def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        params = self.params_of(args, kwargs)
        miss = Miss(self.key_of_params(params), keep=True)
        return self._computed(miss, params, args, kwargs, 0)

    def _look_up(self, values: tuple[Any, ...]) -> Any:
        return self.read(self.key_of(values))

    async def _computed(
        self, miss: Miss, params: dict[str, Any], args: tuple[Any, ...], kwargs: Any, given: int
    ) -> AsyncGenerator[Any, None]:
        """The items as the function gives them, but for those that were given already."""
        self.misses += 1
        params, args, kwargs = await to_thread(self.prepared, miss, params, args, kwargs)
        source = self.function(*args, **kwargs)
        with await to_thread(Recording, self, miss, params) as recording:
            try:
                while True:
                    start = perf_counter()
                    try:
                        item = await anext(source)
                    except StopAsyncIteration:
                        recording.cost += perf_counter() - start
                        await to_thread(recording.finish)
                        return
                    recording.cost += perf_counter() - start
                    if recording.takes_quickly(item):
                        recording.add(item)
                    else:
                        await to_thread(recording.add, item)
                    if given:
                        given -= 1
                    else:
                        yield item
            finally:
                await source.aclose()
