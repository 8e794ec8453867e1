"""A small file takes no large memory, and no bytes whatever crash the process that reads them."""

import gzip
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import blosc2
import numpy as np
import pytest
from tests.core.security.hostile import blobs_of, environment, plant

from cacheness import CachenessWarning, CorruptionWarning, UnifiedCache
from cacheness.payloads.limits import memory_left

resource = pytest.importorskip("resource")

TERABYTE = 1 << 40
SEEDS = 6
FUZZ_SECONDS = float(os.environ.get("CACHENESS_FUZZ_SECONDS", "60"))


def test_a_size_that_no_memory_has_is_refused_before_any_of_it_is_taken(tmp_path):
    assert 1 << 20 < memory_left() < TERABYTE * 100
    zeros = gzip.compress(bytes(1 << 20))
    chunk = blosc2.compress2(bytes(8 << 20), nthreads=1)
    chunks = [len(chunk)] * 20_000
    with UnifiedCache(tmp_path) as cache:
        for payload, metadata, columns in (
            (zeros, None, {"compressor": "gzip", "logical_bytes": TERABYTE * 100}),
            (zeros, {"_chunks": [len(zeros)]}, {"compressor": "gzip", "logical_bytes": TERABYTE}),
            (
                chunk * 20_000,
                {"_chunks": chunks},
                {"compressor": "blosc2-lz4", "logical_bytes": 20_000 * (8 << 20)},
            ),
        ):
            cache.put({"a": 1}, "k")
            plant(tmp_path, payload, "bytes", metadata=metadata, **columns)
            with pytest.warns(CachenessWarning, match=r"can't decode it here.*of memory"):
                assert cache.get("k") is None
            assert cache.exists("k"), "a machine with more memory may read it"


def test_an_array_of_zeros_that_no_memory_has_is_refused(tmp_path):
    with UnifiedCache(tmp_path, compressor="blosc2-lz4") as cache:
        cache.put(np.zeros((1 << 20, 8), np.int64), "k")
        entry = cache.get_entry("k")
        text = json.dumps(entry.metadata).replace(str(1 << 20), str(1 << 40))
        assert str(1 << 40) in text
        cache.put({"a": 1}, "k")
        plant(tmp_path, entry.inline, "numpy", metadata=json.loads(text))

        with pytest.warns(CachenessWarning, match="can't decode"):
            assert cache.get("k") is None


def test_zeros_that_take_nothing_in_a_file_are_not_more_than_the_memory(tmp_path):
    """The system would give them, and take them back with the process that looks at them."""
    with UnifiedCache(tmp_path, compressor="blosc2-lz4") as cache:
        cache.put(np.zeros(50_000_000, np.uint8), "k")
        metadata = json.loads(json.dumps(dict(cache.get_entry("k").metadata)))
        metadata["shape"] = [2 * memory_left()]
        frame = blosc2.zeros(
            metadata["shape"],
            dtype=np.uint8,
            chunks=metadata["chunks"],
            blocks=metadata["blocks"],
            cparams={"codec": blosc2.Codec.LZ4, "nthreads": 1},
            contiguous=True,
        ).to_cframe()
        assert len(frame) < 1000
        plant(tmp_path, frame, "numpy", metadata=metadata)

        with pytest.warns(CachenessWarning, match=r"can't decode it here.*of memory"):
            assert cache.get("k") is None


HOLE = """
import os, resource
from cacheness import BackendUnavailableError, UnifiedCache
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
options = {{"cache_dir": {directory!r}, "metadata_backend": "json"}}
log = options["cache_dir"] + "/metadata.jsonl"
with UnifiedCache(**options) as cache:
    cache.put(1, "k")
    end = os.path.getsize(log)
    os.truncate(log, 1 << 40)
    for step in (lambda: cache.get("k"), lambda: cache.put(2, "k")):
        try:
            step()
        except BackendUnavailableError as error:
            assert f"byte {{end}} has no end" in str(error), error
        else:
            assert False
    assert cache.cached(abs)(-3) == 3
    os.truncate(log, end)
    assert cache["k"] == 1
print("done")
"""


@pytest.mark.slow
def test_a_hole_in_the_log_is_not_read_into_memory(tmp_path):
    """A terabyte of it takes nothing on the disk."""
    assert run(HOLE.format(directory=str(tmp_path / "cache")), tmp_path) == "done\n"


def test_a_limit_of_the_process_is_a_limit_of_its_payloads(tmp_path):
    script = (
        "import resource; from cacheness.payloads.limits import memory_left as left;"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); print(left())"
    )
    assert 100 << 20 < int(run(script, tmp_path)) < 1 << 30


def test_a_hole_in_a_blob_does_not_fill_the_disk_with_its_quarantine(tmp_path):
    with UnifiedCache(tmp_path, compressor="none") as cache:
        cache.put(np.arange(20_000), "k")
        (path,) = blobs_of(tmp_path)
        os.truncate(path, 1 << 28)
        with pytest.warns(CorruptionWarning, match="quarantine"):
            assert cache.get("k") is None
    (aside,) = (tmp_path / "quarantine").glob("*.payload")
    assert aside.stat().st_size < 200_000


BOMBS = """
import resource, sys, warnings
from pathlib import Path
limit = 3 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
warnings.simplefilter("ignore")
import gzip, io, json
import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq
from cacheness import UnifiedCache
from tests.core.security.hostile import plant
directory = Path({directory!r})

def schema_of(frame, **options):
    with UnifiedCache(directory / "model") as model:
        model.put(frame, "k", options=options)
        entry = model.get_entry("k")
        return entry

def parquet_bomb(entry, rows):
    table = pq.read_table(io.BytesIO(entry.inline))
    repeated = table.slice(0, 1).take(pa.array(np.zeros(rows, np.int64)))
    out = io.BytesIO()
    pq.write_table(repeated.replace_schema_metadata(table.schema.metadata), out, compression="zstd")
    return out.getvalue()

def arrow_bomb(entry, codec):
    table = pa.ipc.open_file(entry.inline).read_all()
    repeated = table.slice(0, 1).take(pa.array(np.zeros(30_000_000, np.int64)))
    out = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.ipc.new_file(out, repeated.schema, options=options) as writer:
        writer.write_table(repeated)
    return out.getvalue()

with UnifiedCache(directory / "cache") as cache:
    frame = pd.DataFrame({{"a": [1, 2], "b": ["x", "y"]}})
    entry = schema_of(frame)
    parquet = schema_of(frame, format="parquet")
    for number, (payload, of) in enumerate([
        (parquet_bomb(parquet, 20_000_000), parquet),
        (arrow_bomb(entry, "zstd"), entry),
    ]):
        assert len(payload) < 40_000_000, len(payload)
        cache.put({{"a": 1}}, "k")
        plant(directory / "cache", payload, of.handler, metadata=dict(of.metadata))
        found = cache.get("k")
        print(number, len(payload), found is None)
    cache.put([1], "after")
    assert cache["after"] == [1]
"""


@pytest.mark.slow
def test_frames_that_swell_beyond_the_memory_are_a_miss_and_no_crash(tmp_path):
    done = run(BOMBS.format(directory=str(tmp_path)), tmp_path)

    assert done.count("\n") == 2


FUZZ = """
import faulthandler, itertools, json, pickle, random, resource, sys, time, warnings
from pathlib import Path
faulthandler.enable()
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
warnings.simplefilter("ignore")
import numpy as np
from cacheness import CachenessError, UnifiedCache
from cacheness.payloads.checksum import checksum_of
from tests.core.security.hostile import plant
seed, seconds = {seed}, {seconds}
directory = Path({directory!r})
random.seed(seed)
RAN = []

def run():
    RAN.append(1)

class Bomb:
    def __reduce__(self):
        return run, ()

def stream():
    yield from ([i] * 5 for i in range(50))
    yield np.arange(10)

def sealed(payload, at, metadata):
    # Checksums that fit the bytes, so that a reader looks at them.
    first, index = payload[:at], payload[at:]
    try:
        members = json.loads(index)
        for member in members["members"]:
            part = first[member["offset"] : member["offset"] + member["size"]]
            member["checksum"] = checksum_of(part, "blake3")
        index = json.dumps(members).encode()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        pass
    return first + index, {{**metadata, "index": [len(first), len(index)],
                           "index_checksum": checksum_of(index, "blake3")}}

masked = np.ma.masked_array(np.arange(300.0), np.arange(300) % 2 == 0)
values = {{
    "npy": np.arange(3000).reshape(50, 60),
    "structured": np.zeros(20, [("a", "i4"), ("b", "U3")]),
    "masked": masked,
    "b2nd": np.arange(100_000),
    "json": {{"a": [1, 2.5, None, "x" * 50]}},
    "bytes": memoryview(bytearray(300)).cast("I"),
    "container": {{"a": np.arange(5), (1, 2): [b"x", 2 ** 70]}},
    "text": "text" * 5000,
}}
try:
    import pandas as pd
    frame = pd.DataFrame({{"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"])}})
    values |= {{"frame": frame, "parquet": frame, "index": frame.set_index("b").index}}
except ImportError:
    pass
originals = {{}}
with UnifiedCache(directory, inline_bytes=1 << 20) as cache:
    for name, value in values.items():
        options = {{"format": "parquet"}} if name == "parquet" else None
        compressor = "gzip" if name == "text" else "blosc2-zstd" if name == "b2nd" else "none"
        cache.put(value, name, options=options, compressor=compressor)
        originals[name] = cache.get_entry(name)
    recorded = cache.cached(stream)
    assert len(list(recorded())) == 51
    originals["stream"] = cache.get_entry(recorded.cache_key())
    assert originals["stream"].inline and originals["stream"].handler == "stream"
    assert all(entry.signature is None for entry in originals.values())
    turns, refused, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        turns += 1
        name = random.choice(list(originals))
        entry = originals[name]
        payload = bytearray(entry.inline)
        for _ in range(random.choice([1, 1, 2, 5, 30])):
            what, at = random.randrange(5), random.randrange(len(payload) + 1)
            if what == 0:
                payload[at:at + random.randrange(9)] = random.randbytes(random.randrange(9))
            elif what == 1 and at < len(payload):
                payload[at] ^= 1 << random.randrange(8)
            elif what == 2:
                number = random.choice([0, 1, 2**31 - 1, 2**63 - 1, 2**64 - 1])
                payload[at:at + 8] = number.to_bytes(8, random.choice(["little", "big"]))
            elif what == 3:
                del payload[at:]
            else:
                other = random.choice(list(originals.values())).inline
                payload[at:at + 40] = other[:random.randrange(60)]
            if not payload:
                payload = bytearray(b"x")
        if random.random() < 0.05:
            payload = bytearray(pickle.dumps([Bomb()]))
        metadata = json.loads(json.dumps(dict(entry.metadata)))
        if random.random() < 0.3:
            text = json.dumps(metadata)
            if len(text) > 4:
                at = random.randrange(len(text))
                text = text[:at] + random.choice("0192{{}}[]-,") + text[at + 1:]
            try:
                metadata = json.loads(text)
            except ValueError:
                pass
        if name == "stream" and random.random() < 0.8:
            at, _ = entry.metadata["index"]
            payload, metadata = sealed(bytes(payload), at, entry.metadata)
        handler = entry.handler if random.random() < 0.9 else random.choice(
            [one.handler for one in originals.values()])
        if cache.get_entry(name) is None:
            cache.put(0, name)
        plant(directory, bytes(payload), handler, metadata=metadata or None, cache_key=name,
              compressor=entry.compressor, handler_version=entry.handler_version,
              logical_bytes=entry.logical_bytes if entry.compressor != "none" else len(payload))
        way = random.choice(["get", "mmap", "open", "pop"])
        print(seed, turns, name, way, handler, file=sys.stderr)
        try:
            if way == "mmap":
                found = cache.get(name, mmap=True)
            else:
                found = getattr(cache, way)(name)
            try:
                repr(list(itertools.islice(found, 1000)) if name == "stream" else found)
            except Exception:
                pass  # of characters that there are not, and the like
            refused += found is None
        except CachenessError:
            refused += 1
        assert RAN == []
    assert refused
print("done", turns)
"""


def run(script, tmp_path, timeout=300):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEEDS))
def test_readers_survive_whatever_bytes_they_are_given(tmp_path, seed):
    """A fresh process each, so that a crash is told; all of them together take a minute."""
    seconds = 0.7 * FUZZ_SECONDS / SEEDS
    said = run(
        FUZZ.format(seed=seed, seconds=seconds, directory=str(tmp_path / "cache")),
        tmp_path,
        timeout=seconds + 200,
    )

    assert said.startswith("done")
    assert int(said.split()[1]) > 20


@pytest.mark.slow
def test_readers_survive_the_bytes_that_lead_them_further(tmp_path):
    """Of changed bytes, those that reach new code are kept and changed again."""
    pytest.importorskip("atheris", reason="has no wheel for this machine")
    seconds = max(1, int(0.3 * FUZZ_SECONDS))
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("fuzzing.py")), str(tmp_path), str(seconds)],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=seconds + 200,
        check=False,
    )

    found = [path.read_bytes()[:2000] for path in tmp_path.glob("found-*")]
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-4000:]}, of {found}"
    assert "DONE" in done.stderr
    assert len(list((tmp_path / "corpus").iterdir())) > 30, "it came no further"
