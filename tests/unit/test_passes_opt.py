"""``flexc opt`` and ``flexc policies``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file, save_file

from flexc.cli import main
from flexc.ir.program import parse_module
from flexc.passes.registry import PASS_NAMES
from flexc.precision.loading import catalog_names

CONV = (
    "nn.conv %b, %w {stride = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilation = array<i64: 1, 1>, "
    "group = 1 : i64} : tensor<1x2x1x1xf32>, tensor<2x2x1x1xf32> -> tensor<1x2x1x1xf32>"
)
TEXT = f"""func.func @main(%x: tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32> {{
  %w = nn.constant "w" : tensor<2x2x1x1xf32>
  %a = nn.relu %x : tensor<1x2x1x1xf32> -> tensor<1x2x1x1xf32>
  %b = nn.relu %a : tensor<1x2x1x1xf32> -> tensor<1x2x1x1xf32>
  %y = {CONV}
  func.return %y : tensor<1x2x1x1xf32>
}}
"""
BLOCK = "!bfp.tensor<1x2x1x1, m4, tile [1, 2, 1, 1]>"
QUANTIZED = f"""func.func @main(%x: {BLOCK}) -> {BLOCK} {{
  func.return %x : {BLOCK}
}}
"""


def flexc(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments], input=given)


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    path = tmp_path / "graph.mlir"
    path.write_text(TEXT)
    return path


def test_text_in_text_out(graph_file: Path) -> None:
    result = flexc("opt", graph_file, "--pass-pipeline", "canonicalize", "--verify-each")
    assert result.exit_code == 0
    assert result.stdout.count("nn.relu") == 1
    assert result.stderr == ""
    from_stdin = flexc("opt", "-", "--pass-pipeline", "canonicalize", given=TEXT)
    assert from_stdin.stdout == result.stdout


def test_no_pipeline_is_a_round_trip(graph_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mlir"
    assert flexc("opt", graph_file, "-o", out).stdout == ""
    assert out.read_text() == f"{parse_module(TEXT)!s}\n"


def test_debugging_options(graph_file: Path, tmp_path: Path) -> None:
    result = flexc(
        "opt", graph_file, "--pass-pipeline", "canonicalize,cse",
        "--print-ir-after", "cse", "--timing", "--dump-ir", tmp_path / "dump",
    )  # fmt: skip
    assert "// IR after cse" in result.stderr
    assert "Pass timing" in result.stderr
    assert "IR after" not in result.stdout
    assert (tmp_path / "dump" / "01-canonicalize.mlir").is_file()


def test_weights_go_in_and_out(graph_file: Path, tmp_path: Path) -> None:
    weights, left = tmp_path / "w.safetensors", tmp_path / "left.safetensors"
    save_file({"w": np.ones((2, 2, 1, 1), np.float32)}, weights)
    pipeline = "insert-quantize{policy=FB12},fold-quantized-weights"
    result = flexc(
        "opt", graph_file, "--weights", weights, "--weights-output", left, "--pass-pipeline", pipeline
    )
    assert 'bfp.constant "w.m16"' in result.stdout
    assert set(load_file(left)) == {"w.m16.mantissa", "w.m16.exponent"}


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (TEXT.replace("nn.relu %a", "nn.relu %z"), "FX151", "%z"),
        (TEXT.replace("nn.relu %x", "nn.rleu %x"), "FX151", "bad.mlir:3:16, %a = nn.rleu %x"),
        (TEXT.replace("tensor<2x2x1x1xf32>\n", "tensor<2x2x1x\n"), "FX151", "bad.mlir:3:3"),
        (QUANTIZED.replace("m4", "m44"), "FX151", "bad.mlir:1:"),
        (QUANTIZED.replace("m4", "q4"), "FX151", "such as m8"),
        (QUANTIZED.replace("[1, 2, 1, 1]", "[1, 2, 1]"), "FX151", "tile [1, 2, 1] has 3 entries"),
        (QUANTIZED.replace("]>", "], odd>"), "FX151", "'odd'"),
        ("", "FX151", "bad.mlir:1:1"),
        ("func.func @other() {\n  func.return\n}\n", "FX152", "no func.func @main"),
        (TEXT.replace("func.return %y", "func.return %w"), "FX151", "previously used or defined"),
        (TEXT.replace(" {stride = array<i64: 1, 1>,", " {"), "FX152", "stride"),
    ],
)
def test_text_that_is_no_ir(text: str, code: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.mlir"
    path.write_text(text)
    result = flexc("opt", path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error[{code}]")
    assert "bad.mlir" in result.stderr
    assert place in result.stderr
    assert "Traceback" not in result.output


def test_wrong_usage(graph_file: Path, tmp_path: Path) -> None:
    assert flexc("opt").exit_code == 2
    assert flexc("opt", graph_file, "--run-reproducer", "--pass-pipeline", "cse").exit_code == 2
    for arguments in (
        ["opt", str(tmp_path / "missing.mlir")],
        ["opt", str(graph_file), "--weights", str(tmp_path / "missing.safetensors")],
        ["opt", str(graph_file), "--print-ir-after", "cze"],
        ["opt", str(graph_file), "--pass-pipeline", "cze"],
        ["opt", str(graph_file), "--run-reproducer"],
    ):
        result = flexc(*arguments)
        assert result.exit_code == 1, arguments
        assert result.stderr.startswith("error[FX")


def test_a_crash_keeps_its_traceback_and_can_be_replayed(
    graph_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(graph: object) -> bool:
        raise ZeroDivisionError("in the pass")

    with monkeypatch.context() as patch:
        patch.setattr("flexc.passes.canonicalize.drop_unused_weights", crash)
        result = flexc("opt", graph_file, "--pass-pipeline", "cse,canonicalize", "--reproducer", tmp_path)
    assert isinstance(result.exception, ZeroDivisionError)
    reproducer = tmp_path / "reproducer.mlir"
    assert any(str(reproducer) in note for note in result.exception.__notes__)
    assert "// pipeline: canonicalize\n" in reproducer.read_text()
    replayed = flexc("opt", "--run-reproducer", reproducer)
    assert replayed.exit_code == 0
    assert replayed.stdout.count("nn.relu") == 1


def test_passes_are_listed() -> None:
    result = flexc("opt", "--list-passes")
    assert result.exit_code == 0
    listed = [line.partition("{")[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert tuple(listed) == PASS_NAMES
    options = "policy=FB16 everywhere=False rounding=None seed=0 emulated=False"
    assert f"insert-quantize{{{options}}}" in result.stdout


def test_policies_are_listed() -> None:
    result = flexc("policies")
    assert result.exit_code == 0
    for name in catalog_names():
        assert name in result.stdout


def test_one_policy_is_shown() -> None:
    shown = flexc("policies", "FB12")
    assert shown.exit_code == 0
    assert "kind = shortcut" in shown.stdout
    (found,) = json.loads(flexc("policies", "FB12", "--json").stdout)["policies"]
    assert found["default"] == [
        {"format": "FB12", "mantissa_bits": 4, "sign": "included", "group_length": 216}
    ]
    assert [one["if"] for one in found["overrides"]] == [
        {"first": True},
        {"kind": "shortcut"},
        {"last": True},
    ]
    (everywhere,) = json.loads(flexc("policies", "FB12", "--everywhere", "--json").stdout)["policies"]
    assert everywhere["overrides"] == []
    assert flexc("policies", "FB13").exit_code == 1
