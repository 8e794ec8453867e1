# SPDX-License-Identifier: MIT
"""Stores, reads and removes many named entries at once, each in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from contextlib import suppress

from cacheness import logged
from cacheness.backends.plain_entry import PlainEntry
from cacheness.disk.unrecorded import check_own, seen_to
from cacheness.forks import ForkedError
from cacheness.keys.encoding import params_key
from cacheness.management.spool import EntrySpool
from cacheness.management.waiting import Waiting
from cacheness.naming import checked_key
from cacheness.outcomes import KEPT, MISS, OVERTAKEN, UNSET
from cacheness.progress import reporting
from cacheness.switch import is_off

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any, Protocol, TypeAlias, TypeGuard

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.many import Name
    from cacheness.payloads.dumped import Dumped
    from cacheness.progress import Progress

    Prepare: TypeAlias = Callable[
        [str, object, Mapping[str, object] | None], Entry | PlainEntry | None
    ]

    class _AtLength(Protocol):
        def __call__(
            self,
            key: str,
            obj: object,
            named: Mapping[str, object] | None,
            dumped: Dumped | None = None,
            /,
        ) -> Entry | None: ...

    # The keys, the entries displaced, and the generations of those in files, by key.
    _Stored: TypeAlias = tuple[list[str], list[Entry], dict[str, int]]

__all__ = ["delete_batch", "get_batch", "put_batch"]

_TEXTS = frozenset({str})


def put_batch(
    engine: Engine,
    pairs: Iterable[tuple[object, Name]],
    details: dict[str, Any],
    secret: Iterable[str],
    handler: str | None,
    compressor: str | None,
    options: Mapping[str, Any] | None,
    progress: Progress,
) -> list[str]:
    """Write the payloads as they come, then record all their entries, or none."""
    from cacheness.management.details import checked_names

    engine.check_open()
    engine.check_writable()
    secret = checked_names(secret, "secret")
    # Where nothing but a time to live was said of them, small values go a short way.
    is_short = not (handler or compressor or options) and details.keys() == {"ttl_seconds"}
    is_quiet = progress is None or progress is False
    with EntrySpool() as prepared:
        stored: _Stored | None = None
        if is_short and not secret and is_quiet and _may_be_at_hand(pairs, engine):
            from cacheness.management.at_hand import put_at_hand

            at_hand = put_at_hand(engine, pairs, details["ttl_seconds"])
            stored = None if at_hand is None else (*at_hand, {})
        if stored is None:
            prepare = (
                _preparing_in_short(engine, details, secret)
                if is_short
                else _preparing(engine, details, secret, handler, compressor, options)
            )
            stored = _put_as_they_come(engine, pairs, prepared, prepare, secret, progress)
        keys, displaced, in_files = stored
        for old in displaced:
            # A child that went on with this very call may have recorded it first.
            if in_files.get(old.cache_key) != old.generation:
                engine.discard(old)
        prefix = details.get("prefix", "")
        other = next((old for old in displaced if old.prefix != prefix), None)
        if other is not None:
            engine.writer.warn_of_prefix(other.cache_key, other.prefix, prefix)
        if _is_followed(engine):
            for recorded in prepared.entries():
                engine.writer.settle(recorded)
    return keys


def get_batch(
    engine: Engine,
    names: Iterable[Name],
    default: Any,
    prefix: str | None,
    age: float | None,
    options: Mapping[str, Any] | None,
) -> list[Any]:
    """Read all payloads by one statement, and then the value of each as `get` does."""
    engine.check_open()
    is_plain = prefix is None and options is None and age is UNSET
    keys = [_key(name) for name in _several(names)]
    payloads = {} if is_off() or not keys else engine.backend.find_many(list(dict.fromkeys(keys)))
    values = []
    for key in keys:
        first = payloads.get(key)
        if first is None:
            if not is_off():
                engine.reader.missed(key)
            values.append(default)
            continue
        value = engine.reader.read_found(key, first) if is_plain else MISS
        if value is MISS:
            value = engine.reader.read(key, prefix, age, options, first=first)
        if value is OVERTAKEN:
            value = engine.reader.read(key, prefix, age, options)
        values.append(default if value is MISS or value is KEPT else value)
    return values


def delete_batch(
    engine: Engine, names: Iterable[Name], prefix: str | None, progress: Progress
) -> int:
    """Remove the entries in one transaction, then their blobs."""
    engine.check_open()
    engine.check_writable()
    keys = list(dict.fromkeys(_key(name) for name in _several(names)))
    if not keys:
        return 0
    if prefix is None:
        removed = engine.backend.delete_entries(keys)
    else:
        from cacheness.filters import Filter

        removed = engine.backend.delete_where(
            Filter.parse({"entry__cache_key__in": keys, "prefix": prefix})
        )
    return engine.dispose(removed, "invalidate", progress)


def _is_followed(engine: Engine) -> bool:
    """Whether there is something to do for each entry once it is recorded."""
    return bool(engine.observers) or logged.is_logged() or engine.upkeep().is_bounded


def _may_be_at_hand(
    pairs: Iterable[tuple[object, Name]], engine: Engine
) -> TypeGuard[Sequence[tuple[object, Name]]]:
    """Whether entries may be made while the backend takes others, if their values are small.

    Locks are held meanwhile, so that nothing of it may be code of somebody else: an
    iterable's, an observer's.
    """
    is_there = type(pairs) is list or type(pairs) is tuple
    return is_there and engine.backend.works_apart and not (_is_followed(engine) or is_off())


def _put_as_they_come(
    engine: Engine,
    pairs: Iterable[tuple[object, Name]],
    prepared: EntrySpool,
    prepare: Prepare,
    secret: Collection[str],
    progress: Progress,
) -> _Stored:
    """Prepare all entries, then record them."""
    from cacheness.entry import Entry
    from cacheness.management.details import checked_secret

    keys: list[str] = []
    known: set[str] = set()
    in_files: dict[str, int] = {}
    blobs: list[str] = []
    total = len(pairs) if isinstance(pairs, Sized) else None
    with reporting(progress, total, "storing") as advance:
        waiting = Waiting(engine, prepared)
        try:
            for pair in pairs:
                named: Mapping[str, object] | None
                obj, name = pair if type(pair) is tuple and len(pair) == 2 else _pair(pair)
                if type(name) is str:
                    key, named = checked_key(name), None
                elif type(name) is dict and _TEXTS.issuperset(map(type, name)):
                    named = dict(name)  # which its owner may change
                    key = params_key(named)
                else:
                    named = _params(name)
                    key = _key(name if named is None else named)
                if named and secret:
                    known.update(named)
                entry = None if is_off() else prepare(key, obj, named)
                if entry is not None:
                    prepared.add(entry)
                    if type(entry) is Entry and entry.blob is not None:
                        in_files[key] = entry.generation
                        blobs.append(entry.blob)
                    elif in_files:
                        in_files.pop(key, None)
                waiting.renew()
                keys.append(key)
                advance(1)
            if secret and keys:
                checked_secret(secret, known)
            waiting.renew()
            check_own(*blobs)
            displaced = engine.backend.put_prepared(prepared) if prepared else []
            check_own(*blobs)
        except BaseException:
            with suppress(ForkedError):
                engine.writer.withdraw(prepared.entries())
            raise
        seen_to(*blobs)
    return keys, displaced, in_files


def _preparing(
    engine: Engine,
    details: dict[str, Any],
    secret: Collection[str],
    handler: str | None,
    compressor: str | None,
    options: Mapping[str, Any] | None,
) -> _AtLength:
    """What writes the payload of one value of a batch, and makes its entry."""
    from cacheness.keys.summary import summarise_params

    writer = engine.writer

    def prepare(
        key: str,
        obj: object,
        named: Mapping[str, object] | None,
        dumped: Dumped | None = None,
    ) -> Entry | None:
        of_this = {**details, "params": summarise_params(named, secret)} if named else details
        return writer.prepare(key, obj, of_this, handler, compressor, options, dumped)

    return prepare


def _preparing_in_short(
    engine: Engine, details: dict[str, Any], secret: Collection[str]
) -> Prepare:
    """As `_preparing` of values of which little was said: 4 µs each, where that takes 9."""
    at_length = _preparing(engine, details, secret, None, None, None)
    plain_entry, ttl = engine.writer.small.plain_entry, details["ttl_seconds"]

    def prepare(
        key: str, obj: object, named: Mapping[str, object] | None
    ) -> Entry | PlainEntry | None:
        made = plain_entry(key, obj, named, ttl, secret)
        return made if isinstance(made, PlainEntry) else at_length(key, obj, named, made)

    return prepare


def _pair(pair: object) -> tuple[Any, Any]:
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        first, second = pair
        return first, second
    raise TypeError(
        f"put_batch takes pairs of a value and its name, not a {type(pair).__name__}: give "
        '[(value, "key"), (value, {"a": 1})]'
    )


def _several(names: Iterable[Name]) -> Iterable[Name]:
    if isinstance(names, (str, Mapping)):
        raise TypeError(f"{type(names).__name__} names one entry: give a list of names")
    return names


def _params(name: Name) -> Mapping[str, object] | None:
    return dict(name) if isinstance(name, Mapping) else None


def _key(name: Name) -> str:
    """The key of an entry that is named by it, or by the parameters of a mapping."""
    if type(name) is str:
        return checked_key(name)
    if isinstance(name, Mapping):
        if not all(isinstance(one, str) for one in name):
            raise TypeError(f"the names of the parameters in {name!r} are not all str")
        return params_key(dict(name))
    if isinstance(name, str):
        return checked_key(name)
    raise TypeError(
        f"a {type(name).__name__} names no entry: give a cache key (str), or a mapping of "
        "parameters"
    )
