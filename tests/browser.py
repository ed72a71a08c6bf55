"""Headless Chromium, for what only a browser shows."""

from __future__ import annotations

from shutil import which

from selenium import webdriver

PAGE_LOAD_SECONDS = 30


def headless_chromium(width: int = 1400, height: int = 1600) -> webdriver.Chrome:
    """A browser with a window of this size, that keeps its console's log; to be ended by ``quit``."""
    program, driver = which("chromium"), which("chromedriver")
    assert program, "chromium is missing"
    assert driver, "chromedriver is missing"
    options = webdriver.ChromeOptions()
    options.binary_location = program
    size = f"--window-size={width},{height}"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", size):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    started.set_page_load_timeout(PAGE_LOAD_SECONDS)
    return started
