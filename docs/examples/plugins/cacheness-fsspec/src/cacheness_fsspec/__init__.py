# SPDX-License-Identifier: MIT
"""Blobs of cacheness wherever fsspec reaches."""
