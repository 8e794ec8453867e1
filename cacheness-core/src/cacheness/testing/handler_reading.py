# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""That reading a payload is safe, whatever is in it, and that a view shows what was put."""

from __future__ import annotations

import os
import pickle
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cacheness.errors import CachenessWarning
from cacheness.testing.handler_base import HandlerSubject
from cacheness.testing.handler_keeping import contexts
from cacheness.testing.handler_worker import MOST_GROWTH, read_damaged_elsewhere, read_payload

if TYPE_CHECKING:
    from pathlib import Path

    from cacheness.core import UnifiedCache
    from cacheness.plugins.registry import LoadedHandler

__all__ = ["ReadingPromises"]


class ReadingPromises(HandlerSubject):
    """Damage, hostile bytes, views."""

    def test_reading_damaged_bytes_fails_or_gives_a_value(
        self, loaded: LoadedHandler, tmp_path: Path
    ) -> None:
        """Of a handler that is data-only any bytes are read; of others, verified ones alone."""
        payloads = self._payloads(loaded, tmp_path)

        read, growth = read_damaged_elsewhere(self.handler, payloads, os.fspath(tmp_path))

        assert growth <= MOST_GROWTH, (
            f"reading small damaged files took {growth >> 10} MiB: check a size that the file "
            "declares before allocating it"
        )
        assert read >= len(payloads)

    def test_reading_runs_no_code_of_the_bytes(self, loaded: LoadedHandler, tmp_path: Path) -> None:
        proof, folder = tmp_path / "ran", os.fspath(tmp_path)
        bombs = [pickle.dumps(_Bomb(str(proof)), protocol) for protocol in (0, 2, 4, 5)]
        payloads = self._payloads(loaded, tmp_path) if loaded.data_only else []
        for bomb in bombs:
            for payload, metadata in [*payloads, (b"", {})] if loaded.data_only else []:
                read_payload(loaded, folder, bomb, metadata)
                read_payload(
                    loaded, os.fspath(tmp_path), payload[: len(payload) // 2] + bomb, metadata
                )
        assert not proof.exists(), (
            "reading a pickle ran it: a handler that is data_only never unpickles"
        )

    def test_a_damaged_file_is_a_miss(self, loaded: LoadedHandler, filed: UnifiedCache) -> None:
        def check(obj: Any) -> None:
            filed.put(obj, "it", handler=loaded.name)
            entry = filed.get_entry("it")
            if entry is not None and entry.blob is not None:
                _flip(f"{filed.config.cache_dir}/blobs/{entry.blob}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CachenessWarning)
                back = filed.get("it", default=self)
            if back is not self:  # an empty file has nothing to flip
                self.assert_same(back, obj, "from a damaged file")
            filed.clear()

        self.for_each(check, examples=5)

    def test_a_view_shows_what_was_put(self, loaded: LoadedHandler, filed: UnifiedCache) -> None:
        def check(obj: Any) -> None:
            filed.put(obj, "it", handler=loaded.name)
            view = filed.get("it", mmap=True)
            self.assert_same(view, obj, "as a view (mmap=True)")
            filed.open("it")
            with suppress(ValueError, TypeError, AttributeError):  # it may well be read-only
                self.change_in_place(view)
            self.assert_same(filed["it"], obj, "after a change of its view")

        self.for_each(check, examples=10)

    def _payloads(
        self, loaded: LoadedHandler, tmp_path: Path
    ) -> list[tuple[bytes, dict[str, Any]]]:
        """Some payloads of the handler, each a file of its own."""
        found: list[tuple[bytes, dict[str, Any]]] = []
        path = tmp_path / f"whole{loaded.extension}"

        def collect(obj: Any) -> None:
            putting, _ = contexts(self.options)
            metadata = loaded.handler.put_with(obj, os.fspath(path), putting)
            if not putting.parts.objects:
                found.append((path.read_bytes(), metadata))

        self.for_each(collect, examples=8)
        return found[:8]


class _Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self._path, "w")


def _flip(path: str) -> None:
    with open(path, "r+b") as file:
        payload = bytearray(file.read())
        if payload:
            payload[len(payload) // 2] ^= 0x40
            file.seek(0)
            file.write(payload)
