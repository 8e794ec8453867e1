# SPDX-License-Identifier: MIT
"""The command report: the file that it writes, and that hostile names can't break out of it."""

import json
import re

import pytest

from cacheness import UnifiedCache
from cacheness.cli.page import as_page


def data_of(path):
    text = path.read_text("utf-8")
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(block)


def test_the_page_holds_what_the_cache_holds(as_json, store, tmp_path):
    told = as_json("report", tmp_path / "out.html", "-d", store)
    data = data_of(tmp_path / "out.html")

    assert told["entries"] == 9
    assert data["totals"]["entries"] == len(data["entries"]) == 9
    assert data["totals"]["never_hit"] == 8
    assert data["place"] == str(store)
    assert [of["name"].partition(":")[2] for of in data["groups"]["Function"]] == ["double"]
    assert {of["name"] for of in data["groups"]["Handler"]} == {"json", "numpy", "pickle"}
    assert data["integrity"]["ok"]
    assert sum(day["hits"] for day in data["days"]) == 1
    assert {"json", "sqlite", "gzip"} <= {one["name"] for one in data["plugins"]}


def test_without_verifying_no_payload_is_read(run, store, tmp_path):
    for path in (store / "blobs").glob("??/*"):
        path.unlink()

    run("report", tmp_path / "quick.html", "--no-verify", "-d", store)
    run("report", tmp_path / "whole.html", "-d", store)

    assert data_of(tmp_path / "quick.html")["integrity"] is None
    integrity = data_of(tmp_path / "whole.html")["integrity"]
    assert (integrity["ok"], integrity["faults"]) == (False, 1)
    assert ["payload missing", 1] in integrity["counts"]


def test_a_report_replaces_a_report_but_asks_before_anything_else(run, store, tmp_path):
    mine = tmp_path / "mine.html"
    mine.write_text("precious")

    assert run("report", mine, "-d", store, answer="n\n").exit_code == 1
    assert mine.read_text() == "precious"
    assert run("report", mine, "-d", store, "--yes").exit_code == 0
    assert run("report", mine, "-d", store).exit_code == 0
    assert [path.name for path in tmp_path.glob("*mine*")] == ["mine.html"]


def test_the_file_names_nothing_that_a_browser_would_load(run, store, tmp_path):
    run("report", tmp_path / "out.html", "-d", store)

    text = (tmp_path / "out.html").read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?!data:,)""", text)
    # The name space of SVG is a name, which nothing is fetched from.
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.parametrize(
    "hostile",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        "]]>",
        "\u2028\u2029\u202e\x00\ud800",
        "@DATA@ @SCRIPT@ @STYLE@",
        "\\u003c/script> \" ' ` ${x}",
    ],
)
def test_no_text_ends_the_block_that_holds_the_data(hostile, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(as_page({"text": hostile}), "utf-8")

    assert data_of(page) == {"text": hostile}
    assert page.read_text("utf-8").count("<script") == 2 + as_page({}).count("<!--<script>")
    assert as_page({"text": hostile}).count("</script>") == 2


def test_numbers_that_json_does_not_have_are_left_out(as_json, run, store, tmp_path):
    with UnifiedCache(store) as cache:
        cache.put(1, "odd", cost_seconds=1.0)
        cache.put(1, x=float("nan"), y=float("inf"))
        cache.engine.backend.update_fields("odd", {"cost_seconds": float("inf")})

    assert run("report", tmp_path / "out.html", "-d", store).exit_code == 0

    rows = {row["key"]: row for row in data_of(tmp_path / "out.html")["entries"]}
    assert rows["odd"]["cost_seconds"] is None


def test_of_many_entries_the_biggest_oldest_and_never_hit_are_in_the_page(tmp_path):
    from cacheness.cli import page_data
    from cacheness.entry import Entry

    kept = page_data._Kept()
    for number in range(9000):
        kept.add(Entry("", f"{number}", 1, stored_bytes=number, created_at=number, hits=number % 2))

    found = {int(entry.cache_key) for entry in kept.entries()}
    assert set(range(7000, 9000)) <= found, "the biggest"
    assert set(range(2000)) <= found, "the oldest"
    assert set(range(5002, 9000, 2)) <= found, "the biggest that were never hit"
    assert len(found) == 5000
    assert kept.unread == 4500
