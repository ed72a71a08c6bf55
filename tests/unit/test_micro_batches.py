"""A step in micro-batches: its two programs, sums in order, and the update of a whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import flexc
from flexc.cli import main
from flexc.datasets.arrays import DataSet, Examples
from flexc.diagnostics import CompileError
from flexc.options import BatchNorm, CompileOptions, Profile, TrainingOptions
from flexc.passes.differentiation.parts import Part
from flexc.training.model import TrainedModel, load_trained_model
from models.graph_builder import GraphBuilder
from models.make_small_resnet import make_small_resnet
from tests import torch_models

BATCH, COUNT = 6, 3
RATE = 0.25
FP32 = CompileOptions(profile=Profile.FP32, batchnorm=BatchNorm.FP32, training=TrainingOptions())


def perceptron() -> onnx.ModelProto:
    """Two layers, an open batch."""
    b = GraphBuilder("perceptron", 1)
    hidden = b.node("Relu", [b.linear(b.input("x", ("n", 5)), (5, 7), "fc1")])
    return b.model({b.linear(hidden, (7, 3), "fc2"): ("n", 3)})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("micro") / "m.onnx"
    onnx.save(perceptron(), found)
    return found


def batch_of(step: int = 0) -> Examples:
    rng = np.random.default_rng(step)
    # Of rows far apart in size, so that the order of sums shows.
    x = rng.standard_normal((BATCH, 5)) * 10.0 ** rng.integers(-2, 3, (BATCH, 1))
    return Examples({"x": x.astype(np.float32)}, rng.integers(0, 3, BATCH))


def load(path: Path, **options: Any) -> TrainedModel:
    data = DataSet("d", batch_of(), batch_of())
    return load_trained_model(path, data, batch=BATCH, options=TrainingOptions(**options))


def steps(model: TrainedModel, count: int) -> tuple[list[float], dict[str, Any]]:
    """The losses of some steps, and the state behind them."""
    step = model.training_step(FP32)
    state, losses = step.programs.first_state, []
    for number in range(1, count + 1):
        made = step.run(batch_of(number), state, learning_rate=RATE, step=number, measure=None)
        state = made.state
        losses.append(made.loss)
    return losses, state


def test_the_parts_take_what_they_read(path: Path) -> None:
    programs = load(path, micro_batches=COUNT, optimizer="adam").step_programs(FP32)
    gradients, update = programs.main, programs.update
    assert update is not None
    weights = ["fc1.weight.transposed", "fc1.bias", "fc2.weight.transposed", "fc2.bias"]
    sums = [f"{name}/gradient" for name in weights]
    assert {spec.name for spec in gradients.inputs} == {"x", "labels", "step", *weights, *sums}
    assert {spec.name for spec in gradients.outputs} == {"loss", "correct", *sums}
    assert gradients.inputs[0].shape == (BATCH // COUNT, 5)
    moments = [f"{name}/{word}" for name in weights for word in ("mean", "square")]
    assert {spec.name for spec in update.inputs} == {"learning_rate", "step", *weights, *sums, *moments}
    assert {spec.name for spec in update.outputs} == {*weights, *moments}
    assert set(programs.first_state) == {*weights, *moments}
    assert all(not value.any() for value in programs.zero_sums().values())
    assert str(update.graph.module).count("nn.matmul") == 0


def test_gradients_are_added_from_the_first_micro_batch_to_the_last(path: Path) -> None:
    programs = load(path, micro_batches=COUNT).step_programs(FP32)
    assert programs.update is not None
    first = programs.main.first_state
    fed = {"step": np.asarray(1)}
    parts = [batch_of().take(np.arange(start, start + 2)) for start in range(0, BATCH, 2)]
    sums, alone = dict(first), []
    for part in parts:
        given = {"x": part.inputs["x"], "labels": part.class_labels, **fed}
        sums.update(_sums(programs.main.run({**given, **sums})))
        alone.append(_sums(programs.main.run({**given, **first})))
    for name, found in _sums(sums).items():
        one, two, three = (gradients[name] for gradients in alone)
        assert found.tobytes() == ((one + two) + three).tobytes()
    assert any(
        found.tobytes() != (alone[0][name] + (alone[1][name] + alone[2][name])).tobytes()
        for name, found in _sums(sums).items()
    )


def _sums(results: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in results.items() if name.endswith("/gradient")}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["cross-entropy", "mean-squared-error"])
def test_a_batch_in_parts_is_a_batch(path: Path, optimizer: str, loss: str) -> None:
    found = [
        steps(load(path, micro_batches=count, optimizer=optimizer, loss=loss, weight_decay=0.01), 3)
        for count in (1, COUNT, BATCH)
    ]
    for losses, state in found[1:]:
        np.testing.assert_allclose(losses, found[0][0], rtol=1e-5)
        for name, value in state.items():
            scale = float(np.abs(found[0][1][name]).max())
            np.testing.assert_allclose(value, found[0][1][name], rtol=0, atol=1e-5 * scale, err_msg=name)


@pytest.mark.torch
def test_against_accumulation_in_torch(path: Path) -> None:
    torch = pytest.importorskip("torch")
    losses, state = steps(load(path, micro_batches=COUNT), 3)
    weights = torch_models.weights_of(onnx.load(path), torch)
    tensors = {name: weights[name].requires_grad_() for name in weights}
    optimizer = torch.optim.SGD(tensors.values(), lr=RATE, momentum=0.9)
    for number in range(1, 4):
        optimizer.zero_grad()
        given, total = batch_of(number), 0.0
        for start in range(0, BATCH, BATCH // COUNT):
            part = given.take(np.arange(start, start + BATCH // COUNT))
            known = {**tensors, "x": torch.tensor(part.inputs["x"]).double()}
            logits = torch_models.run(onnx.load(path), torch, known)
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(part.labels)) / COUNT
            loss.backward()
            total += loss.item()
        optimizer.step()
        assert abs(losses[number - 1] - total) < 1e-5 * total
    for name, tensor in tensors.items():
        expected = tensor.detach().numpy()
        found = state[name if name.endswith("bias") else f"{name}.transposed"]
        expected = expected if name.endswith("bias") else expected.T
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))


def test_each_micro_batch_draws_bits_of_its_own_and_norms_see_only_it(tmp_path: Path) -> None:
    path = tmp_path / "resnet.onnx"
    onnx.save(make_small_resnet(size=6, classes=3, widths=(4, 8)), path)
    images = np.repeat(np.random.default_rng(0).standard_normal((2, 1, 6, 6)), 2, axis=0).astype(np.float32)
    examples = Examples.of_images(images[[0, 2, 1, 3]], np.array([0, 1, 0, 1]))
    options = TrainingOptions(micro_batches=2, statistics_momentum=0.5)
    model = load_trained_model(path, DataSet("d", examples, examples), batch=4, options=options)
    fed = {"input": images[[0, 2]], "labels": np.array([0, 1])}
    policy = CompileOptions(policy="FB12", everywhere=True, rounding="stochastic", training=options)
    step = model.training_step(policy)
    main, start = step.programs.main, step.programs.first_state
    losses = [
        main.run({**fed, **main.first_state, "step": np.asarray(number)})["loss"] for number in (1, 2, 3, 4)
    ]
    assert len({loss.tobytes() for loss in losses}) == 4
    for number in (1, 2):
        made = step.run(examples, start, learning_rate=0.0, step=number, measure=None)
        assert made.loss == (losses[2 * number - 2] + losses[2 * number - 1]) / np.float32(2)
    # Two equal micro-batches move running statistics twice.
    exact = CompileOptions(profile=Profile.FP32, batchnorm=BatchNorm.FP32, training=options)
    step = model.training_step(exact)
    start, main, key = step.programs.first_state, step.programs.main, "stem.bn.mean"
    once = main.run({**fed, **main.first_state, "step": np.asarray(1)})[key]
    moved = step.run(examples, start, learning_rate=0.0, step=1, measure=None).state[key]
    np.testing.assert_allclose(moved - once, (once - start[key]) / 2, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("batch", "options"),
    [
        (5, {"micro_batches": 2, "part": "gradients"}),
        (6, {"micro_batches": 0, "part": "gradients"}),
        (6, {"micro_batches": 2}),
    ],
)
def test_parts_that_there_are_not(path: Path, batch: int, options: dict[str, Any]) -> None:
    with pytest.raises(CompileError, match="FX347"):
        flexc.compile(path, batch=batch, training=TrainingOptions(**options))


def test_compiled_parts_agree_on_both_engines(path: Path, tmp_path: Path) -> None:
    step = tmp_path / "step"
    arguments = ["compile", str(path), "-o", str(step), "--train", "--batch", "6", "--micro-batch", "2"]
    result = CliRunner().invoke(main, [*arguments, "--policy", "FB16", "--everywhere"])
    assert result.exit_code == 0, result.output
    assert f"wrote {step / 'gradients'}" in result.output
    gradients, update = (flexc.load(step / part) for part in (Part.GRADIENTS, Part.UPDATE))
    part = batch_of().take(np.arange(2))
    fed = {"x": part.inputs["x"], "labels": part.class_labels, "step": np.asarray(1)}
    results = gradients.run({**fed, **gradients.first_state}, engine="both")
    summed = _sums(results)
    results = gradients.run({**fed, **gradients.first_state, **summed}, engine="both")
    rate = {"learning_rate": np.asarray(0.1, np.float32)}
    following = update.run({**rate, **update.first_state, **_sums(results)}, engine="both")
    assert set(following) == set(update.carried)
    assert CliRunner().invoke(main, arguments).exit_code == 0
    result = CliRunner().invoke(main, [*arguments[:3], str(step / "gradients"), *arguments[4:]])
    assert "error[FX510]" in result.output


def test_a_batch_too_large_for_the_machine_is_told_of_micro_batches(path: Path, tmp_path: Path) -> None:
    text = (Path(flexc.__file__).parent / "target/catalog/flexblock.toml").read_text()
    given, less = "dram_capacity_bytes = 8_589_934_592", "dram_capacity_bytes = 65_536"
    assert given in text
    small = tmp_path / "small.toml"
    small.write_text(text.replace(given, less))
    options: dict[str, Any] = {"batch": 6000, "target": str(small)}
    with pytest.raises(CompileError, match=r"FX422(.|\n)*hint: --micro-batch M"):
        flexc.compile(path, training=TrainingOptions(), **options)
    for part in ("gradients", "update"):
        flexc.compile(path, training=TrainingOptions(micro_batches=2000, part=part), **options)
    with pytest.raises(CompileError, match=r"FX422(.|\n)*hint: a smaller batch"):
        flexc.compile(path, **options)


@pytest.mark.parametrize("leave_out", ["--train", "--batch"])
def test_micro_batches_are_parts_of_a_training_step(leave_out: str, path: Path, tmp_path: Path) -> None:
    arguments = ["compile", str(path), "-o", str(tmp_path / "s"), "--micro-batch", "2"]
    arguments += ["--batch", "6"] if leave_out == "--train" else ["--train"]
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, "needs --train and --batch" in result.output) == (2, True)
