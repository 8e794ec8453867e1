# SPDX-License-Identifier: MIT
"""Starts a real browser without a window, where the machine has one or can get one."""

import os
import shutil
from contextlib import contextmanager

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def open_browser(folder, *, dark=False):
    """A Chromium with an empty profile that writes down what it asks the network for.

    Raises:
        WebDriverException: There is none, and none can be downloaded.
    """
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,1600",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # Where there is no browser selenium looks for one to download, but not for ever.
    os.environ.update(SE_AVOID_STATS="true", SE_TIMEOUT="60")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_path = shutil.which("chromedriver")
    if found is not None:
        options.binary_location = found
    driver = Chrome(options=options, service=ChromeService(driver_path) if driver_path else None)
    try:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield driver
    finally:
        driver.quit()
