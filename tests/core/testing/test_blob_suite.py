# SPDX-License-Identifier: MIT
"""The suite for blob backends finds a backend's defect and says what to do about it."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from cacheness.backends.base import BackendContext
from cacheness.blobs.file import FileBlobBackend
from cacheness.blobs.memory import MemoryBlobBackend
from cacheness.config import CacheConfig
from cacheness.testing import BlobBackendContract

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from cacheness.blobs.base import BlobBackend
    from cacheness.handlers.protocols import Buffer


class Sound(MemoryBlobBackend):
    """Without a defect."""

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context, name=context.directory)


class CountsElements(Sound):
    def write(self, name: str, source: Iterable[Buffer]) -> int:
        buffers = list(source)
        super().write(name, buffers)
        return sum(map(len, buffers))


class KeepsTheSourcesBuffers(Sound):
    def write(self, name: str, source: Iterable[Buffer]) -> int:
        return super().write(name, list(source))


class LeavesHalfABlob(Sound):
    def write(self, name: str, source: Iterable[Buffer]) -> int:
        written: list[Buffer] = []
        try:
            written += source
        finally:
            super().write(name, written)
        return len(b"".join(written))


class TakesNothingForMissing(Sound):
    def exists(self, name: str) -> bool:
        return super().exists(name) and len(bytes(self.read(name))) > 0


class GivesNothingForMissing(Sound):
    def read(self, name: str) -> Buffer:
        return super().read(name) if self.exists(name) else b""


class ReadsCopies(Sound):
    def read_into(self, name: str, target: memoryview) -> Iterator[memoryview]:
        for piece in super().read_into(name, target):
            yield memoryview(bytes(piece))


class ReadsPastTheEnd(Sound):
    def read_into(self, name: str, target: memoryview) -> Iterator[memoryview]:
        whole = bytes(self.read(name))[: len(target)]
        target[: len(whole)] = whole
        yield target[: len(whole)]


class MapsTheBlobItself(Sound):
    def mapped(self, name: str, size: int) -> memoryview | None:
        blob = self._store.blobs[name][0]
        if len(blob) != size:
            return None
        return memoryview(blob.obj)


class MapsAnySize(Sound):
    def mapped(self, name: str, size: int) -> memoryview | None:
        return memoryview(bytearray(self.read(name)))


class ReadsInOnePiece(Sound):
    def pieces(self, name: str) -> Iterator[Buffer]:
        yield self.read(name)


class LosesTheExtension(Sound):
    def local_path(self, name: str) -> Any:
        bare = name.partition(".")[0]
        if name in self._store.blobs:
            self._store.blobs[bare] = self._store.blobs[name]
        return super().local_path(bare)


class DeletesNothing(Sound):
    def delete(self, name: str) -> bool:
        return self.exists(name)


class DeletesWhatIsNotThere(Sound):
    def delete(self, name: str) -> bool:
        super().delete(name)
        return True


class ListsMilliseconds(Sound):
    def iter_blobs(self) -> Iterator[tuple[str, int, float]]:
        for name, size, modified_at in super().iter_blobs():
            yield name, size, 1000 * modified_at


class TrustsNames(Sound):
    def exists(self, name: str) -> bool:
        return name in self._store.blobs


class StagesForAll(Sound):
    def stage(self, name: str) -> str:
        folder = tempfile.mkdtemp()
        os.chmod(folder, 0o755)
        return os.path.join(folder, os.path.basename(super().stage(name)))


class KeepsWhatItAdopted(Sound):
    def adopt(self, path: str, name: str) -> int:
        shutil.copyfile(path, f"{path}.kept", follow_symlinks=False)
        size = super().adopt(path, name)
        os.replace(f"{path}.kept", path)
        return size


class FollowsLinks(Sound):
    def adopt(self, path: str, name: str) -> int:
        with open(path, "rb") as file:
            size = self.write(name, [file.read()])
        os.unlink(path)
        return size


class MakesAnIdEachTime(Sound):
    @property
    def store_id(self) -> str:
        return os.urandom(16).hex()


class HasOneIdForAll(Sound):
    store_id = "0123456789abcdef"


class ForgetsOwners(Sound):
    def claim(self, owner: str) -> None:
        self._store.owners = {owner}


class ClosesOnce(Sound):
    def close(self) -> None:
        self._store.owners.clear()
        super().close()


class WritesThroughOneBuffer(Sound):
    shared: bytearray = bytearray()

    def write(self, name: str, source: Iterable[Buffer]) -> int:
        type(self).shared = bytearray()
        for buffer in source:
            type(self).shared += buffer
            time.sleep(0.0005)
        return super().write(name, [bytes(self.shared)])


class HangsInAForkedChild(Sound):
    """Remembers its process, and will serve no other."""

    def __init__(self, context: BackendContext) -> None:
        super().__init__(context)
        self._thread = threading.get_native_id()

    def read(self, name: str) -> Buffer:
        if os.getpid() != self._thread:
            raise RuntimeError("this connection is another process's")
        return super().read(name)


class Outlives(FileBlobBackend):
    """Whose suite does not say that the store is still there."""


DEFECTS: list[tuple[type[BlobBackend], str, str]] = [
    (CountsElements, "buffers_of_any_number_type_are_bytes", "count bytes, not elements"),
    (KeepsTheSourcesBuffers, "the_source_may_use_its_buffer_again", "before asking the source"),
    (LeavesHalfABlob, "an_aborted_write_leaves_nothing", "the blob of a write that failed"),
    (TakesNothingForMissing, "an_empty_blob_is_a_blob", "exists has to tell it from none"),
    (GivesNothingForMissing, "a_missing_blob_is_a_missing_file", "FileNotFoundError"),
    (ReadsCopies, "a_large_blob_is_read_into_the_target", "slices of the target"),
    (ReadsPastTheEnd, "a_blob_that_is_too_long_is_an_error", "ValueError"),
    (MapsTheBlobItself, "pages_that_are_given_in_place_of_a_copy_are_private", "reached the blob"),
    (MapsAnySize, "pages_that_are_given_in_place_of_a_copy_are_private", "compare the size"),
    (ReadsInOnePiece, "a_blob_comes_in_pieces", "memory stays flat"),
    (LosesTheExtension, "a_blob_has_a_local_path", "by the extension"),
    (DeletesNothing, "a_deleted_blob_is_gone", "delete has to remove the blob"),
    (DeletesWhatIsNotThere, "a_deleted_blob_is_gone", "False where there was none"),
    (ListsMilliseconds, "blobs_are_listed", "epoch seconds"),
    (TrustsNames, "a_name_that_is_no_blobs_is_refused", "not a blob name|ValueError"),
    (StagesForAll, "a_staged_file_becomes_a_blob", "strangers must not read"),
    (KeepsWhatItAdopted, "a_staged_file_becomes_a_blob", "leave no second copy"),
    (FollowsLinks, "a_link_is_not_adopted", "OSError"),
    (MakesAnIdEachTime, "a_store_has_an_id_of_its_own", "kept in the store"),
    (HasOneIdForAll, "a_store_has_an_id_of_its_own", "each store has to have an id of its own"),
    (ForgetsOwners, "who_claims_the_store_is_remembered", "claim adds an owner"),
    (ClosesOnce, "it_may_be_closed_twice", "close has to do nothing"),
    (WritesThroughOneBuffer, "threads_write_and_read_at_once", "threads that write and read"),
    (HangsInAForkedChild, "a_forked_child_goes_on", "another process's|forked child failed"),
    (Outlives, "blobs_are_there_when_opened_again", "set persistent = True"),
]


def run(target: type[BlobBackend], test_name: str, folder: Path) -> None:
    """Run one test of the suite on a backend, as pytest would."""
    suite = type("Suite", (BlobBackendContract,), {"target": target})()
    directory = str(folder / "cache")
    context = BackendContext(directory, "", CacheConfig(cache_dir=directory))
    test = getattr(suite, f"test_{test_name}")
    wanted = inspect.signature(test).parameters
    given: dict[str, Any] = {"context": context, "opened": [], "tmp_path": folder}
    given["name"] = "../" + "0" * 32
    for parameter in {"backend", "another"} & set(wanted):
        given[parameter] = suite.make(context)
    test(**{name: given[name] for name in wanted})


@pytest.mark.slow
def test_a_backend_without_a_defect_keeps_every_promise(tmp_path: Path) -> None:
    for name in dir(BlobBackendContract):
        if name.startswith("test_"):
            folder = tmp_path / name
            folder.mkdir()
            run(Sound, name.removeprefix("test_"), folder)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "name", "advice"), DEFECTS)
def test_a_defect_is_found_and_the_failure_says_what_to_do(
    target: type[BlobBackend], name: str, advice: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, OSError, RuntimeError, pytest.fail.Exception)) as failure:
        run(target, name, tmp_path)

    assert re.search(advice, str(failure.value)), str(failure.value)
