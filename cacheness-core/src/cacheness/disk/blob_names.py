# SPDX-License-Identifier: MIT
"""What a blob may be called, so that its name leads nowhere else."""

from __future__ import annotations

import re

__all__ = ["BLOB_NAME", "check_blob_name"]

BLOB_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{32}(?:\.[a-z0-9]{1,12}){0,3}", re.ASCII)
"""Every blob name matches this whole; nothing else is ever joined to a path."""


def check_blob_name(name: str) -> str:
    """Give the name back if it is a blob's, else raise.

    Raises:
        ValueError: The name could lead anywhere.
    """
    if not BLOB_NAME.fullmatch(name):
        raise ValueError(f"not a blob name: {name!r}")
    return name
