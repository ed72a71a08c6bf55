"""Elementwise operators against ONNX Runtime, in every form that opsets gave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from flexc.diagnostics import CompileError
from flexc.importer import load_model
from tests.onnx_models import Array, assert_matches, build, make_node, op_names, random, save

X = np.concatenate([random(50) * 3, np.array([0.0, -0.0, 6.0, -3.0, 3.0], np.float32)]).reshape(5, 11)
POSITIVE = np.abs(X) + np.float32(0.1)


@pytest.mark.parametrize(
    ("operator", "opset", "attributes", "x"),
    [
        ("Relu", 9, {}, X),
        ("Relu", 14, {}, X),
        ("LeakyRelu", 9, {}, X),
        ("LeakyRelu", 16, {"alpha": 0.3}, X),
        ("Sigmoid", 9, {}, X),
        ("Sigmoid", 13, {}, X),
        ("HardSigmoid", 9, {}, X),
        ("HardSigmoid", 22, {"alpha": 0.25, "beta": 0.4}, X),
        ("HardSwish", 14, {}, X),
        ("Tanh", 9, {}, X),
        ("Erf", 9, {}, X),
        ("Erf", 13, {}, X),
        ("Gelu", 20, {}, X),
        ("Gelu", 20, {"approximate": "tanh"}, X),
        ("Sqrt", 9, {}, POSITIVE),
        ("Exp", 13, {}, X),
        ("Log", 13, {}, POSITIVE),
        ("Neg", 9, {}, X),
        ("Abs", 13, {}, X),
        ("Reciprocal", 13, {}, POSITIVE),
        ("Floor", 13, {}, X),
        ("Clip", 9, {"min": -1.0, "max": 2.0}, X),
        ("Clip", 6, {"max": 2.0}, X),
    ],
)
def test_unary(operator: str, opset: int, attributes: dict[str, Any], x: Array, tmp_path: Path) -> None:
    model = build([make_node(operator, ["x"], ["y"], **attributes)], {"x": x}, opset=opset)
    assert_matches(model, {"x": x}, tmp_path)


@pytest.mark.parametrize(
    ("bounds", "inputs"),
    [
        ({"low": -1.0, "high": 2.0}, ["x", "low", "high"]),
        ({"low": -1.0}, ["x", "low"]),
        ({"high": 2.0}, ["x", "", "high"]),
        ({}, ["x"]),
        ({"low": -np.inf, "high": 1.0}, ["x", "low", "high"]),
    ],
)
@pytest.mark.parametrize("opset", [11, 13])
def test_clip_with_operands(bounds: dict[str, float], inputs: list[str], opset: int, tmp_path: Path) -> None:
    constants = {name: np.array(value, np.float32) for name, value in bounds.items()}
    model = build([make_node("Clip", inputs, ["y"])], {"x": X}, constants, opset=opset)
    assert_matches(model, {"x": X}, tmp_path, tolerance=0)


def test_clip_bounds_must_be_known(tmp_path: Path) -> None:
    low = np.array(0.0, np.float32)
    model = build([make_node("Clip", ["x", "low"], ["y"])], {"x": X, "low": low})
    with pytest.raises(CompileError, match=r"FX206.*the minimum must be known"):
        load_model(save(model, tmp_path))


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Pow"])
@pytest.mark.parametrize("opset", [9, 13, 21])
@pytest.mark.parametrize("shape", [(11,), (5, 1), (2, 5, 11), ()])
def test_binary_broadcasts(operator: str, opset: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    other = np.abs(random(*shape, seed=1)) + np.float32(0.5)
    inputs = {"a": POSITIVE, "b": np.asarray(other, np.float32)}
    model = build([make_node(operator, ["a", "b"], ["y"])], inputs, opset=opset)
    assert_matches(model, inputs, tmp_path, tolerance=1e-6)


@pytest.mark.parametrize("operator", ["Sum", "Min", "Max", "Mean"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_operands(operator: str, count: int, tmp_path: Path) -> None:
    inputs = {f"x{index}": random(3, 4, seed=index) for index in range(count)}
    model = build([make_node(operator, list(inputs), ["y"])], inputs, opset=13)
    assert_matches(model, inputs, tmp_path)


def test_power_of_an_integer_exponent(tmp_path: Path) -> None:
    model = build(
        [make_node("Pow", ["x", "two"], ["y"])], {"x": X}, {"two": np.array([2], np.int64)}, opset=13
    )
    assert_matches(model, {"x": X}, tmp_path)


@pytest.mark.parametrize("opset", [9, 13, 19])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        (np.float32, TensorProto.INT64),
        (np.float32, TensorProto.INT32),
        (np.float32, TensorProto.BOOL),
        (np.int64, TensorProto.FLOAT),
        (np.int32, TensorProto.INT64),
        (np.bool_, TensorProto.FLOAT),
    ],
)
def test_cast(source: type[np.generic], target: int, opset: int, tmp_path: Path) -> None:
    x = (X * 3).astype(source)
    model = build([make_node("Cast", ["x"], ["y"], to=target)], {"x": x}, opset=opset)
    assert_matches(model, {"x": x}, tmp_path, tolerance=0)


def test_cast_to_the_same_type_vanishes(tmp_path: Path) -> None:
    nodes = [
        make_node("Cast", ["x"], ["same"], to=TensorProto.FLOAT),
        make_node("Relu", ["same"], ["y"]),
    ]
    assert op_names(assert_matches(build(nodes, {"x": X}), {"x": X}, tmp_path)) == ["nn.relu"]


@pytest.mark.parametrize("operator", ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
@pytest.mark.parametrize("element", [np.float32, np.int64])
def test_comparison(operator: str, element: type[np.generic], tmp_path: Path) -> None:
    a = np.array([[1, 2, 3], [3, 2, 1]], element)
    inputs = {"a": a, "b": np.array([2, 2, 2], element)}
    model = build([make_node(operator, ["a", "b"], ["y"])], inputs, opset=16)
    assert_matches(model, inputs, tmp_path, tolerance=0)


def test_comparison_with_nan_is_false(tmp_path: Path) -> None:
    inputs = {"a": np.array([np.nan, 1], np.float32), "b": np.array([1, np.nan], np.float32)}
    for operator in ("LessOrEqual", "GreaterOrEqual"):
        assert_matches(build([make_node(operator, ["a", "b"], ["y"])], inputs), inputs, tmp_path)


@pytest.mark.parametrize("operator", ["And", "Or"])
def test_logic(operator: str, tmp_path: Path) -> None:
    inputs = {"a": np.array([[True], [False]]), "b": np.array([True, False])}
    model = build([make_node(operator, ["a", "b"], ["y"])], inputs)
    assert_matches(model, inputs, tmp_path, tolerance=0)


def test_not_and_where(tmp_path: Path) -> None:
    inputs = {"c": np.array([[True], [False]]), "a": random(2, 3), "b": random(3, seed=1)}
    nodes = [make_node("Not", ["c"], ["n"]), make_node("Where", ["n", "a", "b"], ["y"])]
    assert_matches(build(nodes, inputs), inputs, tmp_path, tolerance=0)


def test_every_op_keeps_its_node(tmp_path: Path) -> None:
    nodes = [
        make_node("Relu", ["x"], ["r"], name="stem/relu"),
        make_node("Tanh", ["r"], ["y"]),
    ]
    graph = assert_matches(build(nodes, {"x": X}), {"x": X}, tmp_path)
    text = str(graph.module)
    assert '#nn.source<"stem/relu", "Relu", 0>' in text
    assert '#nn.source<"y", "Tanh", 1>' in text
