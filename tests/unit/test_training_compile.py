"""Compiling training steps: what the program takes and gives, and its artefact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto

import flexc
from flexc import artefact
from flexc.cli import main
from flexc.diagnostics import CompileError
from flexc.ir.program import carried_names
from flexc.options import TrainingOptions
from models.graph_builder import GraphBuilder
from models.make_small_resnet import make_small_resnet
from tests.json_schema import violations

BATCH = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(make_small_resnet(size=6, classes=3, widths=(4, 8)), path)
    return path


def step_inputs(program: flexc.Program) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        **program.first_state,
        "input": rng.standard_normal((BATCH, 1, 6, 6)).astype(np.float32),
        "labels": np.arange(BATCH) % 3,
        "learning_rate": np.asarray(0.1, np.float32),
        "step": np.asarray(1),
    }


def test_a_step_gives_the_next_weights(model: Path) -> None:
    program = flexc.compile(model, batch=BATCH, training=TrainingOptions())
    given = step_inputs(program)
    results = program.run(given)
    assert results["loss"] > 0
    assert set(program.carried) <= set(results)
    assert not np.array_equal(results["stem.conv.weight"], given["stem.conv.weight"])


def test_the_learning_rate_is_an_input(model: Path) -> None:
    program = flexc.compile(model, batch=BATCH, training=TrainingOptions(momentum=0.0))
    given = step_inputs(program)
    given["learning_rate"] = np.asarray(0, np.float32)
    results = program.run(given)
    np.testing.assert_array_equal(results["stem.conv.weight"], given["stem.conv.weight"])


def test_a_saved_step_computes_what_it_did_on_both_engines(model: Path, tmp_path: Path) -> None:
    options = TrainingOptions(optimizer="adam", loss="mse", weight_decay=0.01)
    program = flexc.compile(model, output=tmp_path / "a", batch=BATCH, training=options)
    loaded = flexc.load(tmp_path / "a")
    assert loaded.options == program.options
    assert loaded.options.training is not None
    assert loaded.options.training.loss == "mean-squared-error"
    assert loaded.schedule == program.schedule
    given = step_inputs(program)
    given["targets"] = np.ones((BATCH, 3), np.float32)
    del given["labels"]
    before, after = program.run(given), loaded.run(given, engine="both")
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_step_in_fp32_runs_on_both_engines(model: Path) -> None:
    program = flexc.compile(model, batch=BATCH, profile="fp32", training=TrainingOptions())
    found = program.run_engine(step_inputs(program), "both")
    assert found.agreement is not None
    assert found.agreement.difference is None
    assert not np.array_equal(found.outputs["stem.conv.weight"], program.first_state["stem.conv.weight"])


def test_a_loaded_step_knows_its_first_state(model: Path, tmp_path: Path) -> None:
    program = flexc.compile(model, output=tmp_path / "a", batch=BATCH, training=TrainingOptions())
    loaded = flexc.load(tmp_path / "a")
    assert set(loaded.carried) == set(program.carried) == set(carried_names(program.graph.main))
    first = loaded.first_state
    assert list(first) == list(loaded.carried)
    for name, array in program.first_state.items():
        np.testing.assert_array_equal(first[name], array)
    assert flexc.compile(model, batch=BATCH).first_state == {}


def test_the_manifest_follows_its_schema(model: Path, tmp_path: Path) -> None:
    flexc.compile(model, output=tmp_path / "a", batch=BATCH, training=TrainingOptions())
    text = (tmp_path / "a" / artefact.MANIFEST).read_text()
    assert violations(json.loads(text), "manifest.json") == []


@pytest.mark.parametrize("wrong", [TrainingOptions(loss="hinge"), TrainingOptions(optimizer="lion")])
def test_an_unknown_choice_is_an_error(model: Path, wrong: TrainingOptions) -> None:
    with pytest.raises(CompileError, match="FX310"):
        flexc.compile(model, batch=BATCH, training=wrong)


def test_the_command(model: Path, tmp_path: Path) -> None:
    arguments = ["compile", str(model), "-o", str(tmp_path / "a"), "--batch", "4", "--train"]
    result = CliRunner().invoke(main, [*arguments, "--optimizer", "adam", "--freeze", "stem.*"])
    assert result.exit_code == 0, result.output
    program = flexc.load(tmp_path / "a")
    assert "block0.1.conv.weight/square" in program.carried
    assert "stem.conv.weight" not in program.carried


def test_labels_that_are_no_class_are_refused(model: Path, tmp_path: Path) -> None:
    program = flexc.compile(model, output=tmp_path / "a", batch=BATCH, training=TrainingOptions())
    given = {**step_inputs(program), "labels": np.array([0, 1, 2, 3])}
    for one in (program, flexc.load(tmp_path / "a")):
        with pytest.raises(
            CompileError, match=r"FX507.*'labels' goes from 0 to 3; the loss has the classes 0 to 2"
        ):
            one.run(given)
    np.savez(tmp_path / "in.npz", **{**given, "labels": np.array([0, 1, 2, -1])})
    for engine in ("executor", "stream", "both"):
        arguments = ["run", str(tmp_path / "a"), "-i", str(tmp_path / "in.npz"), "--engine", engine]
        result = CliRunner().invoke(main, arguments)
        assert "FX507" in result.output
        assert result.exit_code == 1


def test_tokens_that_are_no_entry_of_the_table_are_refused(tmp_path: Path) -> None:
    b = GraphBuilder("tokens", 0)
    table = b.weight("table", np.ones((5, 4), np.float32))
    found = b.linear(b.node("Gather", [table, b.input("tokens", (BATCH,), TensorProto.INT64)]), (4, 3), "fc")
    onnx.save(b.model({found: (BATCH, 3)}), tmp_path / "tokens.onnx")
    program = flexc.compile(tmp_path / "tokens.onnx", output=tmp_path / "a")
    program.run({"tokens": np.array([0, 4, -5, -1])})
    with pytest.raises(CompileError, match=r"FX507.*'tokens' goes from 0 to 5; .* has 5 entries"):
        flexc.load(tmp_path / "a").run({"tokens": np.array([0, 1, 2, 5])})


def test_options_of_training_need_it(model: Path, tmp_path: Path) -> None:
    arguments = ["compile", str(model), "-o", str(tmp_path / "a"), "--batch", "4"]
    result = CliRunner().invoke(main, [*arguments, "--optimizer", "sgd", "--seed", "0"])
    assert result.exit_code == 2
    assert "--seed, --optimizer: only with --train" in result.output
    assert not (tmp_path / "a").exists()


def test_the_seed_is_that_of_stochastic_rounding(model: Path, tmp_path: Path) -> None:
    arguments = ["compile", str(model), "--batch", "4", "--train", "--rounding", "stochastic"]
    for seed in (0, 1):
        result = CliRunner().invoke(main, [*arguments, "--seed", str(seed), "-o", str(tmp_path / f"{seed}")])
        assert result.exit_code == 0, result.output
    first, second = (flexc.load(tmp_path / f"{seed}") for seed in (0, 1))
    given = step_inputs(first)
    name = "stem.conv.weight"
    assert not np.array_equal(first.run(given)[name], second.run(given)[name])


def test_a_pattern_that_fits_no_weight_is_an_error(model: Path) -> None:
    with pytest.raises(
        CompileError, match=r"FX348.*'stem\.conv\.wieght'\n.*\n.*did you mean 'stem\.conv\.weight'"
    ):
        flexc.compile(model, batch=BATCH, training=TrainingOptions(freeze="*.bias,stem.conv.wieght"))
