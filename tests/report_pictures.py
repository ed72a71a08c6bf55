"""Takes the pictures of docs/report.md: python -m tests.report_pictures REPORT.html docs/images

The report is that of the README's artefact, with layer2.0.1.conv chosen.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser import headless_chromium

CHOSEN = "layer2.0.1.conv"
WIDTH, HEIGHT = 1400, 1000
PICTURES = {
    "report-summary.png": ("h1", "#layers-title"),
    "report-layers.png": ("#layers-title", "#timeline-title"),
    "report-timeline.png": ("#timeline-title", "script#report-data"),
}
"""For each file the elements that it starts with and ends before."""
MARGIN = 12


def take_pictures(report: Path, folder: Path) -> None:
    """Opens the page and writes each part of it as a PNG."""
    browser = headless_chromium(WIDTH, HEIGHT)
    try:
        browser.get(report.resolve().as_uri())
        _choose(browser, CHOSEN)
        for name, (first, behind) in PICTURES.items():
            (folder / name).write_bytes(_picture(browser, first, behind))
    finally:
        browser.quit()


def _choose(browser: webdriver.Chrome, layer: str) -> None:
    for row in browser.find_elements(By.CSS_SELECTOR, "#layers tbody tr"):
        cells = [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        if cells[1:3] == [layer, "forward"]:
            row.click()


def _picture(browser: webdriver.Chrome, first: str, behind: str) -> bytes:
    """The page from one element to the next, as PNG."""
    top, bottom = (
        browser.execute_script(
            "const e = document.querySelector(arguments[0]);"
            "return (e.offsetParent ? e.getBoundingClientRect().top + window.scrollY"
            " : document.body.getBoundingClientRect().bottom + window.scrollY)",
            selector,
        )
        for selector in (first, behind)
    )
    clip = {"x": 0, "y": top - MARGIN, "width": WIDTH, "height": bottom - top + MARGIN, "scale": 1}
    options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    found = browser.execute_cdp_cmd("Page.captureScreenshot", options)
    return base64.b64decode(found["data"])


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]), Path(sys.argv[2]))
