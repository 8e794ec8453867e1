# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""The suite for blob backends."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheness.blobs.base import BlobBackend
from cacheness.testing.comparing import same
from cacheness.testing.store import StoreContract, close_twice, forked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cacheness.backends.base import BackendContext

__all__ = ["BlobBackendContract"]

NAME = "ab/" + "0123456789abcdef" * 2 + ".npy"
HOSTILE_NAMES = (
    "",
    "ab",
    "../" + "0" * 32,
    "ab/../../" + "0" * 32,
    "/etc/passwd",
    "AB/" + "0" * 32,
    "ab/" + "0" * 31,
    "ab/" + "0" * 33,
    "ab/" + "0" * 32 + "\n",
    "ab/" + "0" * 32 + "/x",
    "ab/" + "0" * 32 + ".",
    "ab/" + "0" * 32 + ".NPY",
    "ab/" + "0" * 32 + ".a.b.c.d",
    "ab/" + "0" * 32 + ".npy\0",
    "ab/" + "\N{ARABIC-INDIC DIGIT ZERO}" * 32,
    "ab\\" + "0" * 32,
)
"""Names that could lead anywhere."""


class BlobBackendContract(StoreContract):
    """Everything that cacheness relies on in a blob backend.

    Subclass it in a test file, set `target`, and tell the store's reach by `shared` and
    `persistent`. What a test needs of the outside, such as a server's URL, `options` gives.

    Example:
        >>> class TestMyBlobs(BlobBackendContract):
        ...     target = "my_plugin.blobs:MyBlobBackend"
        ...     shared = True
        ...     persistent = True
    """

    # --- single blobs -------------------------------------------------------------------

    def test_every_blob_comes_back_exactly(self, backend: BlobBackend) -> None:
        assert isinstance(backend, BlobBackend), "derive it from cacheness.BlobBackend"

        @settings(
            max_examples=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  # its members
        )
        @given(st.lists(st.binary(max_size=3000), max_size=6), st.integers(0, 2**128 - 1))
        def check(pieces: list[bytes], number: int) -> None:
            name = f"{number % 256:02x}/{number:032x}.b2nd.gz"
            kinds = (bytes, bytearray, memoryview)
            source = [kinds[i % 3](piece) for i, piece in enumerate(pieces)]
            whole = b"".join(pieces)

            assert backend.write(name, iter(source)) == len(whole), "write gives the blob's size"
            assert same(bytes(backend.read(name)), whole)
            assert backend.exists(name)
            assert backend.delete(name)

        check()

    def test_buffers_of_any_number_type_are_bytes(self, backend: BlobBackend) -> None:
        import array

        numbers = array.array("d", [1.5, 2.5])

        assert backend.write(NAME, [memoryview(numbers)]) == 16, "count bytes, not elements"
        assert bytes(backend.read(NAME)) == numbers.tobytes()

    def test_the_source_may_use_its_buffer_again(self, backend: BlobBackend) -> None:
        def source() -> Iterator[bytearray]:
            scratch = bytearray(1000)
            for value in range(5):
                scratch[:] = bytes([value]) * 1000
                yield scratch

        backend.write(NAME, source())

        expected = b"".join(bytes([value]) * 1000 for value in range(5))
        assert same(bytes(backend.read(NAME)), expected), (
            "use a buffer up before asking the source for the next one"
        )

    def test_who_claims_the_store_is_remembered(
        self, context: BackendContext, opened: list[Any], backend: BlobBackend
    ) -> None:
        before = backend.owners()
        if before is None:
            return  # then no blob is ever taken for an orphan
        assert before == frozenset()

        for owner in ("one", "two in /a/pläce", "one"):
            backend.claim(owner)

        assert backend.owners() == frozenset({"one", "two in /a/pläce"}), (
            "claim adds an owner to those that the store has"
        )
        if self.shared:
            again = self.make(context)
            opened.append(again)
            assert again.owners() == frozenset({"one", "two in /a/pläce"})
        assert list(backend.iter_blobs()) == [], "what remembers an owner is no blob"
        assert list(backend.iter_leftovers(older_than=-1)) == []

    def test_an_empty_blob_is_a_blob(self, backend: BlobBackend) -> None:
        assert backend.write(NAME, []) == 0
        assert backend.exists(NAME), "a blob may be empty: exists has to tell it from none"
        assert bytes(backend.read(NAME)) == b""
        assert list(backend.read_into(NAME, memoryview(bytearray(3)))) in ([], [b""])

    def test_a_blob_that_is_renewed_was_changed_just_now(self, backend: BlobBackend) -> None:
        backend.write(NAME, [b"x"])
        ((_, _, before),) = backend.iter_blobs()
        time.sleep(0.01)

        assert backend.renew(NAME), "the blob is there: renew has to tell it from none"

        ((_, size, after),) = backend.iter_blobs()
        assert (bytes(backend.read(NAME)), size) == (b"x", 1), "renew changes a time alone"
        renews = type(backend).renew is not BlobBackend.renew
        assert after > before or not renews, "iter_blobs gives the time of a renewal"
        backend.delete(NAME)
        assert not backend.renew(NAME), "there is none any more"

    def test_an_aborted_write_leaves_nothing(self, backend: BlobBackend) -> None:
        def source() -> Iterator[bytes]:
            yield b"x" * 3_000_000
            raise RuntimeError("the source failed")

        with pytest.raises(RuntimeError, match="the source failed"):
            backend.write(NAME, source())

        assert not backend.exists(NAME), (
            "the blob of a write that failed is there: write under another name, and rename"
        )
        assert list(backend.iter_blobs()) == [], "half a blob was left behind"
        with pytest.raises(FileNotFoundError):
            backend.read(NAME)

    def test_a_missing_blob_is_a_missing_file(self, backend: BlobBackend) -> None:
        backend.write(NAME, [b"another"])
        missing = NAME.replace("0", "f")

        assert backend.exists(missing) is False
        assert backend.delete(missing) is False
        with pytest.raises(FileNotFoundError):
            backend.read(missing)
        with pytest.raises(FileNotFoundError):
            list(backend.read_into(missing, memoryview(bytearray(1))))
        with pytest.raises(FileNotFoundError), backend.local_path(missing):
            pass

    def test_a_large_blob_is_read_into_the_target(self, backend: BlobBackend) -> None:
        whole = os.urandom(1 << 16) * 50
        backend.write(NAME, [whole[:1_000_001], whole[1_000_001:]])
        target = memoryview(bytearray(len(whole) + 10))

        slices = list(backend.read_into(NAME, target))

        assert same(b"".join(slices), whole), "each filled slice once, in order"
        assert same(target[: len(whole)], whole), "the slices are of the target, not copies"
        assert bytes(target[len(whole) :]) == bytes(10), "a short blob ends early"
        assert all(piece.obj is target.obj for piece in slices), "give slices of the target"

    def test_a_large_blob_is_read_into_several_targets(self, backend: BlobBackend) -> None:
        whole = os.urandom(1 << 16) * 50
        backend.write(NAME, [whole])
        targets = [memoryview(bytearray(size)) for size in (5, 0, 1_234_567, len(whole))]

        pieces = backend.read_scattered(NAME, targets)

        if pieces is None:
            return  # it knows no better than `read_into`
        slices = list(pieces)
        assert same(b"".join(slices), whole), "each filled slice once, in order"
        assert same(b"".join(targets)[: len(whole)], whole), "each target is filled before the next"
        owners = {id(target.obj) for target in targets}
        assert all(id(piece.obj) in owners for piece in slices), "give slices of the targets"
        with pytest.raises(ValueError, match="99"):
            list(backend.read_scattered(NAME, [targets[0], targets[2][:94]]) or ())
        with pytest.raises(FileNotFoundError):
            list(backend.read_scattered(NAME.replace("0", "f"), targets) or ())
        backend.delete(NAME)
        backend.write(NAME, [])
        assert b"".join(backend.read_scattered(NAME, targets) or ()) == b""

    def test_a_blob_that_is_too_long_is_an_error(self, backend: BlobBackend) -> None:
        backend.write(NAME, [b"x" * 100])
        target = memoryview(bytearray(99))

        with pytest.raises(ValueError, match="99"):
            list(backend.read_into(NAME, target))

    def test_pages_that_are_given_in_place_of_a_copy_are_private(
        self, backend: BlobBackend
    ) -> None:
        content = os.urandom(100_000)
        backend.write(NAME, [content])

        assert backend.mapped(NAME, len(content) + 1) is None, "compare the size"
        mapped = backend.mapped(NAME, len(content))

        if mapped is not None:
            assert same(mapped, content)
            mapped[0] ^= 1
            assert same(bytes(backend.read(NAME)), content), "a write to the pages reached the blob"
            backend.delete(NAME)
            assert same(mapped[1:], content[1:]), "the pages went with the blob"

    def test_a_blob_comes_in_pieces(self, backend: BlobBackend) -> None:
        content = os.urandom(9_000_000)
        backend.write(NAME, [content])

        pieces = [bytes(piece) for piece in backend.pieces(NAME)]
        assert same(b"".join(pieces), content)
        assert max(map(len, pieces)) <= 4 << 20, "memory stays flat however large a blob is"
        next(iter(backend.pieces(NAME)))  # whoever stops early holds nothing up
        assert backend.delete(NAME)
        with pytest.raises(FileNotFoundError):
            next(iter(backend.pieces(NAME)))

    def test_a_blob_has_a_local_path(self, backend: BlobBackend) -> None:
        backend.write(NAME, [b"some ", b"bytes"])

        with backend.local_path(NAME) as path:
            assert path.endswith(".npy"), "tools tell formats by the extension"
            with open(path, "rb") as file:
                assert file.read() == b"some bytes"

        assert bytes(backend.read(NAME)) == b"some bytes"

    def test_a_deleted_blob_is_gone(self, backend: BlobBackend) -> None:
        backend.write(NAME, [b"x"])

        assert backend.delete(NAME) is True
        assert backend.exists(NAME) is False, "delete has to remove the blob"
        assert backend.delete(NAME) is False, "delete gives False where there was none"
        assert list(backend.iter_blobs()) == []

    def test_blobs_are_listed(self, backend: BlobBackend) -> None:
        assert list(backend.iter_blobs()) == []
        sizes = {f"{n:02x}/{n:032x}.bin": 10 * n for n in range(1, 6)}
        for name, size in sizes.items():
            backend.write(name, [bytes(size)])

        listed = list(backend.iter_blobs())

        assert {name: size for name, size, _ in listed} == sizes
        now = time.time()
        assert all(abs(now - modified) < 600 for *_, modified in listed), "epoch seconds"

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_a_name_that_is_no_blobs_is_refused(self, backend: BlobBackend, name: str) -> None:
        with pytest.raises(ValueError, match="not a blob name"):
            backend.write(name, [b"x"])
        with pytest.raises(ValueError, match="not a blob name"):
            backend.read(name)
        with pytest.raises(ValueError, match="not a blob name"):
            list(backend.read_into(name, memoryview(bytearray(1))))
        with pytest.raises(ValueError, match="not a blob name"), backend.local_path(name):
            pass
        with pytest.raises(ValueError, match="not a blob name"):
            backend.delete(name)
        with pytest.raises(ValueError, match="not a blob name"):
            backend.exists(name)
        with pytest.raises(ValueError, match="not a blob name"):
            backend.stage(name)
        assert list(backend.iter_blobs()) == [], "check names by check_blob_name before any use"

    # --- files that a handler writes itself -----------------------------------------------

    def test_a_staged_file_becomes_a_blob(self, backend: BlobBackend) -> None:
        staged = backend.stage(NAME)
        assert staged.endswith(".npy"), "a handler's file has its extension"
        assert not os.path.lexists(staged), "the handler makes the file"
        if os.name == "posix":
            mode = os.stat(os.path.dirname(staged)).st_mode
            assert not mode & 0o007, "strangers must not read what is staged"
        with open(staged, "xb") as file:
            file.write(b"written by a handler")
        assert list(backend.iter_blobs()) == [], "what is staged is no blob yet"
        name = NAME.replace("0", "1")

        assert backend.adopt(staged, name) == 20

        assert bytes(backend.read(name)) == b"written by a handler"
        assert not os.path.lexists(staged), "adopt has to leave no second copy"
        assert [name for name, *_ in backend.iter_blobs()] == [name]

    def test_a_file_that_nobody_wrote_is_not_adopted(self, backend: BlobBackend) -> None:
        staged = backend.stage(NAME)

        with pytest.raises(FileNotFoundError):
            backend.adopt(staged, NAME)

        assert not backend.exists(NAME)

    def test_a_link_is_not_adopted(self, backend: BlobBackend, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_bytes(b"secret")
        staged = backend.stage(NAME)
        os.symlink(secret, staged)

        with pytest.raises(OSError, match=r".+"):
            backend.adopt(staged, NAME)

        assert not backend.exists(NAME), "only a regular file may become a blob"
        os.unlink(staged)

    # --- the store ------------------------------------------------------------------------

    def test_a_store_has_an_id_of_its_own(
        self,
        context: BackendContext,
        opened: list[Any],
        backend: BlobBackend,
        another: BlobBackend,
    ) -> None:
        from cacheness.backends.base import BackendContext

        other_place = BackendContext(f"{context.directory}-other", "", context.config)
        other = self.make(other_place)
        opened.append(other)

        assert len(backend.store_id) >= 16, "two stores must never have the same id by chance"
        assert backend.store_id == backend.store_id == another.store_id, (
            "the id is kept in the store, not made by each backend object"
        )
        assert other.store_id != backend.store_id, "each store has to have an id of its own"

    def test_blobs_are_there_when_opened_again(self, context: BackendContext) -> None:
        backend = self.make(context)
        backend.write(NAME, [b"kept"])
        store_id = backend.store_id
        backend.close()
        del backend  # a store in memory lasts for as long as a backend object of it

        backend = self.make(context)
        try:
            if not self.persistent:
                assert not backend.exists(NAME), (
                    "the store outlives its last user: set persistent = True"
                )
                return
            assert backend.exists(NAME), (
                "the blob has to be there when the store is opened again (persistent = True)"
            )
            assert bytes(backend.read(NAME)) == b"kept"
            assert backend.store_id == store_id, "keep the id in the store, with the blobs"
        finally:
            backend.close()

    def test_it_may_be_closed_twice(self, context: BackendContext) -> None:
        backend = self.make(context)
        backend.write(NAME, [b"x"])

        close_twice(backend)

    def test_threads_write_and_read_at_once(self, backend: BlobBackend) -> None:
        errors: list[BaseException] = []
        payloads = {f"{n:02x}/{n:032x}": bytes([n]) * 200_000 for n in range(12)}

        def work(name: str) -> None:
            try:
                for _ in range(3):
                    backend.write(name, [payloads[name][:50_000], payloads[name][50_000:]])
                    assert same(bytes(backend.read(name)), payloads[name])
                    target = memoryview(bytearray(200_000))
                    assert same(b"".join(backend.read_into(name, target)), payloads[name])
                    assert backend.delete(name)
                backend.write(name, [payloads[name]])
            except BaseException as error:  # noqa: BLE001  # raised in the test's own thread
                errors.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in payloads]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert not errors, f"threads that write and read at once lead astray: {errors[0]!r}"
        assert {name for name, *_ in backend.iter_blobs()} == set(payloads)

    def test_processes_share_the_store(self, context: BackendContext, backend: BlobBackend) -> None:
        if not self.shared:
            assert forked(lambda: backend.write(NAME, [b"child"])) == 5
            assert not backend.exists(NAME), "another process's blob is seen: set shared = True"
            return
        names = [[f"{p:02x}/{16 * p + n:032x}" for n in range(4)] for p in range(2)]
        workers = [self.start(context, "write_blobs", names=of, size=70_000) for of in names]

        ids = {worker.result() for worker in workers}

        assert ids == {backend.store_id}, "processes that make a store at once agree on its id"
        for name in (*names[0], *names[1]):
            assert bytes(backend.read(name)) == name.encode() + bytes(70_000)

    def test_a_forked_child_goes_on(self, backend: BlobBackend) -> None:
        backend.write(NAME, [b"parent"])
        name = NAME.replace("0", "1")

        def child() -> bytes:
            backend.write(name, [b"child"])
            return bytes(backend.read(NAME)) + bytes(backend.read(name))

        assert forked(child) == b"parentchild"
        assert backend.exists(name) is self.shared
        assert bytes(backend.read(NAME)) == b"parent"
