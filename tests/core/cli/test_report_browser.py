# SPDX-License-Identifier: MIT
"""The report in a real browser: it draws, sorts, searches, escapes, and asks nothing of the net."""

import json

import numpy as np
import pytest

from cacheness import UnifiedCache

selenium = pytest.importorskip("selenium", reason="the group test-browser is not installed")

from selenium.common.exceptions import (  # noqa: E402  # once it is known to be there
    NoAlertPresentException,
    WebDriverException,
)
from selenium.webdriver.common.by import By  # noqa: E402
from tests.core.cli.browser import open_browser  # noqa: E402

pytestmark = pytest.mark.slow

HOSTILE = (
    "<script>window.broken = 1; alert(1)</script>",
    "</script><img src=x onerror='window.broken = 2; alert(2)'>",
    '"><svg onload=alert(3)>',
    "' onmouseover='alert(4)' x='",
    "{{constructor.constructor('alert(5)')()}} ${alert(6)} `",
    "\u202egnp.exe\u202c \u0645\u0641\u062a\u0627\u062d",
    "javascript:alert(7)",
    "<!-- <script> ]]> &lt;b&gt; &#x3c;",
)


KEYS = """
return [...document.querySelectorAll("#entries td.key")].map(cell => cell.firstChild.textContent)
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports of a hostile cache and of an empty one."""
    from typer.testing import CliRunner

    from cacheness.cli.app import app

    folder = tmp_path_factory.mktemp("pages")
    with UnifiedCache(folder / "hostile", namespace=HOSTILE[1], signing="off") as cache:
        for number, text in enumerate(HOSTILE):
            cache.put(
                np.zeros(100 * (number + 1)), text, description=text, prefix=text, tags=[text]
            )
            cache.engine.backend.update_fields(text, {"function": f"{text}:{text}"})
            for _ in range(len(HOSTILE) - number - 1):
                cache.get(text)
        for number in range(150):
            cache.put(number, number=number, text=HOSTILE[0])
        assert set(cache) > set(HOSTILE)
    UnifiedCache(folder / "empty").close()
    with UnifiedCache(folder / "empty") as cache:
        cache.put(1, "one")
        cache.clear()
    for name, more in (("hostile", ["-n", HOSTILE[1]]), ("empty", [])):
        arguments = ["report", str(folder / f"{name}.html"), "-d", str(folder / name), *more]
        assert CliRunner().invoke(app, arguments).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser; where the machine has none and can't get one there is nothing to test in."""
    opened = open_browser(tmp_path_factory.mktemp("profile"))
    try:
        driver = opened.__enter__()
    except WebDriverException as error:
        pytest.skip(f"no chromium can be had: {error.msg}")
    yield driver
    opened.__exit__(None, None, None)


@pytest.fixture
def page(browser, pages):
    browser.get_log("performance")
    browser.get((pages / "hostile.html").as_uri())
    return browser


def column(page, table, name):
    heads = [
        head.text.rstrip(" ↓↑\n") for head in page.find_elements(By.CSS_SELECTOR, f"#{table} th")
    ]
    number = heads.index(name) + 1
    cells = page.find_elements(By.CSS_SELECTOR, f"#{table} td:nth-child({number})")
    return [cell.text.split("\n")[0] for cell in cells]


def press(page, where, text):
    buttons = page.find_elements(By.CSS_SELECTOR, f"{where} button")
    next(one for one in buttons if one.text.rstrip(" ↓↑\n") == text).click()


def test_it_draws_without_an_error(page):
    tiles = page.find_element(By.ID, "tiles").text

    assert page.get_log("browser") == []
    assert "158" in tiles
    assert len(page.find_elements(By.CSS_SELECTOR, "#treemap .cell")) == len(HOSTILE)
    assert len(page.find_elements(By.CSS_SELECTOR, "#days svg")) == 3
    assert "All well" in page.find_element(By.ID, "integrity").text
    assert "numpy" in column(page, "plugins", "Name")


def test_hostile_names_are_shown_as_they_are_and_do_nothing(page):
    keys = page.execute_script(KEYS)

    assert set(HOSTILE) <= set(keys)
    with pytest.raises(NoAlertPresentException):
        _ = page.switch_to.alert.text
    assert page.execute_script("return window.broken") is None
    assert len(page.find_elements(By.TAG_NAME, "script")) == 2
    for name in ("img", "iframe", "object", "b b", "svg svg", "[onmouseover]", "[onload]", "a"):
        assert page.find_elements(By.CSS_SELECTOR, name) == []
    assert HOSTILE[1] in page.find_element(By.ID, "about").text


def test_a_name_of_right_to_left_letters_turns_nothing_around_it(page):
    directions = page.execute_script(
        "return [...document.querySelectorAll('#entries td')].map("
        "c => [c.dir, getComputedStyle(c).unicodeBidi])"
    )

    assert {tuple(one) for one in directions} == {("auto", "isolate")}


def test_the_pages_policy_lets_no_other_script_run(page):
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 3';"
        "document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x.png';"
        "document.body.append(i);"
    )

    assert page.execute_script("return window.broken") is None
    refused = "\n".join(entry["message"] for entry in page.get_log("browser"))
    assert refused.count("Content Security Policy") == 2


def test_it_asks_no_network_for_anything(page):
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")

    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked, "the page itself is asked for"
    assert all(url.startswith(("file://", "data:")) for url in asked), asked


def test_a_click_on_a_head_sorts_and_another_turns_it_around(page):
    assert page.execute_script(KEYS)[:8] == list(reversed(HOSTILE)), "the biggest first"
    press(page, "#entries th", "Hits")
    falling = [int(text) for text in column(page, "entries", "Hits")]
    press(page, "#entries th", "Hits")
    rising = [int(text) for text in column(page, "entries", "Hits")]
    press(page, "#entries th", "Key")
    keys = page.execute_script(KEYS)

    assert falling[:8] == [7, 6, 5, 4, 3, 2, 1, 0]
    assert rising == sorted(rising)
    assert keys == sorted(keys)
    sorted_by = page.find_elements(By.CSS_SELECTOR, "#entries th[aria-sort]")
    assert [(one.text.rstrip(" ↓↑\n"), one.get_attribute("aria-sort")) for one in sorted_by] == [
        ("Key", "ascending")
    ]


def test_search_finds_keys_parameters_and_functions_whatever_their_case(page):
    search = page.find_element(By.ID, "entries-search")

    search.send_keys("NUMBER=77,")
    assert len(column(page, "entries", "Key")) == 1
    search.clear()
    search.send_keys("<IMG SRC=X")
    assert column(page, "entries", "Key") == [HOSTILE[1]]
    search.clear()
    search.send_keys("nothing like that")
    assert column(page, "entries", "Key") == []
    assert "Nothing like that" in page.find_element(By.ID, "entries").text

    page.find_element(By.ID, "plugins-search").send_keys("sqlite")
    assert column(page, "plugins", "Name") == ["sqlite"]
    page.find_element(By.ID, "functions-search").send_keys("constructor")
    assert column(page, "functions", "Function") == [f"{HOSTILE[4]}:{HOSTILE[4]}"]


def test_the_switches_choose_entries_and_groups(page):
    press(page, "#entries-switch", "Never hit")
    assert set(column(page, "entries", "Hits")) == {"0"}
    press(page, "#entries-switch", "Oldest")
    times = column(page, "entries", "Stored")
    assert times == sorted(times)
    press(page, "#space-switch", "Handler")
    assert {cell.get_attribute("title").split("\n")[0] for cell in cells(page)} == {"numpy", "json"}


def cells(page):
    return page.find_elements(By.CSS_SELECTOR, "#treemap .cell")


def test_a_long_table_is_shown_a_page_at_a_time(page):
    assert len(column(page, "entries", "Key")) == 100
    press(page, "#entries .below", "Show more")
    assert len(column(page, "entries", "Key")) == 158


def test_an_empty_cache_has_a_page_too(browser, pages):
    browser.get((pages / "empty.html").as_uri())

    assert browser.get_log("browser") == []
    assert "Nothing is stored by function." in browser.find_element(By.ID, "treemap").text
    assert "None." in browser.find_element(By.ID, "entries").text


def test_it_is_light_or_dark_as_the_reader_likes(page):
    def background(scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.strip("rgb()").split(","))

    assert background("light") > 600
    assert background("dark") < 100


def test_it_fits_a_narrow_window(page):
    page.set_window_size(420, 900)
    try:
        wide = page.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
    finally:
        page.set_window_size(1280, 1600)
    assert wide <= 0
