# SPDX-License-Identifier: MIT
"""The core's compressors keep the promises that any compressor makes."""

from cacheness.testing import CompressorContract


class TestNone(CompressorContract):
    compressor = "none"
    packs = False


class TestGzip(CompressorContract):
    compressor = "gzip"


class TestBlosc2Lz4(CompressorContract):
    compressor = "blosc2-lz4"


class TestBlosc2Zstd(CompressorContract):
    compressor = "blosc2-zstd"


class TestBlosc2BloscLz(CompressorContract):
    compressor = "blosc2-blosclz"


class TestBlosc2Zlib(CompressorContract):
    compressor = "blosc2-zlib"


class TestLz4(CompressorContract):
    compressor = "lz4"


class TestZstd(CompressorContract):
    compressor = "zstd"
