# SPDX-License-Identifier: MIT
"""The calls of a plain function."""

from __future__ import annotations

from time import perf_counter

from cacheness.calls.base import Calls, Miss
from cacheness.errors import CachenessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cacheness.flights.flight import Hold

__all__ = ["PlainCalls"]


class PlainCalls(Calls):
    """Answers in the caller's thread; who calls the same meanwhile waits."""

    template = """\
def {name}{signature}:
    {found} = {lookup}({values})
    if {found}.__class__ is {miss}:
        return {missed}({found}, {params}, {args}, {kwargs})
    return {found}
"""

    def missed(
        self, miss: Miss, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        if not miss.keep:
            return self.compute(miss, None, args, kwargs)
        params = self.params_to_record(params, args, kwargs)
        known = self._known_otherwise(miss, params, args, kwargs)
        if known is not miss:
            return known
        hold = self._hold(miss) if self.waits(miss) else None
        if hold is None:
            return self.compute(miss, params, args, kwargs)
        failed = True
        try:
            if self._entered(hold):
                again = self.look_again(miss.key)
                if again.__class__ is not Miss:
                    failed = False
                    return again
                if self.options.exceptions:
                    self._raise_known(miss)
                miss = again
            value = self.compute(miss, params, args, kwargs)
            failed = False
            return value
        finally:
            try:
                hold.leave(failed=failed)
            except BaseException:
                hold.leave(failed=failed)
                raise

    def compute(
        self, miss: Miss, params: dict[str, Any] | None, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Call the function, and store what comes of it where it is to be kept."""
        self.misses += 1
        params, args, kwargs = self.prepared(miss, params, args, kwargs)
        check = None
        if self.options.check_mutation:
            from cacheness.calls.mutation import MutationCheck

            check = MutationCheck(self, args, kwargs)
        start = perf_counter()
        try:
            value = self.function(*args, **kwargs)
        except Exception as error:
            if params is None or not miss.keep:
                raise
            from cacheness.calls.raised import after_error

            value = after_error(self, miss.key, params, error, perf_counter() - start)
            if value.__class__ is Miss:
                raise
            return value
        cost = perf_counter() - start
        if check is not None:
            check.compare()
        if params is not None and miss.keep:
            self.keep(miss.key, params, value, cost)
        return value

    def cache_refresh(self, /, *args: Any, **kwargs: Any) -> Any:
        params = self.params_of(args, kwargs)
        return self.compute(Miss(self.key_of_params(params), keep=True), params, args, kwargs)

    def _known_otherwise(
        self, miss: Miss, params: dict[str, Any], args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """What is stored beside a result that counts: an exception, or a stale result."""
        if self.options.exceptions:
            self._raise_known(miss)
        if self.options.stale_seconds:
            from cacheness.calls.stale import read_stale, refresh_behind

            stale = read_stale(self, miss.key, self.options.stale_seconds)
            if stale.__class__ is not Miss:
                refresh_behind(self, miss.key, params, args, kwargs)
                return stale
        return miss

    def _raise_known(self, miss: Miss) -> None:
        from cacheness.calls.raised import read_raised

        known = read_raised(self, miss.key)
        if known is not None:
            raise known

    def _hold(self, miss: Miss) -> Hold | None:
        """What lets this call wait for whoever computes it; None where nobody can be asked."""
        try:
            return self.engine.flights.hold(miss.key, self.options.flight_timeout)
        except (CachenessError, OSError) as error:
            self.errors += 1
            self.failed(error)
            return None

    def _entered(self, hold: Hold) -> bool:
        """Wait for whoever computes this call; False where nobody can be asked."""
        try:
            hold.__enter__()
        except (CachenessError, OSError) as error:
            self.errors += 1
            self.failed(error)
            return False
        return True
