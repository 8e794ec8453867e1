"""Entries move into and out of PostgreSQL, and its integrity is verified there."""

import numpy as np
import pytest

from cacheness import ConfigError, UnifiedCache
from cacheness.integrity.integrity import verify_integrity

SECRET = b"a signing key of this test"
LARGE = np.arange(600_000)


@pytest.fixture
def postgres(url, schema, tmp_path):
    with UnifiedCache(
        tmp_path / "shared",
        metadata_backend="postgres",
        metadata_options={"url": url, "schema": schema},
        signing_key=SECRET,
        compressor="none",
    ) as cache:
        yield cache


@pytest.fixture(params=["sqlite", "json"])
def local(request, tmp_path):
    with UnifiedCache(
        tmp_path / "local",
        metadata_backend=request.param,
        signing_key=SECRET,
        compressor="none",
    ) as cache:
        yield cache


def fill(cache):
    cache.put(LARGE, "large", tags=("a",), custom_metadata={"x": [1, None]})
    cache.put({1, 2}, "signed", ttl_seconds=1000)
    cache.put({"a": 1}, lr=0.1)


def facts(cache):
    own = {"generation", "signature", "blob", "blob_store", "namespace"}
    return {
        summary["cache_key"]: {name: of for name, of in summary.items() if name not in own}
        for summary in cache.engine.backend.iter_entry_summaries()
    }


def test_a_cache_moves_to_the_server_and_back(postgres, local, tmp_path):
    fill(local)

    assert local.copy_to(postgres) == 3
    assert facts(postgres) == facts(local)
    np.testing.assert_array_equal(postgres["large"], LARGE)
    assert postgres["signed"] == {1, 2}
    assert postgres.get_entry("large").blob_store != local.get_entry("large").blob_store
    assert postgres.export(tmp_path / "x.tar") == 3
    local.clear()
    assert local.import_(tmp_path / "x.tar") == 3
    assert facts(postgres) == facts(local)
    np.testing.assert_array_equal(local["large"], LARGE)
    again = postgres.copy_to(local)
    assert (again, again.skipped) == (0, 3)
    assert local.verify_integrity().ok


def test_what_needs_a_signature_asks_for_an_explicit_key(url, schema, tmp_path, local, monkeypatch):
    monkeypatch.delenv("CACHENESS_SIGNING_KEY", raising=False)
    fill(local)
    with UnifiedCache(
        tmp_path / "shared",
        metadata_backend="postgres",
        metadata_options={"url": url, "schema": schema},
    ) as target:
        with pytest.raises(ConfigError, match="explicit signing key"):
            local.copy_to(target)
        assert target.verify_integrity().pending == 0


def test_the_server_is_verified_and_mended(postgres, url, schema, tmp_path):
    fill(postgres)
    postgres.put(LARGE, "corrupt")
    postgres.put(LARGE, "missing")
    postgres.engine.backend.update_fields("corrupt", {"checksum": "xxh3-128:00"})
    postgres.engine.blobs().delete(postgres.get_entry("missing").blob)
    postgres.engine.blobs().write("ab/" + "ab" * 16, [b"orphan"])
    with UnifiedCache(
        tmp_path / "other",
        metadata_backend="postgres",
        metadata_options={"url": url, "schema": schema},
        namespace="other",
    ) as other:
        other.put(LARGE, "k")

        report = postgres.verify_integrity()
        assert report.counts == {"corrupt": 1, "missing": 1}
        assert report.pending == 1
        report = verify_integrity(postgres.engine, repair=True, grace=-1)
        assert report.mended == {"corrupt": 1, "missing": 1, "orphaned": 1}
        assert report.ok
        assert sorted(postgres) == sorted(facts(postgres))
        assert len(postgres) == 3
        np.testing.assert_array_equal(other["k"], LARGE)
        np.testing.assert_array_equal(postgres["large"], LARGE)
