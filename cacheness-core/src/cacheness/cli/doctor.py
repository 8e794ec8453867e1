# SPDX-License-Identifier: MIT
"""The command doctor: whether a cache can do its work here, and if not, what to do."""

from __future__ import annotations

from dataclasses import asdict

from cacheness.cli.checkup import check_all
from cacheness.cli.command import Call
from cacheness.cli.mistakes import DONE, FOUND

__all__ = ["doctor"]

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def doctor(call: Call) -> int:
    """Check directory rights, disk, clock, file system, format, plugins and the signing key.

    Exits with 1 where there is a problem; a warning is none.
    """
    findings = check_all(call.target)
    healthy = all(one.verdict != "problem" for one in findings)
    screen = call.screen

    def tell() -> None:
        for one in findings:
            screen.line(f"{one.verdict:<8} {one.about}: {one.found}", _STYLES[one.verdict])
            if one.advice:
                screen.line(f"         → {one.advice}")

    screen.result({"healthy": healthy, "findings": [asdict(one) for one in findings]}, tell)
    return DONE if healthy else FOUND
