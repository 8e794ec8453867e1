# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""That equal objects make equal keys, and that listings can describe them."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from cacheness.testing.handler_base import HandlerSubject
from cacheness.testing.handler_worker import key_of, keys_elsewhere

if TYPE_CHECKING:
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["KeyPromises"]

_LONGEST = 200


class KeyPromises(HandlerSubject):
    """Fingerprints and descriptions."""

    def test_equal_objects_make_equal_keys(self, loaded: LoadedHandler) -> None:
        def check(obj: Any) -> None:
            assert key_of(obj) == key_of(self.copy_of(obj)), (
                "an object and its copy make two keys: feed no addresses and no order of a set"
            )

        self.for_each(check)

    def test_different_objects_make_different_keys(self, loaded: LoadedHandler) -> None:
        def check(pair: tuple[Any, Any]) -> None:
            one, other = pair
            key = key_of(one)
            if key is not None and not self.equal(one, other):
                assert key != key_of(other), (
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
                key = key_of(obj)
                assert key is None or key != key_of(changed), (
                    "a changed object makes the old key: feed all of it, and remember nothing"
                )

        self.for_each(check)

    def test_keys_are_the_same_in_every_process(self, loaded: LoadedHandler) -> None:
        sent: list[tuple[bytes, str]] = []

        def collect(obj: Any) -> None:
            try:
                pickled = pickle.dumps(obj, 5)
                same = self.equal(pickle.loads(pickled), obj)
            except Exception:  # noqa: BLE001  # what pickle refuses is not sent
                return
            key = key_of(obj)
            if same and key is not None:  # numpy's pickles lose the byte order of some dtypes
                sent.append((pickled, key))

        self.for_each(collect)
        keys = keys_elsewhere(self.handler, self.types, [pickled for pickled, _ in sent])
        assert keys == [key for _, key in sent], (
            "another process makes other keys: feed no hash() and no id()"
        )

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
