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
        def check(objects: list[Any]) -> None:
            keys = [_key(obj) for obj in objects]
            try:
                sent = pickle.dumps(objects, 5)  # numpy's older ones lose an array's byte order
            except Exception:  # noqa: BLE001  # what pickle refuses is not sent
                return
            assert _keys_elsewhere(sent, self.handler, self.types) == keys, (
                "another process makes other keys: feed no hash() and no id()"
            )

        self.for_each_of(st.lists(self.objects(), min_size=1, max_size=20), check, examples=2)

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
target, types, sent = sys.stdin.read().split()
if target != "-":
    register_handler(load_target(target), priority=1000, types=tuple(types.split(",")[1:]))
print(*(_key(obj) for obj in pickle.loads(base64.b64decode(sent))))
"""


def _keys_elsewhere(
    sent: bytes, handler: str | type[Handler], types: tuple[str, ...]
) -> list[str | None]:
    target = "-" if isinstance(handler, str) else named_target(handler)
    told = in_fresh_process(
        _ELSEWHERE,
        stdin=f"{target} {','.join(('types', *types))} {base64.b64encode(sent).decode()}",
    )
    return [None if key == "None" else key for key in told.split()]
