# SPDX-License-Identifier: MIT
"""The suite for compressors finds a compressor's defect and says what to do about it."""

from __future__ import annotations

import inspect
import os
import re
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from cacheness import Compressor
from cacheness.testing import CompressorContract

if TYPE_CHECKING:
    from pathlib import Path


class Sound(Compressor):
    """Deflates, without a defect."""

    name = "suite_zlib"
    extension = ".zz"

    def compress(self, buffer: Any, *, typesize: int = 1) -> bytes:
        return zlib.compress(buffer, 1)

    def decompress(self, buffer: Any, *, max_size: int) -> bytes:
        inflater = zlib.decompressobj()
        try:
            whole = inflater.decompress(buffer, max_size + 1)
            if not inflater.eof and len(whole) <= max_size:
                whole += inflater.flush()
        except zlib.error as error:
            raise ValueError(str(error)) from None
        if len(whole) > max_size or not inflater.eof or inflater.unused_data:
            raise ValueError("no whole chunk, or too large a one")
        return whole


class HasNoName(Sound):
    name = ""


class NamesNoExtension(Sound):
    extension = "zz!"


class LosesTheEnd(Sound):
    def compress(self, buffer: Any, *, typesize: int = 1) -> bytes:
        whole = bytes(buffer)
        return zlib.compress(whole[: len(whole) // typesize * typesize], 1)


class WantsBytes(Sound):
    def compress(self, buffer: Any, *, typesize: int = 1) -> bytes:
        return zlib.compress(buffer + b"", 1)


class KeepsTheBuffer(Sound):
    def compress(self, buffer: Any, *, typesize: int = 1) -> Any:
        return buffer

    def decompress(self, buffer: Any, *, max_size: int) -> bytes:
        return bytes(buffer)


class PacksNothing(Sound):
    def compress(self, buffer: Any, *, typesize: int = 1) -> bytes:
        return zlib.compress(buffer, 0)


class SharesItsContext(Sound):
    _current: Any = None

    def compress(self, buffer: Any, *, typesize: int = 1) -> bytes:
        self._current = bytes(buffer)
        time.sleep(0.0005)
        return zlib.compress(self._current, 1)


class IgnoresTheBound(Sound):
    def decompress(self, buffer: Any, *, max_size: int) -> bytes:
        try:
            return zlib.decompress(buffer)
        except zlib.error as error:
            raise ValueError(str(error)) from None


class LooksAtTheBoundTooLate(Sound):
    def decompress(self, buffer: Any, *, max_size: int) -> bytes:
        whole = zlib.decompress(buffer)
        if len(whole) > max_size:
            raise ValueError("too large")
        return whole


class RaisesItsOwnError(Sound):
    def decompress(self, buffer: Any, *, max_size: int) -> bytes:
        whole = zlib.decompressobj().decompress(buffer, max_size + 1)
        if len(whole) > max_size:
            raise ValueError("too large")
        return whole


class CrashesOnDamage(Sound):
    def decompress(self, buffer: Any, *, max_size: int) -> bytes:
        try:
            return super().decompress(buffer, max_size=max_size)
        except ValueError:
            os._exit(139)


class Undocumented(Sound):
    pass


Undocumented.__doc__ = None

DEFECTS: list[tuple[type[Compressor], str, str]] = [
    (HasNoName, "it_is_a_compressor", "entries remember it"),
    (NamesNoExtension, "it_is_a_compressor", "something like '.gz'"),
    (LosesTheEnd, "every_chunk_comes_back", "assert"),
    (WantsBytes, "every_kind_of_buffer_is_taken", "memoryview"),
    (KeepsTheBuffer, "it_leaves_its_input_alone", "give new bytes"),
    (PacksNothing, "what_repeats_shrinks", "packs = False"),
    (SharesItsContext, "one_instance_serves_all_threads", "a context for each call"),
    (IgnoresTheBound, "a_chunk_larger_than_it_may_be_fails", "DID NOT RAISE"),
    (LooksAtTheBoundTooLate, "a_bomb_takes_no_memory", "stop at max_size"),
    (RaisesItsOwnError, "damage_is_a_value_error_or_no_larger_than_allowed", "into a ValueError"),
    (CrashesOnDamage, "damage_is_a_value_error_or_no_larger_than_allowed", "child failed"),
    (Undocumented, "it_is_documented", "has no docstring"),
]


def run(compressor: type[Compressor], name: str, folder: Path) -> None:
    """Run one test of the suite on a compressor, as pytest would."""
    suite = type("Suite", (CompressorContract,), {"compressor": compressor})()
    test = getattr(suite, f"test_{name}")
    given: dict[str, Any] = {"tmp_path": folder, "codec": compressor()}
    test(**{name: given[name] for name in inspect.signature(test).parameters})


@pytest.mark.slow
def test_a_compressor_without_a_defect_keeps_every_promise(tmp_path: Path) -> None:
    for name in dir(CompressorContract):
        if name.startswith("test_"):
            run(Sound, name.removeprefix("test_"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("compressor", "name", "advice"), DEFECTS)
def test_a_defect_is_found_and_the_failure_says_what_to_do(
    compressor: type[Compressor], name: str, advice: str, tmp_path: Path
) -> None:
    with pytest.raises((AssertionError, TypeError, pytest.fail.Exception)) as failure:
        run(compressor, name, tmp_path)

    assert re.search(advice, str(failure.value)), str(failure.value)
