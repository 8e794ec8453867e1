# SPDX-License-Identifier: MIT
# ruff: noqa: S101 - a suite is made of assertions
"""The suite for compressors."""

from __future__ import annotations

import os
import random
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cacheness.compressors.base import Compressor
from cacheness.core import UnifiedCache
from cacheness.plugins.registry import registry_for
from cacheness.testing.comparing import same
from cacheness.testing.plugin import PluginPromises
from cacheness.testing.store import forked

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CompressorContract"]

_SAMPLE = b"".join(b"line %d of a text that repeats itself, " % n for n in range(2500))
"""100,000 bytes that any compressor shrinks."""
_BOMB = 50 << 20


class CompressorContract(PluginPromises):
    """Everything that cacheness relies on in a compressor.

    Subclass it in a test file and set `compressor`.

    Example:
        >>> class TestMyCompressor(CompressorContract):
        ...     compressor = "brotli"
    """

    hook = "cacheness_compressors"

    compressor: str | type[Compressor] = ""
    """The name that its spec has, or the class of one that is not packaged yet."""
    packs: bool = True
    """Whether it makes anything smaller; False for one that passes bytes through."""

    def provided(self) -> str | type[Compressor]:
        return self.compressor

    @pytest.fixture
    def codec(self) -> Compressor:
        """The compressor, as the registry gives it."""
        assert self.compressor, (
            f"set {type(self).__name__}.compressor to the name in your CompressorSpec, or to the "
            "class"
        )
        if isinstance(self.compressor, str):
            return registry_for().compressor(self.compressor)
        return self.compressor()

    # --- chunks ---------------------------------------------------------------------------

    def test_it_is_a_compressor(self, codec: Compressor) -> None:
        assert isinstance(codec, Compressor), "derive it from cacheness.Compressor"
        provided = self.compressor if isinstance(self.compressor, str) else codec.name
        assert codec.name == provided, (
            f"it is called {codec.name!r} and its spec {provided!r}: entries remember its name, "
            "by which it is looked up"
        )
        assert codec.name, "give it a name: entries remember it"
        assert re.fullmatch(r"(\.[a-z0-9]{1,8})?", codec.extension), (
            f"extension={codec.extension!r} is no end of a file's name: give something like '.gz'"
        )

    def test_every_chunk_comes_back(self, codec: Compressor) -> None:
        @settings(
            max_examples=60,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  # its members
        )
        @given(st.binary(max_size=300), st.integers(1, 300), st.integers(1, 40))
        def check(data: bytes, typesize: int, times: int) -> None:
            whole = data * times
            packed = codec.compress(whole, typesize=typesize)
            assert same(bytes(codec.decompress(packed, max_size=len(whole))), whole)

        check()

    def test_a_chunk_of_megabytes_comes_back(self, codec: Compressor) -> None:
        chance = random.Random(0)  # noqa: S311  # no secret
        for data in (chance.randbytes(4 << 20), bytes(4 << 20), (_SAMPLE * 42)[: 4 << 20]):
            packed = codec.compress(data, typesize=8)
            assert same(bytes(codec.decompress(packed, max_size=len(data))), data)

    def test_every_kind_of_buffer_is_taken(self, codec: Compressor) -> None:
        for kind in (bytes, bytearray, memoryview):
            packed = bytes(codec.compress(kind(_SAMPLE), typesize=4))
            assert same(bytes(codec.decompress(kind(packed), max_size=len(_SAMPLE))), _SAMPLE)

    def test_it_leaves_its_input_alone(self, codec: Compressor) -> None:
        data = bytearray(_SAMPLE)
        packed = codec.compress(data, typesize=4)
        data[:] = bytes(len(data))
        assert not self.packs or same(
            bytes(codec.decompress(packed, max_size=len(data))), _SAMPLE
        ), "what compress gave changed with the caller's buffer: copy, or give new bytes"

    def test_what_repeats_shrinks(self, codec: Compressor) -> None:
        size = len(codec.compress(_SAMPLE, typesize=4))
        assert size < len(_SAMPLE) or not self.packs, (
            f"{len(_SAMPLE)} bytes of text became {size}: set packs = False, if that is meant"
        )

    def test_one_instance_serves_all_threads(self, codec: Compressor) -> None:
        chunks = [_SAMPLE[n:] for n in range(40)]

        def there_and_back(chunk: bytes) -> bytes:
            return bytes(codec.decompress(codec.compress(chunk), max_size=len(chunk)))

        with ThreadPoolExecutor(8) as pool:
            backs = list(pool.map(there_and_back, chunks))
        assert same(backs, chunks), "threads got each other's chunks: make a context for each call"

    # --- hostile chunks -------------------------------------------------------------------

    def test_a_chunk_larger_than_it_may_be_fails(self, codec: Compressor) -> None:
        packed = codec.compress(_SAMPLE)
        for most in (0, 1, len(_SAMPLE) - 1):
            with pytest.raises(ValueError, match=r".+"):
                codec.decompress(packed, max_size=most)

    def test_a_bomb_takes_no_memory(self, codec: Compressor) -> None:
        bomb = bytes(codec.compress(bytes(_BOMB)))
        if len(bomb) >= _BOMB // 2:
            assert not self.packs
            return
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match=r".+"):
                codec.decompress(bomb, max_size=1 << 20)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < _BOMB // 4, (
            f"a chunk of {len(bomb)} bytes took {peak >> 20} MiB: stop at max_size"
        )

    def test_damage_is_a_value_error_or_no_larger_than_allowed(self, codec: Compressor) -> None:
        packed = bytes(codec.compress(_SAMPLE[:4000], typesize=4))

        def read_all() -> str:
            for changed in _damaged(packed):
                try:
                    size = len(codec.decompress(changed, max_size=4000))
                except ValueError:
                    continue
                except Exception as error:  # noqa: BLE001  # told below
                    return f"raised {type(error).__name__}: {error}; turn it into a ValueError"
                if size > 4000:
                    return f"gave {size} bytes where 4000 were allowed: stop at max_size"
            return ""

        # In a process of its own: a crash is to fail this test and not to end all of them.
        assert not (told := forked(read_all)), f"a damaged chunk {told}"

    # --- in a cache -----------------------------------------------------------------------

    def test_a_cache_keeps_payloads_by_it(self, tmp_path: Path) -> None:
        if not isinstance(self.compressor, str):
            return  # a cache finds compressors by their spec
        payloads = {str(size): os.urandom(size) + bytes(size) for size in (0, 1, 5000, 9_000_000)}
        with UnifiedCache(tmp_path / "cache", compressor=self.compressor) as cache:
            for key, payload in payloads.items():
                cache[key] = payload
        with UnifiedCache(tmp_path / "cache") as cache:
            backs: dict[str, Any] = {key: cache[key] for key in payloads}
        assert same(backs, payloads)


def _damaged(packed: bytes) -> list[bytes]:
    """A chunk cut, continued, changed and replaced; the same at each run."""
    chance = random.Random(0)  # noqa: S311  # no secret
    size = len(packed)
    found = [b"", b"\0" * 40, b"\xff" * 40, packed + b"\0", packed + packed]
    found += [packed[:cut] for cut in range(0, size, max(1, size // 40))]
    for _ in range(200 if size else 0):
        changed = bytearray(packed)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(min(size, 60) if chance.random() < 0.7 else size)
            changed[place] ^= chance.randint(1, 255)
        found.append(bytes(changed))
    return found
