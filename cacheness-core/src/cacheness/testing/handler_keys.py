# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""That equal objects make equal keys, and that listings can describe them."""

from __future__ import annotations

import base64
import pickle
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from cacheness.errors import UnhashableParameterError
from cacheness.keys.encoding import params_key
from cacheness.testing.handler_base import HandlerSubject
from cacheness.testing.handler_worker import named_target
from cacheness.testing.processes import in_fresh_process

if TYPE_CHECKING:
    from cacheness.handlers.base import Handler
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["KeyPromises"]

_LONGEST = 200


class KeyPromises(HandlerSubject):
    """Fingerprints and descriptions."""

    def test_equal_objects_make_equal_keys(self, loaded: LoadedHandler) -> None:
        def check(obj: Any) -> None:
            assert _key(obj) == _key(self.copy_of(obj)), (
                "an object and its copy make two keys: feed no addresses and no order of a set"
            )

        self.for_each(check)

    def test_different_objects_make_different_keys(self, loaded: LoadedHandler) -> None:
        def check(pair: tuple[Any, Any]) -> None:
            one, other = pair
            key = _key(one)
            if key is not None and not self.equal(one, other):
                assert key != _key(other), (
                    f"{one!r:.80} and {other!r:.80} make one key: feed type, shape and dtype, "
                    "and each part's length"
                )

        def check_changed(obj: Any) -> None:
            changed = self.changed(obj)
            if changed is not None:
                check((obj, changed))

        self.for_each_of(st.tuples(self.objects(), self.objects()), check)
        self.for_each(check_changed)

    def test_a_change_changes_the_key(self, loaded: LoadedHandler) -> None:
        def check(obj: Any) -> None:
            changed = self.copy_of(obj)
            if self.change_in_place(changed) and not self.equal(changed, obj):
                key = _key(obj)
                assert key is None or key != _key(changed), (
                    "a changed object makes the old key: feed all of it, and remember nothing"
                )

        self.for_each(check)

    def test_keys_are_the_same_in_every_process(self, loaded: LoadedHandler) -> None:
        sent: list[tuple[bytes, str | None]] = []

        def collect(obj: Any) -> None:
            try:
                pickled = pickle.dumps(obj, 5)
                same = self.equal(pickle.loads(pickled), obj)
            except Exception:  # noqa: BLE001  # what pickle refuses is not sent
                return
            if same:  # numpy's pickles lose the byte order of some dtypes
                sent.append((pickled, _key(obj)))

        self.for_each(collect)
        # One process for all: some take seconds to import what the handler needs.
        assert _keys_elsewhere([pickled for pickled, _ in sent], self.handler, self.types) == [
            key for _, key in sent
        ], "another process makes other keys: feed no hash() and no id()"

    def test_a_description_is_one_short_line(self, loaded: LoadedHandler) -> None:
        describe = loaded.describe

        def check(obj: Any) -> None:
            line = describe(obj) if describe is not None else ""
            assert isinstance(line, str), f"describe gave a {type(line).__name__}: give a str"
            assert "\n" not in line, f"describe gave more than a line: {line!r}"
            assert len(line) <= _LONGEST, (
                f"describe gave {len(line)} characters: say what it is, not what is in it"
            )

        self.for_each(check)


def _key(obj: Any) -> str | None:
    """The key of a parameter; None where the type has no stable fingerprint, and says so."""
    try:
        return params_key({"of": obj})
    except UnhashableParameterError:
        return None


_ELSEWHERE = """
import base64, pickle, sys
from cacheness.plugins.registry import register_handler
from cacheness.plugins.tables import load_target
from cacheness.testing.handler_keys import _key
target, types, *sent = sys.stdin.read().split()
if target != "-":
    register_handler(load_target(target), priority=1000, types=tuple(types.split(",")[1:]))
print(*(_key(pickle.loads(base64.b64decode(pickled))) for pickled in sent))
"""


def _keys_elsewhere(
    sent: list[bytes], handler: str | type[Handler], types: tuple[str, ...]
) -> list[str | None]:
    if not sent:
        return []
    target = "-" if isinstance(handler, str) else named_target(handler)
    names = ",".join(("types", *types))
    pickled = " ".join(base64.b64encode(one).decode() for one in sent)
    told = in_fresh_process(_ELSEWHERE, stdin=f"{target} {names} {pickled}")
    return [None if key == "None" else key for key in told.split()]
