# SPDX-License-Identifier: MIT
"""The calls of a coroutine function."""

from __future__ import annotations

from asyncio import create_task, to_thread
from contextlib import AsyncExitStack
from time import perf_counter

from cacheness.calls.base import Calls, Miss
from cacheness.calls.quick import are_quick
from cacheness.errors import CachenessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task
    from typing import Any

__all__ = ["CoroutineCalls"]


class CoroutineCalls(Calls):
    """Answers small hits on the event loop, and leaves all that may take longer to threads.

    That is keys of large arguments, payloads that lie in blobs, every read of a store on
    another machine, and every put.
    """

    template = """\
async def {name}{signature}:
    {found} = await {lookup}({values})
    if {found}.__class__ is {miss}:
        return await {missed}({found}, {params}, {args}, {kwargs})
    return {found}
"""

    async def lookup(self, values: tuple[Any, ...]) -> Any:
        return await self.read_key(await self._key_of_values(values))

    async def _key_of_values(self, values: tuple[Any, ...]) -> str:
        if self.is_ready and are_quick(values):
            return self.key_of(values)
        return await to_thread(self.key_of, values)

    async def read_key(self, key: str) -> Any:
        """The stored result, or a `Miss`."""
        try:
            backend = self.engine.backend
            quick = not backend.shared
            if quick:
                stored = backend.find(key)
                quick = stored is None or stored[_BLOB] is None
        except (CachenessError, OSError) as error:
            return self.unread(key, error)
        return self.read(key) if quick else await to_thread(self.read, key)

    async def missed(
        self, miss: Miss, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        if not miss.keep:
            return await self.compute(miss, None, args, kwargs)
        params = self.params_to_record(params, args, kwargs)
        known = await self._known_otherwise(miss, params, args, kwargs)
        if known is not miss:
            return known
        async with AsyncExitStack() as stack:
            if self.waits(miss) and await self._hold(stack, miss):
                again = await to_thread(self.look_again, miss.key)
                if again.__class__ is not Miss:
                    return again
                if self.options.exceptions:
                    await self._raise_known(miss)
                miss = again
            return await self.compute(miss, params, args, kwargs)

    async def compute(
        self, miss: Miss, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Await the function, and store what comes of it where it is to be kept."""
        self.misses += 1
        params, args, kwargs = await to_thread(self.prepared, miss, params, args, kwargs)
        check = None
        if self.options.check_mutation:
            from cacheness.calls.mutation import MutationCheck

            check = await to_thread(MutationCheck, self, args, kwargs)
        start = perf_counter()
        try:
            value = await self.function(*args, **kwargs)
        except Exception as error:
            if params is None or not miss.keep:
                raise
            from cacheness.calls.raised import after_error

            cost = perf_counter() - start
            value = await to_thread(after_error, self, miss.key, params, error, cost)
            if value.__class__ is Miss:
                raise
            return value
        cost = perf_counter() - start
        if check is not None:
            await to_thread(check.compare)
        if params is not None and miss.keep:
            await to_thread(self.keep, miss.key, params, value, cost)
        return value

    async def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        params = self.params_of(args, kwargs)
        key = await to_thread(self.key_of_params, params)
        return await self.compute(Miss(key, keep=True), params, args, kwargs)

    async def _known_otherwise(
        self, miss: Miss, params: dict[str, Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """What is stored beside a result that counts: an exception, or a stale result."""
        if self.options.exceptions:
            await self._raise_known(miss)
        if self.options.stale_seconds:
            from cacheness.calls.stale import read_stale

            stale = await to_thread(read_stale, self, miss.key, self.options.stale_seconds)
            if stale.__class__ is not Miss:
                self._refresh_behind(miss.key, params, args, kwargs)
                return stale
        return miss

    async def _raise_known(self, miss: Miss) -> None:
        from cacheness.calls.raised import read_raised

        known = await to_thread(read_raised, self, miss.key)
        if known is not None:
            raise known

    async def _hold(self, stack: AsyncExitStack, miss: Miss) -> bool:
        """Wait for whoever computes this call; False where nobody can be asked."""
        try:
            held = self.engine.flights.hold_async(miss.key, self.options.flight_timeout)
            await stack.enter_async_context(held)
        except (CachenessError, OSError) as error:
            self.errors += 1
            self.failed(error)
            return False
        return True

    # --- refreshing what is stale ---------------------------------------------------------

    def _refresh_behind(
        self, key: str, params: dict[str, Any], args: tuple[Any, ...], kwargs: Any
    ) -> None:
        """Compute a call anew in a task, unless that is being done."""
        from cacheness.calls.stale import refreshing

        if refreshing.begin(self, key):
            task = create_task(self._refresh(key, params, args, kwargs), name="cacheness-refresh")
            # The loop itself keeps no task alive.
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    async def _refresh(
        self, key: str, params: dict[str, Any], args: tuple[Any, ...], kwargs: Any
    ) -> None:
        from cacheness.calls.stale import refreshing

        try:
            held = await to_thread(self.engine.flights.try_hold, key)
            if held is None:
                return
            with held:
                # Whoever led before may have stored it since.
                if not await to_thread(self.engine.reader.stands, key):
                    await self.compute(Miss(key, keep=True), params, args, kwargs)
        except Exception as error:  # noqa: BLE001  # nobody awaits it: it is told and that's all
            self.say_once(
                "refresh",
                f"{self.name} could not be refreshed ({type(error).__name__}: {error}); its "
                "stale result is served until its time is over (said once)",
            )
        finally:
            refreshing.end(self, key)


_BLOB = 9
"""Where `stored_payload` has the name of the blob."""
_tasks: set[Task[None]] = set()
