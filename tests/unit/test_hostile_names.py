"""Names that would steer a terminal or break a table are escaped where people read them, and kept in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import flexc
from flexc.cli import main
from flexc.diagnostics import Place, error, printable
from tests.onnx_models import build, make_node, random, save

NAME = "a\nb\t\x1b[31mred\x1b[0m \u202e日本語 \x7f'{}%s"
SHOWN = "a\\nb\\t\\x1b[31mred\\x1b[0m \\u202e日本語 \\x7f'{}%s"
IMAGE = random(1, 8, 6, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    node = make_node("Conv", [f"x{NAME}", "w"], ["y"], name=NAME, pads=[1] * 4)
    model = save(build([node], {f"x{NAME}": IMAGE}, {"w": random(8, 8, 3, 3)}), folder)
    for policy in ("FB12", "FB16"):
        flexc.compile(model, policy=policy, everywhere=True, output=folder / policy)
    np.savez(folder / "in.npz", **{f"x{NAME}": IMAGE})  # type: ignore[arg-type]  # a name, not a parameter
    return folder


def printed(folder: Path, *arguments: str, status: int = 0) -> str:
    paths = {
        "FB12",
        "FB16",
        "in.npz",
        "model.onnx",
        "new",
        "page.html",
        "trace.json",
        "q.onnx",
        "roofline.svg",
    }
    result = CliRunner().invoke(main, [str(folder / one) if one in paths else one for one in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("compile", "model.onnx", "-o", "new"),
        ("inspect", "FB16"),
        ("inspect", "FB16", "--layer", NAME),
        ("inspect", "FB16", "--layer", "#1"),
        ("diff", "FB12", "FB16", "--mappings", "--input", "in.npz"),
        ("run", "FB16", "--input", "in.npz", "--compare", "onnxruntime", "--engine", "both"),
    ],
    ids=lambda arguments: " ".join(arguments[:1]),
)
def test_no_name_steers_a_terminal(folder: Path, arguments: tuple[str, ...]) -> None:
    output = printed(folder, *arguments)
    assert all(line.isprintable() for line in output.splitlines())
    assert "\\x1b[31mred" in output


def test_files_are_written(folder: Path) -> None:
    for command, file in (
        ("trace", "trace.json"), ("report", "page.html"), ("export-onnx", "q.onnx"),
    ):  # fmt: skip
        printed(folder, command, "FB16", "-o", file)
    assert f"{NAME} (forward)" in {
        one["name"] for one in json.loads((folder / "trace.json").read_text())["traceEvents"]
    }


def test_errors_are_one_line_each(folder: Path) -> None:
    output = printed(folder, "inspect", "FB16", "--layer", f"{NAME}?", status=1)
    assert all(line.isprintable() for line in output.splitlines())
    assert f"close names: {SHOWN}" in output
    assert error("FX100", "m", place=Place("f", NAME, "Conv", 1)).diagnostics[0].render().count("\n") == 1


def test_programs_read_the_name_as_it_is(folder: Path) -> None:
    found = json.loads(printed(folder, "inspect", "FB16", "--json"))
    assert {node["name"] for group in found["groups"] for node in group["nodes"]} == {NAME}


def test_what_prints_stays() -> None:
    assert printable("né 日本語 🙂 'a' \\n") == "né 日本語 🙂 'a' \\n"
    assert printable("a\nb", keep="\n") == "a\nb"
    assert printable("\ud800\x00") == "\\ud800\\x00"
