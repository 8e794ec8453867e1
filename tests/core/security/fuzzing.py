# SPDX-License-Identifier: MIT
"""Gives the readers bytes for some seconds, and keeps those that reach code not reached before.

Run as ``python tests/core/security/fuzzing.py DIRECTORY SECONDS``; atheris ends the process with
what it found, and leaves the bytes in the directory.
"""

import os
import pickle
import sys
import warnings
from contextlib import suppress

import atheris
import blosc2  # noqa: F401  # not instrumented: what it imports is not ours
import numpy as np

warnings.simplefilter("ignore")
RAN = []


def run():
    RAN.append(1)


class Bomb:
    def __reduce__(self):
        return run, ()


VALUES = {
    "npy": np.arange(12).reshape(3, 4),
    "structured": np.zeros(2, [("a", "i4"), ("b", "U3")]),
    "masked": np.ma.masked_array(np.arange(30.0), np.arange(30) % 2 == 0),
    "json": {"a": [1, 2.5, None, "x" * 50]},
    "bytes": memoryview(bytearray(30)).cast("B"),
    "container": {"a": np.arange(5), (1, 2): [b"x", 2**70]},
    "text": "text" * 5000,
    "b2nd": np.arange(50_000),
}


def prepare(directory, corpus):
    """What reads bytes as the payload of a stored value; writes the payloads of some."""
    from cacheness import CachenessError, UnifiedCache
    from cacheness.backends.shapes import stored_payload
    from cacheness.payloads.checksum import checksum_of
    from cacheness.payloads.refusals import BadSignatureError, UndecodableError

    refused = (CachenessError, BadSignatureError, UndecodableError, FileNotFoundError)
    cache = UnifiedCache(os.path.join(directory, "cache"), inline_bytes=1 << 20)
    read, kept = cache.engine.reader._decoder.read, []
    for number, (name, value) in enumerate(VALUES.items()):
        compressor = {"text": "gzip", "b2nd": "blosc2-zstd"}.get(name, "none")
        cache.put(value, name, compressor=compressor)
        entry = cache.get_entry(name)
        assert entry.signature is None, name
        kept.append(list(stored_payload(entry)))
        read(name, tuple(kept[-1]), None)  # imports what it needs
        for which, payload in enumerate((entry.inline, pickle.dumps([Bomb()]))):
            with open(os.path.join(corpus, f"{name}-{which}"), "wb") as file:
                file.write(bytes([number]) + payload)

    def give(data):
        if len(data) < 2:
            return
        stored = list(kept[data[0] % len(kept)])
        payload = data[1:]
        stored[4], stored[8] = checksum_of(payload, "xxh3-128"), payload
        stored[11] = len(payload)
        if stored[3] == "none":
            stored[12] = len(payload)
        with suppress(*refused):
            read("k", tuple(stored), None)
        assert RAN == [], "a payload was unpickled"

    return give


def main(directory, seconds):
    corpus = os.path.join(directory, "corpus")
    os.mkdir(corpus)
    with atheris.instrument_imports(include=["cacheness"]):
        give = prepare(directory, corpus)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=70000",
        "-len_control=0",
        "-rss_limit_mb=4096",
        "-timeout=60",
        f"-artifact_prefix={directory}/found-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, corpus], give)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
