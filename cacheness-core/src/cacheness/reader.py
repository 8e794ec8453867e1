# SPDX-License-Identifier: MIT
"""The way of a value back from the store: entry, payload, handler."""

from __future__ import annotations

from time import perf_counter, time

from cacheness import forks, logged
from cacheness.errors import BackendUnavailableError, BlobCorruptedError, CachenessError
from cacheness.outcomes import KEPT, MISS, OVERTAKEN, UNSET
from cacheness.payloads.decode import Decoder
from cacheness.payloads.refusals import BadSignatureError, UndecodableError, ends_the_caller
from cacheness.statistics.hits import SAMPLED
from cacheness.switch import is_off, off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Literal

    from cacheness.backends.shapes import PlainPayload, StoredPayload
    from cacheness.backends.wrapper import MemoryCacheWrapper
    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.faults import Faults

__all__ = ["Reader", "is_current"]

_TRIES = 8
"""How often a read looks again where a replace overtook it between entry and blob."""


class Reader:
    """Reads the values of one cache.

    Args:
        engine: What the cache is made of.
    """

    __slots__ = ("_decoder", "_engine", "_hits")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._hits = engine.hits
        self._decoder = Decoder(engine.registry, engine.config, engine.blobs, engine.signer)

    def read_by_key(self, key: str) -> Any:
        """[hot] `read` of an entry by nothing but its key.

        A small entry that needs nothing but its handler is read here; anything unusual about
        it is left to `_read_stored`, which looks again. Beside the backend's statement that
        takes 2 µs: half of it is the handler's, a fifth the noting of the hit. From the memory
        tier it takes 1 µs in all.
        """
        if off.depth > 0:
            return MISS
        began = 0.0 if len(self._hits.reads) % SAMPLED else perf_counter()
        memory = self._engine.memory
        if memory is not None:
            give = memory.recall(key)
            if give is not None:
                value = self._recalled(key, give)
                if value is not MISS:
                    if began:
                        self._hits.timed.append((key, perf_counter() - began))
                    return value
            epoch = memory.epoch
        plain = self._engine.backend.find_plain(key)
        stored: StoredPayload | None = UNSET
        if plain is None and not self._engine.backend.finds_plain:
            plain, stored = self._find_at_once(key)
        if plain is None or (plain[2] is not None and time() >= plain[2]):  # pyright: ignore[reportOperatorIssue]  # no None, see before
            return self._read_stored(key, None, UNSET, None, "read", None, found=stored)
        value = self._decoder.read_plain(plain, MISS)
        if value is MISS:
            return self._read_stored(key, None, UNSET, None, "read", None, found=stored)
        if memory is not None:
            give, size = self._decoder.again(plain, value)
            memory.remember(key, give, size=size, expires_at=plain[2], epoch=epoch)  # pyright: ignore[reportPossiblyUnboundVariable]  # set where there is a memory
            value = give()
        self._hits.add(key)
        if began:
            self._hits.timed.append((key, perf_counter() - began))
        if self._engine.observers or logged.is_logged():
            self._engine.tell("hit", key, plain[0], len(plain[3]))
        return value

    def read_found(self, key: str, stored: StoredPayload) -> Any:
        """The value of what was found, where it needs nothing but its handler; else MISS."""
        from cacheness.backends.shapes import plain_payload

        plain = plain_payload(stored)
        if plain is None or (plain[2] is not None and time() >= plain[2]):
            return MISS
        value = self._decoder.read_plain(plain, MISS)
        if value is not MISS:
            self._hits.add(key)
            if self._engine.observers or logged.is_logged():
                self._engine.tell("hit", key, plain[0], len(plain[3]))
        return value

    def read(
        self,
        key: str,
        prefix: str | None,
        age: float | None,
        options: Mapping[str, Any] | None,
        *,
        way: Literal["read", "mapped", "lazy"] = "read",
        first: StoredPayload | None = None,
    ) -> Any:
        """The value, or `MISS`.

        Where the payload is missing or damaged the entry is read again: if a replace
        overtook this read, it starts anew, or gives `OVERTAKEN` to who asked for the
        generation ``first``; else the entry is at fault.
        """
        if way == "read" and options is None and prefix is None and age is UNSET and first is None:
            return self.read_by_key(key)
        if is_off():
            return MISS
        return self._read_stored(key, prefix, age, options, way, first)

    def _read_stored(
        self,
        key: str,
        prefix: str | None,
        age: float | None,
        options: Mapping[str, Any] | None,
        way: Literal["read", "mapped", "lazy"],
        first: StoredPayload | None,
        found: StoredPayload | None = UNSET,
    ) -> Any:
        """`read`, where the backend was asked already of what it ``found``."""
        began = 0.0 if len(self._hits.reads) % SAMPLED else perf_counter()
        decode = getattr(self._decoder, way)
        stored = first
        if stored is None:
            stored = self._engine.backend.find(key) if found is UNSET else found
        begun = forks.number
        for _ in range(_TRIES):
            if stored is None or (
                (stored[6] is not None or prefix is not None or age is not UNSET)
                and not is_current(stored, prefix, age)
            ):
                break
            try:
                value = decode(key, stored, options)
            except (FileNotFoundError, BlobCorruptedError, BadSignatureError) as error:
                forks.check(begun)
                again = self._engine.backend.find(key)
                if again is not None and again[0] == stored[0]:
                    return self._faults().refuse(key, stored, error)
                if first is not None:
                    return OVERTAKEN
                stored = again
            except UndecodableError as error:
                forks.check(begun)
                return self._faults().leave_undecoded(key, stored, error)
            except OSError as error:
                forks.check(begun)
                raise BackendUnavailableError(f"entry {key} can't be read: {error}") from error
            else:
                self._hits.add(key)
                if began:
                    self._hits.timed.append((key, perf_counter() - began))
                if self._engine.observers or logged.is_logged():
                    self._engine.tell("hit", key, stored[1], stored[11])
                return value
        if stored is not None:
            self._faults().expire(key, stored)
        self.missed(key, prefix)
        return MISS

    def missed(self, key: str, prefix: str | None = None) -> None:
        """Take note of a read that found nothing."""
        self.count_miss(prefix)
        if self._engine.observers or logged.is_logged():
            self._engine.tell("miss", key)

    def count_miss(self, prefix: str | None = None) -> None:
        """Count a read that gave nothing."""
        self._hits.missed(prefix or "")

    def _find_at_once(self, key: str) -> tuple[PlainPayload | None, StoredPayload | None]:
        """An entry of a backend that does not look for plain ones, by one question."""
        from cacheness.backends.shapes import plain_payload

        stored = self._engine.backend.find(key)
        return (None if stored is None else plain_payload(stored)), stored

    def _recalled(self, key: str, give: Callable[[], Any]) -> Any:
        """[hot] A value from the memory of this process; MISS where it can't be given."""
        try:
            value = give()
        except BaseException as error:
            if ends_the_caller(error):
                raise
            return MISS  # a handler's own errors are told by `read`
        self._hits.add(key)
        if self._engine.observers or logged.is_logged():
            stored = self._engine.backend.find(key)
            told = (stored[1], stored[11]) if stored else ()
            self._engine.tell("hit", key, *told)  # pyright: ignore[reportArgumentType]  # handler and size, or neither
        return value

    def read_remembered(self, key: str, *, shared: bool = False) -> Any:
        """[hot] As `read_by_key`, from the memory of this process where it was read before.

        For a caller that asks for it where ``memory_bytes`` is 0: only what is read in this
        way is kept, and only this way of reading is then up to ``memory_staleness`` late.

        Args:
            key: The cache key.
            shared: Keep the object itself, of any type, and give it to all callers, who
                must not change it. Else each gets one of its own, of what is small.
        """
        tier = self._engine.requested or self._engine.request_memory()
        way = "shared" if shared else "copied"
        give = None if is_off() else tier.recall(key, way)
        if give is not None:
            value = self._recalled(key, give)
            if value is not MISS:
                return value
        epoch = tier.epoch
        if shared:
            return self._read_shared(key, tier, epoch)
        plain = None if is_off() else self._engine.backend.find_plain(key)
        if plain is None and not (is_off() or self._engine.backend.finds_plain):
            plain, stored = self._find_at_once(key)
            if plain is None:
                return self._read_stored(key, None, UNSET, None, "read", None, found=stored)
        if plain is None or (plain[2] is not None and time() >= plain[2]):  # pyright: ignore[reportOperatorIssue]  # no None, see before
            return self.read_by_key(key)
        value = self._decoder.read_plain(plain, MISS)
        if value is MISS:
            return self.read_by_key(key)
        give, size = self._decoder.again(plain, value)
        tier.remember(key, give, size=size, expires_at=plain[2], epoch=epoch, way=way)
        return self._recalled(key, give)

    def _read_shared(self, key: str, tier: MemoryCacheWrapper, epoch: int) -> Any:
        stored = None if is_off() else self._engine.backend.find(key)
        value = self.read_by_key(key)
        if stored is None or value is MISS or value is KEPT:
            return value
        from cacheness.payloads.copies import same

        tier.remember(
            key, same(value), size=stored[12], expires_at=stored[6], epoch=epoch, way="shared"
        )
        return value

    def read_entry(
        self,
        key: str,
        prefix: str | None,
        age: float | None,
        options: Mapping[str, Any] | None,
    ) -> tuple[Any, Entry | None]:
        """The value and the entry of the same generation, or `MISS` and None."""
        from cacheness.backends.shapes import stored_payload

        for _ in range(_TRIES):
            entry = None if is_off() else self._engine.backend.get_entry(key)
            if entry is None:
                break
            first = stored_payload(entry)
            value = self.read(key, prefix, age, options, first=first)
            if value is not OVERTAKEN:
                return (MISS, None) if value is MISS or value is KEPT else (value, entry)
        self.missed(key)
        return MISS, None

    def standing(self, key: str, prefix: str | None, age: float | None) -> Entry | None:
        """The entry, if it would be read."""
        from cacheness.backends.shapes import stored_payload

        entry = None if is_off() else self._engine.backend.get_entry(key)
        if entry is not None and is_current(stored_payload(entry), prefix, age):
            return entry
        return None

    def stands(self, key: str) -> bool:
        """Whether there is an entry that has not expired; an expired one is removed."""
        stored = None if is_off() else self._engine.backend.find(key)
        if stored is None:
            return False
        if is_current(stored, None, UNSET):
            return True
        self._faults().expire(key, stored)
        return False

    def fault(
        self, key: str, stored: StoredPayload, way: Literal["read", "mapped", "lazy", "intact"]
    ) -> Exception | None:
        """Why a read of this entry would fail, or None; changes nothing and warns of nothing."""
        try:
            value = getattr(self._decoder, way)(key, stored, None)
        except (CachenessError, UndecodableError, OSError) as error:
            return error
        if way == "lazy":
            value.close()
        return None

    def _faults(self) -> Faults:
        from cacheness.faults import Faults

        return Faults(self._engine)


def is_current(stored: StoredPayload, prefix: str | None, age: float | None) -> bool:
    """Whether the entry is of that prefix, has not expired and is young enough."""
    now = time()
    expires_at = stored[6]
    if expires_at is not None and now >= expires_at:
        return False
    if prefix is not None and stored[13] != prefix:
        return False
    if age is UNSET or age is None:
        return True
    return max(0.0, now - stored[14]) < age
