"""Exported models compute in onnxruntime what their graphs came from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from flexc.cli import main
from flexc.datasets.arrays import Examples, split
from flexc.diagnostics import CompileError
from flexc.exporter.export import onnx_model, same_but_for_batch
from flexc.exporter.operators import SPELLINGS
from flexc.importer import load_model
from flexc.ir import nn
from flexc.ir.nn import NN
from flexc.ir.program import Graph
from flexc.passes.insert_quantize import InsertQuantize
from flexc.passes.manager import run_pipeline
from flexc.passes.pipelines import rebuilding_pipeline
from models.make_small_resnet import make_small_resnet
from tests.onnx_models import build, make_node
from tests.training_models import small_mobilenet, small_resnet, small_transformer

RNG = np.random.default_rng(1)
X = RNG.standard_normal((2, 3, 5, 6)).astype(np.float32)
OF_POSITIVE = {"Log", "Pow", "Reciprocal", "Sqrt"}
"""Cases whose input is positive."""


def unary(operator: str, x: Any = X, **attributes: Any) -> onnx.ModelProto:
    return build([make_node(operator, ["x"], ["y"], **attributes)], {"x": x}, opset=20)


def binary(operator: str, **attributes: Any) -> onnx.ModelProto:
    w = RNG.standard_normal((3, 1, 6)).astype(np.float32)
    nodes = [make_node(operator, ["x", "w"], ["y"], **attributes)]
    return build(nodes, {"x": X}, {"w": w}, opset=20)


def sliced() -> onnx.ModelProto:
    constants = {
        "starts": np.array([4, 1]),
        "ends": np.array([-100, 6]),
        "axes": np.array([2, 3]),
        "steps": np.array([-2, 2]),
    }
    return build([make_node("Slice", ["x", *constants], ["y"])], {"x": X}, constants)


def padded() -> onnx.ModelProto:
    constants = {"pads": np.array([0, 1, 0, 2, 0, 0, 1, 0]), "value": np.float32(0.5)}
    nodes = [make_node("Pad", ["x", *constants], ["p"]), make_node("Exp", ["p"], ["y"])]
    return build(nodes, {"x": X}, {name: np.asarray(value) for name, value in constants.items()})


def chosen() -> onnx.ModelProto:
    nodes = [
        make_node("Less", ["x", "half"], ["low"]),
        make_node("Where", ["low", "x", "half"], ["one"]),
        make_node("Greater", ["one", "zero"], ["high"]),
        make_node("Cast", ["high"], ["other"], to=1),
        make_node("Equal", ["other", "one"], ["same"]),
        make_node("Cast", ["same"], ["third"], to=1),
        make_node("Max", ["other", "one"], ["most"]),
        make_node("Min", ["most", "x"], ["least"]),
        make_node("Concat", ["one", "least", "third"], ["y"], axis=1),
    ]
    return build(nodes, {"x": X}, {"half": np.array([0.5], np.float32), "zero": np.array([0], np.float32)})


def gathered() -> onnx.ModelProto:
    nodes = [make_node("Gather", ["x", "indices"], ["g"], axis=3), make_node("Relu", ["g"], ["y"])]
    return build(nodes, {"x": X}, {"indices": np.array([[5, 0], [-1, 2]])})


def multiplied() -> onnx.ModelProto:
    w, bias = (RNG.standard_normal(shape).astype(np.float32) for shape in ((6, 4), (4,)))
    nodes = [make_node("MatMul", ["x", "w"], ["p"]), make_node("Add", ["p", "b"], ["y"])]
    return build(nodes, {"x": X}, {"w": w, "b": bias})


def expanded() -> onnx.ModelProto:
    nodes = [make_node("Expand", ["x", "shape"], ["e"]), make_node("Neg", ["e"], ["y"])]
    return build(nodes, {"x": X[:, :, :1]}, {"shape": np.array([2, 3, 4, 6])})


def pooled(operator: str, **more: Any) -> onnx.ModelProto:
    given = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "ceil_mode": 1, **more}
    return unary(operator, **given)


def reduced(operator: str) -> onnx.ModelProto:
    axes = {"axes": np.array([1, 3])}
    return build([make_node(operator, ["x", "axes"], ["y"], keepdims=0)], {"x": X}, axes, opset=20)


def normalized() -> onnx.ModelProto:
    gamma, beta = (RNG.standard_normal(6).astype(np.float32) for _ in range(2))
    node = make_node("LayerNormalization", ["x", "gamma", "beta"], ["y"], axis=-1, epsilon=1e-3)
    return build([node], {"x": X}, {"gamma": gamma, "beta": beta})


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    **{name: partial(unary, name) for name in ("Abs", "Erf", "Exp", "Floor", "Gelu", "HardSwish", "Neg")},
    **{name: partial(unary, name) for name in ("Relu", "Sigmoid", "Tanh")},
    **{name: partial(unary, name) for name in sorted(OF_POSITIVE - {"Pow"})},
    **{name: partial(binary, name) for name in ("Add", "Sub", "Mul", "Div")},
    **{name: partial(reduced, name) for name in ("ReduceMax", "ReduceMean", "ReduceSum")},
    "AveragePool": lambda: pooled("AveragePool", count_include_pad=1),
    "Expand": expanded,
    "Gather": gathered,
    "Gelu tanh": lambda: unary("Gelu", approximate="tanh"),
    "HardSigmoid": lambda: unary("HardSigmoid", alpha=0.3, beta=0.4),
    "LayerNormalization": normalized,
    "LeakyRelu": lambda: unary("LeakyRelu", alpha=0.2),
    "LogSoftmax": lambda: unary("LogSoftmax", axis=1),
    "MatMul": multiplied,
    "MaxPool": lambda: pooled("MaxPool", dilations=[1, 2]),
    "Pad": padded,
    "Pow": lambda: build(
        [make_node("Pow", ["x", "w"], ["y"])], {"x": X}, {"w": np.array([2.5], np.float32)}
    ),
    "Slice": sliced,
    "Softmax": lambda: unary("Softmax", axis=-1),
    "Transpose": lambda: unary("Transpose", perm=[0, 3, 1, 2]),
    "comparisons": chosen,
    "clip": lambda: build(
        [make_node("Clip", ["x", "low"], ["y"])], {"x": X}, {"low": np.asarray(-0.5, np.float32)}
    ),
    "mobilenet": small_mobilenet,
    "resnet": small_resnet,
    "transformer": small_transformer,
}  # fmt: skip


def imported(model: onnx.ModelProto, path: Path, batch: int | None = None) -> Graph:
    onnx.save(model, path)
    graph = load_model(path, batch=batch)
    run_pipeline(graph, rebuilding_pipeline())
    return graph


def inputs_of(model: onnx.ModelProto, *, positive: bool) -> dict[str, Any]:
    (entry,) = model.graph.input
    shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    rng = np.random.default_rng(2)
    if entry.type.tensor_type.elem_type == onnx.TensorProto.INT64:
        return {entry.name: rng.integers(0, 7, shape)}
    x = rng.standard_normal(shape).astype(np.float32)
    return {entry.name: np.abs(x) + np.float32(0.5) if positive else x}


def run(model: onnx.ModelProto, inputs: dict[str, Any]) -> list[Any]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return list(session.run(None, inputs))


@pytest.mark.parametrize("name", MODELS)
def test_what_is_exported_computes_the_same(name: str, tmp_path: Path) -> None:
    model = MODELS[name]()
    exported = onnx_model(imported(model, tmp_path / "m.onnx"))
    onnx.checker.check_model(exported, full_check=True)
    assert [entry.name for entry in exported.graph.output] == [entry.name for entry in model.graph.output]
    inputs = inputs_of(model, positive=name in OF_POSITIVE)
    for found, expected in zip(run(exported, inputs), run(model, inputs), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def test_every_op_has_a_spelling() -> None:
    gradients = {op for op in NN.operations if op.name.endswith("_grad")}
    assert set(NN.operations) - gradients - {nn.ConstantOp} == set(SPELLINGS)


def test_a_quantized_graph_is_refused(tmp_path: Path) -> None:
    graph = imported(small_resnet(), tmp_path / "m.onnx")
    run_pipeline(graph, (InsertQuantize("FB16"),))
    with pytest.raises(CompileError, match="FX580"):
        onnx_model(graph)


def test_an_output_that_is_an_input_and_one_with_two_names(tmp_path: Path) -> None:
    nodes = [
        make_node("Relu", ["x"], ["y"]),
        make_node("Identity", ["y"], ["z"]),
        make_node("Identity", ["x"], ["w"]),
    ]
    model = build(nodes, {"x": X}, outputs=("y", "z", "w"))
    exported = onnx_model(imported(model, tmp_path / "m.onnx"))
    assert [entry.name for entry in exported.graph.output] == ["y", "z", "w"]
    for found, expected in zip(run(exported, {"x": X}), (np.maximum(X, 0),) * 2 + (X,), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_batch_stays_open_where_images_do_not_meet(tmp_path: Path) -> None:
    model = make_small_resnet(size=6, classes=3, widths=(4, 8))
    graphs = [imported(model, tmp_path / "m.onnx", batch=batch) for batch in (4, 5)]
    assert same_but_for_batch(graphs[0], 4, graphs[1], 5)
    exported = onnx_model(graphs[0], open_batch=4)
    assert exported.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    x = np.ones((7, 1, 6, 6), np.float32)
    (found,) = run(exported, {"input": x})
    assert found.shape == (7, 3)

    mixing = [make_node("Transpose", ["x"], ["t"], perm=[1, 0]), make_node("Reshape", ["t", "flat"], ["y"])]
    mixed = []
    for batch in (4, 5):
        rows = build(mixing, {"x": np.ones((batch, 4), np.float32)}, {"flat": np.array([-1])})
        mixed.append(imported(rows, tmp_path / "mixed.onnx"))
    assert not same_but_for_batch(mixed[0], 4, mixed[1], 5)


@pytest.mark.parametrize("batchnorm", ["lightnorm", "fp32"])
def test_a_trained_model_is_exported_with_what_it_learnt(batchnorm: str, tmp_path: Path) -> None:
    onnx.save(make_small_resnet(size=6, classes=3, widths=(4, 8)), tmp_path / "m.onnx")
    images = np.random.default_rng(0).standard_normal((60, 1, 6, 6)).astype(np.float32)
    labels = np.arange(60) % 3
    for image, label in zip(images, labels, strict=True):
        image[0, 2 * label, 2:4] += 4
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    run_folder = tmp_path / "run"
    given = ["train", str(tmp_path / "m.onnx"), "--data", str(tmp_path / "d.npz"), "-o", str(run_folder)]
    result = CliRunner().invoke(main, [*given, "--batch", "8", "--epochs", "3", "--batchnorm", batchnorm])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["export", str(run_folder), "-o", str(tmp_path / "t.onnx")])
    assert result.exit_code == 0, result.output
    exported = onnx.load(tmp_path / "t.onnx")
    onnx.checker.check_model(exported, full_check=True)
    assert {node.domain for node in exported.graph.node} == {""}
    test = split("d", Examples.of_images(images, labels)).test
    (outputs,) = run(exported, {"input": test.images})
    hits = int((outputs.argmax(axis=1) == test.labels).sum())
    printed = float((run_folder / "metrics.csv").read_text().splitlines()[-1].split(",")[5])
    assert abs(hits - round(printed * len(test))) <= 1


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["export", str(tmp_path), "-o", str(tmp_path / "t.onnx")])
    assert (result.exit_code, "error[FX570]" in result.output) == (1, True)
