# SPDX-License-Identifier: MIT
"""Hypothesis strategies for entries and what is in them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from cacheness.entry import Entry

__all__ = ["cache_keys", "entries", "json_objects", "json_values"]

_INT63 = st.integers(min_value=0, max_value=2**63 - 1)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
_TIMES = st.floats(min_value=0, max_value=1e11)
_WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
"""Text that has a column of its own."""
_SURROGATES = st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3)
_TEXT = st.text(max_size=40) | _SURROGATES.filter(lambda text: json.loads(json.dumps(text)) == text)
"""Any text, NUL and lone surrogates included; JSON makes one character of a pair."""


def cache_keys() -> st.SearchStrategy[str]:
    """Every explicit key: 1 to 512 bytes of UTF-8 without NUL."""
    characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    return st.text(characters, min_size=1, max_size=128).filter(lambda key: len(key.encode()) < 513)


def json_values() -> st.SearchStrategy[Any]:
    """What JSON can keep: integers of any size, any text, finite floats, nested."""
    scalars = st.none() | st.booleans() | st.integers() | _NUMBERS | _TEXT
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
        max_leaves=8,
    )


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with any names."""
    return st.dictionaries(_TEXT, json_values(), max_size=4)


def entries(namespace: str = "") -> st.SearchStrategy[Entry]:
    """Entries with every field as the contract allows it."""
    inline = st.binary(max_size=500)
    return st.builds(
        Entry,
        namespace=st.just(namespace),
        cache_key=cache_keys(),
        generation=st.integers(min_value=1, max_value=2**63 - 1),
        prefix=_WORDS,
        description=_TEXT,
        params=json_objects(),
        handler=_WORDS,
        handler_version=st.integers(min_value=1, max_value=1000),
        metadata=json_objects(),
        object_type=_WORDS,
        summary=_WORDS,
        compressor=_WORDS,
        stored_bytes=_INT63,
        logical_bytes=_INT63,
        checksum=_WORDS,
        signature=st.none() | _WORDS,
        inline=st.none() | inline,
        blob=st.none() | st.from_regex(r"[0-9a-f]{2}/[0-9a-f]{32}\.npy", fullmatch=True),
        blob_store=st.none() | _WORDS,
        created_at=_TIMES,
        renewed_at=_TIMES,
        accessed_at=_TIMES,
        ttl_seconds=st.none() | st.floats(min_value=0, max_value=1e12),
        expires_at=st.none() | _TIMES,
        stale_until=st.none() | _TIMES,
        pinned=st.booleans(),
        hits=st.integers(min_value=0, max_value=2**53),
        cost_seconds=st.none() | st.floats(min_value=0, max_value=1e12),
        function=st.none() | _WORDS,
        code_digest=st.none() | _WORDS,
        key_parts=json_objects(),
        tags=st.lists(_TEXT, max_size=3, unique=True).map(tuple),
        custom_metadata=json_objects(),
        distribution=_WORDS,
    )
