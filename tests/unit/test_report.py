"""The report's page without a browser: whole, offline and harmless, and its figures are the schedule's."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import flexc
from flexc.analysis.inspection import energy_text
from flexc.analysis.report.energy_figures import LABEL_LENGTH, shortened
from flexc.analysis.report.page import report_page, script_json
from flexc.analysis.roofline import roofline_of
from flexc.cli import main
from flexc.cost.energy_breakdown import COMPONENT_WORDS
from flexc.diagnostics import CompileError
from flexc.program import Program
from flexc.target import load_target, target_file
from flexc.target.load import CATALOG
from flexc.training.metrics import EpochMetrics, EpochTime, read_epochs, write_tables
from tests.inspected_model import residual_model
from tests.marked_up_model import MARK, marked_up_model
from tests.onnx_models import save

TARGET = load_target("flexblock")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return flexc.compile(save(residual_model(), tmp_path_factory.mktemp("report")))


def epoch(number: int, error: float | None) -> EpochMetrics:
    return EpochMetrics(number, number * 10, 0.1, 1.5, None, 0.5, error, error, None, 1, 2, 3, 100, None)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_tables(tmp_path, [epoch(1, None), epoch(2, 0.25)], [EpochTime(10, 1.0)] * 2, [])
    return tmp_path


class Page(HTMLParser):
    """Elements of a page, its texts, and the JSON of its script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.report: dict[str, Any] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = "report" if dict(attrs).get("id") == "report-data" else tag
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "report":
            self.report = json.loads(data)
        elif self._open == "td":
            self.cells[-1] += data


def test_the_page_is_whole_and_loads_nothing(program: Program) -> None:
    page = Page(report_page(program))
    assert not [tag for tag, attrs in page.elements if {"src", "srcset", "action"} & set(attrs)]
    links = [attrs["href"] for _, attrs in page.elements if "href" in attrs]
    assert links == ["data:,"]
    assert {attrs.get("id") for tag, attrs in page.elements if tag == "div"} >= set(page.report["figures"])
    assert sum(tag == "tr" and "data-group" in attrs for tag, attrs in page.elements) == len(
        program.schedule.groups
    )


def test_what_rests_on_assumptions_is_marked(program: Program) -> None:
    page = Page(report_page(program))
    summary = page.cells[: page.cells.index("0")]
    marks = dict(zip(summary[0::3], summary[2::3], strict=True))
    assert {name for name, basis in marks.items() if basis != "assumed: flexblock"} == {
        "policy",
        "multiply-accumulates",
    }
    for name in ("roofline", "energy", "energy-of-layers", "timeline"):
        assert "assumed: flexblock" in page.report["figures"][name]["layout"]["title"]["text"]


def test_markup_in_names_is_text(tmp_path: Path) -> None:
    marked = flexc.compile(save(marked_up_model(), tmp_path, "<b>&amp;.onnx"))
    text = report_page(marked)
    page = Page(text)
    assert f"first{MARK}" in page.cells
    assert "<img" not in text
    assert "<b>&amp;" not in text
    assert sum(tag == "script" for tag, _ in page.elements) == 3
    label = html.escape(f"first{MARK} (forward)", quote=False)
    assert label in page.report["figures"]["roofline"]["data"][-1]["text"]
    tick = html.escape(shortened(f"first{MARK} (forward)"), quote=False)
    assert tick in page.report["figures"]["energy-of-layers"]["layout"]["yaxis"]["ticktext"]
    assert label in page.report["figures"]["energy-of-layers"]["data"][0]["text"]
    assert page.report["layers"]["1"]["title"] == f"first{MARK} (forward)"


def test_json_in_a_script_keeps_its_meaning_without_markup() -> None:
    content = {"</script><!--": ["&amp;", "\u2028", '"<']}
    text = script_json(content)
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == content


def test_the_energy_is_that_of_the_schedule(program: Program) -> None:
    page = Page(report_page(program))
    energy = program.schedule.energy_by_component_pj.by_component()
    (bars,) = page.report["figures"]["energy"]["data"]
    assert bars["x"] == pytest.approx([part / 1e6 for part in energy.values()])
    assert bars["y"] == list(COMPONENT_WORDS.values())
    layers = {one["name"]: one["x"] for one in page.report["figures"]["energy-of-layers"]["data"]}
    assert {name: sum(parts) for name, parts in layers.items()} == pytest.approx(
        {words: energy[name] / 1e6 for name, words in COMPONENT_WORDS.items()}
    )
    summary = dict(zip(page.cells[0::3], page.cells[1::3], strict=False))
    assert summary["energy"] == energy_text(program.schedule.energy_pj)


def test_no_layer_lies_above_its_roof(program: Program) -> None:
    roofline = roofline_of(program.schedule, TARGET)
    assert [roof.mode for roof in roofline.roofs] == ["FB12", "FB16", "FB24"]
    assert [roof.gigamacs_per_second for roof in roofline.roofs] == [6912.0, 1728.0, 432.0]
    roofs = {roof.mode: roof for roof in roofline.roofs}
    assert [point.layer for point in roofline.points] == ["block.conv1", "block.conv2", "fc"]
    for point in roofline.points:
        assert 0 < point.gigamacs_per_second <= roofline.bound(roofs[point.mode], point.macs_per_byte)


def test_a_training_run_adds_its_course(program: Program, run: Path) -> None:
    page = Page(report_page(program, run))
    curves = page.report["figures"]["zero-setting"]["data"]
    assert [(curve["name"], curve["x"], curve["y"]) for curve in curves] == [
        ("activations", [1, 2], [None, 0.25]),
        ("weights", [1, 2], [None, 0.25]),
    ]
    assert [curve["name"] for curve in page.report["figures"]["accuracy"]["data"]] == ["test"]
    assert [one.error_activation for one in read_epochs(run)] == [None, 0.25]


def test_a_folder_that_is_no_run_is_an_error(program: Program, run: Path) -> None:
    with pytest.raises(CompileError, match="FX570"):
        report_page(program, run / "nowhere")
    (run / "metrics.csv").write_text("epoch,step\n1,2\n")
    with pytest.raises(CompileError, match="FX570"):
        report_page(program, run)


def test_the_command_writes_equal_pages(program: Program, tmp_path: Path) -> None:
    program.save(tmp_path / "a")
    pages = []
    for name in ("one.html", "other.html"):
        result = CliRunner().invoke(main, ["report", str(tmp_path / "a"), "-o", str(tmp_path / name)])
        assert (result.exit_code, result.stdout) == (0, f"wrote {tmp_path / name}\n")
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_without_plotly_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["report", "a", "-o", "b.html"])
    assert result.exit_code == 1
    assert "error[FX555]: reports need plotly" in result.stderr


def test_long_names_are_shortened_on_the_axis_alone(tmp_path: Path) -> None:
    """They differ in the middle, which is left out; each still has a bar of its own."""
    names = [f"{'a' * 60}{middle}{'z' * 60}" for middle in "xy"]
    model = residual_model()
    for node, name in zip([node for node in model.graph.node if node.op_type == "Conv"], names, strict=True):
        node.name = name
    page = Page(report_page(flexc.compile(save(model, tmp_path))))
    figure = page.report["figures"]["energy-of-layers"]
    assert {len(text) for text in figure["layout"]["yaxis"]["ticktext"]} <= set(range(LABEL_LENGTH + 1))
    for name in names:
        assert figure["data"][0]["text"].count(f"{name} (forward)") == 1


def test_an_artefact_knows_its_machine_when_the_file_of_the_target_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (CATALOG / "flexblock.toml").read_text(encoding="utf-8")
    own = tmp_path / "own.toml"
    own.write_text(text.replace('name = "flexblock"', 'name = "own"'), encoding="utf-8")
    model = save(residual_model(), tmp_path)
    page = report_page(flexc.compile(model, target="own.toml", output=tmp_path / "artefact"))
    own.unlink()
    for cache in (load_target, target_file):
        cache.cache_clear()
    loaded = flexc.load(tmp_path / "artefact")
    assert loaded.target.name == "own"
    assert report_page(loaded) == page
    loaded.save(tmp_path / "copy")
    assert report_page(flexc.load(tmp_path / "copy")) == page
    for command, file in (("trace", "trace.json"), ("report", "page.html")):
        done = CliRunner().invoke(main, [command, "artefact", "-o", file])
        assert done.exit_code == 0, done.output


def test_layers_have_the_colour_of_their_roof(program: Program) -> None:
    curves = Page(report_page(program)).report["figures"]["roofline"]["data"]
    colours = {
        curve["name"].removeprefix("roof of "): curve["line"]["color"] for curve in curves if "line" in curve
    }
    layers = [curve for curve in curves if curve["name"].startswith("layers in ")]
    assert layers
    for curve in layers:
        assert curve["marker"]["color"] == colours[curve["name"].removeprefix("layers in ")]
    assert len(set(colours.values())) == len(colours)
