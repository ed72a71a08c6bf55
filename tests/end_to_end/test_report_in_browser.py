"""The report in headless Chromium: no errors, columns sort, layers can be chosen, markup is text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import flexc
from flexc.analysis.report.energy_figures import shortened
from flexc.analysis.report.page import report_page
from tests.inspected_model import residual_model
from tests.marked_up_model import MARK, marked_up_model
from tests.onnx_models import save

pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.browser import PAGE_LOAD_SECONDS, headless_chromium

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    started = headless_chromium()
    yield started
    started.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "report.html"
    path.write_text(report_page(flexc.compile(save(residual_model(), folder))), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser: webdriver.Chrome, page: str) -> Iterator[webdriver.Chrome]:
    browser.get(page)
    yield browser
    assert logged(browser) == []


def logged(browser: webdriver.Chrome) -> list[dict[str, object]]:
    """What the browser's console holds since the last look."""
    found: list[dict[str, object]] = browser.get_log("browser")
    return found


def shown_rows(browser: webdriver.Chrome) -> list[WebElement]:
    rows = browser.find_elements(By.CSS_SELECTOR, "#layers tbody tr")
    return [row for row in rows if row.is_displayed()]


def column(browser: webdriver.Chrome, number: int) -> list[str]:
    return [row.find_elements(By.TAG_NAME, "td")[number].text for row in shown_rows(browser)]


def click(browser: webdriver.Chrome, element: WebElement) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def header(browser: webdriver.Chrome, title: str) -> tuple[WebElement, int]:
    titles = browser.find_elements(By.CSS_SELECTOR, "#layers th button")
    number = [one.text for one in titles].index(title)
    return titles[number], number


def test_every_figure_is_drawn(opened: webdriver.Chrome) -> None:
    for name in ("roofline", "energy", "energy-of-layers", "timeline"):
        drawn = opened.find_elements(By.CSS_SELECTOR, f"#{name} .main-svg")
        assert drawn, name
    assert opened.find_elements(By.CSS_SELECTOR, "#timeline .barlayer .point path")


def test_columns_sort_by_number_and_by_text(opened: webdriver.Chrome) -> None:
    button, number = header(opened, "cycles")
    for order in ("ascending", "descending"):
        click(opened, button)
        found = [int(text.replace(",", "")) for text in column(opened, number)]
        assert found == sorted(found, reverse=order == "descending")
        assert len(set(found)) > 3
        cell = button.find_element(By.XPATH, "..")
        assert cell.get_attribute("aria-sort") == order
    button, number = header(opened, "layer")
    click(opened, button)
    assert column(opened, number) == sorted(column(opened, number))


def test_the_filter_leaves_what_it_names(opened: webdriver.Chrome) -> None:
    everything = len(shown_rows(opened))
    opened.find_element(By.ID, "filter").send_keys("CONV2")
    assert column(opened, header(opened, "layer")[1]) == ["block.conv2"]
    assert opened.find_element(By.ID, "count").text == f"1 of {everything} rows"


def test_a_chosen_layer_shows_its_mapping_as_text_and_picture(opened: webdriver.Chrome) -> None:
    rows = shown_rows(opened)
    click(opened, rows[1])
    assert rows[1].get_attribute("aria-selected") == "true"
    details = opened.find_element(By.ID, "details").text
    assert details.startswith("group 1 (contraction): 'block.conv1'")
    assert opened.find_element(By.ID, "selected").text == "Selected layer: block.conv1 (forward)"
    cells = opened.find_elements(By.CSS_SELECTOR, "#mapping .heatmap-label")
    assert {cell.text for cell in cells} >= {"p0 o0", "p3 o3", "p0 s0", "p2 s2", "k0", "k11"}
    click(opened, rows[3])
    assert rows[1].get_attribute("aria-selected") == "false"
    assert not opened.find_elements(By.CSS_SELECTOR, "#mapping svg")


def test_a_bar_of_the_timeline_chooses_its_layer_and_the_axes_zoom_together(opened: webdriver.Chrome) -> None:
    bars = opened.find_element(By.ID, "timeline")
    opened.execute_script(
        "arguments[0].emit('plotly_click', {points: [{customdata: arguments[0].data[0].customdata[0]}]})",
        bars,
    )
    assert opened.find_element(By.ID, "selected").text != "Selected layer"
    opened.execute_script("return Plotly.relayout(arguments[0], {'xaxis.range': [1000, 2000]})", bars)
    WebDriverWait(opened, PAGE_LOAD_SECONDS).until(
        lambda it: it.execute_script("return arguments[0]._fullLayout.xaxis3.range[1]", bars) == 2000
    )


def test_a_bar_of_a_layers_energy_chooses_it(opened: webdriver.Chrome) -> None:
    bars = opened.find_element(By.ID, "energy-of-layers")
    place = opened.execute_script("return arguments[0].data[0].text.indexOf('block.add (elementwise)')", bars)
    opened.execute_script(
        "const bar = arguments[0].data[0];"
        "arguments[0].emit('plotly_click', {points: [{customdata: bar.customdata[arguments[1]]}]})",
        bars,
        place,
    )
    assert opened.find_element(By.ID, "selected").text == "Selected layer: block.add (elementwise)"


def test_markup_in_names_does_no_harm(browser: webdriver.Chrome, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(report_page(flexc.compile(save(marked_up_model(), tmp_path))), encoding="utf-8")
    browser.get(path.as_uri())
    assert column(browser, 1)[1] == f"first{MARK}"
    click(browser, shown_rows(browser)[1])
    assert browser.find_element(By.ID, "selected").text == f"Selected layer: first{MARK} (forward)"
    assert f"'first{MARK}'" in browser.find_element(By.ID, "details").text
    ticks = browser.find_elements(By.CSS_SELECTOR, "#energy-of-layers .ytick text")
    assert shortened(f"first{MARK} (forward)") in [tick.text for tick in ticks]
    assert browser.execute_script("return [window.hurt === undefined, document.images.length]") == [True, 0]
    assert logged(browser) == []
