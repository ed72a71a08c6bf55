"""`flexc demo`: what it measures, prints and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import flexc
from flexc.analysis import text_direction_demo
from flexc.analysis.text_direction_demo import INPUT, PRECISIONS, Demonstration, Precision, Row
from flexc.cli import main
from flexc.cli.demo import table
from tests.json_schema import violations
from tests.onnx_models import build, make_node, random, save


def demo(folder: Path, *options: str | Path) -> Result:
    return CliRunner().invoke(main, ["demo", "-o", str(folder / "out"), *map(str, options)])


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert violations(found, "demo.json") == []
    return found


@pytest.fixture
def one_precision(monkeypatch: pytest.MonkeyPatch) -> Precision:
    """FB16 alone, so that a test takes a moment."""
    (fb16,) = (one for one in PRECISIONS if one.label == "FB16")
    monkeypatch.setattr(text_direction_demo, "PRECISIONS", (fb16,))
    return fb16


@pytest.mark.usefixtures("one_precision")
def test_one_precision(tmp_path: Path) -> None:
    result = demo(tmp_path, "--lines", "4", "--batch", "2", "--target", "flexblock-edge", "--json")
    assert result.stderr == ""
    found = document(result)
    assert (found["lines"], found["target"]) == (4, "flexblock-edge")
    (row,) = found["rows"]
    assert row["label"] == "FB16"
    assert row["bytes_equal"]
    assert row["accuracy"] * 4 in range(5)

    program = flexc.load(tmp_path / "out" / "FB16")
    (image,) = program.inputs
    assert (image.name, image.shape) == (INPUT, (2, 3, 48, 192))
    assert program.options.target == "flexblock-edge"
    assert row["cycles_per_line"] == program.schedule.cycles / 2
    assert row["microseconds_per_line"] == pytest.approx(program.schedule.milliseconds * 1e3 / 2)


@pytest.mark.slow
def test_every_precision(tmp_path: Path) -> None:
    found = document(demo(tmp_path, "--lines", "4", "--batch", "2", "--json"))
    rows = {row["label"]: row for row in found["rows"]}
    assert list(rows) == [one.label for one in PRECISIONS]
    for label, row in rows.items():
        assert row["bytes_equal"] == (label != "fp32"), "fp32 sums leave the order open"
        assert row["tensors_equal"] > 50
    assert rows["fp32"]["same_as_onnxruntime"] == 1.0
    assert rows["fp32"]["accuracy"] == found["onnxruntime_accuracy"]
    cycles = [row["cycles_per_line"] for row in rows.values()]
    assert cycles == sorted(cycles, reverse=True), "each precision is quicker than the one before"
    folders = {path.name for path in (tmp_path / "out").iterdir()}
    assert folders == {"fp32", "FB24-fp32-batch-norm", "FB24", "FB16", "FB12"}


def test_the_table_says_how_the_engines_agree() -> None:
    rows = (
        Row("FB16", 0.98, 0.997, 146, True, 49122.4, 98.24),
        Row("fp32", 0.983, 1.0, 83, False, 410443, 820.9),
        Row("FB12", 0.5, 0.5, 0, False, 1, 0.002),
    )
    lines = table(Demonstration(300, 0.983, "flexblock", rows))
    assert lines[0] == "300 rendered lines of text; onnxruntime reads the direction of 98.3%"
    assert [line.split() for line in lines[3:6]] == [
        ["FB16", "98.0%", "99.7%", "every", "byte,", "146", "tensors", "49,122", "98.2"],
        ["fp32", "98.3%", "100.0%", "in", "fp32", "bounds,", "83", "tensors", "410,443", "820.9"],
        ["FB12", "50.0%", "50.0%", "NO", "1", "0.0"],
    ]
    assert len({len(line) for line in lines[2:6]}) == 1
    assert "all of whose rates are assumed" in lines[7]


def test_lines_are_a_multiple_of_the_batch(tmp_path: Path) -> None:
    result = demo(tmp_path, "--lines", "5", "--batch", "2")
    assert result.exit_code == 2
    assert "--lines must be a multiple of --batch, but 5 is none of 2" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = demo(tmp_path, "--model", tmp_path / "missing.onnx")
    assert result.exit_code == 1
    assert result.stderr == f"error[FX550]: the classifier is not there\n  --> {tmp_path / 'missing.onnx'}\n"
    monkeypatch.setattr(text_direction_demo, "MODEL_NAME", "other.onnx")
    result = demo(tmp_path)
    assert result.exit_code == 1
    assert result.stderr.startswith("error[FX550]: other.onnx is not beside this installation\n  hint: ")


def test_a_model_of_something_else(tmp_path: Path) -> None:
    few = ("--lines", "2", "--batch", "2", "--model")
    (tmp_path / "text.onnx").write_text("not a model")
    assert demo(tmp_path, *few, tmp_path / "text.onnx").stderr.startswith("error[FX102]")
    images = random(2, 3, 48, 192)
    relu = save(build([make_node("Relu", [INPUT], ["y"])], {INPUT: images}), tmp_path)
    result = demo(tmp_path, *few, relu)
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "error[FX553]: no classifier of text lines, which takes x [2, 3, 48, 192] and gives scores [2, 2]\n"
    )
    assert "gives 'y' float32 [2, 3, 48, 192]" in result.stderr


def test_rendering_wants_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = demo(tmp_path, "--lines", "2", "--batch", "2")
    assert result.exit_code == 1
    assert result.stderr.startswith("error[FX551]: rendering text lines needs Pillow\n")
