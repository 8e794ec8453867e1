"""Tells whether a recorded history of one key could have happened one operation at a time.

After Wing and Gong, with Lowe's memory of what was tried: J. M. Wing and C. Gong, "Testing and
verifying concurrent objects", 1993; G. Lowe, "Testing for linearizability", 2017.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

NOTHING = -1
"""The state of a key that has no entry."""


class Operation(NamedTuple):
    """What one thread did to one key, and when."""

    name: str
    argument: int
    """The value that it stores, where it stores one."""
    result: Any
    start: int
    end: int


def after(operation: Operation, state: int) -> int | None:
    """The state after an operation; None if in that state it could not have given its result."""
    there = state != NOTHING
    match operation.name:
        case "put":
            return operation.argument
        case "get":
            return state if operation.result == state else None
        case "pop":
            return NOTHING if operation.result == state else None
        case "add":
            if operation.result is there:
                return None
            return state if there else operation.argument
        case "update":
            if operation.result is not there:
                return None
            return operation.argument if there else state
        case "touch":
            return state if operation.result is there else None
        case "invalidate" | "evict":
            return NOTHING if operation.result is there else None
    raise ValueError(operation.name)


def is_linearizable(history: list[Operation]) -> bool:
    """Whether the operations fit into an order that respects when each began and ended."""
    operations = sorted(history, key=lambda operation: operation.start)
    tried = set()
    stack: list[tuple[int, frozenset[int], int]] = [(0, frozenset(), NOTHING)]
    while stack:
        place = stack.pop()
        if place in tried:
            continue
        tried.add(place)
        first, done, state = place
        if first == len(operations):
            return True
        earliest_end: float = inf
        for number in range(first, len(operations)):
            if number in done:
                continue
            operation = operations[number]
            if operation.start > earliest_end:
                break  # something that is not done yet had ended before this one began
            earliest_end = min(earliest_end, operation.end)
            state_after = after(operation, state)
            if state_after is not None:
                stack.append((*_without(first, done | {number}), state_after))
    return False


def _without(first: int, done: frozenset[int]) -> tuple[int, frozenset[int]]:
    """The same, with the done ones at the beginning passed over."""
    while first in done:
        done -= {first}
        first += 1
    return first, done
