"""Training steps on both engines: every tensor in DRAM, every updated weight included, has equal bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from flexc.backends.stream.emit import emit_stream
from flexc.importer import load_model
from flexc.ir.program import Graph, carried_names
from flexc.ir.tensor_op import spec_of
from flexc.options import BatchNorm, CompileOptions, TrainingOptions
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import differentiation_of, machine_pipeline, training_pipeline
from flexc.scheduling import schedule_of
from flexc.target import load_target
from tests.stream_agreement import Agreement, compare_with_stream
from tests.training_models import small_mobilenet, small_resnet, small_transformer

Array: TypeAlias = npt.NDArray[Any]
MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet": small_resnet,
    "mobilenet": small_mobilenet,
    "transformer": small_transformer,
}
SMALL_MACHINE = {
    "cores = 16": "cores = 3",
    "operand_buffer_bytes = 32_768": "operand_buffer_bytes = 6_144",
    "held_buffer_bytes = 32_768": "held_buffer_bytes = 6_144",
    "psum_buffer_bytes = 32_768": "psum_buffer_bytes = 3_072",
}
CATALOG = Path(__file__).parents[2] / "flexc" / "target" / "catalog"


def step_of(model: onnx.ModelProto, folder: Path, options: CompileOptions) -> Graph:
    """The training step of a model, mapped, scheduled and allocated."""
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    graph = load_model(path)
    differentiate = differentiation_of(options.training or TrainingOptions())
    run_pipeline(
        graph,
        (*training_pipeline(options, differentiate), *machine_pipeline(options.target)),
        verify_each=True,
    )
    return graph


def inputs_of(graph: Graph) -> dict[str, Array]:
    """Weights of the model, a memory of earlier steps, and data."""
    rng = np.random.default_rng(1)
    carried = carried_names(graph.main)
    inputs: dict[str, Array] = {}
    for name, argument in zip(graph.input_names, graph.main.body.block.args, strict=True):
        spec = spec_of(argument.type)
        if name == "learning_rate":
            inputs[name] = np.asarray(0.05, np.float32)
        elif name == "step":
            inputs[name] = np.asarray(3, np.int64)
        elif spec.element == "i64":
            inputs[name] = rng.integers(0, 4, spec.shape)
        else:
            first = np.asarray(graph.weights.get(name)) if name in carried else None
            known = first is not None and first.any()
            inputs[name] = (
                np.asarray(first) if known else np.abs(rng.standard_normal(spec.shape)).astype(np.float32)
            )
    return inputs


def check(
    name: str,
    folder: Path,
    policy: str,
    batchnorm: str = "lightnorm",
    target: str = "flexblock",
    rounding: str | None = None,
    **training: Any,
) -> Agreement:
    """Compares the step of a model; weights have to change in it."""
    options = CompileOptions(
        policy=policy,
        batchnorm=BatchNorm(batchnorm),
        target=target,
        rounding=rounding,
        training=TrainingOptions(**training),
    )
    graph = step_of(MODELS[name](), folder, options)
    inputs = inputs_of(graph)
    agreement = compare_with_stream(graph, inputs, target)
    for weight in carried_names(graph.main):
        assert agreement.simulation.outputs[weight].tobytes() != inputs[weight].tobytes(), weight
    return agreement


@pytest.fixture
def small_machine(tmp_path: Path) -> str:
    """Three cores with so little memory that most loops are cut."""
    text = (CATALOG / "flexblock.toml").read_text()
    for given, smaller in SMALL_MACHINE.items():
        assert given in text
        text = text.replace(given, smaller)
    path = tmp_path / "small.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "policy", ["FB12", *(pytest.param(name, marks=pytest.mark.slow) for name in ("FB16", "FB24"))]
)
@pytest.mark.parametrize("name", MODELS)
def test_a_step_has_equal_bytes(name: str, policy: str, tmp_path: Path) -> None:
    check(name, tmp_path, policy)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet", "mobilenet"])
def test_a_step_with_exact_batch_norms(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, "FB16", "fp32")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_step_by_adam(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, "FB12", optimizer="adam", weight_decay=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_step_on_a_small_machine(name: str, tmp_path: Path, small_machine: str) -> None:
    check(name, tmp_path, "FB16", target=small_machine)


def test_a_step_whose_statistics_ride_on_convolutions(tmp_path: Path, small_machine: str) -> None:
    """On the small machine tensors do not stay on chip."""
    found = check("resnet", tmp_path, "FB12", target=small_machine)
    names = [op.name for op in found.graph.main.body.block.ops]
    assert names.count("lightnorm.statistics") == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_step_with_more_bits_in_the_gradients(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, "FB12LG16WG16")


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_step_with_random_bits_of_its_own(name: str, tmp_path: Path) -> None:
    agreement = check(name, tmp_path, "FB12", rounding="stochastic", seed=5)
    steps = [symbol for symbol in agreement.stream.symbols if symbol.name == "step"]
    assert [symbol.kind for symbol in steps] == ["input"]


@pytest.mark.parametrize(
    "name", ["mobilenet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet", "transformer"))]
)
def test_a_step_that_stores_results_quantized(name: str, tmp_path: Path) -> None:
    policy = tmp_path / "results.toml"
    policy.write_text(
        'name = "results"\ndescription = "d"\n[default]\nformat = "FB12"\nresult.format = "FB16"\n'
        'big.rounding = "stochastic"\nbwg.format = "FB24"\n'
    )
    agreement = check(name, tmp_path, str(policy))
    assert any("_stored" in symbol.name for symbol in agreement.stream.symbols)


def test_contractions_are_named_by_layer_and_pass(tmp_path: Path) -> None:
    options = CompileOptions(training=TrainingOptions())
    graph = step_of(small_transformer(), tmp_path, options)
    target = load_target(options.target)
    stream = emit_stream(graph, target)
    schedule = schedule_of(graph, stream, target)
    passes: dict[str, set[str]] = {}
    for group in schedule.groups:
        for one in group.contractions:
            passes.setdefault(one.layer, set()).add(one.training_pass)
    assert passes["mlp1"] == {"forward", "local_grad", "weight_grad"}
    assert passes["scores"] == {"forward", "local_grad"}
    labels = [group.label for group in stream.groups]
    assert "contraction mlp1 weight_grad" in labels
