"""`flexc plot`: what the figures show, in letters and bars; equal bytes; nothing written on mistakes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import flexc
from flexc.analysis.comparison.result import (
    ArrayRow,
    Comparison,
    MeanRow,
    Range,
    RatioRow,
)
from flexc.analysis.plotting.roofline import draw_roofline, plot_roofline
from flexc.analysis.plotting.speedup import RATIOS, draw_ratios, plot_speedup
from flexc.analysis.plotting.zero_setting import curves_of, plot_zero_setting
from flexc.analysis.roofline import Roof, Roofline, RooflinePoint
from flexc.cli import main
from flexc.diagnostics import CompileError
from flexc.training.metrics import EpochMetrics, EpochTime, write_tables
from tests.marked_up_model import MARK, marked_up_model
from tests.onnx_models import save

pytest.importorskip("matplotlib")
FORMULA = "$x^2$<b>&amp;</text>\x01"
"""What matplotlib would set as a formula, markup, and a character that no XML file may hold."""
SHOWN = "$x^2$<b>&amp;</text>\N{REPLACEMENT CHARACTER}"


def texts(path: Path) -> list[str]:
    """All texts of an SVG file, each line by itself; the file has to be XML without foreign elements."""
    elements = list(ElementTree.parse(path).iter())
    assert {each.tag.rpartition("}")[2] for each in elements}.isdisjoint({"img", "script", "a"})
    return ["".join(each.itertext()) for each in elements if each.tag.endswith("}text")]


def ratio(model: str, policy: str, against: str, speed: float) -> RatioRow:
    speedup, energy = (Range(value, value / 2, value * 2, "low", "high") for value in (speed, 1 / speed))
    return RatioRow(model, "flexblock", policy, against, "fp32", speedup, energy, {"forward": 1.0}, None)


def comparison(*ratios: RatioRow, train: bool = True) -> Comparison:
    """A comparison whose means are ten times as much as nothing of it, so that they are told apart."""
    keys = dict.fromkeys((row.target, row.policy, row.against) for row in ratios)
    mean = Range(10.0, 5.0, 20.0, "low", "high")
    means = tuple(MeanRow(*key, mean, mean) for key in keys)
    arrays = (ArrayRow("flexblock", "16 cores", {"multipliers": 1.0}, 1.0),)
    return Comparison("fp32", "datapath", train, arrays, (), ratios, means, ("DRAM x 2",))


COMPARED = comparison(
    ratio("a", "FB12", "bf16-systolic", 4.0),
    ratio("a", "FB12", "fast-bfp", 0.5),
    ratio("b", "FB12", "fast-bfp", 2.0),
    ratio("a", "FB16", "fast-bfp", 0.25),
)


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    path = tmp_path / "compared.json"
    path.write_text(COMPARED.to_json())
    return path


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plot")
    flexc.compile(save(marked_up_model(), folder), output=folder / "a")
    return folder / "a"


def run(folder: Path, *errors: float | None) -> Path:
    folder.mkdir()
    epochs = [
        EpochMetrics(number, number, 0.1, 1.0, 0.5, 0.5, value, None, 0.5, 1, 0, 0, None, None)
        for number, value in enumerate(errors, 1)
    ]
    write_tables(folder, epochs, [EpochTime(10, 1.0)] * len(epochs), [])
    return folder


@pytest.mark.parametrize("suffix", [".svg", ".png", ".PDF"])
def test_equal_figures_are_equal_bytes(artefact: Path, compared: Path, tmp_path: Path, suffix: str) -> None:
    course = run(tmp_path / "run", 0.1, 0.2)
    for name, source in (("roofline", artefact), ("speedup", compared), ("zse", course)):
        written = []
        for copy in "ab":
            output = tmp_path / f"{name}-{copy}{suffix}"
            result = CliRunner().invoke(main, ["plot", name, str(source), "-o", str(output)])
            assert (result.exit_code, result.stdout) == (0, f"wrote {output}\n"), result.stderr
            written.append(output.read_bytes())
        assert written[0] == written[1]
        assert written[0].startswith({".png": b"\x89PNG", ".PDF": b"%PDF"}.get(suffix, b"<?xml"))
        assert len(written[0]) > 5000


def test_settings_of_the_user_change_nothing(compared: Path, tmp_path: Path) -> None:
    import matplotlib

    plot_speedup(compared, tmp_path / "a.svg")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "svg.hashsalt": "other"}):
        plot_speedup(compared, tmp_path / "b.svg")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_roofline_names_roofs_target_and_layers(artefact: Path, tmp_path: Path) -> None:
    plot_roofline(artefact, tmp_path / "r.svg", labels=1)
    found = texts(tmp_path / "r.svg")
    assert "Roofline (assumed: flexblock)" in found
    assert {f"roof of {mode}" for mode in ("FB12", "FB16", "FB24")} <= set(found)
    assert sum(MARK in each for each in found) == 1
    assert {f"first{MARK}", f"second{MARK}"} & set(found)
    plot_roofline(artefact, tmp_path / "r.svg")
    assert not any(MARK in each for each in texts(tmp_path / "r.svg"))


def figure() -> Any:
    from matplotlib.figure import Figure

    return Figure()


def test_points_lie_where_the_roofline_has_them() -> None:
    roofs = (Roof("FB12", (4, 4), 400.0), Roof("FB24", (16, 16), 100.0))
    points = (
        RooflinePoint(0, FORMULA, "forward", "FB12", 8.0, 300.0),
        RooflinePoint(1, "other", "weight_grad", "FB24", 2.0, 90.0),
    )
    drawn = figure()
    draw_roofline(drawn, Roofline("$m", 50.0, roofs, points), frozenset({0}))
    (axes,) = drawn.axes
    lines = [list(zip(*line.get_data(), strict=True)) for line in axes.lines]
    assert [line[1] for line in lines] == [(8.0, 400.0), (2.0, 100.0)]
    assert [line[2] for line in lines] == [(24.0, 400.0), (24.0, 100.0)]
    assert all(line[0] == pytest.approx((2 / 3, 100 / 3)) for line in lines)
    assert [each.get_offsets().tolist() for each in axes.collections] == [[[8.0, 300.0]], [[2.0, 90.0]]]
    labels = ["roof of FB12", "roof of FB24", "FB12, forward", "FB24, weight gradient"]
    assert axes.get_legend_handles_labels()[1] == labels


def test_a_roofline_without_contractions_is_an_error(tmp_path: Path) -> None:
    flexc.compile(save(marked_up_model(), tmp_path), profile="fp32", output=tmp_path / "a")
    with pytest.raises(CompileError, match="FX557"):
        plot_roofline(tmp_path / "a", tmp_path / "r.svg")
    assert not (tmp_path / "r.svg").exists()


def test_bars_are_the_ratios_and_their_means() -> None:
    drawn = figure()
    draw_ratios(drawn, COMPARED, RATIOS["speed"], ["FB12", "FB16"])
    first, second = drawn.axes
    bars = {
        container.get_label(): container for container in first.containers if container.get_label()[0] != "_"
    }
    assert list(bars) == ["against bf16-systolic", "against fast-bfp"]

    def tops(name: str) -> dict[int, float]:
        return {
            round(bar.get_x() + bar.get_width() / 2): bar.get_y() + bar.get_height()
            for bar in bars[f"against {name}"]
        }

    assert tops("bf16-systolic") == {0: 4.0, 2: 10.0}
    assert tops("fast-bfp") == {0: 0.5, 1: 2.0, 2: 10.0}
    assert [each.get_text() for each in second.get_xticklabels()] == ["a", "b", "geometric mean"]
    ends = [line.get_segments() for line in first.collections]
    assert sorted(end for segment in ends[0] for _, end in segment) == [2.0, 5.0, 8.0, 20.0]


@pytest.mark.parametrize("of", ["speed", "energy"])
def test_the_figure_names_what_it_compares(compared: Path, tmp_path: Path, of: str) -> None:
    plot_speedup(compared, tmp_path / "s.svg", of)
    found = texts(tmp_path / "s.svg")
    text = " ".join(" ".join(found).split())
    assert "(assumed: flexblock, bf16-systolic, fast-bfp)" in text
    assert "fp32 batch norm on both sides; equal: area of the whole datapath" in text
    assert {"a", "b", "geometric mean", "FB12", "FB16"} <= set(found)
    assert {"against bf16-systolic", "against fast-bfp"} <= set(found)
    claimed = {"speed": "1.5 to 5.3", "energy": "2.4 to 7.0"}[of]
    assert f"FlexBlock paper's claim, {claimed}: not a figure of this comparison" in found


@pytest.mark.parametrize(
    "found",
    [
        comparison(ratio("a", "FB12", "fast-bfp", 2.0), train=False),
        comparison(replace(ratio("a", "FB12", "fast-bfp", 2.0), target="flexblock-edge")),
    ],
)
def test_the_claim_is_about_training_on_flexblock_alone(found: Comparison, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(found.to_json())
    plot_speedup(tmp_path / "c.json", tmp_path / "s.svg")
    assert "claim" not in (tmp_path / "s.svg").read_text()


def test_one_policy_of_several(compared: Path, tmp_path: Path) -> None:
    arguments = ["plot", "speedup", str(compared), "-o", str(tmp_path / "s.svg"), "--policy"]
    assert CliRunner().invoke(main, [*arguments, "FB16"]).exit_code == 0
    found = set(texts(tmp_path / "s.svg"))
    assert "FB16" in found
    assert found.isdisjoint({"FB12", "b", "against bf16-systolic"})
    refused = CliRunner().invoke(main, [*arguments, "FB99"])
    assert "error[FX557]: the comparison has no ratios of policy 'FB99'" in refused.stderr
    assert "hint: its policies: FB12, FB16" in refused.stderr


def test_names_with_markup_and_formulas_are_letters(tmp_path: Path) -> None:
    row = replace(ratio(FORMULA, FORMULA, FORMULA, 2.0), target=FORMULA)
    (tmp_path / "c.json").write_text(comparison(row).to_json())
    plot_speedup(tmp_path / "c.json", tmp_path / "s.svg")
    assert {SHOWN, f"against {SHOWN}"} <= set(texts(tmp_path / "s.svg"))
    (tmp_path / "c.json").write_text(comparison(replace(row, model="m" * 500)).to_json())
    plot_speedup(tmp_path / "c.json", tmp_path / "s.svg")
    assert f"{'m' * 20}\N{HORIZONTAL ELLIPSIS}{'m' * 19}" in texts(tmp_path / "s.svg")
    course = run(tmp_path / "$x^2$<b>", 0.5)
    plot_zero_setting([course], tmp_path / "z.svg")
    assert "$x^2$<b>" in texts(tmp_path / "z.svg")


def changed(**changes: object) -> str:
    return json.dumps({**json.loads(COMPARED.to_json()), **changes})


def with_speed(**changes: object) -> str:
    document = json.loads(COMPARED.to_json())
    document["ratios"][0]["speedup"].update(changes)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "this is no comparison"),
        (changed(schema="flexc.schedule"), "this is no comparison"),
        (changed(schema_version=99), "schema version 99; this flexc reads version 1"),
        (changed(means=None), "is damaged"),
        (changed(ratios=[{}]), "is damaged"),
        (changed(surplus=1), "is damaged"),
        (with_speed(nominal="4"), "is damaged"),
        (with_speed(low=0.0), "have to be positive"),
        (with_speed(nominal=float("nan")), "have to be positive"),
        (with_speed(high=float("inf")), "have to be positive"),
        (with_speed(low=5.0), "have to be positive"),
    ],
)
def test_what_is_no_comparison_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(CompileError, match=f"FX558.*{message}"):
        plot_speedup(tmp_path / "c.json", tmp_path / "s.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["c.json"]


def test_a_comparison_that_is_not_there_or_is_empty(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="FX558"):
        plot_speedup(tmp_path / "none.json", tmp_path / "s.svg")
    (tmp_path / "c.json").write_text(comparison().to_json())
    with pytest.raises(CompileError, match=r"FX557.*no ratios(.|\n)*compare more than one of --targets"):
        plot_speedup(tmp_path / "c.json", tmp_path / "s.svg")


def test_histories_of_several_runs(tmp_path: Path) -> None:
    first, second = run(tmp_path / "fp12", 0.1, None, 0.3), run(tmp_path / "fp16", None)
    plot_zero_setting([first, second], tmp_path / "z.svg")
    found = texts(tmp_path / "z.svg")
    assert {"fp12", "fp16", "zero-setting error"} <= set(found)
    assert (found.count("activations"), found.count("gradients"), found.count("weights")) == (1, 1, 0)


def test_an_epoch_that_measured_nothing_is_a_gap() -> None:
    epoch = EpochMetrics(1, 1, 0.1, 1.0, None, None, 0.25, None, None, 1, 0, 0, None, None)
    curves = curves_of([epoch, replace(epoch, error_activation=None)])
    assert [name for name, _ in curves] == ["activations"]
    assert str(curves[0][1]) == "[0.25, nan]"


def test_a_run_without_zero_setting_errors(tmp_path: Path) -> None:
    course = run(tmp_path / "run", 0.1)
    epoch = EpochMetrics(1, 1, 0.1, 1.0, None, None, None, None, None, 1, 0, 0, None, None)
    write_tables(course, [epoch], [EpochTime(10, 1.0)], [])
    with pytest.raises(CompileError, match=r"FX557(.|\n)*only runs that quantize"):
        plot_zero_setting([course], tmp_path / "z.svg")
    with pytest.raises(CompileError, match="FX570"):
        plot_zero_setting([tmp_path], tmp_path / "z.svg")


@pytest.mark.parametrize("name", ["s.gif", "s", "s.svg.gz"])
def test_another_suffix_is_an_error(compared: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CompileError, match="FX556"):
        plot_speedup(compared, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_without_matplotlib(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["plot", "speedup", str(compared), "-o", str(tmp_path / "s.svg")])
    assert result.exit_code == 1
    assert "error[FX555]: plots need matplotlib" in result.stderr
    assert "pip install 'flexc[plot]'" in result.stderr


def test_a_sweep_refuses_a_figure_before_it_works(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('models = ["m.onnx"]\ntargets = ["flexblock"]\npolicies = ["FB12"]\n')
    arguments = ["sweep", str(tmp_path / "s.toml"), "-o", str(tmp_path / "t.csv")]
    result = CliRunner().invoke(main, [*arguments, "--plot", str(tmp_path / "front.gif")])
    assert "error[FX556]" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def fail(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_figure(
    compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "s.svg"
    output.write_text("old")
    broken: Callable[..., None] = fail
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", broken)
    with pytest.raises(CompileError, match=r"FX506.*No space left"):
        plot_speedup(compared, output)
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["compared.json", "s.svg"]
