"""A cache on a disk that its reader can't write sees what is written elsewhere."""

import subprocess

import numpy as np
import pytest

from cacheness import ReadOnlyError, UnifiedCache

BACKENDS = ["sqlite", "json"]
LARGE = np.arange(20_000)


@pytest.fixture
def mounted(tmp_path):
    """A directory, and the same one as a disk that can't be written; None for who may not."""
    directory, view = tmp_path / "there", tmp_path / "here"
    directory.mkdir()
    view.mkdir()
    if subprocess.run(
        ["mount", "--bind", directory, view], capture_output=True, check=False
    ).returncode:
        yield None
        return
    subprocess.run(["mount", "-o", "remount,bind,ro", view], check=True)
    yield directory, view
    subprocess.run(["umount", "-l", view], check=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("writing", [False, True], ids=["a writer later", "a writer before"])
@pytest.mark.parametrize("tier", [0, 1 << 20], ids=["plain", "tier"])
def test_a_reader_on_a_read_only_mount_sees_what_writers_elsewhere_do(
    mounted, backend, writing, tier
):
    if mounted is None:
        return
    directory, view = mounted
    in_memory = {"memory_bytes": tier, "memory_staleness": 0}
    with UnifiedCache(directory, metadata_backend=backend) as cache:
        cache.put(LARGE, "k")
        cache.put("small", "s")
    writer = UnifiedCache(directory, metadata_backend=backend) if writing else None
    if writer:
        writer.put("in the log", "s")
    with UnifiedCache(view, metadata_backend=backend, read_only=True, **in_memory) as reader:
        assert (reader["k"] == LARGE).all()
        assert reader["s"] == ("in the log" if writing else "small")
        writer = writer or UnifiedCache(directory, metadata_backend=backend)
        with writer:
            for number in range(20):
                writer.put(LARGE + number, "k")
                writer.put(number, "s")
                assert (reader["k"] == LARGE + number).all()
                assert reader["s"] == number
            writer.invalidate("k")
            assert reader.get("k") is None
            assert len(reader) == 1
        assert reader["s"] == 19, "the writer has closed, and its log is gone"
        with pytest.raises(ReadOnlyError):
            reader.put(1, "k")


@pytest.mark.parametrize("backend", BACKENDS)
def test_writers_that_come_and_go_between_two_reads_are_noticed(mounted, backend):
    if mounted is None:
        return
    directory, view = mounted
    with UnifiedCache(directory, metadata_backend=backend) as writer:
        writer.put("first", "s")
    with UnifiedCache(view, metadata_backend=backend, read_only=True) as reader:
        for number in range(5):
            assert reader["s"] == ("first" if number == 0 else number - 1)
            assert set(reader.query_meta(entry__hits__gte=0)) == set(reader)
            with UnifiedCache(directory, metadata_backend=backend) as writer:
                writer.put(number, "s")
                writer.put(number, f"s{number}")
        assert len(reader) == 6
