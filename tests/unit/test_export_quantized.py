"""The quantized export of whole models: onnxruntime gives the executor's bytes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import flexc
from flexc.api import TrainingOptions
from flexc.cli import main
from flexc.diagnostics import CompileError
from flexc.exporter.quantized.export import QuantizedModel, quantized_model
from flexc.exporter.quantized.function_body import DOMAIN
from flexc.exporter.quantized.kernels import KERNELS, STANDARD
from flexc.ir import nn
from flexc.ir.kernel_calls import ACTIVATION_PARAMETERS, activation_call
from flexc.program import Program
from tests.inspected_model import residual_model
from tests.marked_up_model import marked_up_model
from tests.onnx_functions import Array, run_model, same_bytes
from tests.onnx_models import build, make_node, random, save


def exported(program: Program) -> QuantizedModel:
    found = quantized_model(program.graph)
    onnx.checker.check_model(found.model, full_check=True)
    read = {name for node in found.model.graph.node for name in node.input}
    assert {one.name for one in found.model.graph.initializer} <= read, "onnxruntime warns of the others"
    return found


def assert_same(program: Program, inputs: dict[str, Array]) -> QuantizedModel:
    found = exported(program)
    outputs, wanted = run_model(found.model, inputs), program.run(inputs)
    assert list(outputs) == list(wanted)
    for name, value in wanted.items():
        assert same_bytes(outputs[name], value), name
    return found


@pytest.mark.parametrize("rounding", [None, "truncate"])
@pytest.mark.parametrize("policy", ["FB12", "FB16", "FB24"])
def test_onnxruntime_gives_the_executors_bytes(tmp_path: Path, policy: str, rounding: str | None) -> None:
    program = flexc.compile(save(residual_model(), tmp_path), policy=policy, rounding=rounding)
    found = assert_same(program, {"x": random(2, 40, 12, 12)})
    assert found.inexact == {}
    called = {node.op_type for node in found.model.graph.node if node.domain == DOMAIN}
    assert called >= {"Quantize", "BlockConv", "BlockMatMul", "LightNorm", "Relu", "Mean", "Values"}


def test_exponents_that_spread_far(tmp_path: Path) -> None:
    """Partials of other sizes round to another sum in another order."""
    program = flexc.compile(save(residual_model(), tmp_path), policy="FB16", everywhere=True)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 40, 12, 12)) * 2.0 ** rng.integers(-12, 12, (2, 40, 12, 12))).astype("f")
    assert_same(program, {"x": x})


def test_exact_batch_norms(tmp_path: Path) -> None:
    program = flexc.compile(save(residual_model(), tmp_path), batchnorm="fp32")
    assert assert_same(program, {"x": random(2, 40, 12, 12)}).inexact == {}


def test_fused_activations_and_depthwise_convolutions(tmp_path: Path) -> None:
    statistics = {name: np.abs(random(12, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))}
    nodes = [make_node("Conv", ["x", "w0"], ["c0"], name="c0", pads=[1] * 4, group=12)]
    value = "c0"
    for number, activation in enumerate(("HardSwish", "Sigmoid", "LeakyRelu", "HardSigmoid", "Tanh")):
        nodes += [
            make_node("BatchNormalization", [value, *statistics], [f"n{number}"], name=f"n{number}"),
            make_node(activation, [f"n{number}"], [f"a{number}"], name=f"a{number}"),
            make_node("Conv", [f"a{number}", "w1"], [f"d{number}"], name=f"d{number}"),
        ]
        value = f"d{number}"
    nodes += [make_node("MaxPool", [value], ["p"], name="p", kernel_shape=[2, 2], strides=[2, 2])]
    nodes += [make_node("Softmax", ["p"], ["y"], name="s", axis=1)]
    weights = {"w0": random(12, 1, 3, 3), "w1": random(12, 12, 1, 1, seed=1), **statistics}
    program = flexc.compile(save(build(nodes, {"x": random(1, 12, 8, 8)}, weights), tmp_path))
    assert assert_same(program, {"x": random(1, 12, 8, 8)}).inexact == {}


def test_names_with_markup_stay_and_the_model_runs(tmp_path: Path) -> None:
    program = flexc.compile(save(marked_up_model(), tmp_path))
    assert_same(program, {"x": random(1, 8, 10, 10)})


def test_what_onnxruntime_computes_its_own_way_is_told(tmp_path: Path) -> None:
    nodes = [make_node("Conv", ["x", "w"], ["c"], name="c"), make_node("Gelu", ["c"], ["y"], name="gelu")]
    model = build(nodes, {"x": random(1, 8, 4, 4)}, {"w": random(8, 8, 1, 1)}, opset=20)
    program = flexc.compile(save(model, tmp_path), output=tmp_path / "a")
    found = exported(program)
    assert found.inexact == {"nn.gelu": 1}
    inputs = {"x": random(1, 8, 4, 4)}
    np.testing.assert_allclose(
        run_model(found.model, inputs)["y"], program.run(inputs)["y"], rtol=1e-5, atol=1e-6
    )
    result = CliRunner().invoke(main, ["export-onnx", str(tmp_path / "a"), "-o", str(tmp_path / "q.onnx")])
    assert result.exit_code == 0
    assert result.stdout.endswith("own arithmetic, perhaps with other last bits: nn.gelu (1)\n")
    assert onnx.load(tmp_path / "q.onnx") == found.model


def test_equal_artefacts_give_equal_files(tmp_path: Path) -> None:
    program = flexc.compile(save(residual_model(), tmp_path))
    program.save(tmp_path / "a")
    files = []
    for name in ("one.onnx", "other.onnx"):
        result = CliRunner().invoke(main, ["export-onnx", str(tmp_path / "a"), "-o", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_a_training_step_is_refused(tmp_path: Path) -> None:
    nodes = [make_node("Conv", ["x", "w"], ["c"], name="c"), make_node("Flatten", ["c"], ["y"], name="f")]
    model = build(nodes, {"x": random(8, 8, 1, 1)}, {"w": random(4, 8, 1, 1)})
    program = flexc.compile(save(model, tmp_path), training=TrainingOptions())
    with pytest.raises(CompileError, match="FX580"):
        quantized_model(program.graph)


def test_stochastic_rounding_is_refused(tmp_path: Path) -> None:
    program = flexc.compile(save(residual_model(), tmp_path), rounding="stochastic")
    with pytest.raises(CompileError, match=r"FX581.*stochastic rounding"):
        quantized_model(program.graph)


def test_a_gelu_fused_into_lightnorm_is_onnxruntimes(tmp_path: Path) -> None:
    statistics = {name: np.abs(random(8, seed=i)) for i, name in enumerate(("g", "b", "m", "v"))}
    nodes = [
        make_node("Conv", ["x", "w"], ["c"], name="c"),
        make_node("BatchNormalization", ["c", *statistics], ["n"], name="n"),
        make_node("Gelu", ["n"], ["y"], name="gelu", approximate="tanh"),
    ]
    weights = {"w": random(8, 8, 1, 1), **statistics}
    program = flexc.compile(save(build(nodes, {"x": random(1, 8, 4, 4)}, weights, opset=20), tmp_path))
    found, inputs = exported(program), {"x": random(1, 8, 4, 4)}
    assert found.inexact == {"nn.gelu": 1}
    outputs = run_model(found.model, inputs)
    np.testing.assert_allclose(outputs["y"], program.run(inputs)["y"], rtol=1e-5, atol=1e-6)


def test_of_the_activations_that_are_fused_gelu_alone_has_no_function() -> None:
    calls = (activation_call(name, (0.5,) * len(of)) for name, of in ACTIVATION_PARAMETERS.items())
    missing = {call[0] for call in calls if call is not None and call[0] not in KERNELS}
    assert missing == {"gelu"}
    assert nn.GeluOp in STANDARD
