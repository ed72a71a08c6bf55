"""Dropout: nothing in inference, against ONNX Runtime; for a training step, an op with a number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from flexc.ir import train
from flexc.ir.program import Graph
from flexc.passes.cse import EliminateCommonSubexpressions
from flexc.training.model import load_forward
from tests.onnx_models import Array, assert_matches, build, make_node, op_names, random, save

X = random(2, 3, 4)


def dropouts(graph: Graph) -> list[tuple[float, int]]:
    """Ratio and number of each dropout, in order."""
    found = [op for op in graph.main.body.block.ops if isinstance(op, train.DropoutOp)]
    return [(float(op.ratio.value.data), int(op.number.value.data)) for op in found]


@pytest.mark.parametrize("opset", [9, 10, 12, 13])
def test_dropout_vanishes(opset: int, tmp_path: Path) -> None:
    constants = {} if opset < 12 else {"ratio": np.array(0.4, np.float32), "training": np.array(False)}
    attributes = {"ratio": 0.4} if opset < 12 else {}
    nodes = [
        make_node("Dropout", ["x", *constants], ["kept"], **attributes),
        make_node("Relu", ["kept"], ["y"]),
    ]
    graph = assert_matches(build(nodes, {"x": X}, constants, opset=opset), {"x": X}, tmp_path)
    assert op_names(graph) == ["nn.relu"]


def test_dropout_mask(tmp_path: Path) -> None:
    nodes = [
        make_node("Dropout", ["x"], ["kept", "mask"]),
        make_node("Cast", ["mask"], ["ones"], to=TensorProto.FLOAT),
        make_node("Mul", ["kept", "ones"], ["y"]),
    ]
    assert_matches(build(nodes, {"x": X}, opset=13), {"x": X}, tmp_path, tolerance=0)


def test_dropout_in_training(tmp_path: Path) -> None:
    constants = {"ratio": np.array(0.4, np.float32), "training": np.array(True)}
    node = make_node("Dropout", ["x", *constants], ["y"])
    with pytest.raises(CompileError, match=r"FX205.*dropout in training mode"):
        load_model(save(build([node], {"x": X}, constants, opset=13), tmp_path))


FORMS: dict[str, tuple[int, dict[str, Array], dict[str, float], float]] = {
    "attribute": (9, {}, {"ratio": 0.25}, 0.25),
    "default-attribute": (10, {}, {}, 0.5),
    "operand": (12, {"ratio": np.array(0.25, np.float32)}, {"seed": 3}, 0.25),
    "default-operand": (13, {}, {}, 0.5),
    "inference-mode": (
        17, {"ratio": np.array(0.125, np.float32), "training": np.array(False)}, {}, 0.125,
    ),
    "training-mode": (
        22, {"ratio": np.array(0.125, np.float32), "training": np.array(True)}, {}, 0.125,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_training_step_keeps_dropout(form: str, tmp_path: Path) -> None:
    opset, constants, attributes, ratio = FORMS[form]
    node = make_node("Dropout", ["x", *constants], ["y"], **attributes)
    path = save(build([node], {"x": X}, constants, opset=opset), tmp_path)
    graph = load_model(path, training=True)
    graph.module.verify()
    assert dropouts(graph) == [(ratio, 0)]


def test_a_trained_model_is_tested_without_dropout_and_by_running_statistics(tmp_path: Path) -> None:
    """Whatever the mode that the model was exported in."""
    vectors = {name: random(3) for name in ("gamma", "beta", "mean", "var")}
    constants = {**vectors, "ratio": np.array(0.4, np.float32), "training": np.array(True)}
    nodes = [
        make_node("Dropout", ["x", "ratio", "training"], ["d"]),
        make_node("BatchNormalization", ["d", *vectors], ["y", "next_mean", "next_var"], training_mode=1),
    ]
    path = save(build(nodes, {"x": X}, constants, opset=15), tmp_path)
    assert op_names(load_forward(path, {"x": X.shape})) == ["nn.batch_norm"]
    assert op_names(load_forward(path, {"x": X.shape}, training=True)) == ["train.dropout", "nn.batch_norm"]


def test_dropouts_of_one_value_stay_two(tmp_path: Path) -> None:
    nodes = [
        make_node("Dropout", ["x"], ["a"]),
        make_node("Dropout", ["x"], ["b"]),
        make_node("Add", ["a", "b"], ["y"]),
    ]
    graph = load_model(save(build(nodes, {"x": X}), tmp_path), training=True)
    EliminateCommonSubexpressions().run(graph)
    assert dropouts(graph) == [(0.5, 0), (0.5, 1)]


def test_dropout_of_a_constant_is_not_folded(tmp_path: Path) -> None:
    nodes = [make_node("Dropout", ["w"], ["a"]), make_node("Add", ["x", "a"], ["y"])]
    graph = load_model(save(build(nodes, {"x": X}, {"w": X}), tmp_path), training=True)
    assert dropouts(graph) == [(0.5, 0)]


def test_dropout_of_nothing_vanishes(tmp_path: Path) -> None:
    nodes = [make_node("Dropout", ["x"], ["a"], ratio=0.0), make_node("Relu", ["a"], ["y"])]
    graph = load_model(save(build(nodes, {"x": X}, opset=9), tmp_path), training=True)
    assert op_names(graph) == ["nn.relu"]


@pytest.mark.parametrize("ratio", [1.0, -0.5])
def test_a_ratio_out_of_range(ratio: float, tmp_path: Path) -> None:
    node = make_node("Dropout", ["x"], ["y"], ratio=ratio)
    with pytest.raises(CompileError, match=r"FX203.*\(Dropout, node 0\).*ratio"):
        load_model(save(build([node], {"x": X}, opset=10), tmp_path), training=True)


def test_the_mask_of_a_training_step_is_not_to_be_had(tmp_path: Path) -> None:
    nodes = [
        make_node("Dropout", ["x"], ["kept", "mask"]),
        make_node("Cast", ["mask"], ["y"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(CompileError, match=r"FX205.*output 1 \('mask'\)"):
        load_model(save(build(nodes, {"x": X}), tmp_path), training=True)
