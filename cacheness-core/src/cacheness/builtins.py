# SPDX-License-Identifier: MIT
"""What the core itself registers: the one table of its handlers, backends and compressors."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cacheness.plugins.specs import BackendSpec, CompressorSpec, HandlerSpec

DISTRIBUTION = "cacheness-core"

HANDLERS: dict[str, tuple[str, tuple[str, ...], int]] = {
    "bytes": (
        "cacheness.handlers.bytes:BytesHandler",
        ("builtins.bytes", "builtins.bytearray", "builtins.memoryview"),
        50,
    ),
    "json": (
        "cacheness.handlers.json:JsonHandler",
        (
            "builtins.dict",
            "builtins.list",
            "builtins.str",
            "builtins.int",
            "builtins.float",
            "builtins.bool",
            "types.NoneType",
        ),
        40,
    ),
    "numpy": (
        "cacheness.handlers.numpy:NumpyHandler",
        ("numpy.ndarray", "numpy.generic"),
        30,
    ),
    "stream": (
        "cacheness.handlers.stream:StreamHandler",
        ("cacheness.payloads.stream_writer.RecordedStream",),
        30,
    ),
    "container": ("cacheness.handlers.container:ContainerHandler", (), 20),
    "pickle": ("cacheness.handlers.pickle:PickleHandler", (), -1000),
}
"""Name → target, types, priority."""

METADATA_BACKENDS = {
    "sqlite": "cacheness.backends.sqlite:SQLiteBackend",
    "json": "cacheness.backends.json:JsonBackend",
    "memory": "cacheness.backends.memory:MemoryBackend",
}

BLOB_BACKENDS = {
    "file": "cacheness.blobs.file:FileBlobBackend",
    "memory": "cacheness.blobs.memory:MemoryBlobBackend",
}

COMPRESSORS = {
    "none": "cacheness.compressors.none:NoneCompressor",
    "auto": "cacheness.compressors.auto:AutoCompressor",
    "gzip": "cacheness.compressors.gzip:GzipCompressor",
    "blosc2-lz4": "cacheness.compressors.blosc2:Blosc2Lz4Compressor",
    "blosc2-zstd": "cacheness.compressors.blosc2:Blosc2ZstdCompressor",
    "blosc2-blosclz": "cacheness.compressors.blosc2:Blosc2BloscLzCompressor",
    "blosc2-zlib": "cacheness.compressors.blosc2:Blosc2ZlibCompressor",
    "lz4": "cacheness.compressors.lz4:Lz4Compressor",
    "zstd": "cacheness.compressors.zstd:ZstdCompressor",
}


class CorePlugin:
    """The core as a plugin: hands the table to the hooks that every plugin implements."""

    @staticmethod
    def cacheness_handlers() -> list[HandlerSpec]:
        from cacheness.plugins.specs import HandlerSpec

        return [
            HandlerSpec(name, target, types, priority)
            for name, (target, types, priority) in HANDLERS.items()
        ]

    @staticmethod
    def cacheness_metadata_backends() -> list[BackendSpec]:
        from cacheness.plugins.specs import BackendSpec

        return [BackendSpec(name, target) for name, target in METADATA_BACKENDS.items()]

    @staticmethod
    def cacheness_blob_backends() -> list[BackendSpec]:
        from cacheness.plugins.specs import BackendSpec

        return [BackendSpec(name, target) for name, target in BLOB_BACKENDS.items()]

    @staticmethod
    def cacheness_compressors() -> list[CompressorSpec]:
        from cacheness.plugins.specs import CompressorSpec

        return [CompressorSpec(name, target) for name, target in COMPRESSORS.items()]
