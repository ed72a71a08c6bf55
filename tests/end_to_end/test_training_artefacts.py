"""`flexc compile --train`, then `flexc run --engine both`: equal bytes, every weight included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import flexc
from flexc.array_files import read_npz, write_npz
from flexc.cli import main
from tests.training_models import small_mobilenet, small_resnet, small_transformer

MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet": small_resnet,
    "mobilenet": small_mobilenet,
    "transformer": small_transformer,
}
POLICIES = ("FB12", "FB16", "FB24", "FB12LG16WG16")
QUICK = {("resnet", "FB12LG16WG16")}


def command(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def write_batch(program: flexc.Program, path: Path) -> None:
    """Data of one step, without weights and state."""
    rng = np.random.default_rng(0)
    arrays = {}
    for spec in program.inputs:
        if spec.name in program.carried:
            continue
        floats, integers = rng.standard_normal(spec.shape), rng.integers(0, 4, spec.shape)
        arrays[spec.name] = np.asarray(floats if spec.dtype == "float32" else integers, spec.dtype)
    arrays.update(learning_rate=np.asarray(0.05, np.float32), step=np.asarray(1))
    write_npz(path, arrays)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        pytest.param(name, policy, marks=[] if (name, policy) in QUICK else pytest.mark.slow)
        for name in MODELS
        for policy in POLICIES
    ],
)
def test_both_engines_agree_in_every_byte(name: str, policy: str, tmp_path: Path) -> None:
    model, step, batch = tmp_path / "model.onnx", tmp_path / "step", tmp_path / "in.npz"
    onnx.save(MODELS[name](), model)
    command("compile", model, "--train", "--policy", policy, "--everywhere", "-o", step)
    program = flexc.load(step)
    write_batch(program, batch)
    ran = command("run", step, "--input", batch, "--engine", "both", "--output", tmp_path / "both.npz")
    assert "equal in bytes" in ran.stdout
    command("run", step, "--input", batch, "--engine", "stream", "--output", tmp_path / "stream.npz")
    both, stream = read_npz(tmp_path / "both.npz"), read_npz(tmp_path / "stream.npz")
    for weight, before in program.first_state.items():
        assert both[weight].tobytes() == stream[weight].tobytes(), weight
        assert both[weight].tobytes() != before.tobytes(), weight
