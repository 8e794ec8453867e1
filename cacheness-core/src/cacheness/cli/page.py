# SPDX-License-Identifier: MIT
"""Puts data, style and script into one HTML file that nothing in the data can break out of."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

__all__ = ["MARK", "as_page"]

MARK = "<!-- a report of cacheness -->"
"""Stands at the top of every report."""
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}


def as_page(data: dict[str, Any]) -> str:
    """The whole file.

    Names in a cache may be hostile. They stand in a JSON block in which no tag can begin,
    the script puts them into the page as text, and the page's own policy lets no other
    script run and nothing be loaded.
    """
    style, script = _template("report.css"), _template("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {
        "SCRIPT_HASH": f"'sha256-{digest}'",
        "STYLE": style.rstrip("\n"),
        "SCRIPT": script,
        # Last, so that nothing is replaced within it.
        "DATA": json.dumps(data, allow_nan=False, separators=(",", ":")).translate(_UNSAFE),
    }
    page = _template("report.html")
    for word, text in parts.items():
        page = page.replace(f"@{word}@", text, 1)
    return page


def _template(name: str) -> str:
    return (files("cacheness.cli") / "templates" / name).read_text("utf-8")
