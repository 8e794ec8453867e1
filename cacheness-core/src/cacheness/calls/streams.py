# SPDX-License-Identifier: MIT
"""The calls of a generator function."""

from __future__ import annotations

from time import perf_counter

from cacheness.calls.base import Calls, Miss
from cacheness.errors import CachenessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from cacheness.payloads.stream_writer import StreamWriter

__all__ = ["Recording", "StreamCalls", "refuse_sent"]


class StreamCalls(Calls):
    """Stores the items while the first consumer takes them, and replays them at a hit.

    Each consumer is on its own: whoever begins before another has come to the end computes,
    too, since nobody knows whether that one will. What is not consumed to its end, or
    raises, is not stored.
    """

    way = "lazy"
    template = """\
def {name}{signature}:
    return (yield from {missed}({lookup}({values}), {params}, {args}, {kwargs}))
"""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.options.refuse_for_streams(self.name)

    def missed(
        self, miss: Any, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: Any
    ) -> Generator[Any, None, Any]:
        """Give the items that are stored, or compute; ``miss`` may be a stored stream."""
        given = 0
        if miss.__class__ is not Miss:
            stored, miss = miss, Miss("", keep=True)
            try:
                while True:
                    try:
                        item = next(stored)
                    except StopIteration:
                        return stored.returned
                    except Exception as error:  # noqa: BLE001  # whatever a damaged stream gives
                        self.hits -= 1
                        self.errors += 1
                        self.failed(error)
                        break
                    refuse_sent(self.name, (yield item))
                    given += 1
            finally:
                stored.close()
            # The rest is computed, and all of it stored anew.
            params = self.params_to_record(params, args, kwargs)
            miss.key = self.key_of_params(params)
        return (yield from self._computed(miss, params, args, kwargs, given))

    def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        params = self.params_of(args, kwargs)
        miss = Miss(self.key_of_params(params), keep=True)
        return self._computed(miss, params, args, kwargs, 0)

    def _computed(
        self,
        miss: Miss,
        params: dict[str, Any] | None,
        args: tuple[Any, ...],
        kwargs: Any,
        given: int,
    ) -> Generator[Any, None, Any]:
        """The items as the function gives them, but for those that were given already."""
        self.misses += 1
        params = self.params_to_record(params, args, kwargs)
        params, args, kwargs = self.prepared(miss, params, args, kwargs)
        source = self.function(*args, **kwargs)
        with Recording(self, miss, params) as recording:  # pyright: ignore[reportArgumentType]  # a dict, once prepared
            try:
                while True:
                    start = perf_counter()
                    try:
                        item = next(source)
                    except StopIteration as end:
                        recording.cost += perf_counter() - start
                        recording.finish(end.value)
                        return end.value
                    recording.cost += perf_counter() - start
                    recording.add(item)
                    if given:
                        given -= 1
                    else:
                        refuse_sent(self.name, (yield item))
            finally:
                source.close()


class Recording:
    """A stream that is being stored while it is consumed; a failure ends the storing only."""

    def __init__(self, calls: Calls, miss: Miss, params: dict[str, Any]) -> None:
        self._calls = calls
        self._key = miss.key
        self._params = params
        self._writer: StreamWriter | None = None
        self.cost = 0.0
        """Seconds that the function took so far."""
        if miss.keep and calls.is_kept:
            from cacheness.payloads.stream_writer import StreamWriter

            self._writer = StreamWriter(calls.engine)

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exception: object) -> None:
        self._abandon()

    def takes_quickly(self, item: object) -> bool:
        """Whether `add` of this item takes a microsecond."""
        return self._writer is None or self._writer.takes_quickly(item)

    def add(self, item: object) -> None:
        """Store the next item as it is now, before a consumer can change it."""
        if self._writer is not None:
            try:
                self._writer.add(item)
            except (CachenessError, OSError) as error:
                self._abandon()
                self._calls.failed_after(error)

    def finish(self, returned: object = None) -> None:
        """Store the whole."""
        if self._writer is None:
            return
        try:
            recorded = self._writer.finish(returned)
        except (CachenessError, OSError) as error:
            self._calls.failed_after(error)
        else:
            self._calls.keep(self._key, self._params, recorded, self.cost)

    def _abandon(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.abandon()


def refuse_sent(name: str, sent: object) -> None:
    """Make sure that nothing is sent to a generator that gives stored items.

    Raises:
        TypeError: Something was.
    """
    if sent is not None:
        raise TypeError(
            f"{name} is cached, so its items can't depend on what it is sent: "
            "cache a function that it calls instead"
        )
