# SPDX-License-Identifier: MIT
"""Stores a list of small values while their entries are made."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from cacheness.backends.in_order import InOrder
from cacheness.backends.plain_entry import PlainEntry
from cacheness.builtins import DISTRIBUTION
from cacheness.keys.encoding import params_key
from cacheness.naming import checked_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cacheness.engine import Engine
    from cacheness.entry import Entry
    from cacheness.many import Name

__all__ = ["put_at_hand"]

_PAIRS, _TWO = frozenset({tuple}), frozenset({2})
_value_of, _name_of = itemgetter(0), itemgetter(1)
_NAMES = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})


class _Unusual(Exception):  # noqa: N818  # no error: says that the batch takes the long way
    """A value turned out to need more than is done here."""


def put_at_hand(
    engine: Engine, pairs: Sequence[tuple[object, Name]], ttl_seconds: float | None
) -> tuple[list[str], list[Entry]] | None:
    """Store values under their names, in one transaction.

    Each entry is made while the server takes those before it: together that is 10 to 15 µs
    an entry, where one after the other it is 14 to 20. Locks are held meanwhile, so nothing
    but the core's own code may run.

    Returns:
        The keys, and the entries of others that were displaced; None where one of the values
        needs more than this. Nothing was stored then.
    """
    if not _is_our_own(engine, pairs):
        return None
    keys: list[str] = []
    values: dict[str, tuple[object, Mapping[str, object] | None]] = {}
    for obj, name in pairs:
        params = None if isinstance(name, str) else dict(name)  # which its owner may change
        key = checked_key(name) if params is None else params_key(params)
        values[key] = obj, params
        keys.append(key)
    plain_entry, admits = engine.writer.small.plain_entry, engine.upkeep().admits

    def make(key: str) -> PlainEntry:
        obj, params = values[key]
        entry = plain_entry(key, obj, params, ttl_seconds)
        return entry if type(entry) is PlainEntry else again(key, obj, params)

    def again(key: str, obj: object, params: Mapping[str, object] | None) -> PlainEntry:
        # It may only be time for a look at the disk.
        admits(key, 0, own_file=False)
        entry = plain_entry(key, obj, params, ttl_seconds)
        if type(entry) is not PlainEntry:
            raise _Unusual
        return entry

    try:
        return keys, engine.backend.put_prepared(InOrder(sorted(values), make))
    except _Unusual:
        return None


def _is_our_own(engine: Engine, pairs: Sequence[tuple[object, Name]]) -> bool:
    """Whether these are pairs, and the core alone has to do with their values and names."""
    if not _PAIRS.issuperset(map(type, pairs)) or not _TWO.issuperset(map(len, pairs)):
        return False
    handlers = {engine.registry.candidates(of)[0] for of in set(map(type, map(_value_of, pairs)))}
    if not all(one.distribution == DISTRIBUTION and one.dumps_plain for one in handlers):
        return False
    return _NAMES.issuperset(map(type, map(_name_of, pairs))) or all(
        type(name) is str or _is_plain(name) for _, name in pairs
    )


def _is_plain(name: object) -> bool:
    return (
        type(name) is dict
        and _NAMES.issuperset(map(type, name))
        and _SCALARS.issuperset(map(type, name.values()))
    )
