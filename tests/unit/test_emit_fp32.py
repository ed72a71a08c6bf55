"""Streams of contractions left in fp32 (no order of sums is fixed), and of dequantizations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flexc.backends.stream.emit import emit_stream
from flexc.backends.stream.simulate import simulate
from flexc.importer import load_model
from flexc.ir.program import INPUTS, OUTPUTS, Graph, name_array, parse_module
from flexc.options import CompileOptions
from flexc.passes.allocate import Allocate
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import inference_pipeline, rebuilding_pipeline
from flexc.passes.schedule import Schedule
from flexc.target import load_target
from tests.evaluate import evaluate
from tests.onnx_models import build, make_node, op_names, random, save
from tests.stream_agreement import compare

CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "padded": ((2, 17, 9, 11), (12, 17, 3, 3), {"pads": [1, 1, 1, 1]}),
    "strided": ((1, 3, 33, 31), (16, 3, 7, 7), {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
    "grouped": ((1, 12, 7, 7), (18, 4, 3, 3), {"group": 3}),
    "depthwise": ((1, 20, 8, 9), (20, 1, 3, 3), {"group": 20, "dilations": [2, 2]}),
    "one_dimensional": ((2, 9, 40), (17, 9, 5), {"strides": [2]}),
    "wide": ((1, 300, 4, 4), (200, 300, 1, 1), {}),
}


def agree(graph: Graph, inputs: dict[str, Any]) -> None:
    stream = emit_stream(graph, load_target("flexblock"))
    found = simulate(stream, inputs).outputs
    for name, expected in evaluate(graph, inputs).items():
        bound = 1e-5 * np.abs(expected).max()
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=bound)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name: str, tmp_path: Path) -> None:
    x_shape, w_shape, attributes = CONVOLUTIONS[name]
    constants = {"w": random(*w_shape, seed=1), "b": random(w_shape[0], seed=2)}
    nodes = [make_node("Conv", ["x", "w", "b"], ["c"], **attributes), make_node("Relu", ["c"], ["y"])]
    inputs = {"x": random(*x_shape)}
    graph = load_model(save(build(nodes, inputs, constants), tmp_path))
    run_pipeline(graph, (*rebuilding_pipeline(), Schedule(), Allocate()), verify_each=True)
    agree(graph, inputs)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((5, 300), (300, 70)), ((2, 3, 9, 20), (20, 12)), ((2, 3, 5, 30), (2, 1, 30, 6)), ((700, 64), (64, 3))],
)
def test_product(a_shape: tuple[int, ...], b_shape: tuple[int, ...], tmp_path: Path) -> None:
    inputs = {"a": random(*a_shape, seed=1), "b": random(*b_shape, seed=2)}
    graph = load_model(save(build([make_node("MatMul", ["a", "b"], ["y"])], inputs), tmp_path))
    run_pipeline(graph, (*rebuilding_pipeline(), Schedule(), Allocate()), verify_each=True)
    agree(graph, inputs)


@pytest.mark.parametrize("kind", ["Conv", "depthwise", "MatMul"])
@pytest.mark.parametrize("channels", [1, 6, 20])
def test_operands_that_lightnorm_makes(kind: str, channels: int, tmp_path: Path) -> None:
    """They could be stored in ten bits, but for tiles that start anywhere between channels."""
    norm = [np.ones(channels), np.zeros(channels), np.zeros(channels), np.ones(channels)]
    constants = {f"n{i}": array.astype(np.float32) for i, array in enumerate(norm)}
    nodes = [make_node("BatchNormalization", ["x", *constants], ["n"]), make_node("Relu", ["n"], ["r"])]
    if kind == "MatMul":
        constants["w"] = random(7, 9, seed=1)
        nodes.append(make_node("MatMul", ["r", "w"], ["y"]))
    else:
        group = channels if kind == "depthwise" else 1
        constants["w"] = random(4 * channels, channels // group, 3, 3, seed=1)
        nodes.append(make_node("Conv", ["r", "w"], ["y"], pads=[1, 1, 1, 1], group=group))
    inputs = {"x": random(3, channels, 5, 7)}
    graph = load_model(save(build(nodes, inputs, constants), tmp_path))
    run_pipeline(graph, inference_pipeline(CompileOptions(policy="fp32")), verify_each=True)
    assert "lightnorm.infer" in op_names(graph)
    agree(graph, inputs)


def test_one_layer_in_fp32(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'name = "mixed"\ndescription = "the first layer in fp32"\n[default]\nformat = "FB16"\n'
        '[[override]]\nfirst = true\nformat = "fp32"\n'
    )
    constants = {"w1": random(8, 3, 3, 3), "w2": random(5, 8, 3, 3)}
    nodes = [make_node("Conv", ["x", "w1"], ["c"]), make_node("Conv", ["c", "w2"], ["y"])]
    inputs = {"x": np.round(random(1, 3, 9, 9) * 8)}
    constants["w1"] = np.round(constants["w1"] * 8)
    graph = load_model(save(build(nodes, inputs, constants), tmp_path))
    run_pipeline(graph, inference_pipeline(CompileOptions(policy=str(policy))), verify_each=True)
    simulation = simulate(emit_stream(graph, load_target("flexblock")), inputs, tensors=True)
    compare(graph, simulation, inputs)  # small integers: every order of sums gives the same bytes


@pytest.mark.parametrize(
    ("shape", "tile"),
    [
        ((2, 30, 5, 7), (1, 9, 1, 1)),
        ((3, 300), (1, 108)),
        ((2, 40, 9), (1, 16, 1)),
        ((2, 3, 2, 3, 50), (1, 1, 1, 1, 20)),
        ((1, 64, 70, 70), (1, 54, 1, 1)),
    ],
)
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_dequantize(bits: int, shape: tuple[int, ...], tile: tuple[int, ...]) -> None:
    dims = "x".join(str(extent) for extent in shape)
    block = f"!bfp.tensor<{dims}, m{bits}, tile {list(tile)}>"
    text = f"""func.func @main(%x: tensor<{dims}xf32>) -> tensor<{dims}xf32> {{
  %q = bfp.quantize %x {{rounding = "nearest", seed = 0 : i64, stream = 0 : i64}}
    : tensor<{dims}xf32> -> {block}
  %y = bfp.dequantize %q : {block} -> tensor<{dims}xf32>
  func.return %y : tensor<{dims}xf32>
}}"""
    graph = Graph(parse_module(text))
    graph.main.attributes[INPUTS] = name_array(("x",))
    graph.main.attributes[OUTPUTS] = name_array(("y",))
    run_pipeline(graph, (Schedule(), Allocate()), verify_each=True)
    inputs = {"x": random(*shape)}
    simulation = simulate(emit_stream(graph, load_target("flexblock")), inputs, tensors=True)
    compare(graph, simulation, inputs)
