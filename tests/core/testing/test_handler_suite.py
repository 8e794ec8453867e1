# SPDX-License-Identifier: MIT
"""The suite for handlers finds a handler's defect and says what to do about it."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import re
import shutil
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from cacheness import CachenessError, CannotHandleError, Handler, unregister_handler
from cacheness.plugins.registry import register_handler, registry_for
from cacheness.testing import HandlerContract

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cacheness import HandlerContext


class Point:
    """What the handlers here keep."""

    def __init__(self, x: float, label: str = "") -> None:
        self.x = x
        self.label = label

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.x!r}, {self.label!r})"


class NamedPoint(Point):
    """A subclass, which is more than the handlers know of."""


class Sound(Handler):
    """Keeps points, without a defect."""

    name = "suite_point"
    extension = ".json"
    data_only = True

    def can_handle(self, obj: object) -> bool:
        return type(obj) is Point

    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        if vars(obj).keys() != {"x", "label"}:
            raise CannotHandleError("it has more than a point has")
        with open(file_path, "w", encoding="utf-8") as file:
            json.dump([obj.x, obj.label], file)
        return {"storage_format": "json"}

    def get(self, file_path: str) -> Any:
        with open(file_path, encoding="utf-8") as file:
            x, label = json.load(file)
        if type(x) is not float or type(label) is not str:
            raise ValueError("no point")
        return Point(x, label)

    def fingerprint(self, obj: Any, update: Callable[[bytes], object]) -> None:
        update(json.dumps([type(obj).__qualname__, obj.x, obj.label]).encode())

    def describe(self, obj: Any) -> str:
        return f"point with a label of {len(obj.label)}"


class NoHandler(Sound):
    version = 0


class NamesNoFile(Sound):
    extension = "json"


class AnswersOtherThanBool(Sound):
    def can_handle(self, obj: object) -> bool:
        return obj and type(obj) is Point  # type: ignore[return-value]


class AsksEveryObject(Sound):
    def can_handle(self, obj: object) -> bool:
        return len(obj) == 2 if hasattr(obj, "__len__") else type(obj) is Point  # type: ignore[arg-type]


class RefusesItsOwn(Sound):
    def can_handle(self, obj: object) -> bool:
        return type(obj) is Point and bool(obj.label)


class LosesALabel(Sound):
    def get(self, file_path: str) -> Any:
        return Point(super().get(file_path).x)


class RoundsNumbers(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        return super().put(Point(float(f"{obj.x:.6g}"), obj.label), file_path)


class TakesSubclasses(Sound):
    def can_handle(self, obj: object) -> bool:
        return isinstance(obj, Point)


class TakesWhatItCanNotKeep(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        return super().put(Point(obj.x, obj.label), file_path)


class ChangesItsObject(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        obj.label = obj.label.strip().lower() + "!"
        return super().put(obj, file_path)


class HandsOutOneObject(Sound):
    _last: dict[str, Any] = {}  # noqa: RUF012  # the defect

    def get(self, file_path: str) -> Any:
        with open(file_path, encoding="utf-8") as file:
            text = file.read()
        return self._last.setdefault(text, super().get(file_path))


class LeavesATemporaryFile(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        with open(f"{file_path}.tmp", "w", encoding="utf-8") as file:
            file.write("left")
        return super().put(obj, file_path)


class WritesAnotherFile(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        metadata = super().put(obj, f"{file_path}.json")
        shutil.copyfile(f"{file_path}.json", file_path)
        return metadata


class RemembersItsPath(Sound):
    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        return {**super().put_with(obj, file_path, context), "path": file_path}

    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        return self.get(metadata["path"])


class GivesMetadataThatJsonChanges(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        return {**super().put(obj, file_path), "shape": (1, 2)}


class ReadsAfterGet(Sound):
    def get(self, file_path: str) -> Any:
        return _LazyPoint(file_path)


class _LazyPoint(Point):
    """Reads its file when it is looked at."""

    def __init__(self, file_path: str) -> None:
        self._file_path = file_path

    __class__ = Point  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(Sound().get(self._file_path), name)

    def __eq__(self, other: object) -> bool:
        return self.x == other.x and self.label == other.label  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]


class KeepsStateBetweenCalls(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        self._obj = obj
        time.sleep(0.001)
        return super().put(self._obj, file_path)


class IgnoresOlderVersions(Sound):
    version = 2

    def get(self, file_path: str) -> Any:
        with open(file_path, encoding="utf-8") as file:
            x, label, *_ = json.load(file)
        return Point(x, str(label))


class Unpickles(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        with open(file_path, "wb") as file:
            pickle.dump([obj.x, obj.label], file)
        return {}

    def get(self, file_path: str) -> Any:
        with open(file_path, "rb") as file:
            return Point(*pickle.load(file))


class AllocatesWhatTheFileSays(Sound):
    def put(self, obj: Any, file_path: str) -> dict[str, Any]:
        text = json.dumps([obj.x, obj.label]).encode()
        with open(file_path, "wb") as file:
            file.write(len(text).to_bytes(4, "little") + text)
        return {}

    def get(self, file_path: str) -> Any:
        with open(file_path, "rb") as file:
            room = bytearray(b"x" * min(int.from_bytes(file.read(4), "little"), 3 << 28))
            room[:] = file.read()
        return Point(*json.loads(room))


class CrashesOnDamage(Sound):
    def get(self, file_path: str) -> Any:
        try:
            return super().get(file_path)
        except ValueError:
            os._exit(139)


class ViewsSomethingElse(Sound):
    def open(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        return Point(0.5, "view")


class HashesAddresses(Sound):
    def fingerprint(self, obj: Any, update: Callable[[bytes], object]) -> None:
        update(b"%d" % id(obj))


class HashesByProcess(Sound):
    def fingerprint(self, obj: Any, update: Callable[[bytes], object]) -> None:
        update(b"%d %d" % (hash(obj.label), hash(obj.x)))


class ForgetsALabelInKeys(Sound):
    def fingerprint(self, obj: Any, update: Callable[[bytes], object]) -> None:
        update(repr(obj.x).encode())


class RunsPartsTogether(Sound):
    def fingerprint(self, obj: Any, update: Callable[[bytes], object]) -> None:
        update(f"{obj.label}{obj.x}".encode())


class RemembersFingerprints(Sound):
    def fingerprint(self, obj: Any, update: Callable[[bytes], object]) -> None:
        made = b"%d" % id(type(obj))
        update(made)


class DescribesInLines(Sound):
    def describe(self, obj: Any) -> str:
        return f"x: {obj.x}\nlabel"


class DescribesContents(Sound):
    def describe(self, obj: Any) -> str:
        return f"a point at {obj.x} " + "~" * 300


class Undocumented(Sound):
    def convert(self, obj: Any) -> Any:
        return obj


Undocumented.__doc__ = None

DEFECTS: list[tuple[type[Handler], str, str]] = [
    (NoHandler, "it_is_a_handler", "from 1 on"),
    (NamesNoFile, "it_is_a_handler", "something like '.npy'"),
    (AnswersOtherThanBool, "can_handle_answers_for_any_object", "give a bool"),
    (AsksEveryObject, "can_handle_answers_for_any_object", "somebody asked"),
    (RefusesItsOwn, "every_object_comes_back_exactly", "can_handle refused"),
    (LosesALabel, "every_object_comes_back_exactly", "raise CannotHandleError"),
    (LosesALabel, "every_object_comes_back_from_a_file", "raise CannotHandleError"),
    (LosesALabel, "every_object_comes_back_compressed", "raise CannotHandleError"),
    (LosesALabel, "a_part_of_a_nest_comes_back", "as a part"),
    (RoundsNumbers, "every_object_comes_back_exactly", "keep type, dtype"),
    (TakesSubclasses, "what_it_can_not_keep_it_refuses", "answer False in can_handle"),
    (TakesSubclasses, "a_subclass_is_refused_or_comes_back_as_such", r"compare type\(obj\)"),
    (TakesWhatItCanNotKeep, "what_it_can_not_keep_it_refuses", "raise CannotHandleError in put"),
    (ChangesItsObject, "a_put_leaves_the_object_as_it_was", "work on a copy"),
    (HandsOutOneObject, "what_it_gives_is_the_callers_own", "an object of its own"),
    (LeavesATemporaryFile, "it_writes_exactly_the_file_that_it_is_told", "no other"),
    (WritesAnotherFile, "it_writes_exactly_the_file_that_it_is_told", "no other"),
    (RemembersItsPath, "it_writes_exactly_the_file_that_it_is_told", "No such file"),
    (GivesMetadataThatJsonChanges, "it_writes_exactly_the_file_that_it_is_told", "JSON"),
    (ReadsAfterGet, "it_writes_exactly_the_file_that_it_is_told", "No such file"),
    (KeepsStateBetweenCalls, "one_instance_serves_all_threads", "keep no state"),
    (IgnoresOlderVersions, "every_older_version_is_read", r"older\(\); missing: \[1\]"),
    (Unpickles, "reading_runs_no_code_of_the_bytes", "never unpickles"),
    (AllocatesWhatTheFileSays, "reading_damaged_bytes_fails_or_gives_a_value", "MiB"),
    (CrashesOnDamage, "reading_damaged_bytes_fails_or_gives_a_value", "fresh process ended with"),
    (ViewsSomethingElse, "a_view_shows_what_was_put", "as a view"),
    (HashesAddresses, "equal_objects_make_equal_keys", "feed no addresses"),
    (HashesByProcess, "keys_are_the_same_in_every_process", r"no hash\(\)"),
    (ForgetsALabelInKeys, "different_objects_make_different_keys", "make one key"),
    (RunsPartsTogether, "different_objects_make_different_keys", "make one key"),
    (RemembersFingerprints, "a_change_changes_the_key", "remember nothing"),
    (DescribesInLines, "a_description_is_one_short_line", "more than a line"),
    (DescribesContents, "a_description_is_one_short_line", "not what is in it"),
    (Undocumented, "it_is_documented", "has no docstring"),
]


class PointSuite(HandlerContract):
    """The suite as an author writes it."""

    __test__ = False
    types = (f"{__name__}.Point",)

    def objects(self) -> Any:
        labels = st.sampled_from(["", "a", "A", " a", "0", "1", "naïve\n"])
        return st.builds(Point, st.sampled_from([0.0, 1.5, 1 / 3, 11.5, 1.0, 1e300]), labels)

    def refused(self) -> Any:
        extended = Point(1.0)
        extended.colour = "red"  # type: ignore[attr-defined]
        return [NamedPoint(1.5), extended, (1.5, ""), None]

    def changed(self, obj: Any) -> Any:
        if obj.label == "1":
            return Point(float(f"1{obj.x}"), "")
        return Point(obj.x, obj.label + "0")

    def change_in_place(self, obj: Any) -> bool:
        obj.label += "changed"
        return True


def run(handler: type[Handler], name: str, folder: Path, **said: Any) -> None:
    """Run one test of the suite on a handler, as pytest would."""
    suite = type("Suite", (PointSuite,), {"handler": handler, **said})()
    test = getattr(suite, f"test_{name}")
    folder.mkdir()
    register_handler(handler, priority=1000, types=PointSuite.types)
    given: dict[str, Any] = {"tmp_path": folder, "loaded": registry_for().handler(handler.name)}
    try:
        with ExitStack() as stack:
            for fixture in ("cache", "filed"):
                make = contextmanager(getattr(PointSuite, fixture).__wrapped__)
                given[fixture] = stack.enter_context(make(suite, folder, given["loaded"]))
            test(**{name: given[name] for name in inspect.signature(test).parameters})
    finally:
        unregister_handler(handler.name)


@pytest.mark.slow
@pytest.mark.parametrize(("handler", "name", "advice"), DEFECTS)
@pytest.mark.filterwarnings("ignore::cacheness.CachenessWarning")
def test_a_defect_is_found_and_the_failure_says_what_to_do(
    handler: type[Handler], name: str, advice: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, CachenessError, OSError, RuntimeError)) as failure:
        run(handler, name, tmp_path / "defect")

    causes = [failure.value, failure.value.__cause__, failure.value.__context__]
    told = " ".join(str(cause) for cause in causes if cause is not None)
    assert re.search(advice, told), told


@pytest.mark.slow
def test_every_promise_of_the_suite_is_held_by_the_handler_without_a_defect(
    tmp_path: Path,
) -> None:
    names = [name.removeprefix("test_") for name in dir(PointSuite) if name.startswith("test_")]

    for number, name in enumerate(names):
        run(Sound, name, tmp_path / str(number))


class AsksForAnOption(Sound):
    def put_with(self, obj: Any, file_path: str, context: HandlerContext) -> dict[str, Any]:
        if not context.options.get("points"):
            raise CannotHandleError("nobody asked for points")
        return self.put(obj, file_path)


@pytest.mark.slow
def test_a_handler_that_asks_for_options_gets_those_of_its_suite(tmp_path: Path) -> None:
    names = ["every_object_comes_back_exactly", "it_writes_exactly_the_file_that_it_is_told"]
    for name in names:
        run(AsksForAnOption, name, tmp_path / name, options={"points": True})

        with pytest.raises(CachenessError, match="nobody asked"):
            run(AsksForAnOption, name, tmp_path / f"{name} without")


@pytest.mark.slow
def test_a_handler_of_a_family_of_classes_is_judged_by_what_is_equal(tmp_path: Path) -> None:
    name = "a_subclass_is_refused_or_comes_back_as_such"

    def alike(suite: PointSuite, one: Any, other: Any) -> bool:
        return vars(one) == vars(other)

    run(TakesSubclasses, name, tmp_path / "alike", keeps_class=False, equal=alike)

    with pytest.raises(AssertionError, match="came back as a Point"):
        run(TakesSubclasses, name, tmp_path / "unlike", keeps_class=False)


def test_a_suite_without_a_handler_or_objects_says_what_to_set() -> None:
    class Suite(HandlerContract):
        pass

    with pytest.raises(AssertionError, match=r"override Suite\.objects"):
        Suite().objects()
    with pytest.raises(AssertionError, match=r"set Suite\.handler"):
        next(Suite.loaded.__wrapped__(Suite()))  # type: ignore[attr-defined]


class ChecksWhatNobodyVouchesFor(Sound):
    def get_with(self, file_path: str, metadata: Mapping[str, Any], context: HandlerContext) -> Any:
        try:
            return self.get(file_path)
        except ValueError:
            if context.verified:
                os._exit(139)
            raise


@pytest.mark.slow
def test_damaged_bytes_are_never_read_as_ones_that_somebody_vouches_for(tmp_path: Path) -> None:
    run(ChecksWhatNobodyVouchesFor, "reading_damaged_bytes_fails_or_gives_a_value", tmp_path / "it")
