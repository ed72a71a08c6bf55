"""Steps and inference of a model in training: what is measured, what is not finite, what was learnt."""

from __future__ import annotations

from dataclasses import replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import flexc
from flexc.datasets.arrays import DataSet, Examples, split
from flexc.diagnostics import CompileError
from flexc.numerics import lightnorm_normalize, lightnorm_range_constants
from flexc.options import BatchNorm, CompileOptions, Profile, TrainingOptions
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import machine_pipeline
from flexc.precision.policy import Operand, TrainingPass
from flexc.training.evaluation import evaluate
from flexc.training.machine_cost import machine_cost
from flexc.training.model import TrainedModel, load_trained_model
from flexc.training.step import StepResult, TrainingStep, errors_by_class
from flexc.training.zero_setting import ContractionPoint
from models.make_small_mobilenet import make_small_mobilenet
from models.make_small_resnet import make_small_resnet

BATCH = 4
FP32 = CompileOptions(profile=Profile.FP32, training=TrainingOptions())
FB16 = CompileOptions(policy="FB16", training=TrainingOptions())


def examples(count: int = 30, classes: int = 3) -> Examples:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    images = rng.standard_normal((count, 1, 6, 6)).astype(np.float32)
    images[:, 0, 0, 0] += labels
    return Examples.of_images(images, labels)


DATA = split("noise", examples())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(make_small_resnet(size=6, classes=3, widths=(4, 8)), path)
    return load_trained_model(path, DATA, batch=BATCH, options=TrainingOptions())


def step_of(model: TrainedModel, options: CompileOptions) -> tuple[TrainingStep, dict[str, Any]]:
    step = model.training_step(options)
    return step, step.programs.first_state


def run(
    step: TrainingStep, state: dict[str, Any], measure: bool | None = None, rate: float = 0.1
) -> StepResult:
    batch = DATA.train.take(np.arange(BATCH))
    return step.run(batch, state, learning_rate=rate, step=1, measure=measure)


def test_measuring_changes_nothing(model: TrainedModel) -> None:
    step, state = step_of(model, FB16)
    plain, measured = run(step, state), run(step, state, measure=True)
    assert plain.measured == ()
    for name, array in plain.state.items():
        np.testing.assert_array_equal(array, measured.state[name])
    assert len(measured.measured) == len(step.operands)


def test_every_contraction_is_measured_in_all_its_operands(model: TrainedModel) -> None:
    step, state = step_of(model, FB16)
    found: dict[ContractionPoint, set[Operand]] = {}
    for one in run(step, state, measure=False).measured:
        assert 0 <= one.error <= 1
        assert one.narrower is None
        for point, operand in one.operand.uses:
            found.setdefault(point, set()).add(operand)
    assert found[ContractionPoint("block0.1.conv", TrainingPass.FORWARD)] == {"activation", "weight"}
    assert found[ContractionPoint("block0.1.conv", TrainingPass.LOCAL_GRAD)] == {"gradient", "weight"}
    assert found[ContractionPoint("block0.1.conv", TrainingPass.WEIGHT_GRAD)] == {"gradient", "activation"}
    assert ContractionPoint("stem.conv", TrainingPass.LOCAL_GRAD) not in found
    assert step.widths() == dict.fromkeys(found, 8)


def test_fewer_bits_set_more_to_zero(model: TrainedModel) -> None:
    step, state = step_of(model, FB16)
    measured = run(step, state, measure=True).measured
    pairs = [(one.error, one.narrower) for one in measured if one.narrower is not None]
    assert len(pairs) == len(measured)
    assert all(error <= narrower for error, narrower in pairs)
    classes = errors_by_class(measured)
    assert set(classes) == {"activation", "weight", "gradient"}
    in_fp32, _ = step_of(model, FP32)
    assert not in_fp32.operands


def test_weights_are_measured_as_they_enter(model: TrainedModel) -> None:
    step, state = step_of(model, FB16)
    weight = state["stem.conv.weight"]
    spread = np.full_like(weight, 2.0**-20)
    spread[:, :, 0, 0] = 1
    before = [one.error for one in run(step, state, measure=False).measured]
    after = [one.error for one in run(step, {**state, "stem.conv.weight": spread}, measure=False).measured]
    assert before != after


@pytest.mark.parametrize("options", [FP32, FB16], ids=["fp32", "FB16"])
def test_what_is_not_finite_is_named(model: TrainedModel, options: CompileOptions) -> None:
    step, state = step_of(model, options)
    state["block0.1.conv.weight"] = state["block0.1.conv.weight"].copy()
    state["block0.1.conv.weight"][0, 0, 0, 0] = np.inf
    with pytest.raises(CompileError) as failure:
        run(step, state)
    (found,) = failure.value.diagnostics
    assert (found.code, found.message) == ("FX602", "a NaN or an infinity in step 1")
    assert found.place.node_name == "block0.1.conv"
    assert "'block0_1_conv" in found.detail


def test_an_update_that_overflows_is_found(model: TrainedModel) -> None:
    step, state = step_of(model, FP32)
    state["classifier.bias/velocity"] = np.full(3, 3e38, np.float32)
    with pytest.raises(CompileError, match=r"FX602(.|\n)*tensor 'classifier_bias_next"):
        run(step, state, rate=1e6)


def test_lightnorm_infers_with_its_running_range(model: TrainedModel) -> None:
    step, state = step_of(model, FB16)
    state = run(step, state).state
    # So narrow that eps shows behind the rounding of the scale.
    state["stem.bn.var/range"] = np.full(4, 0.004, np.float32)
    kept: dict[str, Any] = {}
    program = model.inference_program(FB16, state)
    images = DATA.train.images[:BATCH]
    program.run({"input": images}, keep=lambda **values: kept.update(values))
    gamma, beta, mean, ranges = (state[f"stem.bn.{word}"] for word in ("weight", "bias", "mean", "var/range"))
    positions = BATCH * 6 * 6
    constants = lightnorm_range_constants(
        gamma, mean, ranges, positions_per_chunk=positions // gcd(positions, 8), eps=1e-5
    )
    expected = lightnorm_normalize(kept["stem_conv_out"], *constants, beta)
    np.testing.assert_array_equal(kept["relu_0_out"], np.maximum(expected, 0))


def test_fp32_infers_with_its_running_variance(model: TrainedModel) -> None:
    options = replace(FP32, batchnorm=BatchNorm.FP32)
    step, state = step_of(model, options)
    state = run(step, state).state
    graph = model.inference_program(options, state).graph
    np.testing.assert_array_equal(graph.weights.get("stem.bn.var"), state["stem.bn.var"])
    assert "stem.bn.var/range" not in state


def test_accuracy_counts_every_example_once(model: TrainedModel) -> None:
    _, state = step_of(model, FP32)
    program = model.inference_program(FP32, state)
    given = examples(10)
    outputs = [
        program.run({"input": given.images[start : start + BATCH]})[model.output_name] for start in (0, 4)
    ]
    last = np.concatenate([given.images[8:], given.images[:2]])
    outputs.append(program.run({"input": last})[model.output_name][:2])
    found = np.concatenate(outputs).argmax(axis=1)
    expected = float((found == given.labels).mean())
    assert evaluate(model, program, given).accuracy == expected
    right = Examples.of_images(given.images, found.astype(np.int64))
    assert evaluate(model, program, right).accuracy == 1


def test_the_machine_cost_is_that_of_a_schedule(model: TrainedModel) -> None:
    program = flexc.compile(model.source.path, batch=BATCH, training=TrainingOptions())
    step = model.step_programs(FB16).main
    before = str(step.graph.module)
    found = machine_cost(step.graph, "flexblock")
    assert found is not None
    assert found.cycles == program.schedule.cycles
    assert found.energy_pj == program.schedule.energy_pj
    in_fp32 = machine_cost(model.step_programs(FP32).main.graph, "flexblock")
    assert in_fp32 is not None
    assert in_fp32.cycles > found.cycles
    assert in_fp32.energy_pj > found.energy_pj
    assert str(step.graph.module) == before


def test_a_step_that_does_not_fit_the_machine_has_no_cost(tmp_path: Path) -> None:
    wide = make_small_mobilenet(size=6, classes=3, width=64, blocks=((256, 1),))
    step = load(tmp_path / "wide.onnx", wide).step_programs(FB16).main
    text = (Path(flexc.__file__).parent / "target/catalog/flexblock.toml").read_text()
    small = tmp_path / "small.toml"
    given, less = "dram_capacity_bytes = 8_589_934_592", "dram_capacity_bytes = 65_536"
    assert given in text
    small.write_text(text.replace(given, less))
    with pytest.raises(CompileError, match="FX422"):
        run_pipeline(step.graph.copy(), machine_pipeline(str(small)))
    assert machine_cost(step.graph, str(small)) is None
    assert machine_cost(step.graph, "flexblock") is not None


def test_a_wrong_target_is_no_step_that_does_not_fit(model: TrainedModel) -> None:
    with pytest.raises(CompileError, match="FX401"):
        machine_cost(model.step_programs(FB16).main.graph, "none")


def load(path: Path, onnx_model: onnx.ModelProto, data: DataSet = DATA, batch: int = BATCH) -> TrainedModel:
    onnx.save(onnx_model, path)
    return load_trained_model(path, data, batch=batch, options=TrainingOptions())


def test_models_that_do_not_fit_the_data(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(CompileError, match="a batch of 400"):
        load(path, make_small_mobilenet(size=6, classes=3, width=4, blocks=((4, 1),)), batch=400)
    with pytest.raises(CompileError, match=r"FX563.*go from 0 to 2"):
        load(path, make_small_mobilenet(size=6, classes=2, width=4, blocks=((4, 1),)))
    with pytest.raises(CompileError):
        load(path, make_small_mobilenet(size=6, channels=3, classes=3, width=4, blocks=((4, 1),)))
    fixed = make_small_mobilenet(size=6, classes=3, width=4, blocks=((4, 1),))
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(CompileError):
        load(path, fixed)
