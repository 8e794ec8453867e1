"""An array of objects that somebody planted as a `.npy` is never unpickled."""

import io
import warnings

import numpy as np
import pytest
from tests.core.security.hostile import blobs_of, plant

from cacheness import CachenessError, CachenessWarning, UnifiedCache

RAN = []


def run():
    """What no payload ever has done; by name, since a list would be pickled with its method."""
    RAN.append(1)


class Bomb:
    """Tells when it is unpickled."""

    def __reduce__(self):
        return run, ()


def hostile_arrays():
    """With the dtype of objects, and with a field of it."""
    objects = np.array([Bomb()] * 50, dtype=object)
    field = np.zeros(50, [("n", "i8"), ("o", object)])
    field["o"] = Bomb()
    for array in (objects, field):
        out = io.BytesIO()
        np.save(out, array, allow_pickle=True)
        yield out.getvalue()


@pytest.mark.parametrize("number", range(2), ids=["objects", "a field of objects"])
@pytest.mark.parametrize("where", ["inline", "blob"])
@pytest.mark.parametrize("way", ["get", "mmap", "open", "part", "pop"])
def test_an_array_of_objects_is_never_unpickled(tmp_path, number, where, way):
    RAN.clear()
    payload = list(hostile_arrays())[number]
    with UnifiedCache(tmp_path, compressor="none", verify="never") as cache:
        cache.put(np.arange(100_000 if where == "blob" else 10), "k")
        entry = cache.get_entry("k")
        assert (entry.handler, entry.signature) == ("numpy", None)
        columns = {}
        if where == "blob":
            (path,) = blobs_of(tmp_path)
            path.write_bytes(payload)
            columns = {"inline": None, "blob": entry.blob, "blob_store": entry.blob_store}
        plant(tmp_path, payload, "numpy", metadata=dict(entry.metadata) or None, **columns)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CachenessWarning)
            try:
                if way == "mmap":
                    found = cache.get("k", mmap=True)
                elif way == "part":
                    found = cache.get("k", options={"rows": slice(0, 2)})
                else:
                    found = getattr(cache, way)("k")
                assert found is None or way == "open"
            except (CachenessError, ValueError):
                found = None
        assert RAN == []


def test_the_bomb_goes_off_where_it_is_unpickled():
    RAN.clear()

    np.load(io.BytesIO(next(hostile_arrays())), allow_pickle=True)

    assert RAN
